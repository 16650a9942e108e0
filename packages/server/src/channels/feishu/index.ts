/** Feishu and Lark: identity, the long connection or the webhook, and what a message lacks when it comes. https://open.feishu.cn/document */
import {
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Clock,
  type Connection,
  DeliveryError,
  FetchError,
  type FileRef,
  fieldsOf,
  type Identity,
  type InboundMessage,
  isPosthouseError,
  type KeptIdentity,
  type Known,
  keepIdentity,
  keepNewest,
  type Listener,
  limited,
  PosthouseError,
  type Reader,
  type Reading,
  systemClock,
  textIn,
  trackWork,
  type UnderWay,
  type WebhookRequest,
  type WebhookResponse,
} from '@posthouse/contract'
import { type Api, ApiError, createApi } from './api.ts'
import { createReader } from './receive.ts'
import { type Desk, edit, MAX_CARD, MAX_FILE, render, send, toDeliveryError } from './send.ts'
import { type FeishuSettings, rootOf, settings } from './settings.ts'
import { holdConnection } from './socket.ts'
import type { Resource } from './text.ts'

export type { FeishuSettings } from './settings.ts'

const A_MINUTE = { amount: 1000, per: 60_000 }
/** Operations on one card: feishu-cards/streaming-updates-openapi-overview. Cards of one room are not told apart. */
const OF_A_CARD = { amount: 10, per: 1000 }
/** Changes of one message: im-v1/message-card/patch */
const OF_A_MESSAGE = { amount: 5, per: 1000 }

/** Limits: im-v1/message/create, im-v1/file/create, im-v1/message/get-2; 5 messages a second to one person, and to one group. */
const capabilities: Capabilities = {
  maxText: { limit: MAX_CARD, unit: 'bytes' },
  // An image above 10 MB goes as a file.
  upload: { image: MAX_FILE, audio: MAX_FILE, voice: MAX_FILE, video: MAX_FILE, file: MAX_FILE, sticker: MAX_FILE },
  download: 100 * 1024 * 1024,
  ownership: 'spread',
  proactive: true,
  idempotentSend: true,
  ackDeadline: 3000,
  retryWindow: 8 * 3_600_000,
  rates: {
    calls: ['send', 'upload', 'draft'],
    account: { amount: 50, per: 1000 },
    direct: { amount: 5, per: 1000 },
    group: { amount: 5, per: 1000 },
    // Beside 50 calls a second, 1000 a minute (server-docs/api-call-guide/frequency-control); each preview is a card of its own (cardkit-v1/card/create).
    methods: {
      'im.message.create': { calls: ['send', 'upload', 'draft'], account: A_MINUTE },
      'cardkit.cardElement.content': { calls: ['edit'], account: A_MINUTE, direct: OF_A_CARD, group: OF_A_CARD },
      // It ends with two calls.
      'cardkit.card.update': { calls: ['finish'], account: A_MINUTE, direct: OF_A_MESSAGE, group: OF_A_MESSAGE },
      'im.messageReaction.create': { calls: ['typing'], account: A_MINUTE },
    },
  },
  // A mark stays until it is taken away.
  typingLasts: 3_600_000,
  draftInterval: 1000,
  draftGrows: true,
}

export const feishu = createFeishu()

export function createFeishu(clock: Clock = systemClock): Channel<FeishuSettings> {
  return {
    id: 'feishu',
    settings,
    capabilities,
    setbacks: {
      transient: { remedy: 'Feishu is not reachable; it is being tried again' },
      auth: { remedy: 'app_id and app_secret are refused; copy both from "Credentials & Basic Info" in the developer console' },
      conflict: { remedy: 'this app has as many long connections as it may have (50); stop other programs that use it' },
      permission: { remedy: 'the app lacks a right; add it in the developer console and release a version' },
      'rate-limited': { remedy: 'Feishu asks us to wait' },
    },
    reader: createReader,
    open: (settings, host) => open(settings, host, clock),
    probe: (settings, host, signal) =>
      identify(createApi(rootOf(settings), credentialsOf(settings), host.fetch, clock.now), signal).catch(refuse),
  }
}

