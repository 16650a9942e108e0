/** Behaviour suites, emulators and fakes for those who write channels, models and plugins. */

export type { Fault } from './emulators/faults.ts'
export * from './emulators/model/index.ts'
export * from './emulators/platform.ts'
export * from './emulators/posts.ts'
export * from './emulators/telegram/index.ts'
export * from './emulators/webhook-calls.ts'
export * from './proxy.ts'
export * from './story.ts'
export * from './suites/channel.ts'
export * from './suites/host.ts'
export * from './suites/listening.ts'
export * from './suites/model.ts'
