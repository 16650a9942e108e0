/** From a file to a configuration: everything checked at once, every problem with its place. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Channel, Field, ModelProvider, Rate, Schema } from '@posthouse/contract'
import { readDocument } from './document.ts'
import { accountFields, endpointFields, rootFields } from './fields.ts'
import { mapForms } from './legacy.ts'
import { checkObject, nearest, type Problem } from './validate.ts'

/** What may be configured: the channels and providers that are there. */
export interface Catalog {
  readonly channels: Readonly<Record<string, Channel>>
  readonly providers: Readonly<Record<string, ModelProvider>>
}

export interface AccountConfig {
  readonly id: string
  readonly channel: Channel
  readonly settings: Record<string, unknown>
  readonly allowedUsers: ReadonlySet<string> | undefined
  readonly freshness: number
  readonly rates: { readonly account?: Rate; readonly direct?: Rate; readonly group?: Rate }
}

export interface EndpointConfig {
  readonly id: string
  readonly provider: ModelProvider
  readonly settings: Record<string, unknown>
}

export interface Config {
  readonly language: 'en' | 'zh'
  readonly server: {
    readonly host: string
    readonly port: number
    readonly publicUrl: string | undefined
    readonly trustedProxies: readonly string[]
  }
  readonly databasePath: string
  readonly dataFolder: string
  readonly keyFile: string
  readonly resources: {
    readonly maxConcurrency: number
    readonly maxWaiting: number
    readonly maxWaitingPerConversation: number
    readonly timeout: number
    readonly maxFile: number
    readonly requestsPerMinute: number
  }
  readonly assistant: { readonly instructions: string; readonly contextTokens: number; readonly coalesce: number }
  readonly models: { readonly primary: string; readonly fallback: readonly string[]; readonly endpoints: readonly EndpointConfig[] }
  readonly accounts: readonly AccountConfig[]
}

/** A problem with its place: `posthouse.yaml:37:9 channels.telegram.tokn: unknown key.` */
export interface PlacedProblem extends Problem {
  readonly text: string
  /** The account that is closed because of it; every other problem stops the start. */
  readonly account: string | undefined
}

export interface Loaded {
  readonly path: string | undefined
  /** Undefined when a problem stops the start. */
  readonly config: Config | undefined
  readonly problems: readonly PlacedProblem[]
  readonly notices: readonly string[]
}

/** Messages of a burst that one turn answers at the most. */
const COALESCE = 10
/** The account of the web chat and the API; always there. */
const WEB = 'web'

/** Where the configuration is: the path given, else `POSTHOUSE_CONFIG`, else `posthouse.yaml` here if there is one. */
export function findConfig(given: string | undefined, env: NodeJS.ProcessEnv, folder: string): string | undefined {
  const named = given ?? env.POSTHOUSE_CONFIG
  if (named) return resolve(folder, named)
  const usual = resolve(folder, 'posthouse.yaml')
  return existsSync(usual) ? usual : undefined
}

/** Loads and checks a file; without one the defaults. `folder`: what relative paths refer to when there is no file. */
export function loadConfig(path: string | undefined, catalog: Catalog, env: NodeJS.ProcessEnv, folder: string): Loaded {
  let text = ''
  if (path !== undefined) {
    try {
      text = readFileSync(path, 'utf8')
    } catch (error) {
      const reason =
        (error as { code?: string }).code === 'ENOENT'
          ? 'there is no such file. Create it with `posthouse init`, or name another one with --config.'
          : (error as Error).message
      return {
        path,
        config: undefined,
        notices: [],
        problems: [{ path: [], message: reason, text: `${path}: ${reason}`, account: undefined }],
      }
    }
  }
  return parseConfig(text, path, catalog, env, path === undefined ? folder : dirname(path))
}

