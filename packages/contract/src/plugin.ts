/** What somebody else adds to Posthouse: a module that exports a `plugin`. */
import type { Channel } from './channel.ts'

/** The version of this contract. It rises when a plugin that was written for an older one would no longer work. */
export const ENGINE = 1

/** What a plugin registers with while it is set up. */
export interface PluginHost {
  /** Makes a channel known under its id; accounts of that `type` can be configured. Those that are built in cannot be replaced. */
  channel(channel: Channel): void
}

export interface Plugin {
  /** Letters, digits and `-`; unique among the plugins. */
  readonly id: string
  readonly version: string
  /** The version of the contract that it was written for ({@link ENGINE}). */
  readonly engine: number
  setup(host: PluginHost): void
}

/** The same, checked by the compiler. */
export function definePlugin(plugin: Plugin): Plugin {
  return plugin
}

/** A channel whose settings have a shape of their own, as one among others. */
export function anyChannel<S>(channel: Channel<S>): Channel {
  return channel as unknown as Channel
}
