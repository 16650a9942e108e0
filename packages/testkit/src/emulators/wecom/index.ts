/**
 * An emulator of WeCom: an organization's app (called by sealed XML, answered by the server API), an AI bot on its long connection or called by
 * sealed JSON, a group robot. Strict: what the platform refuses is refused here with its codes.
 */
import type { Fault, Faults } from '../faults.ts'
import { type PlatformAnswer, type PlatformEntry, type PlatformOptions, servePlatform } from '../platform.ts'
import { createPosts } from '../posts.ts'
import type { WebhookAttempt } from '../webhook-calls.ts'
import { createCalls, type Subscription } from './calls.ts'
import { answer, type World } from './methods.ts'
import { createPolls, type Polling } from './polls.ts'
import { type Bot, createSockets, type WecomFrame } from './sockets.ts'
import { createStore, newId, type WecomPost } from './store.ts'
import { createVerbs, type WecomSaying, type WecomVerbs } from './verbs.ts'

export { openAsWecom, sealAsWecom, signAsWecom } from './calls.ts'
export type { WecomFrame } from './sockets.ts'
export { wecomStage } from './stage.ts'
export type { WecomFile, WecomPost } from './store.ts'
export type { WecomSaid, WecomSaying, WecomVerbs } from './verbs.ts'

export interface WecomEmulatorOptions extends PlatformOptions, Partial<Subscription>, Partial<Bot>, Partial<Polling> {
  /** To whom people speak; `app` unless given. */
  readonly mode?: 'app' | 'bot' | 'bot-webhook'
  readonly key?: string
  /** Milliseconds that a token lasts. Default two hours. */
  readonly tokenLife?: number
  /** Serves the verbs below `/control/` too. */
  readonly control?: boolean
}

export interface WecomEmulator extends WecomVerbs, Pick<Faults, 'failNext' | 'heal' | 'dropReplyOf' | 'delay'>, AsyncDisposable {
  /** The `base_url` to configure, and the `ws_url`. */
  readonly url: string
  readonly ws_url: string
  readonly corp_id: string
  readonly agent_id: number
  readonly secret: string
  readonly token: string
  readonly encoding_aes_key: string
  readonly bot_id: string
  readonly key: string
  /** Every call with its outcome, named by its path below `/cgi-bin/`: `message/send`. A refusal is an `errcode` in its body. */
  readonly ledger: readonly PlatformEntry[]
  /** Every frame of a long connection, and what it was answered. */
  readonly frames: readonly WecomFrame[]
  /** What a bot that is called answered and was not taken, in words. */
  readonly refused: readonly string[]
  /** How often it was asked how far an answer is. */
  readonly polls: number
  /** Calls that were not acknowledged yet. */
  readonly pending: number
  readonly attempts: readonly WebhookAttempt[]
  /** Whether a bot is connected: 0 or 1. */
  readonly connections: number
  /** What was posted and people can see, in order; in one room or all. */
  posted(room?: string): readonly WecomPost[]
  waitForPosted(is: (post: WecomPost) => boolean, timeout?: number): Promise<WecomPost>
  onPosted(listener: (post: WecomPost) => void): Disposable
  /** Calls the app or bot at this address from now on, after asking whether it is ours. */
  subscribe(url: string | undefined): Promise<void>
  /** Makes a person or a group known. */
  know(room: string): void
  /** No credential is accepted any more, nor any token. */
  revoke(): void
  /** Tokens that were given out end now. */
  expireTokens(): void
  /** Cuts every long connection. */
  cut(): void
}

