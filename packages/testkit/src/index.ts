/** Behaviour suites, emulators and fakes for those who write channels, models and plugins. */

export * from './emulators/model/index.ts'
export * from './emulators/telegram/index.ts'
export * from './proxy.ts'
export * from './story.ts'
export * from './suites/channel.ts'
export * from './suites/host.ts'
export * from './suites/listening.ts'
export * from './suites/model.ts'
