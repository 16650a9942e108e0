/** From a file to a configuration: everything checked at once, every problem with its place. */
import { existsSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, resolve } from 'node:path'
import {
  type Bilingual,
  type Capabilities,
  type Channel,
  type Field,
  type ModelProvider,
  type Priority,
  type PriorityName,
  priorities,
  type Rate,
  type RateLimits,
  type Schema,
} from '@posthouse/contract'
import type { McpServer } from '../ports/mcp.ts'
import { withConnectors } from './connectors.ts'
import { type DatabaseConfig, databaseOf, secretsInUrl } from './database.ts'
import { type ConfigDocument, readDocument, readText } from './document.ts'
import { accountFields, endpointFields, rootFields } from './fields.ts'
import { isSection, type Mapped, mapForms } from './legacy.ts'
import { checkMcp, mcpFields } from './mcp.ts'
import { checkOutside, checkServer } from './rules.ts'
import { checkObject, expected, nearest, type Problem, shown, words } from './validate.ts'

/** What may be configured: the channels and providers that are there. */
export interface Catalog {
  /** Loads a plugin of the owner's. @throws Error that says what is wrong with it */
  readonly plugin?: (path: string) => { readonly id: string; readonly channels: readonly Channel[] }
  readonly channels: Readonly<Record<string, Channel>>
  readonly providers: Readonly<Record<string, ModelProvider>>
}

export interface AccountConfig {
  readonly id: string
  readonly channel: Channel
  readonly settings: Record<string, unknown>
  readonly capabilities: Capabilities
  readonly allowedUsers: ReadonlySet<string> | undefined
  readonly freshness: number
  readonly priority: Priority
  readonly rates: RateLimits
}

export interface EndpointConfig {
  readonly id: string
  readonly provider: ModelProvider
  readonly settings: Record<string, unknown>
}

/** A server beside us, if there is one. */
interface Outside {
  readonly url: string | undefined
  readonly prefix: string
}

export interface Config {
  /** Undefined: that of the terminal. */
  readonly language: 'en' | 'zh' | undefined
  readonly server: {
    readonly host: string
    readonly port: number
    readonly publicUrl: string | undefined
    readonly drainDelay: number
    readonly trustedProxies: readonly string[]
  }
  /** What it is called among the gateways on the same database. */
  readonly nodeName: string
  readonly database: DatabaseConfig
  /** Where files, locks and the number of the process lie. */
  readonly dataFolder: string
  readonly keyFile: string
  /** Networks that are opened for addresses that others name. */
  readonly privateAddresses: readonly string[]
  readonly broker: Outside
  readonly redis: Outside
  /** etcd, and how others reach this node; undefined: by its name. */
  readonly discovery: Outside & { readonly advertise: string | undefined }
  readonly resources: {
    readonly maxConcurrency: number
    readonly maxWaiting: number
    readonly maxWaitingPerConversation: number
    readonly timeout: number
    readonly maxFile: number
    readonly maxStored: number
    readonly maxStoredPerOwner: number
    readonly requestsPerMinute: number
    readonly maxCache: number
  }
  readonly assistant: {
    readonly instructions: string
    readonly contextTokens: number
    readonly coalesce: number
    readonly cacheAnswers: number | undefined
    readonly returnAfter: number
  }
  readonly models: { readonly primary: string; readonly fallback: readonly string[]; readonly endpoints: readonly EndpointConfig[] }
  readonly mcp: readonly McpServer[]
  readonly accounts: readonly AccountConfig[]
  /** Paths as they are written. */
  readonly plugins: readonly string[]
}

/** A problem with its place: `posthouse.yaml:37:9 channels.telegram.tokn: unknown key.` */
export interface PlacedProblem extends Problem {
  readonly text: Bilingual
  /** The account that is closed because of it; every other problem stops the start. */
  readonly account: string | undefined
}

export interface Loaded {
  /** Those that may be configured, with those of plugins. */
  readonly channels: Catalog['channels']
  readonly path: string | undefined
  /** Undefined when a problem stops the start. */
  readonly config: Config | undefined
  readonly problems: readonly PlacedProblem[]
  readonly notices: readonly Bilingual[]
  /** What of it no line of a log may show. */
  readonly secrets: readonly string[]
  /** Files that the configuration refers to: a change of one is a change of the configuration. */
  readonly files: readonly string[]
  /** The value at a path as the file has it, its references not resolved; undefined where the file says nothing. */
  written(path: readonly (string | number)[]): unknown
}

