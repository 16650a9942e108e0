/** WeCom (企业微信): an organization's app, an AI bot by its long connection or by calls, a group robot. https://developer.work.weixin.qq.com/document */
import {
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Clock,
  type Connection,
  DeliveryError,
  type Download,
  FetchError,
  type Fields,
  type FileRef,
  fieldsOf,
  type Identity,
  type InboundMessage,
  isPosthouseError,
  type Known,
  keepNewest,
  type Listener,
  limited,
  type Piece,
  type Place,
  PosthouseError,
  type Reader,
  type Reading,
  type Receipt,
  type SendOptions,
  systemClock,
  textIn,
  trackWork,
  type WebhookRequest,
  type WebhookResponse,
} from '@posthouse/contract'
import { type Api, ApiError, createApi } from './api.ts'
import { type CalledBot, createCalledBot } from './interactions.ts'
import { createReader } from './receive.ts'
import { type Desk, edit, MAX_TEXT, render, send, toDeliveryError } from './send.ts'
import { settings, type WecomSettings } from './settings.ts'
import { holdConnection } from './socket.ts'

export type { WecomSettings } from './settings.ts'

const MB = 1024 * 1024
const AN_HOUR = { amount: 1000, per: 3_600_000 }

/** Limits: document/path/90236 (30 a minute to one person), /90253, /90930 (called again three times, five seconds each). */
const app: Capabilities = {
  maxText: { limit: MAX_TEXT.app, unit: 'bytes' },
  // What is more than a picture or a film may have goes as a file.
  upload: { image: 20 * MB, audio: 20 * MB, voice: 20 * MB, video: 20 * MB, file: 20 * MB, sticker: 20 * MB },
  download: 20 * MB,
  ownership: 'stateless',
  proactive: true,
  idempotentSend: false,
  ackDeadline: 5000,
  retryWindow: 60_000,
  // 10,000 calls of an interface in a minute, 30 messages a minute and 1,000 an hour to one person; what is above is dropped: document/path/90454
  rates: {
    account: { amount: 100, per: 1000 },
    direct: { amount: 30, per: 60_000 },
    methods: { 'message/send': { calls: ['send', 'upload'], direct: AN_HOUR } },
  },
}

/** The figures are those of the official client, and 30 messages a minute, 1,000 an hour to one chat: document/path/101463. A stream is one message. */
const bot: Capabilities = {
  ...app,
  maxText: { limit: MAX_TEXT.bot, unit: 'bytes' },
  download: 100 * MB,
  ownership: 'single',
  sendsOverConnection: true,
  answersRefer: true,
  rates: {
    calls: ['send', 'upload', 'draft'],
    direct: { amount: 30, per: 60_000 },
    group: { amount: 30, per: 60_000 },
    methods: { aibot_respond_msg: { calls: ['send', 'upload', 'draft'], direct: AN_HOUR, group: AN_HOUR } },
  },
  draftInterval: 1000,
}

/**
 * It is fetched from, or posts to the address that came with a message (document/path/101138, for an hour), which takes one message: a second
 * send of the same is refused or changes nothing. Called again as an app is.
 */
const calledBot: Capabilities = {
  ...bot,
  maxText: { limit: MAX_TEXT['bot-webhook'], unit: 'bytes' },
  upload: {},
  ownership: 'stateless',
  sendsOverConnection: false,
  proactive: false,
  replyWindow: 3_600_000,
  idempotentSend: true,
  // What is there so far is written down for any node that may be asked for it.
  draftInterval: 2000,
}

/** document/path/91770: 20 a minute. */
const robot: Capabilities = {
  ...app,
  maxText: { limit: MAX_TEXT.robot, unit: 'bytes' },
  rates: { account: { amount: 20, per: 60_000 } },
}

const capabilities = { app, bot, 'bot-webhook': calledBot, robot }

export const wecom = createWecom()

export function createWecom(clock: Clock = systemClock): Channel<WecomSettings> {
  return {
    id: 'wecom',
    settings,
    capabilities: app,
    capabilitiesOf: ({ mode }) => capabilities[mode],
    setbacks: {
      transient: { remedy: 'WeCom is not reachable; it is being tried again' },
      auth: { remedy: 'the credentials are refused; copy them again from the admin console' },
      // Each connection ends the other: whoever comes back at once begins an endless exchange.
      conflict: { remedy: 'another program connects with this bot_id; stop it, or give it a bot of its own', least: 30_000, most: 300_000 },
      permission: { remedy: 'the app may not do this; look at its trusted IPs and its visible range in the admin console' },
      'rate-limited': { remedy: 'WeCom asks us to wait' },
    },
    reader: createReader,
    open: async (given, host) => open(given, host, clock),
    async probe(given, { fetch }, signal) {
      // A bot that connects to ask would end its own connection, and a robot cannot ask anything.
      if (given.mode !== 'app') return undefined
      return await identify(given, createApi(given.base_url, credentialsOf(given), fetch, clock.now), signal)
    },
  }
}

