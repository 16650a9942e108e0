/**
 * Slack over Socket Mode or the Events API: identity, capabilities, and what keeps an account connected.
 * https://docs.slack.dev/apis/events-api/using-socket-mode
 */
import { hash } from 'node:crypto'
import {
  type Author,
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Clock,
  type Connection,
  DeliveryError,
  FetchError,
  type InboundMessage,
  isPosthouseError,
  type KeptIdentity,
  type KeyValue,
  type Known,
  keepIdentity,
  keepNewest,
  type Listener,
  type Place,
  PosthouseError,
  parseKept,
  type Receipt,
  systemClock,
  trackWork,
  type WebhookRequest,
  type WebhookResponse,
} from '@posthouse/contract'
import { type Answer, type Api, ApiError, bind, createApi, createInstallations, type Installations, type WorkspaceApi } from './api.ts'
import { readerOf, type SlackIdentity, type SlackReader, type SlackReading, splitRoom } from './receive.ts'
import {
  download,
  edit,
  type FileHandle,
  MAX_TEXT,
  MAX_UPLOAD,
  reconcile,
  render,
  type Sender,
  type Streams,
  send,
  toDeliveryError,
} from './send.ts'
import { type SlackSettings, settings } from './settings.ts'
import { keepSocket, retryAfter, type SocketParts } from './socket.ts'

export type { SlackSettings } from './settings.ts'

/** https://docs.slack.dev/apis/web-api/rate-limits: calls of a method in a workspace. */
const TIER_2 = { amount: 20, per: 60_000 }
const TIER_3 = { amount: 50, per: 60_000 }
const TIER_4 = { amount: 100, per: 60_000 }

/**
 * Rates: https://docs.slack.dev/apis/web-api/rate-limits (one message a second and channel, several hundred a minute in all); repeats:
 * https://docs.slack.dev/apis/events-api#error-handling (at once, after one and after five minutes, each after 3 s without an answer).
 */
const capabilities: Capabilities = {
  maxText: { limit: MAX_TEXT, unit: 'utf16' },
  upload: { image: MAX_UPLOAD, audio: MAX_UPLOAD, voice: MAX_UPLOAD, video: MAX_UPLOAD, file: MAX_UPLOAD, sticker: MAX_UPLOAD },
  download: MAX_UPLOAD,
  ownership: 'spread',
  proactive: true,
  idempotentSend: false,
  ackDeadline: 3000,
  retryWindow: 400_000,
  rates: {
    calls: ['send', 'upload', 'draft'],
    account: { amount: 300, per: 60_000 },
    direct: { amount: 1, per: 1000 },
    group: { amount: 1, per: 1000 },
    // Each method's page names its tier. Whether an answer streams is known only when it is sent: it counts for both ways.
    methods: {
      'chat.startStream': { calls: ['draft'], account: TIER_2 },
      'chat.appendStream': { calls: ['edit'], account: TIER_4 },
      'chat.stopStream': { calls: ['finish'], account: TIER_2 },
      'chat.update': { calls: ['edit', 'finish'], account: TIER_3 },
      'files.completeUploadExternal': { calls: ['upload'], account: TIER_4 },
      'reactions.add': { calls: ['typing'], account: TIER_3 },
      'reactions.remove': { calls: ['typing'], account: TIER_2 },
    },
  },
  // A status goes after two minutes (reference/methods/assistant.threads.setStatus), a mark stays.
  typingLasts: 110_000,
  draftInterval: 1500,
  draftGrows: true,
}

export const slack = createSlack()

export function createSlack(clock: Clock = systemClock): Channel<SlackSettings> {
  return {
    id: 'slack',
    settings,
    capabilities,
    setbacks: {
      transient: { remedy: 'Slack is not reachable; it is being tried again' },
      auth: { remedy: 'a token is refused, or Socket Mode is switched off; look at the settings of the app on api.slack.com/apps' },
      permission: { remedy: 'the app lacks a permission; add the scope that is named and install it again', least: 30_000 },
      conflict: { remedy: 'the app has as many connections as Slack allows; stop the other programs that use its app token' },
      'rate-limited': { remedy: 'Slack asks us to wait' },
    },
    reader: readerOf,
    open: (settings, host, signal) => open(settings, host, signal, clock),
    async probe(settings, host, signal) {
      const { base_url, app_token = '', mode } = settings
      const api = createApi(base_url, host.fetch)
      try {
        const identity = await introduceTo(api, settings, signal)
        // It opens no connection: it only names an address for one.
        if (mode === 'socket') await api.call(app_token, 'apps.connections.open', {}, { signal })
        return identity
      } catch (error) {
        throw toDeliveryError(error)
      }
    },
  }
}

