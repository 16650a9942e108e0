/** DingTalk: identity, Stream connections or the webhook, a group's own robot, and the addresses that messages bring along to be answered at. https://open.dingtalk.com/document */
import { hash } from 'node:crypto'
import {
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Clock,
  type Connection,
  DeliveryError,
  FetchError,
  type Fields,
  type FileRef,
  fieldsOf,
  type InboundMessage,
  isPosthouseError,
  type KeyValue,
  type Known,
  keepNewest,
  type Listener,
  limited,
  type Reader,
  type Reading,
  systemClock,
  textIn,
  trackWork,
  type WebhookRequest,
  type WebhookResponse,
} from '@posthouse/contract'
import { type Api, ApiError, createApi } from './api.ts'
import { CARD, cardSecretOf, createReader, openFrame, ROBOT, type Session, sessionOf } from './receive.ts'
import { type Desk, edit, MAX_BODY, MAX_FILE, render, type Sessions, send, sendToGroup, toDeliveryError } from './send.ts'
import { type DingtalkSettings, robotOf, settings } from './settings.ts'
import { holdStream } from './socket.ts'

export type { DingtalkSettings } from './settings.ts'

/** Limits: robot-message-type, upload-media-files; robots may send 20 messages a minute to one group. */
const capabilities: Capabilities = {
  maxText: { limit: MAX_BODY, unit: 'bytes' },
  // Images, and documents of a few types; all others become links.
  upload: { image: MAX_FILE, file: MAX_FILE },
  download: 100 * 1024 * 1024,
  ownership: 'spread',
  proactive: true,
  idempotentSend: false,
  ackDeadline: 3000,
  // Robot messages are not repeated at all; events are.
  retryWindow: 3_600_000,
  rates: {
    calls: ['send', 'upload', 'draft'],
    account: { amount: 20, per: 1000 },
    direct: { amount: 5, per: 1000 },
    group: { amount: 20, per: 60_000 },
    // An application may call each interface 20 times a second (40 and 60 with a paid edition): https://open.dingtalk.com/document/orgapp/invocation-frequency-limit
    methods: { 'card/streaming': { calls: ['edit', 'finish'], account: { amount: 20, per: 1000 } } },
  },
}
/** Cards take an update of their text this often. */
const growing: Capabilities = { ...capabilities, draftInterval: 800 }
/** https://open.dingtalk.com/document/robots/custom-robot-access: 20 messages a minute. */
const groupRobot: Capabilities = {
  ...capabilities,
  upload: {},
  ownership: 'stateless',
  rates: { account: { amount: 20, per: 60_000 } },
}

export const dingtalk = createDingtalk()

export function createDingtalk(clock: Clock = systemClock): Channel<DingtalkSettings> {
  return {
    id: 'dingtalk',
    settings,
    capabilities,
    capabilitiesOf: ({ mode, card_template_id }) => (mode === 'robot' ? groupRobot : card_template_id ? growing : capabilities),
    setbacks: {
      transient: { remedy: 'DingTalk is not reachable; it is being tried again' },
      auth: {
        remedy: 'client_id and client_secret are refused; copy both from "Credentials and Basic Information" in the developer console',
      },
      permission: { remedy: 'the app lacks a right; add it in the developer console under "Permissions"' },
      'rate-limited': { remedy: 'DingTalk asks us to wait' },
    },
    reader: createReader,
    open: async (settings, host) => (settings.mode === 'robot' ? openRobot(settings, host, clock) : await open(settings, host, clock)),
    // The platform tells a robot nothing about itself, and a group's own robot cannot ask anything.
    async probe(settings, host, signal) {
      if (settings.mode === 'robot') return undefined
      await createApi(settings, appOf(settings), host.fetch, clock.now).check({ signal }).catch(refuse)
      return { id: robotOf(settings), name: 'DingTalk' }
    },
  }
}

const appOf = ({ client_id = '', client_secret = '' }: DingtalkSettings) => ({ client_id, client_secret })

function refuse(error: unknown): never {
  throw toDeliveryError(error)
}

/** How often a webhook's account asks whether it is known still. */
const WEBHOOK_CHECK = 300_000

/** One open account. */
interface Account {
  readonly settings: DingtalkSettings
  readonly api: Api
  readonly reader: Reader
  readonly host: ChannelHost
  readonly clock: Clock
  readonly sessions: KeptSessions
  readonly desk: Desk
  /** What comes from one room is handed over in its order. */
  readonly rooms: Map<string, Promise<unknown>>
}

