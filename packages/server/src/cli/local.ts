/** What commands work on: the configuration and the database of this folder, whether the gateway runs or not. */
import { existsSync } from 'node:fs'
import { systemClock } from '../base/clock.ts'
import { newId } from '../base/ids.ts'
import { catalog } from '../catalog.ts'
import { type Config, findConfig, type Loaded, loadConfig } from '../config/index.ts'
import type { Store } from '../ports/store.ts'
import { createSealer, loadKey, type MasterKey } from '../security/index.ts'
import { openStore } from '../storage/index.ts'
import { CliError, type Terminal } from './terminal.ts'

export interface Local {
  readonly config: Config
  readonly loaded: Loaded
}

/** Loads the configuration. @throws {CliError} with all problems when it cannot be used. */
export function loadLocal(given: string | undefined): Local {
  const folder = process.cwd()
  const loaded = loadConfig(findConfig(given, process.env, folder), catalog, process.env, folder)
  if (!loaded.config) throw new CliError(loaded.problems.map(({ text }) => text).join('\n'), 2, 'posthouse config check')
  return { config: loaded.config, loaded }
}

export interface LocalStore extends AsyncDisposable {
  readonly store: Store
  readonly key: MasterKey
}

/** Opens the database beside a running gateway or alone: SQLite serves both at once, and the gateway's sweep sees what changed. */
export async function openLocal({ config }: Local, options: { create?: boolean } = {}): Promise<LocalStore> {
  const hasData = existsSync(config.databasePath)
  if (!hasData && !options.create) throw new CliError(`There is no data yet at ${config.databasePath}.`, 1, 'posthouse start')
  const key = loadKey(config.keyFile, hasData)
  const store = await openStore({ path: config.databasePath, sealer: createSealer(key), clock: systemClock, newId })
  return { store, key, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

/** Asks the running gateway; undefined when none answers. */
export async function askGateway({ config }: Local, path: string): Promise<unknown> {
  const { host, port } = config.server
  const name = ['0.0.0.0', '::'].includes(host) ? '127.0.0.1' : host
  try {
    const response = await fetch(`http://${name.includes(':') ? `[${name}]` : name}:${port}${path}`, { signal: AbortSignal.timeout(3000) })
    return await response.json()
  } catch {
    return undefined
  }
}

/** The language that the person reads: the configured one, else that of the terminal. */
export function languageFor(given: string | undefined): Terminal['language'] {
  const folder = process.cwd()
  const path = findConfig(given, process.env, folder)
  const configured = path === undefined ? undefined : loadConfig(path, catalog, process.env, folder).config?.language
  const locale = process.env.LC_ALL ?? process.env.LC_MESSAGES ?? process.env.LANG ?? ''
  return configured ?? (locale.toLowerCase().startsWith('zh') ? 'zh' : 'en')
}