/** Messages of a burst that one turn answers at the most. */
const COALESCE = 10
/** The accounts of the web chat and the API; always there. */
const OWN = ['web', 'api']
const ENDPOINT_NAME = /^[A-Za-z0-9][\w.:/@-]{0,63}$/
const BAD_ENDPOINT = words('a name has up to 64 letters, digits and . : / @ - _', '名称只能包含字母、数字和 . : / @ - _，最多 64 个字符')
const BAD_NAME = words('a name has up to 64 letters, digits, - and _', '名称只能包含字母、数字、- 和 _，最多 64 个字符')

/** Where the configuration is: the path given, else `POSTHOUSE_CONFIG`, else `posthouse.yaml` here if there is one. */
export function findConfig(given: string | undefined, env: NodeJS.ProcessEnv, folder: string): string | undefined {
  const named = given ?? env.POSTHOUSE_CONFIG
  if (named) return resolve(folder, named)
  const usual = resolve(folder, 'posthouse.yaml')
  return existsSync(usual) ? usual : undefined
}

/** Loads and checks a file; without one the defaults. `folder`: what relative paths refer to when there is no file. */
export function loadConfig(path: string | undefined, catalog: Catalog, env: NodeJS.ProcessEnv, folder: string): Loaded {
  if (path === undefined) return parseConfig('', path, catalog, env, folder)
  const read = readFileOrTell(path)
  if ('text' in read) return parseConfig(read.text, path, catalog, env, dirname(path))
  const { en, zh } = read.problem
  const text = words(`${path}: ${en}`, `${path}：${zh}`)
  return {
    path,
    channels: catalog.channels,
    config: undefined,
    notices: [],
    secrets: [],
    files: [],
    problems: [{ path: [], message: read.problem, text, account: undefined }],
    written: () => undefined,
  }
}

function readFileOrTell(path: string): ReturnType<typeof readText> {
  try {
    return readText(path)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (code !== 'ENOENT') return { problem: words(message, `无法读取：${message}`) }
    return {
      problem: words(
        'there is no such file. Create it with `posthouse init`, or name another one with --config.',
        '文件不存在。请用 `posthouse init` 创建，或用 --config 指定其他文件。',
      ),
    }
  }
}

/** The same for a text. */
export function parseConfig(text: string, path: string | undefined, builtIn: Catalog, env: NodeJS.ProcessEnv, folder: string): Loaded {
  const document = withConnectors(readDocument(text, path ?? `${folder}/posthouse.yaml`, env), path ?? `${folder}/posthouse.yaml`, env)
  const problems: Problem[] = []
  if (!isSection(document.value)) problems.push({ path: [], message: expected('a section with keys', '一组键', document.value) })
  const forms = mapForms(isSection(document.value) ? document.value : {})
  const { channels, models: modelsRaw, mcp: mcpRaw, ...rest } = forms.value
  const pluginProblems: Problem[] = []
  const catalog = withPlugins(builtIn, rest.plugins, folder, pluginProblems)
  const { endpoints: endpointsRaw, ...modelKeys } = isSection(modelsRaw) ? modelsRaw : {}
  const root = checkObject(
    { ...rest, models: isSection(modelsRaw) || modelsRaw === undefined ? modelKeys : modelsRaw },
    rootFields,
    [],
    [],
    problems,
  )
  const before = problems.length
  const endpoints = checkEndpoints(endpointsRaw, catalog, problems)
  const models = checkModels(root.models as Record<string, unknown>, endpoints, catalog, problems, problems.length === before)
  const mcp = checkMcp(mcpRaw, env, folder, problems)
  const accountProblems = new Map<string, Problem[]>()
  // What could not be put in is told as that, not as the empty text in its place.
  const [unresolved, accountOf] = assign(document.problems, forms, Object.keys(isSection(channels) ? channels : {}))
  const instead = (own: readonly Problem[], found: readonly Problem[]) => [
    ...own,
    ...found.filter(({ path: keys }) => !own.some((other) => other.path.join('.') === forms.origin(keys).join('.'))),
  ]
  const accounts = checkAccounts(channels, catalog, problems, (id, found) => {
    const all = instead(accountOf.get(id) ?? [], found)
    if (all.length > 0) accountProblems.set(id, all)
    return all.length === 0
  })
  problems.splice(0, problems.length, ...instead(unresolved, problems))
  const config = problems.length > 0 ? undefined : assemble(root, { models, mcp, accounts }, folder)
  if (config) problems.push(...checkServer(config, isFolder), ...checkOutside(config))
  const place = placer(path, document, forms)
  return {
    path,
    channels: catalog.channels,
    config: problems.length > 0 ? undefined : config,
    problems: [
      ...problems.map((problem) => place(problem, undefined)),
      ...pluginProblems.map((problem) => place(problem, PLUGIN)),
      ...[...accountProblems].flatMap(([account, list]) => list.map((problem) => place(problem, account))),
    ],
    notices: forms.notices,
    secrets: secretsOf(document, root, { endpoints, accounts, mcp: mcpRaw }),
    files: [...document.files],
    written: (keys) => document.written(forms.origin(keys)),
  }
}

