/**
 * A Feishu (Lark) of one's own: an in-process server that speaks the open platform's API, its long connection and its webhooks strictly,
 * refuses what the platform refuses, and is written in with verbs. https://open.feishu.cn/document
 */
import type { Fault, Faults } from '../faults.ts'
import { type PlatformAnswer, type PlatformEntry, type PlatformOptions, servePlatform } from '../platform.ts'
import { createPosts } from '../posts.ts'
import type { WebhookAttempt } from '../webhook-calls.ts'
import { Refusal } from './cards.ts'
import { createEvents, type Subscription } from './events.ts'
import { authorize, routes, type World } from './methods.ts'
import { createStore, type FeishuPost, newId } from './store.ts'
import { createVerbs, type FeishuSaying, type FeishuVerbs } from './verbs.ts'

export { textOfMarkdown as textOfFeishuMarkdown } from './cards.ts'
export { seal as sealAsFeishu, sign as signAsFeishu } from './events.ts'
export { decodeFrame as decodeFeishuFrame, encodeFrame as encodeFeishuFrame, type Frame as FeishuFrame } from './frames.ts'
export { feishuStage } from './stage.ts'
export type { FeishuChat, FeishuFile, FeishuPost } from './store.ts'
export type { FeishuSaid, FeishuSaying, FeishuVerbs } from './verbs.ts'

export interface FeishuEmulatorOptions extends PlatformOptions, Partial<Omit<Subscription, 'app_id'>> {
  readonly app_id?: string
  readonly app_secret?: string
  /** Milliseconds that a token lasts. Default two hours. */
  readonly tokenLife?: number
  /** Serves the verbs below `/control/` too. */
  readonly control?: boolean
}

export interface FeishuEmulator extends FeishuVerbs, Pick<Faults, 'failNext' | 'heal' | 'dropReplyOf' | 'delay'>, AsyncDisposable {
  /** The `base_url` to configure. */
  readonly url: string
  readonly app_id: string
  readonly app_secret: string
  readonly verification_token: string
  readonly encrypt_key: string | undefined
  readonly bot: World['bot']
  /** Every call with its outcome, oldest first; named as the platform's SDKs name it: `im.message.create`. */
  readonly ledger: readonly PlatformEntry[]
  /** Events that were not acknowledged yet. */
  readonly pending: number
  /** How often events were handed over, and what came of it. */
  readonly attempts: readonly WebhookAttempt[]
  /** Long connections that are open. */
  readonly connections: number
  readonly pings: number
  /** What the bot posted and people can see, in order; of one chat or of all. */
  posted(chat_id?: string): readonly FeishuPost[]
  waitForPosted(is: (post: FeishuPost) => boolean, timeout?: number): Promise<FeishuPost>
  onPosted(listener: (post: FeishuPost) => void): Disposable
  /** Marks that the bot set and did not take back, by message. */
  marks(message_id: string): readonly string[]
  redeliver(event_id: string): void
  /** Hands events over by this webhook from now on; without it by long connections again. */
  subscribe(url: string | undefined): Promise<void>
  /** The bot is turned away: from a group, or by a person. */
  close(chat_id: string, closed?: boolean): void
  /** The secret is not accepted any more, nor any token. */
  revoke(): void
  /** Tokens that were given out end now. */
  expireTokens(): void
  /** The app lacks this scope from now on. */
  withdraw(scope: string): void
  /** Cuts every long connection. */
  cut(): void
}

const DEFAULTS = { retryDelay: 1000, maxRetryDelay: 60_000, deadline: 3000, partSize: 64 * 1024, pingInterval: 120 }