const credentialsOf = ({ mode, corp_id = '', secret = '' }: WecomSettings) => (mode === 'app' ? { corp_id, secret } : undefined)

function refuse(error: unknown): never {
  throw toDeliveryError(error)
}

/** document/path/90227 */
async function identify({ agent_id }: WecomSettings, api: Api, signal: AbortSignal): Promise<Identity> {
  const id = String(agent_id)
  const { name } = await api.call('GET', 'agent/get', { agentid: id }, undefined, signal).catch(refuse)
  return { id, name: textIn(name) || 'WeCom' }
}

/** How often an app's account asks whether it is known still. */
const CHECK = 300_000

/** One open account. */
interface Account {
  readonly settings: WecomSettings
  readonly reader: Reader
  readonly host: ChannelHost
  readonly clock: Clock
  readonly desk: Desk
  readonly called: CalledBot | undefined
}

function open(given: WecomSettings, host: ChannelHost, clock: Clock): Connection {
  const underWay = trackWork()
  const { closing, tracked } = underWay
  const api = createApi(given.base_url, credentialsOf(given), host.fetch, clock.now)
  const desk: Desk = { settings: given, api, asking: undefined, questions: new Map() }
  const called = given.mode === 'bot-webhook' ? createCalledBot({ settings: given, host, api, clock }) : undefined
  const account: Account = { settings: given, reader: createReader(given), host, clock, desk, called }
  const { verification } = account.reader
  if (verification) host.routes.webhook({ verification }, (request) => tracked(handle(account, request, closing)))
  if (given.mode === 'robot') host.report('connected')
  if (called && host.routes.url) host.report('starting', `waiting for the first call at ${host.routes.url}`)
  if (called && !host.routes.url)
    host.report('degraded', 'server.public_url is not set, so WeCom cannot call this bot; set it, or use mode: bot')
  const ways = { app: lookAfter, bot: hold, 'bot-webhook': undefined, robot: undefined }
  const listen = ways[given.mode]
  const way = called ?? {
    send: (piece: Piece, to: Place, options: SendOptions) => send(desk, piece, to, options),
    edit: (receipt: Receipt, piece: Piece, options: SendOptions) => edit(desk, receipt, piece, options),
  }
  return {
    ...(listen
      ? {
          listen: (listener: Listener, until: AbortSignal) => {
            const stop = AbortSignal.any([closing, until])
            return tracked(
              listen(account, listener, stop).catch((error: unknown) => {
                if (!stop.aborted) throw error instanceof ApiError || error instanceof FetchError ? toDeliveryError(error) : error
              }),
            )
          },
        }
      : {}),
    render: (message) => render(message, given.mode),
    send: (piece, to, options) => underWay.calling(options, (within) => way.send(piece, to, within)),
    ...(given.mode === 'bot' || called
      ? { edit: (receipt, piece, options) => underWay.calling(options, (within) => way.edit(receipt, piece, within)) }
      : {}),
    download: (file, limit, signal) => download(account, file, limit, signal),
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  } satisfies Connection
}

// ---- Receiving --------------------------------------------------------------------------------------------------------

const knownTo = ({ clock, host }: Account): Known => ({ now: clock.now(), crypto: host.crypto })

/** An app (or a bot) is called: 200 with nothing inside takes what came, and the answer is sent by a call of ours. document/path/90930 */
async function handle(account: Account, request: WebhookRequest, closing: AbortSignal): Promise<WebhookResponse> {
  const { reader, host, called } = account
  if (closing.aborted) return { status: 503, headers: { 'retry-after': '5' } }
  try {
    if (called) host.report('connected')
    if (called && request.method === 'POST') return await called.take(request)
    const reading = reader.request?.(request, knownTo(account))
    if (!reading) return { status: 404 }
    host.received()
    for (const message of reading.messages) await host.receive(message)
    return reading.response ?? { status: 200 }
  } catch (error) {
    host.log.warn({ problem: String(error) }, 'a call was not taken')
    if (isPosthouseError(error) && error.code === 'invalid') return { status: 400 }
    const wait = (isPosthouseError(error) && error.retryAfter) || 1000
    return { status: 503, headers: { 'retry-after': String(Math.ceil(wait / 1000)) } }
  }
}