/** One open account. */
interface Account {
  readonly api: Api
  /** Where several workspaces may install the app. */
  readonly installations: Installations | undefined
  readonly settings: SlackSettings
  readonly host: ChannelHost
  readonly clock: Clock
  readonly reader: SlackReader
  /** Fires when nothing may be received any more. */
  readonly stop: AbortSignal
  readonly shared: Shared
  readonly us: KeptIdentity<SlackIdentity>
  /** Remembers work that closing must wait for. */
  tracked<T>(work: Promise<T>): Promise<T>
}

/** What is learnt on the way. */
interface Shared {
  readonly streams: Streams
  /** By room and thread, the oldest first. */
  readonly askers: Map<string, { readonly user: string; readonly team: string }>
  /** Messages that carry our mark. */
  readonly marked: Set<string>
  /** Until when no status is shown in places of that type, as Slack refused one. */
  readonly noStatusUntil: Record<Place['type'], number>
  /** What people are called, and in which language they read. */
  readonly people: Map<string, Person>
  readonly asking: Map<string, Promise<void>>
  /** People whose page of the app was filled. */
  readonly greeted: Set<string>
}

type Person = Pick<Author, 'name' | 'language'>

const MOST_REMEMBERED = 2000

async function open(settings: SlackSettings, host: ChannelHost, signal: AbortSignal, clock: Clock): Promise<Connection> {
  const underWay = trackWork()
  const shared: Shared = {
    streams: { written: new Map(), refusedUntil: 0 },
    askers: new Map(),
    marked: new Set(),
    noStatusUntil: { direct: 0, group: 0 },
    people: new Map(),
    asking: new Map(),
    greeted: new Set(),
  }
  const api = createApi(settings.base_url, host.fetch)
  const ask = (within: AbortSignal) => introduceTo(api, settings, within)
  const account: Account = {
    us: await keepIdentity(host.state, settings.client_id ?? hash('sha256', settings.bot_token ?? ''), ask, underWay),
    settings,
    host,
    clock,
    reader: readerOf(settings),
    stop: AbortSignal.any([signal, underWay.closing]),
    shared,
    api,
    installations: settings.client_id === undefined ? undefined : createInstallations(api, settings, host.state, clock),
    tracked: underWay.tracked,
  }
  const { tracked } = account
  // Over sockets, too, a browser comes back from an installation by the door.
  if (settings.mode === 'webhook' || account.installations) serve(account)
  return {
    listen: (listener, until) => {
      const within = AbortSignal.any([account.stop, until])
      const work = settings.mode === 'webhook' ? lookAfter(account, listener, within) : connect(account, listener, within)
      return tracked(work.catch((error) => (within.aborted ? undefined : explain(error))))
    },
    render,
    send: (piece, to, options) => {
      const { sender, place, named } = senderOf(account, to)
      return underWay.calling(options, async (within) => named(await send(sender, piece, place, within)))
    },
    edit: (receipt, piece, options) => {
      const { sender, place, named } = senderOf(account, receipt)
      return underWay.calling(options, async (within) => named(await edit(sender, { ...receipt, room: place.room }, piece, within)))
    },
    reconcile: (piece, to, options) => {
      const { sender, place } = senderOf(account, to)
      return underWay.calling(options, (within) => reconcile(sender, piece, place, within))
    },
    typing: (to, until, message) => showTyping(account, to, until, message),
    nameOf: (person, place) => askedName(account, person, place),
    download: (file, limit, within) => {
      const ref = parseKept<FileHandle>(file.ref) ?? {}
      return download(workspaceOf(account, ref.team), { ...file, ...ref }, limit, within)
    },
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  }
}

/** The Web API for a room's workspace. */
function workspaceOf({ api, installations, settings }: Account, team: string | undefined): WorkspaceApi {
  if (!installations) return bind(api, { current: async () => settings.bot_token ?? '' })
  return bind(api, installations.of(team ?? ''))
}