async function open(settings: DingtalkSettings, host: ChannelHost, clock: Clock): Promise<Connection> {
  const underWay = trackWork()
  const { closing, tracked } = underWay
  const api = createApi(settings, appOf(settings), host.fetch, clock.now)
  const sessions = keepSessions(host.state, clock.now)
  const { card_template_id: template, card_template_key: key } = settings
  const card = template ? { template, key } : undefined
  const desk: Desk = { api, robot: robotOf(settings), card, sessions, tried: new Map() }
  const account: Account = { settings, api, reader: createReader(settings), host, clock, sessions, desk, rooms: new Map() }
  if (settings.mode === 'webhook') serve(account, closing, tracked)
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
    render: (message) => render(message),
    send: (piece, to, options) => underWay.calling(options, (within) => send(desk, piece, to, within)),
    ...(template ? { edit: (receipt, piece, options) => underWay.calling(options, (within) => edit(desk, receipt, piece, within)) } : {}),
    download: (file, limit, signal) => download(account, file, limit, signal),
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  } satisfies Connection
}

/** It only sends, and the address tells the group. */
function openRobot(settings: DingtalkSettings, host: ChannelHost, clock: Clock): Connection {
  const underWay = trackWork()
  const api = createApi(settings, appOf(settings), host.fetch, clock.now)
  const { access_token = '', secret, old_base_url } = settings
  const address = () => {
    const timestamp = String(clock.now())
    const signed = secret ? { timestamp, sign: signatureOf(host, secret, timestamp) } : {}
    return `${old_base_url.replace(/\/+$/, '')}/robot/send?${new URLSearchParams({ access_token, ...signed })}`
  }
  host.report('connected')
  return {
    render: (message) => render(message, false),
    send: (piece, to, options) => underWay.calling(options, (within) => sendToGroup(api, address, piece, to, within)),
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  }
}

const signatureOf = ({ crypto }: ChannelHost, secret: string, timestamp: string) =>
  Buffer.from(crypto.hmac('sha256', secret, `${timestamp}\n${secret}`)).toString('base64')

// ---- Receiving --------------------------------------------------------------------------------------------------------

async function hold(account: Account, listener: Listener, signal: AbortSignal): Promise<void> {
  const { api, host, clock, reader } = account
  await holdStream(
    {
      connect: host.connect,
      clock,
      endpoint: (until) => api.endpoint([ROBOT, CARD], { signal: until }),
      opened: () => {
        listener.received()
        host.report('connected')
      },
      heard: () => listener.received(),
      refused: (problem) => host.log.warn({ problem: String(problem) }, 'something of the connection was not taken'),
      async take(frame) {
        const reading = reader.frame?.(frame, knownTo(account))
        if (!reading) return undefined
        await inOrder(account, reading, openFrame(frame).data, (messages) => admit(account, messages, listener, signal))
        return reading.response?.body
      },
    },
    signal,
  )
}

const knownTo = ({ clock, host }: Account): Known => ({ now: clock.now(), crypto: host.crypto })

/** One after the other within a room. Resolves when everything is committed (P1). */
async function inOrder(
  { rooms, sessions, settings }: Account,
  { messages }: Reading,
  sent: Fields,
  take: (messages: readonly InboundMessage[]) => Promise<void>,
): Promise<void> {
  const room = messages[0]?.place.room
  if (room === undefined) return
  // Known before anybody can answer.
  const session = messages[0]?.kind === 'message' ? sessionOf(sent, settings.old_base_url) : undefined
  if (session) sessions.note(session)
  const work = (rooms.get(room) ?? Promise.resolve()).catch(() => undefined).then(() => take(messages))
  rooms.set(room, work)
  try {
    await work
  } finally {
    if (rooms.get(room) === work) rooms.delete(room)
  }
  if (session) await sessions.save(session)
}

/** Between two tries to hand a message over, in milliseconds. */
const LEAST_WAIT = 20
const MOST_WAIT = 5000

/**
 * The platform hands a message over once. What cannot be taken now is kept here and tried again, until it is taken, the account closes, or
 * the caller's patience is over.
 */
async function admit(account: Account, messages: readonly InboundMessage[], listener: Pick<Listener, 'receive'>, patience: AbortSignal) {
  const { clock, host } = account
  for (const message of messages) {
    for (let wait = LEAST_WAIT; ; wait = Math.min(wait * 2, MOST_WAIT)) {
      try {
        await listener.receive(message)
        break
      } catch (error) {
        if (patience.aborted || (isPosthouseError(error) && error.code === 'invalid')) throw error
        host.log.debug({ problem: String(error), key: message.key }, 'a message is kept, and handed over again')
        const told = isPosthouseError(error) ? (error.retryAfter ?? 0) : 0
        await clock.wait(Math.min(Math.max(wait, told), MOST_WAIT), patience)
        if (patience.aborted) throw error
      }
    }
  }
}

/** Takes what the platform sends, on every node. */
function serve(account: Account, closing: AbortSignal, tracked: <T>(work: Promise<T>) => Promise<T>): void {
  const { verification = [] } = account.reader
  account.host.routes.webhook({ verification }, (request) => tracked(handle(account, request, closing)))
}

/** How long a call waits for a message to be taken, in milliseconds: a card waits for two seconds in all. */
const CALL_PATIENCE = 1500

