/** Telegram over the Bot API: settings, identity, and the loops that keep an account connected. https://core.telegram.org/bots/api */
import type { Update } from '@grammyjs/types'
import {
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Clock,
  type Connection,
  DeliveryError,
  FetchError,
  type FileRef,
  isPosthouseError,
  type KeptIdentity,
  keepIdentity,
  limited,
  PosthouseError,
  parseKept,
  type Schema,
  systemClock,
  trackWork,
  type WebhookRequest,
  type WebhookResponse,
} from '@posthouse/contract'
import { type Api, ApiError, createApi } from './api.ts'
import { createReader, type Identity, parseUpdate, readUpdate, UPDATES } from './receive.ts'
import { edit, MAX_TEXT, MAX_UPLOAD, type Moves, render, send, target, toDeliveryError } from './send.ts'

export interface TelegramSettings {
  readonly token: string
  readonly mode: 'polling' | 'webhook'
  readonly secret_token?: string
  readonly api_root: string
  readonly allowed_users?: readonly string[]
  readonly poll_timeout: number
}

const settings: Schema<TelegramSettings> = {
  required: ['token'],
  fields: {
    token: {
      type: 'string',
      format: 'secret',
      pattern: '^[0-9]+:[A-Za-z0-9_-]+$',
      description: { en: 'The bot token that @BotFather gave you.', zh: '@BotFather 给你的机器人令牌。' },
      examples: ['$' + '{env:TELEGRAM_TOKEN}'],
    },
    mode: {
      type: 'string',
      enum: ['polling', 'webhook'],
      default: 'polling',
      description: {
        en: 'How messages arrive: "polling" works everywhere; "webhook" needs server.public_url and secret_token.',
        zh: '接收方式：polling 随处可用；webhook 需要 server.public_url 和 secret_token。',
      },
    },
    secret_token: {
      type: 'string',
      format: 'secret',
      pattern: '^[A-Za-z0-9_-]{1,256}$',
      description: {
        en: 'What Telegram must send with every webhook call: 1 to 256 letters, digits, _ or -. Required for mode "webhook".',
        zh: 'Telegram 每次调用 webhook 时必须携带的密钥：1 到 256 个字母、数字、_ 或 -。webhook 模式必填。',
      },
    },
    api_root: {
      type: 'string',
      format: 'url',
      default: 'https://api.telegram.org',
      description: {
        en: 'Address of the Bot API; change it for a proxy or a local server.',
        zh: 'Bot API 地址；使用代理或本地服务器时修改。',
      },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: {
        en: 'Ids of the people who may write; everybody else is told once that access is denied.',
        zh: '允许使用者的 ID；其他人会收到一次拒绝通知。',
      },
      examples: [[12345678]],
    },
    poll_timeout: {
      type: 'integer',
      format: 'duration',
      default: 30_000,
      minimum: 0,
      maximum: 50_000,
      description: { en: 'How long one poll waits for messages.', zh: '一次轮询等待消息的时间。' },
    },
  },
  check: ({ mode, secret_token }) =>
    mode === 'webhook' && !secret_token
      ? [
          {
            field: 'secret_token',
            problem: {
              en: 'is required when mode is "webhook": without it anybody could send messages in the name of Telegram',
              zh: 'mode 为 "webhook" 时必填：否则任何人都可以冒充 Telegram 发送消息',
            },
          },
        ]
      : [],
}

/** Limits: bots/api#sendmessage, #sending-files, #getfile, #getting-updates; rates: bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this */
const capabilities: Capabilities = {
  maxText: { limit: MAX_TEXT, unit: 'utf16' },
  // An image above 10 MB goes as a document.
  upload: { image: MAX_UPLOAD, audio: MAX_UPLOAD, voice: MAX_UPLOAD, video: MAX_UPLOAD, file: MAX_UPLOAD, sticker: MAX_UPLOAD },
  download: 20 * 1024 * 1024,
  ownership: 'single',
  proactive: true,
  idempotentSend: false,
  ackDeadline: 60_000,
  retryWindow: 24 * 3_600_000,
  rates: {
    // Edits share the limits of messages: https://github.com/tdlib/td/issues/2592
    calls: ['send', 'upload', 'draft', 'edit', 'finish'],
    account: { amount: 30, per: 1000 },
    // One a second, and short bursts: the answer need not wait for its preview's last edit.
    direct: { amount: 2, per: 2000 },
    group: { amount: 20, per: 60_000 },
    methods: { sendChatAction: { calls: ['typing'], account: { amount: 30, per: 1000 } } },
  },
  draftInterval: 1000,
}

const CONFLICT = 'another program uses this bot token; stop it or create a second bot'

export const telegram = createTelegram()

export function createTelegram(clock: Clock = systemClock): Channel<TelegramSettings> {
  return {
    id: 'telegram',
    settings,
    capabilities,
    setbacks: {
      transient: { remedy: 'Telegram is not reachable; it is being tried again' },
      conflict: { remedy: CONFLICT },
      auth: { remedy: 'the token is refused; get the current one from @BotFather' },
      'rate-limited': { remedy: 'Telegram asks us to wait' },
    },
    reader: createReader,
    open: (settings, host, signal) => open(settings, host, signal, clock),
    async probe({ api_root, token }, host, signal) {
      const me = await createApi(api_root, token, host.fetch).call('getMe', {}, { signal }).catch(refuse)
      return { id: String(me.id), name: `@${me.username}`, username: me.username }
    },
  }
}