/** What sends into a room: in its workspace, by the channel's own id. `named` gives a receipt the room's name again. */
function senderOf<R extends { readonly room: string }>(account: Account, to: R) {
  const { team, channel, prefix } = account.installations ? splitRoom(to.room) : { team: undefined, channel: to.room, prefix: '' }
  const { clock, shared } = account
  const sender: Sender = {
    api: workspaceOf(account, team),
    now: clock.now,
    wait: clock.wait,
    streams: shared.streams,
    asker: (place) => shared.askers.get(keyOf({ ...place, room: `${prefix}${place.room}` })),
  }
  const named = (receipt: Receipt): Receipt => ({ ...receipt, room: `${prefix}${receipt.room}` })
  return { sender, place: { ...to, room: channel }, named }
}

/** What the platform said, or what kept us from it, by its kind; what went wrong on our side as it is. */
function explain(thrown: unknown): never {
  throw thrown instanceof ApiError || thrown instanceof FetchError ? toDeliveryError(thrown) : thrown
}

async function identify(api: Api, token: string, signal: AbortSignal): Promise<SlackIdentity> {
  const { user_id: id, user, team_id: team } = await api.call(token, 'auth.test', {}, { signal, timeout: 10_000 })
  if (typeof id !== 'string' || typeof team !== 'string') throw new DeliveryError('transient', 'Slack did not say who we are')
  return { id, team, name: typeof user === 'string' ? `@${user}` : id, username: id }
}

/** Of an app in several workspaces there is no one user of ours: each call names that of its workspace. */
async function introduceTo(api: Api, settings: SlackSettings, signal: AbortSignal): Promise<SlackIdentity> {
  if (settings.client_id === undefined) return await identify(api, settings.bot_token ?? '', signal)
  await createInstallations(api, settings, NO_STATE, systemClock).check({ signal, timeout: 10_000 })
  return { id: settings.client_id ?? '', name: `app ${settings.client_id}`, team: '' }
}

const NO_STATE: KeyValue = { get: async () => undefined, set: async () => undefined, swap: async () => true }

// ---- Receiving --------------------------------------------------------------------------------------------------------

const knownOf = ({ host, clock, us }: Account): Known => ({ now: clock.now(), crypto: host.crypto, ...(us.known ? { us: us.known } : {}) })

/** Commits what was read, and remembers what sending wants to know. */
async function admit(account: Account, reading: SlackReading, receive: (message: InboundMessage) => Promise<unknown>): Promise<void> {
  const { installations } = account
  if (reading.team !== undefined && reading.uninstalled) await installations?.remove(reading.team)
  // Without a token there nobody could be answered.
  if (reading.team !== undefined && reading.messages.length > 0 && !(await installations?.has(reading.team))) return
  for (const message of reading.messages) {
    await receive(message.addressed && !message.author.isBot ? withNames(account, message, reading.team) : message)
    if (reading.asker && message.addressed && !message.author.isBot)
      keepNewest(account.shared.askers, keyOf(message.place), reading.asker, MOST_REMEMBERED)
  }
  if (reading.home) account.tracked(greet(account, reading.home.user, reading.team)).catch(() => undefined)
}

const MOST_ASKED = 20
const ASKED_WITHIN = 4000
/** How Slack writes people whom a message mentions, when it tells no name. */
const MENTIONED = /(?<!\w)@([UW](?=[A-Z]*\d)[A-Z0-9]+)\b/g

/** The message with the names and the language that are known at this moment. It does not bring them, and must not wait for them. */
function withNames(account: Account, message: InboundMessage, team: string | undefined): InboundMessage {
  const { author, parts } = message
  const named = (text: string) => text.replace(MENTIONED, (_, user: string) => `@${personNow(account, user, team)?.name ?? user}`)
  return {
    ...message,
    author: { ...personNow(account, author.id, team), ...author },
    parts: parts.map((part) => (part.type === 'text' ? { ...part, text: named(part.text) } : part)),
  }
}

const personKey = (user: string, team = '') => `${team}:${user}`