/** The same for a text. */
export function parseConfig(text: string, path: string | undefined, catalog: Catalog, env: NodeJS.ProcessEnv, folder: string): Loaded {
  const document = readDocument(text, path ?? `${folder}/posthouse.yaml`, env)
  const problems: Problem[] = [...document.problems]
  const { value, notices } = mapForms(document.value)
  const { channels, models: modelsRaw, ...rest } = value
  const { endpoints: endpointsRaw, ...modelKeys } = (isSection(modelsRaw) ? modelsRaw : {}) as Record<string, unknown>
  const root = checkObject(
    { ...rest, models: isSection(modelsRaw) || modelsRaw === undefined ? modelKeys : modelsRaw },
    rootFields,
    [],
    [],
    problems,
  )
  const endpoints = checkEndpoints(endpointsRaw, catalog, problems)
  const models = checkModels(root.models as Record<string, unknown>, endpoints, catalog, problems)
  const accountProblems = new Map<string, Problem[]>()
  const accounts = checkAccounts(channels, catalog, problems, accountProblems)

  const place = (problem: Problem, account: string | undefined): PlacedProblem => {
    const { line, column } = document.position(problem.path)
    const keys = problem.path.length > 0 ? ` ${problem.path.join('.')}` : ''
    return {
      ...problem,
      account,
      text: `${path ? (path.split(/[\\/]/).at(-1) ?? path) : 'posthouse.yaml'}:${line}:${column}${keys}: ${problem.message}`,
    }
  }
  const placed = [
    ...problems.map((problem) => place(problem, undefined)),
    ...[...accountProblems].flatMap(([account, list]) => list.map((problem) => place(problem, account))),
  ]
  const config = problems.length > 0 ? undefined : assemble(root, models, accounts, folder)
  return { path, config, problems: placed, notices }
}

function assemble(root: Record<string, unknown>, models: Config['models'], accounts: readonly AccountConfig[], folder: string): Config {
  const section = (name: string) => (root[name] ?? {}) as Record<string, never>
  const { server, database, security, resources, assistant } = Object.fromEntries(
    ['server', 'database', 'security', 'resources', 'assistant'].map((name) => [name, section(name)]),
  ) as Record<string, Record<string, never>>
  const databasePath = resolve(folder, String(database?.url).slice('sqlite:'.length))
  return {
    language: root.language as 'en' | 'zh',
    server: {
      host: server?.host ?? '127.0.0.1',
      port: server?.port ?? 8080,
      publicUrl: (server?.public_url as string | undefined)?.replace(/\/+$/, ''),
      trustedProxies: server?.trusted_proxies ?? [],
    },
    databasePath,
    dataFolder: dirname(databasePath),
    keyFile: resolve(folder, String(security?.key_file)),
    resources: {
      maxConcurrency: resources?.max_concurrency ?? 0,
      maxWaiting: resources?.max_waiting ?? 0,
      maxWaitingPerConversation: resources?.max_waiting_per_conversation ?? 0,
      timeout: resources?.timeout ?? 0,
      maxFile: resources?.max_file ?? 0,
      requestsPerMinute: resources?.requests_per_minute ?? 0,
    },
    assistant: {
      instructions: assistant?.instructions ?? '',
      contextTokens: assistant?.context_tokens ?? 0,
      coalesce: (assistant?.burst as string | undefined) === 'one-by-one' ? 1 : COALESCE,
    },
    models,
    accounts,
  }
}

function checkEndpoints(raw: unknown, { providers }: Catalog, problems: Problem[]): EndpointConfig[] {
  const endpoints: EndpointConfig[] = []
  if (raw === undefined || raw === null) return endpoints
  if (!isSection(raw)) {
    problems.push({ path: ['models', 'endpoints'], message: 'expected endpoints by name' })
    return endpoints
  }
  for (const [id, entry] of Object.entries(raw)) {
    const path = ['models', 'endpoints', id]
    const api = isSection(entry) ? entry.api : undefined
    const provider = typeof api === 'string' && Object.hasOwn(providers, api) ? providers[api] : undefined
    if (!provider) {
      problems.push({
        path: isSection(entry) && 'api' in entry ? [...path, 'api'] : path,
        message: unknownName('api', api, Object.keys(providers)),
      })
      continue
    }
    const fields: Record<string, Field> = { ...endpointFields, ...provider.settings.fields }
    const before = problems.length
    const { api: _, ...settings } = checkObject(entry, fields, provider.settings.required, path, problems)
    checkRules(provider.settings, settings, path, problems, before)
    endpoints.push({ id, provider, settings })
  }
  return endpoints
}