async function handle(account: Account, request: WebhookRequest, closing: AbortSignal): Promise<WebhookResponse> {
  const { reader, host } = account
  if (closing.aborted) return { status: 503, headers: { 'retry-after': '5' } }
  try {
    const reading = reader.request?.(request, knownTo(account))
    if (!reading) return { status: 404 }
    host.received()
    const sent = fieldsOf(JSON.parse(Buffer.from(request.body).toString('utf8')))
    const patience = AbortSignal.any([closing, AbortSignal.timeout(CALL_PATIENCE)])
    await inOrder(account, reading, sent, (messages) => admit(account, messages, host, patience))
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
  const { api, host, clock, desk } = account
  while (!signal.aborted) {
    await api.check({ signal })
    listener.received()
    if (desk.card && !desk.card.route) desk.card.route = await registerCards(account, signal)
    if (host.routes.url) host.report('connected')
    else host.report('degraded', 'server.public_url is not set, so DingTalk cannot reach the webhook; set it, or use mode: stream')
    await clock.wait(WEBHOOK_CHECK, signal)
  }
}

/**
 * Tells the platform where buttons of our cards are to be told; answers the name of that address. Without it cards are as they were, and buttons say nothing.
 * https://open.dingtalk.com/document/development/register-card-callback-address
 */
async function registerCards({ api, settings, host }: Account, signal: AbortSignal): Promise<string | undefined> {
  const { url: callbackUrl } = host.routes
  if (!callbackUrl) return undefined
  const apiSecret = cardSecretOf(settings.client_secret ?? '')
  // Another address or secret is another name, so nothing of anybody else's is ever overwritten.
  const callbackRouteKey = `posthouse-${hash('sha256', `${callbackUrl} ${apiSecret}`).slice(0, 16)}`
  try {
    await api.call('POST', 'card/callbacks/register', { callbackRouteKey, callbackUrl, apiSecret, forceUpdate: true }, { signal })
    return callbackRouteKey
  } catch (error) {
    host.log.warn({ problem: String(error) }, 'buttons of cards are not told: DingTalk did not take the address for them')
    return undefined
  }
}

// ---- Addresses to answer at -------------------------------------------------------------------------------------------

interface KeptSessions extends Sessions {
  /** For this process, at once. */
  note(session: Session): void
  /** For other processes, and the next one. */
  save(session: Session): Promise<void>
}

const MOST_SESSIONS = 2000
/** What is kept is spread over so many drawers, with so many rooms in each. */
const DRAWERS = 64
const MOST_IN_DRAWER = 32
/** An address is not used so shortly before its end, in milliseconds. */
const MARGIN = 5 * 60_000
/** One that lasts longer than this need not be written down anew with each message. */
const GOOD_FOR_LONG = 45 * 60_000

function keepSessions(state: KeyValue, now: () => number): KeptSessions {
  const noted = new Map<string, Session>()
  const saved = new Map<string, number>()
  let writing: Promise<void> = Promise.resolve()

  const drawerOf = (room: string) => `sessions:${hash('sha256', room, 'buffer').readUInt8(0) % DRAWERS}`
  const read = async (room: string): Promise<readonly Session[]> => {
    const list: unknown = JSON.parse((await state.get(drawerOf(room))) ?? '[]')
    return Array.isArray(list) ? (list as Session[]) : []
  }
  const write = async (session: Session) => {
    const others = (await read(session.room)).filter(({ room, until }) => room !== session.room && until > now())
    await state.set(drawerOf(session.room), JSON.stringify([...others, session].slice(-MOST_IN_DRAWER)))
    keepNewest(saved, session.room, session.until, MOST_SESSIONS)
  }
  return {
    note: (session) => keepNewest(noted, session.room, session, MOST_SESSIONS),
    async save(session) {
      if ((saved.get(session.room) ?? 0) - now() > GOOD_FOR_LONG) return
      // Losing one costs a call of the other kind.
      writing = writing.then(() => write(session)).catch(() => undefined)
      await writing
    },
    async find(room) {
      const known = noted.get(room) ?? (await read(room).catch(() => [])).find((session) => session.room === room)
      return known && known.until - MARGIN > now() ? known.url : undefined
    },
    forget: (room) => keepNewest(noted, room, { room, url: '', until: 0 }, MOST_SESSIONS),
  }
}

// ---- Files ------------------------------------------------------------------------------------------------------------

/** https://open.dingtalk.com/document/orgapp/download-the-file-content-of-the-robot-receiving-message */
async function download({ api, settings }: Account, file: FileRef, limit: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  if (!file.ref) throw new DeliveryError('not-found', 'this file has no place on the platform')
  const body = { downloadCode: file.ref, robotCode: robotOf(settings) }
  try {
    const { downloadUrl } = await api.call('POST', 'robot/messageFiles/download', body, { signal })
    return limited((await api.download(textIn(downloadUrl), { signal })).body, limit)
  } catch (error) {
    return refuse(error)
  }
}