/** Starts an emulator; disposing it closes every connection. */
export async function createWecomEmulator(options: WecomEmulatorOptions = {}): Promise<WecomEmulator> {
  const subscription: Subscription = {
    corp_id: 'ww0000000000000001',
    agent_id: 1000002,
    token: 'emulated-token-of-the-app',
    encoding_aes_key: 'emulatedKey0123456789abcdefghijklmnopqrstuv',
    retryDelay: 1000,
    maxRetryDelay: 5000,
    deadline: 5000,
    attempts: 4,
    ...options,
  }
  const bot: Bot = { bot_id: 'aib-emulated', secret: 'emulated-secret-of-the-testkit', streamLife: 360_000, ...options }
  const store = createStore()
  const posts = createPosts<WecomPost>(store.posts, ({ room, text }) => `${room}: ${text}`)
  const world: World = {
    corp_id: subscription.corp_id,
    agent_id: subscription.agent_id,
    secret: bot.secret,
    key: options.key ?? 'emulated-key-of-the-robot',
    store,
    tokens: new Map(),
    tokenLife: options.tokenLife ?? 7_200_000,
    revoked: false,
    changed: posts.changed,
  }
  const { mode = 'app' } = options
  const calls = createCalls(subscription, mode === 'bot-webhook' ? 'json' : 'xml')
  let url = ''
  const sockets = createSockets(world, bot, () => platform.faults)
  const polling: Polling = { pollEvery: 1000, urlLife: 3_600_000, ...options }
  const polls = createPolls({ ...subscription, ...bot, ...polling }, world, calls, { url: () => url, faults: () => platform.faults })
  const spokenTo = { bot_id: bot.bot_id, url: () => url, ...(mode === 'bot-webhook' ? { polls } : {}) }
  const verbs = createVerbs(world, calls, sockets, mode === 'app' ? undefined : spokenTo)
  const posted = (room?: string) => store.posts.filter((post) => room === undefined || post.room === room)
  const platform = await servePlatform(options, {
    read: ({ path, body }) => ({ method: path.replace(/^\/cgi-bin\//, ''), params: paramsOf(body) }),
    answer(call, method, params) {
      const file = store.sealed.get(call.path)
      if (file) {
        const disposition = `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`
        return { headers: { 'content-disposition': disposition }, body: file.bytes }
      }
      return answer(world, call, method, params as Record<string, unknown>)
    },
    refuse,
    socket: () => (socket) => sockets.join(socket),
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
    ws_url: url.replace('http', 'ws'),
    corp_id: world.corp_id,
    agent_id: world.agent_id,
    secret: world.secret,
    token: subscription.token,
    encoding_aes_key: subscription.encoding_aes_key,
    bot_id: bot.bot_id,
    key: world.key,
    ledger: platform.ledger,
    frames: sockets.frames,
    refused: polls.refused,
    get polls() {
      return polls.count
    },
    get pending() {
      return calls.pending
    },
    attempts: calls.attempts,
    get connections() {
      return sockets.connections
    },
    posted,
    waitForPosted: posts.wait,
    onPosted: posts.watch,
    subscribe: calls.point,
    know: (room) => void store.users.add(room),
    revoke: () => {
      world.revoked = true
      world.tokens.clear()
      for (const socket of platform.sockets) socket.terminate()
    },
    expireTokens: () => {
      for (const token of world.tokens.keys()) world.tokens.set(token, 0)
    },
    cut: () => {
      for (const socket of platform.sockets) socket.terminate()
    },
    [Symbol.asyncDispose]: async () => {
      await polls[Symbol.asyncDispose]()
      await calls[Symbol.asyncDispose]()
      await platform[Symbol.asyncDispose]()
    },
  }
}

/** The emulator as a server of its own, with its verbs below `/control/`. */
export function startWecomEmulator(options: WecomEmulatorOptions): Promise<WecomEmulator> {
  return createWecomEmulator({ ...options, control: true, keep: 100_000 })
}

function paramsOf(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** `status` from 1000 on (or below 0) is a code of the platform's own, which comes with 200. */
function refuse({ status, description = 'emulated failure' }: Fault): PlatformAnswer {
  if (status >= 1000 || status < 0) return { body: { errcode: status, errmsg: `${description}, hint: [${newId()}]` } }
  return { status, body: 'emulated failure of what stands in between' }
}

/** `POST say press`, `GET posted`: the verbs for people without code. */
function controlOf(verbs: WecomVerbs, posted: WecomEmulator['posted']) {
  return (verb: string, body: Readonly<Record<string, unknown>>): unknown => {
    if (verb === 'say') return verbs.say(body as WecomSaying)
    if (verb === 'press') return verbs.press(String(body.key), body.from === undefined ? undefined : String(body.from))
    if (verb === 'posted') {
      const room = body.room === undefined ? undefined : String(body.room)
      return posted(room).map(({ file, ...post }) => (file ? { ...post, file: { name: file.name, size: file.bytes.length } } : post))
    }
    return undefined
  }
}