/** The built-in demo answers until a model is configured. */
function checkModels(
  models: Record<string, unknown>,
  endpoints: EndpointConfig[],
  { providers }: Catalog,
  problems: Problem[],
): Config['models'] {
  const demo = providers.demo
  if (endpoints.length === 0 && demo)
    endpoints.push({ id: 'demo', provider: demo, settings: checkObject({}, demo.settings.fields, [], [], []) })
  const names = endpoints.map((endpoint) => endpoint.id)
  const primary = (models.primary as string | undefined) ?? names[0] ?? ''
  const fallback = (models.fallback as string[] | undefined) ?? []
  if (!names.includes(primary)) problems.push({ path: ['models', 'primary'], message: unknownName('endpoint', primary, names) })
  fallback.forEach((name, index) => {
    if (!names.includes(name)) problems.push({ path: ['models', 'fallback', index], message: unknownName('endpoint', name, names) })
  })
  return { primary, fallback, endpoints }
}

/** One broken account is closed; the others open. */
function checkAccounts(raw: unknown, { channels }: Catalog, problems: Problem[], broken: Map<string, Problem[]>): AccountConfig[] {
  const accounts: AccountConfig[] = []
  if (raw === undefined || raw === null) return accounts
  if (!isSection(raw)) {
    problems.push({ path: ['channels'], message: 'expected accounts by name' })
    return accounts
  }
  for (const [id, entry] of Object.entries(raw)) {
    const path = ['channels', id]
    const found: Problem[] = []
    const type = isSection(entry) && entry.type !== undefined ? entry.type : id
    const channel = typeof type === 'string' && Object.hasOwn(channels, type) ? channels[type] : undefined
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(id)) found.push({ path, message: 'an account name has letters, digits, - and _ only' })
    if (id === WEB) found.push({ path, message: `"${WEB}" is the account of the web chat; take another name` })
    if (!channel) {
      found.push({
        path: isSection(entry) && 'type' in entry ? [...path, 'type'] : path,
        message: unknownName('channel', type, Object.keys(channels)),
      })
    } else {
      const fields: Record<string, Field> = { ...accountFields, ...channel.settings.fields }
      const checked = checkObject(entry, fields, channel.settings.required, path, found)
      checkRules(channel.settings, checked, path, found, 0)
      if (found.length === 0 && checked.enabled !== false) accounts.push(toAccount(id, channel, checked))
    }
    if (found.length > 0) broken.set(id, found)
  }
  return accounts
}

function toAccount(id: string, channel: Channel, checked: Record<string, unknown>): AccountConfig {
  const settings = Object.fromEntries(Object.keys(channel.settings.fields).map((key) => [key, checked[key]]))
  const allowed = checked.allowed_users as string[] | undefined
  const perSecond = (amount: unknown): Rate | undefined => (typeof amount === 'number' ? { amount, per: 1000 } : undefined)
  const account = perSecond(checked.send_rate) ?? channel.capabilities.rates.account
  const room = perSecond(checked.room_send_rate)
  const direct = room ?? channel.capabilities.rates.direct
  const group = room ?? channel.capabilities.rates.group
  return {
    id,
    channel,
    settings,
    allowedUsers: allowed && new Set(allowed),
    freshness: checked.freshness as number,
    rates: { ...(account ? { account } : {}), ...(direct ? { direct } : {}), ...(group ? { group } : {}) },
  }
}

function checkRules(
  schema: Schema<Record<string, unknown>>,
  settings: Record<string, unknown>,
  path: readonly string[],
  problems: Problem[],
  before: number,
): void {
  if (problems.length > before) return
  for (const { field, problem } of schema.check?.(settings) ?? []) problems.push({ path: [...path, field], message: problem })
}

function unknownName(what: string, name: unknown, known: readonly string[]): string {
  if (name === undefined || name === '') return `name one of: ${known.join(', ')}`
  const near = nearest(String(name), known)
  return `there is no ${what} "${String(name)}". ${near ? `Did you mean "${near}"?` : `Known: ${known.join(', ') || 'none'}.`}`
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