/** In the place of an account: a plugin that cannot be used stops nothing but what needs it. */
const PLUGIN = 'plugins'

/** Those of the owner's are loaded here, since what is configured is judged by them. */
function withPlugins(catalog: Catalog, raw: unknown, folder: string, problems: Problem[]): Catalog {
  if (!Array.isArray(raw)) return catalog
  const channels: Record<string, Channel> = { ...catalog.channels }
  for (const [index, entry] of raw.entries()) {
    const tell = (message: string) =>
      problems.push({ path: ['plugins', index], message: words(`this plugin cannot be used: ${message}`, `无法使用此插件：${message}`) })
    try {
      for (const channel of catalog.plugin?.(resolve(folder, String(entry))).channels ?? []) {
        if (Object.hasOwn(channels, channel.id)) tell(`there is a channel "${channel.id}" already`)
        else channels[channel.id] = channel
      }
    } catch (error) {
      tell(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error))
    }
  }
  return { ...catalog, channels }
}

/** What came from outside of the file, and what stands in it where a secret belongs. */
function secretsOf(
  document: ConfigDocument,
  root: Record<string, unknown>,
  { endpoints, accounts, mcp }: Pick<Config, 'accounts'> & Pick<Config['models'], 'endpoints'> & { readonly mcp: unknown },
): string[] {
  const inPlace = [
    ...endpoints.map(({ provider, settings }) => ({ fields: provider.settings.fields, settings })),
    ...accounts.map(({ channel, settings }) => ({ fields: channel.settings.fields, settings })),
    ...(isSection(mcp) ? Object.values(mcp).filter(isSection) : []).map((settings) => ({ fields: mcpFields, settings })),
  ].flatMap(({ fields, settings }) => Object.entries(fields).flatMap(([name, field]) => secretsIn(settings[name], field)))
  // A file's address is none, a server's may hold a password.
  const { url } = (root.database ?? {}) as { readonly url?: string }
  const addresses = [...Object.entries(rootFields).flatMap(([name, field]) => secretsIn(root[name], field)), ...(url ? [url] : [])]
  return [...new Set([...document.secrets, ...inPlace, ...addresses.flatMap(secretsInUrl)])].filter(
    (secret) => secret.length >= LEAST_SECRET,
  )
}

function secretsIn(value: unknown, field: Field): readonly string[] {
  if (typeof value === 'string') return field.format === 'secret' ? [value] : []
  if (typeof value !== 'object' || value === null) return []
  // Headers carry keys more often than not.
  if (!field.fields) return field.type === 'object' ? Object.values(value).filter((entry) => typeof entry === 'string') : []
  return Object.entries(field.fields).flatMap(([name, inner]) => secretsIn((value as Record<string, unknown>)[name], inner))
}

/** Problems of the document, told apart: of accounts, and the rest. */
function assign(problems: readonly Problem[], { origin }: Mapped, accounts: readonly string[]): [Problem[], Map<string, Problem[]>] {
  const ofAccount = (problem: Problem) =>
    accounts.find((id) => origin(['channels', id]).every((key, index) => String(key) === String(problem.path[index])))
  const groups = Map.groupBy(problems, ofAccount)
  const rest = groups.get(undefined) ?? []
  return [rest, new Map([...groups].filter((entry): entry is [string, Problem[]] => entry[0] !== undefined))]
}