const credentialsOf = ({ app_id, app_secret }: FeishuSettings) => ({ app_id, app_secret })

function refuse(error: unknown): never {
  throw toDeliveryError(error)
}

/** Our own `open_id` is that of the app: bot-v3/bot_info */
async function identify(api: Api, signal: AbortSignal): Promise<Identity> {
  const { open_id, app_name } = fieldsOf((await api.call('GET', 'bot/v3/info', undefined, { signal, timeout: ASKED_WITHIN * 2 })).bot)
  if (textIn(open_id) === '') throw new DeliveryError('permission', 'the app has no bot; add the bot ability in the developer console')
  return { id: textIn(open_id), name: textIn(app_name) || 'Feishu' }
}

/** How often a webhook's account asks whether it is known still. */
const WEBHOOK_CHECK = 300_000

/** One open account. */
interface Account {
  readonly api: Api
  readonly reader: Reader
  readonly host: ChannelHost
  readonly clock: Clock
  readonly memory: Memory
  /** Mentions of us are told by our id. */
  readonly us: KeptIdentity<Identity>
  readonly underWay: UnderWay
}

async function open(settings: FeishuSettings, host: ChannelHost, clock: Clock): Promise<Connection> {
  const underWay = trackWork()
  const { closing, tracked } = underWay
  const api = createApi(rootOf(settings), credentialsOf(settings), host.fetch, clock.now)
  const us = await keepIdentity(host.state, settings.app_id, (signal) => identify(api, signal), underWay)
  const account: Account = { api, reader: createReader(settings), host, clock, memory: createMemory(), us, underWay }
  const desk: Desk = { api, now: clock.now, made: new Map(), numbers: new Map() }
  const marks = new Set<string>()
  if (settings.mode === 'webhook') serve(account)
  return {
    listen: (listener, until) => {
      const stop = AbortSignal.any([closing, until])
      const listening = settings.mode === 'webhook' ? lookAfter(account, listener, stop) : hold(account, listener, stop)
      return tracked(
        listening.catch((error: unknown) => {
          if (!stop.aborted) throw error instanceof ApiError || error instanceof FetchError ? toDeliveryError(error) : error
        }),
      )
    },
    render,
    async send(piece, to, options) {
      const receipt = await underWay.calling(options, (within) => send(desk, piece, to, within))
      keepNewest(account.memory.messages, receipt.id.split('/')[0] ?? '', true, MOST_REMEMBERED)
      return receipt
    },
    edit: (receipt, piece, options) => underWay.calling(options, (within) => edit(desk, receipt, piece, within)),
    typing: async (_to, signal, message) => {
      if (message !== undefined) await mark(api, marks, message, signal, closing, tracked)
    },
    nameOf: (person) => askedName(account, person),
    download: (file, limit, signal) => download(api, file, limit, signal),
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  }
}

// ---- Receiving --------------------------------------------------------------------------------------------------------

/** The long connection; before the very first it is asked who we are. */
async function hold(account: Account, listener: Listener, signal: AbortSignal): Promise<void> {
  const { api, host, clock, reader } = account
  if (!account.us.known) await account.us.ask(signal)
  /** What comes from one room is handed over in its order. */
  const rooms = new Map<string, Promise<unknown>>()
  await holdConnection(
    {
      api,
      connect: host.connect,
      clock,
      opened: () => {
        listener.received()
        host.report('connected')
      },
      heard: () => listener.received(),
      refused: (problem) => host.log.warn({ problem: String(problem) }, 'what came was not taken; the platform repeats it'),
      async take(payload) {
        const reading = reader.frame?.(payload, knownTo(account))
        const room = reading?.messages[0]?.place.room
        if (!reading || room === undefined) return undefined
        const work = (rooms.get(room) ?? Promise.resolve()).catch(() => undefined).then(() => admit(account, reading, listener))
        rooms.set(room, work)
        try {
          await work
        } finally {
          if (rooms.get(room) === work) rooms.delete(room)
        }
        return reading.response?.body
      },
    },
    signal,
  )
}

