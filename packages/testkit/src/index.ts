/** Behaviour suites, emulators and fakes for those who write channels, models and plugins. */
export * from './emulators/model/index.ts'
export * from './suites/model.ts'