/** Longer than any poll waits, so that a dead connection is noticed. */
const POLL_MARGIN = 15_000
const WEBHOOK_CHECK = 300_000
/** After a quiet week update ids begin anew at random; an offset older than this is forgotten. Repeats are recognised by their key. */
const OFFSET_LIFE = 6 * 86_400_000

/** One open account. */
interface Account {
  readonly api: Api
  readonly settings: TelegramSettings
  readonly host: ChannelHost
  readonly clock: Clock
  /** Fires when nothing may be received any more. */
  readonly stop: AbortSignal
  readonly us: KeptIdentity<Identity>
  /** Remembers work that closing must wait for. */
  tracked<T>(work: Promise<T>): Promise<T>
}

async function open(settings: TelegramSettings, host: ChannelHost, signal: AbortSignal, clock: Clock): Promise<Connection> {
  const underWay = trackWork()
  const api = createApi(settings.api_root, settings.token, host.fetch)
  // The bot's id stands in its token.
  const us = await keepIdentity(host.state, /^\d+/.exec(settings.token)?.[0] ?? '', (within) => identify(api, within), underWay)
  const account: Account = {
    api,
    settings,
    host,
    clock,
    stop: AbortSignal.any([signal, underWay.closing]),
    us,
    tracked: underWay.tracked,
  }
  const { tracked } = account
  const moves = await loadMoves(host)
  const webhook = settings.mode === 'webhook' ? serve(account) : undefined
  return {
    listen: (listener, until) => {
      const within = AbortSignal.any([account.stop, until])
      const own = { ...account, stop: within, host: { ...host, ...listener } }
      return tracked(
        (webhook ? lookAfter(own, webhook) : poll(own)).catch(explain).catch((error) => within.aborted || Promise.reject(error)),
      ).then(() => {})
    },
    render,
    send: (piece, to, options) => underWay.calling(options, (within) => send(api, moves, piece, to, within)),
    edit: (receipt, piece, options) => underWay.calling(options, (within) => edit(api, receipt, piece, within)),
    typing: async (to, signal) => {
      await api.call('sendChatAction', { ...target(to, moves), action: 'typing' }, { signal }).catch(() => undefined)
    },
    download: (file, limit, signal) => download(api, file, limit, signal),
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  }
}

/** What the platform said, or what kept us from it, by its kind; what went wrong on our side as it is. */
function explain(thrown: unknown): never {
  throw thrown instanceof ApiError || thrown instanceof FetchError ? toDeliveryError(thrown) : thrown
}

async function identify(api: Api, signal: AbortSignal): Promise<Identity> {
  const { id, username } = await api.call('getMe', {}, { signal, timeout: 10_000 })
  return { id, username }
}

// ---- Polling ----------------------------------------------------------------------------------------------------------

/** Polls. Before the first we ask who we are and remove any webhook. */
async function poll(account: Account): Promise<void> {
  const { api, us, settings, host, clock, stop } = account
  await us.ask(stop)
  await api.call('deleteWebhook', {}, { signal: stop })
  let cursor = parseKept<{ offset: number; at: number }>(await host.state.get('offset'))
  for (let first = true; !stop.aborted; first = false) {
    const offset = cursor && clock.now() - cursor.at < OFFSET_LIFE ? { offset: cursor.offset } : {}
    // The first poll doesn't wait: it tells whether we are alone.
    const timeout = first ? 0 : Math.floor(settings.poll_timeout / 1000)
    const wait = { signal: stop, timeout: settings.poll_timeout + POLL_MARGIN }
    const updates = await api.call('getUpdates', { ...offset, limit: 100, timeout, allowed_updates: UPDATES }, wait)
    host.received()
    host.report('connected')
    if (updates.length === 0) continue
    const { taken, refusal } = await admit(account, updates)
    const last = Math.max(...taken.map((update) => update?.update_id).filter(Number.isSafeInteger))
    if (Number.isFinite(last)) {
      const next = { offset: last + 1, at: clock.now() }
      await host.state.set('offset', JSON.stringify(next))
      cursor = next
    }
    if (refusal !== undefined) host.log.warn({ problem: String(refusal) }, 'updates were not taken; they stay with Telegram')
    if (refusal !== undefined || !Number.isFinite(last)) await clock.wait(retryAfter(refusal), stop)
  }
}

/** Admits a batch, chats side by side, each in its order. Answers the updates up to the first that was refused (P1). */
async function admit(account: Account, updates: readonly Update[]): Promise<{ taken: readonly Update[]; refusal: unknown }> {
  const chats = new Map<unknown, Promise<void>>()
  const results = await Promise.allSettled(
    updates.map((update) => {
      const chat = (update?.message ?? update?.edited_message ?? update?.callback_query?.message)?.chat?.id
      const work = (chats.get(chat) ?? Promise.resolve()).then(() => accept(account, update))
      chats.set(chat, work)
      return work
    }),
  )
  const refused = results.findIndex((result) => result.status === 'rejected')
  const result = results[refused]
  if (result?.status !== 'rejected') return { taken: updates, refusal: undefined }
  return { taken: updates.slice(0, refused), refusal: result.reason }
}