/** Asks from time to time whether the app is known still. Where it is called is told to the platform in its console, by hand. */
async function lookAfter({ settings, desk, host, clock }: Account, listener: Listener, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await identify(settings, desk.api, signal)
    listener.received()
    if (host.routes.url) host.report('connected')
    else host.report('degraded', 'server.public_url is not set, so WeCom cannot call this app; set it, or use mode: bot')
    await clock.wait(CHECK, signal)
  }
}

const MOST_QUESTIONS = 2000

/** A bot's long connection. Nothing is acknowledged on it, so nothing comes again: what cannot be taken yet is held until it can. */
async function hold(account: Account, listener: Listener, signal: AbortSignal): Promise<void> {
  const { settings, host, clock, desk, reader } = account
  const read = (frame: Fields): Reading | undefined => {
    try {
      return reader.frame?.(frame, knownTo(account))
    } catch (error) {
      host.log.warn({ problem: String(error) }, 'a frame was not understood')
      return undefined
    }
  }
  try {
    await holdConnection(
      {
        connect: host.connect,
        url: settings.ws_url,
        bot_id: settings.bot_id ?? '',
        secret: settings.secret ?? '',
        clock,
        opened(asking) {
          desk.asking = asking
          listener.received()
          host.report('connected')
        },
        heard: () => listener.received(),
        refused: (problem) => host.log.warn({ problem: String(problem) }, 'a frame was not understood'),
        async take(frame) {
          const reading = read(frame)
          for (const message of reading?.messages ?? []) {
            const question = textIn(fieldsOf(frame.headers).req_id)
            if (question !== '') keepNewest(desk.questions, message.id, question, MOST_QUESTIONS)
            await admit(account, listener, message, signal)
          }
        },
      },
      signal,
    )
  } finally {
    desk.asking = undefined
    desk.questions.clear()
  }
}

/** Tries until it is committed; given up only when this node stops or loses its place. */
async function admit({ host, clock }: Account, listener: Listener, message: InboundMessage, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await listener.receive(message)
      return
    } catch (error) {
      host.log.warn({ problem: String(error) }, signal.aborted ? 'a message could not be taken and is lost' : 'a message waits to be taken')
      if (signal.aborted) return
      await clock.wait((isPosthouseError(error) && error.retryAfter) || 1000, signal)
    }
  }
}

// ---- Files ------------------------------------------------------------------------------------------------------------

/** document/path/90254; a bot's file is fetched from where it was told to be, sealed with the key that came with it. */
async function download({ settings, desk, host }: Account, file: FileRef, limit: number, signal: AbortSignal): Promise<Download> {
  const { media, url, aeskey } = refIn(file.ref)
  if (typeof media === 'string') {
    const response = await desk.api.download('media/get', { media_id: media }, signal).catch(refuse)
    return limited(response.body, limit)
  }
  if (typeof url !== 'string') throw new DeliveryError('not-found', 'this file has no place on the platform')
  const { status, headers, body } = await host.fetch(url, { signal }).catch(refuse)
  if (status !== 200)
    throw new DeliveryError(
      status >= 500 ? 'transient' : 'not-found',
      `the file was answered with ${status}; its address is good for five minutes`,
    )
  // Files of a bot that is called are sealed with the key of its calls: document/path/100719
  const key = typeof aeskey === 'string' ? aeskey : settings.mode === 'bot-webhook' ? `${settings.encoding_aes_key}=` : undefined
  const bytes = key === undefined ? limited(body, limit) : opened(limited(body, limit + PADDING, limit), key, limit, host)
  // The platform tells it nowhere else, and no message waits for that.
  const name = file.kind === 'file' ? nameIn(headers['content-disposition']) : undefined
  return Object.assign(bytes, name === undefined ? {} : { name })
}

function nameIn(disposition = ''): string | undefined {
  const [, encoded, plain] = /filename\*=utf-8''([^;\s]+)|filename="?([^";]+)"?/i.exec(disposition) ?? []
  try {
    return decodeURIComponent(encoded ?? plain ?? '') || undefined
  } catch {
    return plain
  }
}

const PADDING = 32

function refIn(ref: string | undefined): Fields {
  try {
    return fieldsOf(ref === undefined ? undefined : (JSON.parse(ref) as unknown))
  } catch {
    return {}
  }
}

async function* opened(sealed: AsyncIterable<Uint8Array>, aeskey: string, limit: number, { crypto }: ChannelHost) {
  const chunks: Uint8Array[] = []
  for await (const chunk of sealed) chunks.push(chunk)
  const key = Buffer.from(aeskey, 'base64')
  if (key.length !== 32) throw new PosthouseError('invalid', 'the key of the file is none')
  const bytes = crypto.decrypt(Buffer.concat(chunks), { key, iv: key.subarray(0, 16), block: 32 })
  if (bytes.length > limit) throw new PosthouseError('too-large', `more than ${limit} bytes`)
  yield bytes
}
