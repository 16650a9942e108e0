/** Plugins: modules of the owner's that add to what may be configured. The one place where code that is not ours is loaded. */
import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type Channel, ENGINE, type Plugin } from '@posthouse/contract'

/** What a plugin registered. */
export interface LoadedPlugin {
  readonly id: string
  readonly version: string
  readonly channels: readonly Channel[]
}

const loaded = new Map<string, LoadedPlugin>()

/**
 * Loads a plugin from a folder (its package) or a file, once in the life of the process: a changed one needs a restart.
 * @throws Error that says what is wrong with it
 */
export function loadPlugin(path: string): LoadedPlugin {
  const known = loaded.get(path)
  if (known) return known
  if (!existsSync(path)) throw new Error('there is no such folder or file')
  const require = createRequire(statSync(path).isDirectory() ? join(path, 'package.json') : path)
  const module = require(path) as { readonly plugin?: Partial<Plugin> }
  const { id, version, engine, setup } = module.plugin ?? {}
  if (typeof id !== 'string' || !/^[a-z0-9][a-z0-9-]{0,63}$/i.test(id) || typeof setup !== 'function')
    throw new Error('it exports no `plugin`: see definePlugin of @posthouse/contract')
  if (engine !== ENGINE) throw new Error(`it was written for version ${String(engine)} of the contract; this is ${ENGINE}`)
  const channels: Channel[] = []
  setup.call(module.plugin, {
    channel: (channel) => {
      if (typeof channel?.id !== 'string' || typeof channel.open !== 'function' || !channel.settings?.fields || !channel.capabilities)
        throw new Error('a channel has id, settings, capabilities, probe and open')
      channels.push(channel)
    },
  })
  const plugin = { id, version: String(version ?? ''), channels }
  loaded.set(path, plugin)
  return plugin
}