/** Somebody as far as they are known; who is not is asked for beside. */
function personNow(account: Account, user: string, team: string | undefined): Person | undefined {
  const { people, asking } = account.shared
  const key = personKey(user, team)
  if (!people.has(key) && !asking.has(key) && asking.size < MOST_ASKED) {
    const asked = askPerson(account, user, team).finally(() => asking.delete(key))
    asking.set(key, account.tracked(asked))
  }
  return people.get(key)
}

/** https://docs.slack.dev/reference/methods/users.info */
async function askPerson(account: Account, user: string, team: string | undefined): Promise<void> {
  const { shared, stop } = account
  const signal = AbortSignal.any([stop, AbortSignal.timeout(ASKED_WITHIN)])
  const told = await workspaceOf(account, team)
    .call('users.info', { user, include_locale: true }, { signal })
    // Who may not be asked for is not asked for again.
    .catch((error: unknown) => (error instanceof ApiError && error.fromSlack ? {} : undefined))
  if (told) keepNewest(shared.people, personKey(user, team), personOf(told), MOST_REMEMBERED)
}

async function askedName(account: Account, user: string, { room }: Place): Promise<string | undefined> {
  const { people, asking } = account.shared
  const team = account.installations && splitRoom(room).team
  if (!personNow(account, user, team)) await asking.get(personKey(user, team))
  return people.get(personKey(user, team))?.name
}

function personOf({ user }: Answer): Person {
  const {
    real_name: real,
    locale,
    profile,
  } = (user ?? {}) as { real_name?: unknown; locale?: unknown; profile?: { display_name?: unknown } }
  const name = profile?.display_name || real
  return { ...(typeof name === 'string' && name !== '' ? { name } : {}), ...(typeof locale === 'string' ? { language: locale } : {}) }
}

const keyOf = ({ room, thread = '' }: Place) => `${room}:${thread}`

/** Keeps a socket open. https://docs.slack.dev/apis/events-api/using-socket-mode */
async function connect(account: Account, listener: Listener, signal: AbortSignal): Promise<void> {
  const { api, host, clock, settings, reader } = account
  await account.us.ask(signal)
  const parts: SocketParts = {
    host,
    clock,
    address: async (within) => {
      const { url } = await api.call(settings.app_token ?? '', 'apps.connections.open', {}, { signal: within })
      if (typeof url !== 'string') throw new DeliveryError('transient', 'Slack named no address for a socket')
      return url
    },
    heard: () => listener.received(),
    read: (frame) => reader.frame(frame, knownOf(account)),
    admit: (reading) => admit(account, reading, listener.receive),
  }
  await keepSocket(parts, signal)
}

// ---- Events API -------------------------------------------------------------------------------------------------------

function serve(account: Account): void {
  const { host, reader, settings } = account
  if (settings.mode === 'webhook' && !settings.signing_secret)
    throw new PosthouseError('invalid', 'mode "webhook" needs signing_secret: without it anybody could speak in the name of Slack')
  if (reader.verification) host.routes.webhook(reader, (request) => account.tracked(handle(account, request)))
}

async function handle(account: Account, request: WebhookRequest): Promise<WebhookResponse> {
  const { host, reader, stop, us } = account
  if (stop.aborted) return { status: 503, headers: { 'retry-after': '5' } }
  let reading: SlackReading
  try {
    reading = reader.request(request, knownOf(account))
  } catch (error) {
    if (!isPosthouseError(error)) throw error
    host.log.warn({ problem: error.message }, 'refused a malformed call')
    return { status: 400 }
  }
  host.received()
  if (reading.installed) return await install(account, reading.installed.code)
  try {
    // Which workspace is ours tells what is meant for us.
    if (reading.messages.length > 0) us.demand()
    await admit(account, reading, host.receive)
    return reading.response ?? { status: 200 }
  } catch (error) {
    host.log.warn({ problem: String(error) }, 'a message was not taken; Slack repeats it')
    return { status: 503, headers: { 'retry-after': String(Math.ceil(retryAfter(error) / 1000)) } }
  }
}

