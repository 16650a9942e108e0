/**
 * A Slack of one's own: an in-process server that speaks the Web API, Socket Mode and the Events API strictly, refuses what Slack
 * refuses, and is written in with verbs. https://docs.slack.dev
 */
import { randomUUID } from 'node:crypto'
import type { Faults } from '../faults.ts'
import { type PlatformAnswer, type PlatformCall, type PlatformEntry, type PlatformOptions, servePlatform } from '../platform.ts'
import { createPosts, type Posts } from '../posts.ts'
import { createDeliveries, type Deliveries } from './deliveries.ts'
import { methods, type SlackWorld } from './methods.ts'
import { createOAuth, type OAuth } from './oauth.ts'
import { Refusal } from './refusal.ts'
import { createStore, type SlackChannel, type SlackPost, type SlackStore } from './store.ts'
import { createVerbs, echoOf, type SlackSaying, type SlackVerbs } from './verbs.ts'

export { readBlocks as readSlackBlocks } from './blocks.ts'
export type { SlackDelivery } from './deliveries.ts'
export { slackStage } from './stage.ts'
export type { SlackChannel, SlackFile, SlackMessage, SlackPost } from './store.ts'
export type { SlackSaid, SlackSaidFile, SlackSaying, SlackVerbs } from './verbs.ts'

export interface SlackEmulatorOptions extends PlatformOptions {
  readonly botToken?: string
  readonly appToken?: string
  readonly signingSecret?: string
  /** Milliseconds within which an event must be acknowledged. Default 3000. */
  readonly ackDeadline?: number
  /** Milliseconds before an event comes again; doubles each time. Default 1000. */
  readonly retryDelay?: number
  readonly maxRetryDelay?: number
  /** How often an event is sent at most over HTTP. Default: for ever; Slack's own figure is 4. */
  readonly attempts?: number
  /** Whether the app may write streams. Default true. */
  readonly streams?: boolean
  /** Whether the app may show statuses. Default true. */
  readonly statuses?: boolean
  /** Whether the app may read channels. Default true. */
  readonly history?: boolean
  /** Whether the app may ask who people are. Default true. */
  readonly users?: boolean
  /** Whether the app is told of its own messages, as where it listens to `message` events. Default true. */
  readonly echoes?: boolean
  /** Whether the tokens of installations end, and have to be renewed. Default true. */
  readonly rotates?: boolean
  /** Serves the verbs below `/control/` too. */
  readonly control?: boolean
}

export interface SlackEmulator extends SlackVerbs, Pick<Faults, 'failNext' | 'heal' | 'dropReplyOf' | 'delay' | 'limit'>, AsyncDisposable {
  /** The `base_url` to configure. */
  readonly url: string
  readonly botToken: string
  readonly appToken: string
  readonly signingSecret: string
  readonly team: string
  readonly app: string
  readonly me: SlackStore['me']
  /** Every call with its outcome, oldest first. Slack refuses with HTTP 200: what it refused is in `refusals`. */
  readonly ledger: readonly PlatformEntry[]
  readonly refusals: SlackStore['refusals']
  readonly statuses: SlackStore['statuses']
  readonly people: SlackStore['people']
  /** The page of the app as a person sees it. */
  home(user: string): unknown
  /** The app's marks on a message. */
  marks(channel: string, ts: string): readonly string[]
  /** What was not acknowledged yet. */
  readonly pending: number
  /** How many sockets are open. */
  readonly sockets: number
  /** Calls of the app's address. */
  readonly calls: Deliveries['calls']
  /** What an acknowledgement carried. */
  answerOf(delivery: { readonly id: string }): unknown
  know: SlackStore['know']
  direct(user: string): SlackChannel
  /** What the app posted and people can see, in order; of one channel or of all. */
  posted(channel?: string): readonly SlackPost[]
  waitForPosted: Posts<SlackPost>['wait']
  onPosted: Posts<SlackPost>['watch']
  /** Sends events to this address instead of to sockets. @throws when it does not answer the challenge. */
  callAt(url: string): Promise<void>
  /** Asks for new sockets, and closes the old ones after `grace` milliseconds (default 300). */
  refresh(grace?: number): void
  /** Closes every socket: `link_disabled`, `too_many_websockets` ... */
  disconnect(reason: string): void
  /** Refuses a token from now on. */
  revoke(which?: 'bot' | 'app' | 'both'): void
  readonly has: SlackWorld['has']
  readonly oauth: OAuth
  /** Where browsers are sent back to after an installation. */
  redirectUrl: string | undefined
}

