/** What commands work on: the configuration and the database of this folder, whether the gateway runs or not. */
import { systemClock } from '../base/clock.ts'
import { newId } from '../base/ids.ts'
import { catalog } from '../catalog.ts'
import { type Config, findConfig, type Loaded, loadConfig } from '../config/index.ts'
import { createSealer, loadKey, type MasterKey } from '../security/index.ts'
import { hasData, type OpenedStore, openStore, toldAddress } from '../storage/index.ts'
import type { Call } from './call.ts'
import { explainFailure } from './remedy.ts'
import { CliError, type Terminal } from './terminal.ts'

export interface Local {
  readonly config: Config
  readonly loaded: Loaded
  readonly terminal: Terminal
}

export function loadHere(given: string | undefined): Loaded {
  const folder = process.cwd()
  return loadConfig(findConfig(given, process.env, folder), catalog, process.env, folder)
}

/** Loads the configuration. @throws {CliError} with all problems when it cannot be used. */
export function loadLocal({ config: given, terminal }: Call): Local {
  const loaded = loadHere(given)
  const stops = loaded.problems.filter(({ account }) => account === undefined)
  if (!loaded.config) throw new CliError(stops.map(({ text }) => terminal.t(text)).join('\n'), 2, 'posthouse config check')
  return { config: loaded.config, loaded, terminal }
}

export interface LocalStore extends AsyncDisposable {
  readonly store: OpenedStore
  readonly key: MasterKey
}

/**
 * Opens the database beside a running gateway or alone: it serves both at once, and the gateway's sweep sees what changed.
 * @throws {CliError} with the remedy.
 */
export async function openLocal({ config, terminal: { t } }: Local, options: { create?: boolean } = {}): Promise<LocalStore> {
  const { url, name } = config.database
  try {
    const there = await hasData(url)
    if (!there && !options.create)
      throw new CliError(t({ en: `There is no data yet at ${name}.`, zh: `${name} 处尚无数据。` }), 1, 'posthouse start')
    const key = loadKey(config.keyFile, there)
    const store = await openStore({ url, sealer: createSealer(key), clock: systemClock, newId })
    return { store, key, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
  } catch (error) {
    if (error instanceof CliError) throw error
    const { words, next } = explainFailure(error, config)
    throw new CliError(t(words), 1, next ?? 'posthouse doctor')
  }
}

/** `env:NAME` stands for a variable: what is written on a command line is seen by others. @throws {CliError} when it is not set. */
export function fromEnvironment(text: string): string {
  const [, name] = /^env:(\w+)$/.exec(text) ?? []
  if (name === undefined) return text
  const value = process.env[name]
  if (!value) throw new CliError(`${name}: not set / 未设置`, 2)
  return value
}

const PATIENCE = 3000

/** Address under which this machine reaches the gateway: as it told, else as it is configured. */
export function addressOf({ server: { host, port }, dataFolder }: Config): string {
  const told = toldAddress(dataFolder)
  if (told !== undefined) return told
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`
}

/** Asks the running gateway; undefined when none answers. */
export async function askGateway({ config }: Pick<Local, 'config'>, path: string): Promise<unknown> {
  try {
    const response = await fetch(`${addressOf(config)}${path}`, { signal: AbortSignal.timeout(PATIENCE) })
    return await response.json()
  } catch {
    return undefined
  }
}