function knownTo({ clock, host, us }: Account): Known {
  return { now: clock.now(), crypto: host.crypto, ...(us.known ? { us: us.known } : {}) }
}

/** Resolves when everything is committed (P1). */
async function admit(account: Account, reading: Reading, listener: Pick<Listener, 'receive'>): Promise<void> {
  for (const message of reading.messages) await listener.receive(completed(account, message))
}

/** Takes what the platform sends, on every node. */
function serve(account: Account): void {
  const { reader, host, underWay } = account
  const { verification = [], challenge } = reader
  const door = { verification, ...(challenge ? { challenge } : {}) }
  host.routes.webhook(door, (request) => underWay.tracked(handle(account, request)))
}

async function handle(account: Account, request: WebhookRequest): Promise<WebhookResponse> {
  const { reader, host, us, underWay } = account
  if (underWay.closing.aborted) return { status: 503, headers: { 'retry-after': '5' } }
  try {
    const reading = reader.request?.(request, knownTo(account))
    if (!reading) return { status: 404 }
    host.received()
    // Only our id tells whether a group means us.
    if (reading.messages.some(({ addressed, kind, author }) => !addressed && kind !== 'reaction' && !author.isBot)) us.demand()
    await admit(account, reading, host)
    return reading.response ?? { status: 200 }
  } catch (error) {
    host.log.warn({ problem: String(error) }, 'a call was not taken')
    if (isPosthouseError(error) && error.code === 'invalid') return { status: 400 }
    const wait = (isPosthouseError(error) && error.retryAfter) || 1000
    return { status: 503, headers: { 'retry-after': String(Math.ceil(wait / 1000)) } }
  }
}

/** Asks from time to time whether we are known still. Where to send is told to the platform in its console, by hand. */
async function lookAfter(account: Account, listener: Listener, signal: AbortSignal): Promise<void> {
  const { us, host, clock } = account
  while (!signal.aborted) {
    await us.ask(signal)
    listener.received()
    if (host.routes.url) host.report('connected')
    else host.report('degraded', 'server.public_url is not set, so Feishu cannot reach the webhook; set it, or use mode: websocket')
    await clock.wait(WEBHOOK_CHECK, signal)
  }
}

// ---- What is not told -------------------------------------------------------------------------------------------------

interface Memory {
  /** Messages that went by here: whether they are ours. */
  readonly messages: Map<string, boolean>
  /** Names of people (`ou_`) and groups (`oc_`); undefined where the platform tells none. */
  readonly names: Map<string, { readonly name: string | undefined; readonly until: number }>
  readonly asking: Map<string, Promise<void>>
}

const createMemory = (): Memory => ({ messages: new Map(), names: new Map(), asking: new Map() })

const MOST_REMEMBERED = 5000
const NAME_LIFE = 6 * 3_600_000
/** A name that cannot be read (the right is missing) is asked for again after this. */
const NO_NAME_LIFE = 600_000
const MOST_ASKED = 20
const ASKED_WITHIN = 4000

/** The message with what is known at this moment: nothing is asked before it is committed. */
function completed(account: Account, message: InboundMessage): InboundMessage {
  if (message.kind !== 'message' && message.kind !== 'edit') return message
  const { memory } = account
  const { id, author, place, addressed } = message
  if (!memory.messages.has(id) && !author.isBot) keepNewest(memory.messages, id, false, MOST_REMEMBERED)
  // Of what did not go by here, the gateway's receipts tell.
  const answersUs = memory.messages.get(message.replyTo ?? place.thread ?? id)
  const isForUs = addressed || answersUs === true
  const name = author.isBot || !isForUs ? undefined : nameNow(account, author.id)
  const title = place.type === 'group' ? nameNow(account, place.room) : undefined
  return {
    ...message,
    addressed: isForUs,
    ...(answersUs === undefined ? {} : { answersUs }),
    author: { ...author, ...(name ? { name } : {}) },
    place: { ...place, ...(title ? { title } : {}) },
  }
}