/** Starts an emulator; disposing it closes every connection. */
export async function createSlackEmulator(options: SlackEmulatorOptions = {}): Promise<SlackEmulator> {
  const store = createStore(options.keep ?? 1_000_000)
  const tokens = {
    bot: options.botToken ?? 'xoxb-100000000000-200000000000-emulatedEmulatedEmulated',
    app: options.appToken ?? `xapp-1-${store.app}-300000000000-emulated`,
  }
  const signingSecret = options.signingSecret ?? '0123456789abcdef0123456789abcdef'
  const revoked = new Set<string>()
  const tickets = new Set<string>()
  const posts = createPosts<SlackPost>(store.posts, ({ channel, text }) => `${channel}: ${text}`)
  const deliveries = createDeliveries({
    ackDeadline: options.ackDeadline ?? 3000,
    retryDelay: options.retryDelay ?? 1000,
    maxRetryDelay: options.maxRetryDelay ?? 60_000,
    ...(options.attempts === undefined ? {} : { attempts: options.attempts }),
    signingSecret,
    app: store.app,
  })
  let url = ''
  const oauth = createOAuth({
    app: store.app,
    bot: store.me.user,
    redirectUrl: () => emulator.redirectUrl,
    rotates: options.rotates ?? true,
  })
  const world: SlackWorld = {
    store,
    oauth,
    url: () => url,
    has: {
      streams: options.streams ?? true,
      statuses: options.statuses ?? true,
      history: options.history ?? true,
      users: options.users ?? true,
    },
    ticket() {
      const ticket = randomUUID()
      tickets.add(ticket)
      return `${url.replace(/^http/, 'ws')}/link/?ticket=${ticket}&app_id=${store.app}`
    },
    changed: posts.changed,
    echo: (post) => void ((options.echoes ?? true) && echoOf(world, verbs, post)),
  }
  const verbs = createVerbs(world, deliveries)
  const posted = (channel?: string) => store.posts.filter((post) => !post.deleted && (channel === undefined || post.channel === channel))

  /** The workspace in whose name is asked. */
  const authorize = (given: string | undefined, wanted: 'bot' | 'app' | 'none'): string => {
    if (wanted === 'none') return store.team
    if (!given) throw new Refusal('not_authed')
    if (revoked.has(given)) throw new Refusal('token_revoked')
    if (given === tokens[wanted]) return store.team
    const team = oauth.teamOf(given)
    if (team !== undefined && wanted === 'bot') return team
    throw new Refusal(given === tokens.bot || given === tokens.app ? 'not_allowed_token_type' : 'invalid_auth')
  }

  const answer = (call: PlatformCall, method: string, params: unknown): PlatformAnswer => {
    try {
      if (method === 'authorize') return oauth.authorize(call)
      if (method === 'upload') return takeUpload(store, call)
      if (method === 'download') return giveFile(store, call, () => authorize(tokenOf(call, {}), 'bot'))
      const known = methods[method]
      const given = params as Readonly<Record<string, unknown>>
      if (!known) throw new Refusal('unknown_method')
      const caller = authorize(tokenOf(call, given), known.token ?? 'bot')
      return { body: { ok: true, ...known.run(world, { ...given, caller }) } }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      store.refusals.push({ method, error: error.message })
      return { body: { ok: false, error: error.message, ...error.more } }
    }
  }

  const platform = await servePlatform(options, {
    read: readCall,
    answer,
    refuse({ status, description = 'internal_error', retryAfter }, method) {
      if (status === 429) {
        const headers = { 'retry-after': String(retryAfter ?? 1) }
        return { status: 429, headers, body: { ok: false, error: 'ratelimited' } }
      }
      store.refusals.push({ method, error: description })
      return { status: status >= 500 ? status : 200, body: { ok: false, error: description } }
    },
    socket: ({ query }) => (tickets.delete(query.get('ticket') ?? '') ? (socket) => deliveries.attach(socket) : 403),
    ...(options.control ? { control: (verb, body) => control(emulator, verb, body) } : {}),
  })
  url = platform.url

  const emulator: SlackEmulator = {
    ...verbs,
    failNext: platform.faults.failNext,
    heal: platform.faults.heal,
    dropReplyOf: platform.faults.dropReplyOf,
    delay: platform.faults.delay,
    limit: platform.faults.limit,
    url: `${url}/api`,
    botToken: tokens.bot,
    appToken: tokens.app,
    signingSecret,
    team: store.team,
    app: store.app,
    me: store.me,
    ledger: platform.ledger,
    refusals: store.refusals,
    statuses: store.statuses,
    people: store.people,
    home: (user) => store.homes.get(user),
    marks: (channel, ts) => [...(store.marks.get(`${channel}:${ts}`) ?? [])],
    get pending() {
      return deliveries.pending
    },
    get sockets() {
      return deliveries.sockets
    },
    calls: deliveries.calls,
    answerOf: ({ id }) => deliveries.answers.get(id),
    know: store.know,
    direct: store.direct,
    posted,
    waitForPosted: posts.wait,
    onPosted: posts.watch,
    callAt: deliveries.callAt,
    refresh: (grace = 300) => deliveries.refresh(grace),
    disconnect: deliveries.disconnect,
    revoke(which = 'both') {
      if (which !== 'app') revoked.add(tokens.bot)
      if (which !== 'bot') revoked.add(tokens.app)
      if (which !== 'bot') deliveries.disconnect('link_disabled')
    },
    has: world.has,
    oauth,
    redirectUrl: undefined,
    async [Symbol.asyncDispose]() {
      await deliveries[Symbol.asyncDispose]()
      await platform[Symbol.asyncDispose]()
    },
  }
  return emulator
}