/** Resolves when the update needs no repetition: committed, or nothing that we could ever read. */
async function accept(account: Account, update: Update): Promise<void> {
  const { api, host, clock, stop, tracked } = account
  const identity = account.us.demand()
  const us = { id: String(identity.id), name: identity.username, username: identity.username }
  const { messages, reason } = readUpdate(update, { us, now: clock.now() })
  const [message] = messages
  if (!message) {
    if (reason?.startsWith('malformed')) host.log.warn({ update_id: update?.update_id, problem: reason }, 'skipped a malformed update')
    return
  }
  await host.receive(message)
  if (message.kind !== 'callback' || !update.callback_query) return
  const answer = api.call('answerCallbackQuery', { callback_query_id: update.callback_query.id }, { signal: stop })
  tracked(answer).catch((error: Error) => host.log.debug({ problem: error.message }, 'a pressed button was not acknowledged'))
}

function retryAfter(refusal: unknown): number {
  return (isPosthouseError(refusal) && refusal.retryAfter) || 1000
}

// ---- Webhook ----------------------------------------------------------------------------------------------------------

/** Takes what Telegram sends, on every node. Answers the secret that it must send. */
function serve(account: Account): string {
  const { secret_token: secret } = account.settings
  if (!secret)
    throw new PosthouseError('invalid', 'mode "webhook" needs secret_token: without it anybody could speak in the name of Telegram')
  account.host.routes.webhook(createReader(account.settings), (request) => account.tracked(handle(account, request)))
  return secret
}

/** Says where to send, then looks from time to time whether that still holds and whether Telegram reaches us. */
async function lookAfter(account: Account, secret: string): Promise<void> {
  const { api, us, host, clock, stop } = account
  for (let ours = false; !stop.aborted; ours = true) {
    await us.ask(stop)
    const { url } = host.routes
    if (!url) {
      host.report('degraded', 'server.public_url is not set, so Telegram cannot be told where to send; set it, or use mode: polling')
    } else {
      const info = await api.call('getWebhookInfo', {}, { signal: stop })
      await api.call('setWebhook', { url, secret_token: secret, allowed_updates: UPDATES, max_connections: 100 }, { signal: stop })
      if (ours && info.url !== url) {
        host.report('conflict', `${CONFLICT} (its webhook was ${info.url ? 'pointed somewhere else' : 'removed'}; it is set again)`)
      } else if (info.url === url && info.pending_update_count > 0 && info.last_error_message) {
        host.report('degraded', `Telegram does not reach ${url}: ${info.last_error_message}`)
      } else {
        host.received()
        host.report('connected')
      }
    }
    await clock.wait(WEBHOOK_CHECK, stop)
  }
}

async function handle(account: Account, request: WebhookRequest): Promise<WebhookResponse> {
  const { host, stop } = account
  let update: Update
  try {
    update = parseUpdate(request.body)
  } catch {
    return { status: 400 }
  }
  if (stop.aborted) return { status: 503, headers: { 'retry-after': '5' } }
  host.received()
  try {
    await accept(account, update)
    return { status: 200 }
  } catch (error) {
    host.log.warn({ update_id: update.update_id, problem: String(error) }, 'an update was not taken; Telegram repeats it')
    return { status: 503, headers: { 'retry-after': String(Math.ceil(retryAfter(error) / 1000)) } }
  }
}

// ---- The rest ---------------------------------------------------------------------------------------------------------

async function download(api: Api, file: FileRef, limit: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  const info = await api.call('getFile', { file_id: file.ref ?? '' }, { signal }).catch((error: unknown) => {
    if (error instanceof ApiError && /file is too big/i.test(error.message)) throw new PosthouseError('too-large', 'more than 20 MB')
    return refuse(error)
  })
  if ((info.file_size ?? 0) > limit) throw new PosthouseError('too-large', `${info.file_size} bytes, allowed are ${limit}`)
  if (!info.file_path) throw new DeliveryError('not-found', 'the file is not there any more')
  const response = await api.download(info.file_path, { signal }).catch(refuse)
  if (response.status !== 200)
    throw new DeliveryError(response.status >= 500 ? 'transient' : 'not-found', `the download answered ${response.status}`)
  return limited(response.body, limit)
}

function refuse(error: unknown): never {
  throw toDeliveryError(error)
}

const MOST_MOVES = 1000

async function loadMoves(host: ChannelHost): Promise<Moves> {
  const moved = new Map(parseKept<[string, string][]>(await host.state.get('moves')))
  return {
    current: (room) => moved.get(room) ?? room,
    record: async (from, to) => {
      moved.set(from, to)
      await host.state.set('moves', JSON.stringify([...moved].slice(-MOST_MOVES)))
    },
  }
}