/** A name as far as it is known; one that is not, or not any more, is asked for beside. */
function nameNow(account: Account, id: string): string | undefined {
  const known = account.memory.names.get(id)
  if (!known || account.clock.now() >= known.until) ask(account, id)
  return known?.name
}

async function askedName(account: Account, id: string): Promise<string | undefined> {
  const { memory } = account
  if (nameNow(account, id) === undefined) await memory.asking.get(id)
  return memory.names.get(id)?.name
}

function ask(account: Account, id: string): void {
  const { memory, underWay } = account
  if (memory.asking.has(id) || memory.asking.size >= MOST_ASKED) return
  const asking = askName(account, id).finally(() => memory.asking.delete(id))
  memory.asking.set(id, underWay.tracked(asking))
}

/** contact-v3/user/get, im-v1/chat/get. Never throws: a name is nothing that a message must wait for. */
async function askName({ api, memory, clock, host, underWay }: Account, id: string): Promise<void> {
  const path = id.startsWith('oc_')
    ? `im/v1/chats/${encodeURIComponent(id)}`
    : `contact/v3/users/${encodeURIComponent(id)}?user_id_type=open_id`
  try {
    const { data } = await api.call('GET', path, undefined, {
      signal: AbortSignal.any([underWay.closing, AbortSignal.timeout(ASKED_WITHIN)]),
    })
    const { user, name } = fieldsOf(data)
    keepNewest(
      memory.names,
      id,
      { name: textIn(fieldsOf(user).name) || textIn(name) || undefined, until: clock.now() + NAME_LIFE },
      MOST_REMEMBERED,
    )
  } catch (error) {
    host.log.debug({ problem: String(error) }, 'a name could not be read')
    const name = memory.names.get(id)?.name
    keepNewest(memory.names, id, { name, until: clock.now() + NO_NAME_LIFE }, MOST_REMEMBERED)
  }
}

// ---- The rest ---------------------------------------------------------------------------------------------------------

/** im-v1/message-reaction/emojis-introduce */
const TYPING = 'Typing'

/** A bot has no "is typing" here: it marks the question, and takes the mark back when the answer is there. Best effort. */
async function mark(
  api: Api,
  marks: Set<string>,
  message: string,
  signal: AbortSignal,
  closing: AbortSignal,
  tracked: <T>(work: Promise<T>) => Promise<T>,
): Promise<void> {
  if (marks.has(message) || signal.aborted) return
  marks.add(message)
  const path = `im/v1/messages/${encodeURIComponent(message)}/reactions`
  const set = api.call('POST', path, { reaction_type: { emoji_type: TYPING } }).then(
    ({ data }) => textIn(fieldsOf(data).reaction_id),
    () => '',
  )
  const answered = async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const leave = () => resolve()
    for (const end of [signal, closing]) end.addEventListener('abort', leave, { once: true })
    if (!closing.aborted) await promise
    for (const end of [signal, closing]) end.removeEventListener('abort', leave)
    const id = await set
    if (id) await api.call('DELETE', `${path}/${encodeURIComponent(id)}`).catch(() => undefined)
    marks.delete(message)
  }
  void tracked(answered())
  await set
}

/** im-v1/message/get-2 */
async function download(api: Api, file: FileRef, limit: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  const { message, key, type } = parseRef(file.ref)
  const path = `im/v1/messages/${encodeURIComponent(message)}/resources/${encodeURIComponent(key)}?type=${type}`
  const response = await api.download(path, { signal }).catch((error: unknown) => {
    if (error instanceof ApiError && error.code === TOO_LARGE) throw new PosthouseError('too-large', 'more than 100 MB')
    return refuse(error)
  })
  return limited(response.body, limit)
}

const TOO_LARGE = 234037

function parseRef(ref: string | undefined): Resource {
  const { message, key, type } = fieldsOf(ref === undefined ? undefined : (JSON.parse(ref) as unknown))
  if (typeof message !== 'string' || typeof key !== 'string') throw new DeliveryError('not-found', 'this file has no place on the platform')
  return { message, key, type: type === 'image' ? 'image' : 'file' }
}