/** The emulator as a server of its own, with its verbs below `/control/`. */
export function startSlackEmulator(options: { readonly host: string; readonly port: number }): Promise<SlackEmulator> {
  return createSlackEmulator({ ...options, control: true, keep: 100_000 })
}

function readCall({ path, headers, body, query }: PlatformCall) {
  if (path === '/oauth/v2/authorize') return { method: 'authorize', params: Object.fromEntries(query) }
  if (path.startsWith('/upload/')) return { method: 'upload', params: { bytes: body.length } }
  if (path.startsWith('/files-pri/')) return { method: 'download', params: {} }
  const method = path.replace(/^\/api\//, '')
  const type = headers['content-type'] ?? ''
  const text = body.toString('utf8')
  const params: Record<string, unknown> = Object.fromEntries(query)
  if (type.startsWith('application/json')) {
    try {
      Object.assign(params, JSON.parse(text))
    } catch {
      params.malformed = true
    }
  } else for (const [name, value] of new URLSearchParams(text)) params[name] = STRUCTURED.has(name) ? structured(value) : value
  // A token stands in no ledger.
  const { token, ...shown } = params
  return { method, params: token === undefined ? shown : Object.defineProperty(shown, 'token', { value: token, enumerable: false }) }
}

/** Arguments that a form carries as JSON. */
const STRUCTURED = new Set(['blocks', 'attachments', 'metadata', 'files', 'view', 'chunks', 'loading_messages'])

function structured(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function tokenOf({ headers }: PlatformCall, params: Readonly<Record<string, unknown>>): string | undefined {
  return /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? (typeof params.token === 'string' ? params.token : undefined)
}

/** The bytes as they are, or as the one file of a form. https://docs.slack.dev/messaging/working-with-files */
function takeUpload(store: SlackStore, { path, body, headers }: PlatformCall): PlatformAnswer {
  const upload = store.uploads.get(path.split('/').at(-1) ?? '')
  if (!upload) return { status: 404, body: 'no such upload' }
  const boundary = /^multipart\/form-data;.*boundary="?([^";]+)/.exec(headers['content-type'] ?? '')?.[1]
  const bytes = boundary === undefined ? body : body.subarray(body.indexOf('\r\n\r\n') + 4, body.lastIndexOf(`\r\n--${boundary}--`))
  if (bytes.length !== upload.length) return { status: 400, body: `${upload.length} bytes were promised` }
  upload.bytes = new Uint8Array(bytes)
  return { body: `OK - ${bytes.length}` }
}

/** Who may not read it is shown a page where people sign in. */
function giveFile(store: SlackStore, { path }: PlatformCall, authorized: () => unknown): PlatformAnswer {
  const file = store.files.get(path.split('/')[2] ?? '')
  if (!file) return { status: 404, body: 'no such file' }
  try {
    authorized()
  } catch {
    return { status: 302, headers: { location: 'https://slack.com/signin' }, body: '' }
  }
  return { headers: { 'content-type': file.mime }, body: file.bytes }
}

/** `POST say command fail drop refresh`, `GET posted ledger refusals`: the verbs for people without code. */
function control(emulator: SlackEmulator, verb: string, body: Readonly<Record<string, unknown>>): unknown {
  if (verb === 'say') return emulator.say(body as SlackSaying)
  if (verb === 'command') return emulator.command(body as never)
  if (verb === 'press') return emulator.press(body as never)
  if (verb === 'posted') return emulator.posted(body.channel === undefined ? undefined : String(body.channel)).map(withoutBytes)
  if (verb === 'ledger') return emulator.ledger
  if (verb === 'refusals') return emulator.refusals
  if (verb === 'fail') return emulator.failNext(String(body.method), body as never) ?? true
  if (verb === 'drop') return emulator.dropReplyOf(String(body.method), Number(body.times ?? 1)) ?? true
  if (verb === 'refresh') return emulator.refresh() ?? true
  return undefined
}

function withoutBytes({ file, ...post }: SlackPost): object {
  return { ...post, reactions: undefined, ...(file ? { file: { id: file.id, name: file.name, size: file.bytes.length } } : {}) }
}