const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** Gives a problem its place, and takes out of it what came from a secret. */
function placer(path: string | undefined, document: ConfigDocument, forms: Mapped) {
  const main = path ? basename(path) : 'posthouse.yaml'
  const mask = (text: string) => {
    let masked = text
    for (const secret of document.secrets) if (secret.length >= LEAST_SECRET) masked = masked.replaceAll(secret, '***')
    return masked
  }
  return (problem: Problem, account: string | undefined): PlacedProblem => {
    const { line, column, file = main } = problem.at ?? document.position(forms.origin(problem.path))
    const keys = problem.path.map((key) => (String(key).length > MOST_KEY ? `${String(key).slice(0, 4)}…` : key))
    const message = words(mask(problem.message.en), mask(problem.message.zh))
    const where = mask(`${file}:${line}:${column}${keys.length > 0 ? ` ${keys.join('.')}` : ''}`)
    return { path: keys, message, account, text: words(`${where}: ${message.en}`, `${where}: ${message.zh}`) }
  }
}

/** Shorter ones are a port or a flag rather than a secret, and would tear holes into every message. */
const LEAST_SECRET = 6
/** A longer key may be a token with a colon behind it. */
const MOST_KEY = 32

function assemble(root: Record<string, unknown>, named: Pick<Config, 'models' | 'mcp' | 'accounts'>, folder: string): Config {
  const section = (name: string) => (root[name] ?? {}) as Record<string, never>
  const { server, node, database, security, broker, redis, discovery, resources, assistant } = Object.fromEntries(
    ['server', 'node', 'database', 'security', 'broker', 'redis', 'discovery', 'resources', 'assistant'].map((name) => [
      name,
      section(name),
    ]),
  ) as Record<string, Record<string, never>>
  return {
    language: root.language as Config['language'],
    server: {
      host: server?.host ?? '127.0.0.1',
      port: server?.port ?? 8080,
      publicUrl: (server?.public_url as string | undefined)?.replace(/\/+$/, ''),
      drainDelay: server?.drain_delay ?? 0,
      trustedProxies: server?.trusted_proxies ?? [],
    },
    nodeName: node?.name ?? hostname(),
    ...databaseOf(String(database?.url), folder),
    keyFile: resolve(folder, String(security?.key_file)),
    privateAddresses: security?.private_addresses ?? [],
    broker: { url: broker?.url === 'embedded:' ? undefined : broker?.url, prefix: String(broker?.prefix) },
    redis: { url: redis?.url, prefix: String(redis?.prefix) },
    discovery: { url: discovery?.endpoint, prefix: String(discovery?.prefix), advertise: discovery?.advertise },
    resources: {
      maxConcurrency: resources?.max_concurrency ?? 0,
      maxWaiting: resources?.max_waiting ?? 0,
      maxWaitingPerConversation: resources?.max_waiting_per_conversation ?? 0,
      timeout: resources?.timeout ?? 0,
      maxFile: resources?.max_file ?? 0,
      maxStored: resources?.max_stored ?? 0,
      maxStoredPerOwner: resources?.max_stored_per_owner ?? 0,
      requestsPerMinute: resources?.requests_per_minute ?? 0,
      maxCache: resources?.max_cache ?? 0,
    },
    assistant: {
      instructions: assistant?.instructions ?? '',
      contextTokens: assistant?.context_tokens ?? 0,
      coalesce: (assistant?.burst as string | undefined) === 'one-by-one' ? 1 : COALESCE,
      cacheAnswers: assistant?.cache_answers,
      returnAfter: assistant?.return_after ?? 0,
    },
    ...named,
    plugins: (root.plugins as readonly string[] | undefined) ?? [],
  }
}