/** Starts an emulator; disposing it closes every connection. */
export async function createFeishuEmulator(options: FeishuEmulatorOptions = {}): Promise<FeishuEmulator> {
  const app = { app_id: options.app_id ?? 'cli_a000000000000001', app_secret: options.app_secret ?? 'emulated-secret-of-the-testkit-01' }
  const subscription: Subscription = {
    ...DEFAULTS,
    verification_token: 'emulated-verification-token',
    encrypt_key: undefined,
    ...options,
    app_id: app.app_id,
  }
  const store = createStore()
  const posts = createPosts<FeishuPost>(store.posts, ({ chat_id, text }) => `${chat_id}: ${text}`)
  const events = createEvents(subscription)
  const tickets = new Set<string>()
  let url = ''
  const world: World = {
    app,
    bot: { open_id: 'ou_bot', app_name: 'Emulated' },
    store,
    tokens: new Map(),
    tokenLife: options.tokenLife ?? 7_200_000,
    revoked: false,
    missing: new Set(),
    connections: () => events.connections,
    connect: () => {
      const ticket = newId('')
      tickets.add(ticket)
      const query = `device_id=${newId('')}&service_id=33554678&ticket=${ticket}`
      const ClientConfig = { PingInterval: subscription.pingInterval, ReconnectCount: -1, ReconnectInterval: 120, ReconnectNonce: 30 }
      return { URL: `${url.replace('http', 'ws')}/ws/v2?${query}`, ClientConfig }
    },
    changed: posts.changed,
  }
  const verbs = createVerbs(world, events)
  const posted = (chat?: string) => store.posts.filter((post) => !post.deleted && (chat === undefined || post.chat_id === chat))
  const platform = await servePlatform(options, {
    read(call) {
      const route = routes.find(({ method, path }) => method === call.method && path.test(call.path))
      return { method: route?.name ?? `${call.method} ${call.path}`, params: paramsOf(call.body) }
    },
    answer(call, method, params) {
      const route = routes.find(({ name }) => name === method)
      if (!route) return { status: 404, body: '404 page not found' }
      try {
        authorize(world, call, route)
        const ids = (route.path.exec(call.path) ?? []).slice(1)
        const said = route.answer(world, call, ids, params as Record<string, unknown>)
        return { body: said instanceof Uint8Array ? said : { code: 0, msg: 'success', ...said } }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return { status: error.status, body: { code: error.code, msg: error.message } }
      }
    },
    refuse,
    socket({ path, query }) {
      const ticket = query.get('ticket') ?? ''
      // Good for one connection.
      if (path !== '/ws/v2' || !tickets.delete(ticket)) return 403
      return (socket) => events.join(socket, Number(query.get('service_id')))
    },
    ...(options.control ? { control: controlOf(verbs, posted) } : {}),
  })
  url = platform.url
  return {
    ...verbs,
    failNext: platform.faults.failNext,
    heal: platform.faults.heal,
    dropReplyOf: platform.faults.dropReplyOf,
    delay: platform.faults.delay,
    url,
    ...app,
    verification_token: subscription.verification_token,
    encrypt_key: subscription.encrypt_key,
    bot: world.bot,
    ledger: platform.ledger,
    get pending() {
      return events.pending
    },
    attempts: events.attempts,
    get connections() {
      return events.connections
    },
    get pings() {
      return events.pings
    },
    posted,
    waitForPosted: posts.wait,
    onPosted: posts.watch,
    marks: (id) => [...store.reactions.values()].filter(({ message_id }) => message_id === id).map(({ emoji_type }) => emoji_type),
    redeliver: events.again,
    subscribe: events.point,
    close: (chat_id, closed = true) => {
      const chat = store.chats.get(chat_id)
      if (!chat) throw new Error(`the chat ${chat_id} is not known`)
      chat.closed = closed
    },
    revoke: () => {
      world.revoked = true
      world.tokens.clear()
      for (const socket of platform.sockets) socket.terminate()
    },
    expireTokens: () => world.tokens.clear(),
    withdraw: (scope) => void world.missing.add(scope),
    cut: () => {
      for (const socket of platform.sockets) socket.terminate()
    },
    [Symbol.asyncDispose]: async () => {
      await events[Symbol.asyncDispose]()
      await platform[Symbol.asyncDispose]()
    },
  }
}

/** The emulator as a server of its own, with its verbs below `/control/`. */
export function startFeishuEmulator(options: FeishuEmulatorOptions): Promise<FeishuEmulator> {
  return createFeishuEmulator({ ...options, control: true, keep: 100_000 })
}

function paramsOf(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** `status` from 1000 on is a code of the platform's own, which comes with 400; 429 is its limit of calls. */
function refuse({ status, description = 'emulated failure', retryAfter }: Fault): PlatformAnswer {
  const headers = retryAfter === undefined ? {} : { 'x-ogw-ratelimit-limit': '50', 'x-ogw-ratelimit-reset': String(retryAfter) }
  const code = status >= 1000 ? status : status === 429 ? 99991400 : 2200
  return { status: status >= 1000 ? 400 : status, headers, body: { code, msg: description } }
}

/** `POST say edit recall press react`, `GET posted`: the verbs for people without code. */
function controlOf(verbs: FeishuVerbs, posted: FeishuEmulator['posted']) {
  return (verb: string, body: Readonly<Record<string, unknown>>): unknown => {
    const message_id = String(body.message_id)
    if (verb === 'say') return verbs.say(body as FeishuSaying)
    if (verb === 'edit') return verbs.edit({ message_id }, String(body.text))
    if (verb === 'recall') return verbs.recall({ message_id })
    if (verb === 'react') return verbs.react(message_id, String(body.emoji_type))
    if (verb === 'press') return verbs.press(message_id, body.value as object)
    if (verb === 'posted') {
      const chat = body.chat === undefined ? undefined : String(body.chat)
      return posted(chat).map(({ file, ...post }) => (file ? { ...post, file: { name: file.name, size: file.bytes.length } } : post))
    }
    return undefined
  }
}