/** Ends an installation; what the browser is told. */
async function install({ installations, host }: Account, code: string | undefined): Promise<WebhookResponse> {
  const page = (status: number, en: string, zh: string) => ({
    status,
    headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' },
    body: `${en}\n\n${zh}\n`,
  })
  if (code === undefined || !installations) return page(200, 'Nothing was installed.', '未安装。')
  try {
    const { team, name } = await installations.add(code)
    host.log.info({ team }, 'the app was installed in a workspace')
    return page(200, `Installed in ${name}. You may close this page.`, `已安装到 ${name}。可以关闭此页面。`)
  } catch (error) {
    const { kind, message } = toDeliveryError(error)
    host.log.warn({ problem: message }, 'an installation did not come about')
    return kind === 'permission'
      ? page(403, 'This workspace may not install the app. Ask who runs it.', '该工作区不能安装此应用。请联系其管理者。')
      : page(400, 'The installation did not come about. Begin it anew.', '安装未完成。请重新开始。')
  }
}

const CHECK = 300_000

/** Asks from time to time whether our token still holds. Whether Slack reaches us shows only when somebody writes. */
async function lookAfter(account: Account, listener: Listener, signal: AbortSignal): Promise<void> {
  const { host, clock, us } = account
  while (!signal.aborted) {
    await us.ask(signal)
    if (host.routes.url) {
      listener.received()
      host.report('connected')
    } else host.report('degraded', 'server.public_url is not set, so Slack has no address to send to; set it, or use mode: socket')
    await clock.wait(CHECK, signal)
  }
}

// ---- Signs and pages --------------------------------------------------------------------------------------------------

const MARK = 'eyes'
const NO_STATUS_FOR = 600_000

/**
 * A status under the thread where Slack shows one (https://docs.slack.dev/reference/methods/assistant.threads.setStatus), else a mark on the
 * question while it is worked on.
 */
async function showTyping(account: Account, to: Place, until: AbortSignal, message: string | undefined): Promise<void> {
  const { shared, clock } = account
  const { sender, place: room } = senderOf(account, to)
  const { api } = sender
  if (until.aborted) return
  if (to.thread !== undefined && clock.now() >= shared.noStatusUntil[to.type]) {
    const place = { channel_id: room.room, thread_ts: to.thread }
    const shown = await api.call('assistant.threads.setStatus', { ...place, status: 'is thinking…' }, { signal: until }).catch((error) => {
      if (error instanceof ApiError && error.fromSlack) shared.noStatusUntil[to.type] = clock.now() + NO_STATUS_FOR
      return undefined
    })
    if (shown || until.aborted) return
  }
  // Slash commands and buttons have no message that could be marked.
  if (message === undefined || !/^\d+\.\d+$/.test(message)) return
  const key = `${to.room}:${message}`
  if (shared.marked.has(key) || shared.marked.size >= MOST_REMEMBERED) return
  shared.marked.add(key)
  const mark = { channel: room.room, timestamp: message, name: MARK }
  // Not cut short by the signal: a mark that came to stand has to be taken away.
  const set = account.tracked(api.call('reactions.add', mark)).catch(() => undefined)
  const remove = async () => {
    if (await set) await api.call('reactions.remove', mark).catch(() => undefined)
    shared.marked.delete(key)
  }
  if (until.aborted) await remove()
  else until.addEventListener('abort', () => void account.tracked(remove()), { once: true })
  await set
}

/** Fills the page of our app with a greeting, once for each person. https://docs.slack.dev/reference/methods/views.publish */
async function greet(account: Account, user: string, team: string | undefined): Promise<void> {
  const { shared, host, us } = account
  if (shared.greeted.has(user)) return
  if (shared.greeted.size >= MOST_REMEMBERED) shared.greeted.clear()
  shared.greeted.add(user)
  const section = (text: string) => ({ type: 'section', text: { type: 'mrkdwn', text } })
  const name = us.known ? `<@${us.known.id}>` : '…'
  const blocks = [
    section(`Hello! Write to me under *Messages*, or mention ${name} in a channel that I am a member of. I answer in the thread.`),
    section(`你好！在 *消息* 标签页直接给我写信，或在我加入的频道里提及 ${name}。我会在消息列中回复。`),
  ]
  await workspaceOf(account, team)
    .call('views.publish', { user_id: user, view: { type: 'home', blocks } })
    .catch((error: Error) => {
      shared.greeted.delete(user)
      host.log.debug({ problem: error.message }, 'the page of the app was not filled')
    })
}