function checkEndpoints(raw: unknown, { providers }: Catalog, problems: Problem[]): EndpointConfig[] {
  const endpoints: EndpointConfig[] = []
  if (raw === undefined || raw === null) return endpoints
  if (!isSection(raw)) {
    problems.push({ path: ['models', 'endpoints'], message: expected('endpoints by name', '以名称为键的端点', raw) })
    return endpoints
  }
  for (const [id, entry] of Object.entries(raw)) {
    const path = ['models', 'endpoints', id]
    if (!ENDPOINT_NAME.test(id)) problems.push({ path, message: BAD_ENDPOINT })
    const api = isSection(entry) ? entry.api : undefined
    const provider = typeof api === 'string' && Object.hasOwn(providers, api) ? providers[api] : undefined
    if (!provider) {
      problems.push({
        path: isSection(entry) && 'api' in entry ? [...path, 'api'] : path,
        message: unknownName(words('api', '接口'), api, Object.keys(providers)),
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
  /** Whether all endpoints are known: a broken one is told once, not again by its name. */
  whole: boolean,
): Config['models'] {
  const demo = providers.demo
  if (endpoints.length === 0 && demo)
    endpoints.push({ id: 'demo', provider: demo, settings: checkObject({}, demo.settings.fields, [], [], []) })
  const names = endpoints.map((endpoint) => endpoint.id)
  const primary = (models.primary as string | undefined) ?? names[0] ?? ''
  const fallback = (models.fallback as (string | undefined)[] | undefined)?.filter((name) => name !== undefined) ?? []
  if (!whole) return { primary, fallback, endpoints }
  const endpoint = words('endpoint', '端点')
  if (!names.includes(primary)) problems.push({ path: ['models', 'primary'], message: unknownName(endpoint, primary, names) })
  fallback.forEach((name, index) => {
    if (!names.includes(name)) problems.push({ path: ['models', 'fallback', index], message: unknownName(endpoint, name, names) })
  })
  return { primary, fallback, endpoints }
}

/** One broken account is closed; the others open. `whole` takes what was found of an account, and says whether it may open. */
function checkAccounts(
  raw: unknown,
  { channels }: Catalog,
  problems: Problem[],
  whole: (id: string, found: readonly Problem[]) => boolean,
): AccountConfig[] {
  const accounts: AccountConfig[] = []
  if (raw === undefined || raw === null) return accounts
  if (!isSection(raw)) {
    problems.push({ path: ['channels'], message: expected('accounts by name', '以账号名为键的账号', raw) })
    return accounts
  }
  for (const [id, entry] of Object.entries(raw)) {
    const path = ['channels', id]
    const found: Problem[] = []
    const type = isSection(entry) && entry.type !== undefined ? entry.type : id
    const channel = typeof type === 'string' && Object.hasOwn(channels, type) ? channels[type] : undefined
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(id)) found.push({ path, message: BAD_NAME })
    if (OWN.includes(id))
      found.push({ path, message: words(`"${id}" is an account of our own; take another name`, `“${id}”是内置账号；请换一个名称`) })
    let account: AccountConfig | undefined
    if (!channel) {
      found.push({
        path: isSection(entry) && 'type' in entry ? [...path, 'type'] : path,
        message: unknownName(words('channel', '渠道'), type, Object.keys(channels)),
      })
    } else {
      const fields: Record<string, Field> = { ...accountFields, ...channel.settings.fields }
      const checked = checkObject(entry, fields, channel.settings.required, path, found)
      checkRules(channel.settings, checked, path, found, 0)
      if (found.length === 0 && checked.enabled !== false) account = toAccount(id, channel, checked)
    }
    if (whole(id, found) && account) accounts.push(account)
  }
  return accounts
}

function toAccount(id: string, channel: Channel, checked: Record<string, unknown>): AccountConfig {
  const settings = Object.fromEntries(Object.keys(channel.settings.fields).map((key) => [key, checked[key]]))
  const allowed = checked.allowed_users as string[] | undefined
  const perSecond = (amount: unknown): Rate | undefined => (typeof amount === 'number' ? { amount, per: 1000 } : undefined)
  const capabilities = channel.capabilitiesOf?.(settings) ?? channel.capabilities
  const account = perSecond(checked.send_rate)
  const room = perSecond(checked.room_send_rate)
  return {
    id,
    channel,
    settings,
    capabilities,
    allowedUsers: allowed && new Set(allowed),
    freshness: checked.freshness as number,
    priority: priorities[checked.priority as PriorityName],
    rates: { ...capabilities.rates, ...(account ? { account } : {}), ...(room ? { direct: room, group: room } : {}) },
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
  for (const { field, problem } of schema.check?.(settings) ?? []) {
    problems.push({ path: [...path, field], message: typeof problem === 'string' ? words(problem, problem) : problem })
  }
}

function unknownName(what: Bilingual, name: unknown, known: readonly string[]): Bilingual {
  if (name === undefined || name === null || name === '')
    return words(`name one of: ${known.join(', ')}`, `请指定其一：${known.join('、')}`)
  const near = nearest(String(name), known)
  const { en, zh } = shown(name)
  return words(
    `there is no ${what.en} ${en}. ${near ? `Did you mean "${near}"?` : `Known: ${known.join(', ') || 'none'}.`}`,
    `没有${what.zh}${zh}。${near ? `是否想写“${near}”？` : `可用：${known.join('、') || '无'}。`}`,
  )
}
