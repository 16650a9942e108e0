/**
 * A Telegram of one's own: an in-process server that speaks the Bot API strictly, refuses what Telegram refuses, and is
 * written in with verbs. https://core.telegram.org/bots/api
 */
import type { AddressInfo } from 'node:net'
import { createFaults, type Faults } from '../faults.ts'
import { createPosts } from '../posts.ts'
import { createFloods, type FloodLimits } from './floods.ts'
import type { World } from './methods.ts'
import { type Control, createHttpServer } from './server.ts'
import { createStore, type EmulatedUser, type LedgerEntry, type PostedMessage } from './store.ts'
import { type Confirmation, createUpdateQueue, type Webhook } from './updates.ts'
import { createVerbs, type Saying, type Verbs } from './verbs.ts'

export { type FormattedText, parseHtml as parseTelegramHtml } from './entities.ts'
export type { FloodLimits } from './floods.ts'
export type { EmulatedChat, EmulatedFile, EmulatedUser, LedgerEntry, PostedMessage } from './store.ts'
export type { Confirmation, Webhook } from './updates.ts'
export type { SaidFile, Saying, Verbs } from './verbs.ts'

export interface TelegramEmulatorOptions {
  /** Default: loopback, any free port. */
  readonly host?: string
  readonly port?: number
  readonly token?: string
  readonly bot?: { readonly id?: number; readonly username?: string; readonly first_name?: string }
  /** Off unless given; {@link telegramFloods} are Telegram's own. */
  readonly floods?: FloodLimits
  /** Milliseconds before a failed webhook call is repeated; doubles each time. Default 1000. */
  readonly retryDelay?: number
  /** The longest such wait, whatever Retry-After says. Default one minute. */
  readonly maxRetryDelay?: number
  /** What the name in the webhook's address resolves to, as `host:port`, taken in turn: several nodes behind one name. */
  readonly addresses?: () => readonly string[]
  /** Certificate (PEM) that is trusted beside the usual ones: that of a webhook. */
  readonly ca?: string
  /** How many ledger entries and posted messages are kept. Default a million. */
  readonly keep?: number
  /** Serves the verbs below `/control/` too. */
  readonly control?: boolean
}

/** https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this */
export const telegramFloods: FloodLimits = {
  global: { amount: 30, per: 1000 },
  chat: { amount: 1, per: 1000 },
  group: { amount: 20, per: 60_000 },
}

export interface TelegramEmulator extends Verbs, Pick<Faults, 'failNext' | 'heal' | 'dropReplyOf' | 'delay'>, AsyncDisposable {
  /** The `api_root` to configure. */
  readonly url: string
  readonly token: string
  readonly me: EmulatedUser & { readonly username: string }
  /** Every call of the Bot API with its outcome, oldest first. */
  readonly ledger: readonly LedgerEntry[]
  /** Updates that were not confirmed yet. */
  readonly pending: number
  /** What the bot took, in the order in which it did. */
  readonly confirmations: readonly Confirmation[]
  readonly webhook: Webhook | undefined
  /** What the bot posted and people can see, in order; of one chat or of all. */
  posted(chat?: number): readonly PostedMessage[]
  /** The first posted message (already there, new or newly edited) for which `is` holds. Default time-out 5 s. */
  waitForPosted(is: (message: PostedMessage) => boolean, timeout?: number): Promise<PostedMessage>
  /** Calls back for every message that is posted or edited. */
  onPosted(listener: (message: PostedMessage) => void): Disposable
  /** Delivers an update once more. */
  redeliver(updateId: number): void
  /** The person or group wants to hear nothing of the bot: 403 from now on. */
  block(chat: number, blocked?: boolean): void
  /** Makes a group a supergroup with another id. */
  migrate(from: number, to: number): void
}

/** Starts an emulator; disposing it closes every connection. */
export async function createTelegramEmulator(options: TelegramEmulatorOptions = {}): Promise<TelegramEmulator> {
  const token = options.token ?? '123456789:AAE-emulated_token_of_the_testkit_0001'
  const me = { id: Number(token.split(':')[0]), is_bot: true, first_name: 'Emulated', username: 'emulated_bot', ...options.bot }
  const store = createStore(me, options.keep ?? 1_000_000)
  const posts = createPosts<PostedMessage>(store.posted, ({ chat, text }) => `${chat}: ${text}`)
  const world: World = {
    store,
    updates: createUpdateQueue(
      options.retryDelay ?? 1000,
      options.maxRetryDelay ?? 60_000,
      options.keep ?? 1_000_000,
      options.addresses,
      options.ca,
    ),
    floods: createFloods(options.floods),
    callbacks: new Set(),
    changed: posts.changed,
  }
  const faults = createFaults()
  const verbs = createVerbs(world, 700_000_001)
  const posted = (chat?: number) => store.posted.filter((message) => !message.deleted && (chat === undefined || message.chat === chat))
  const server = createHttpServer(world, faults, token, options.control ? createControl(verbs, faults, posted, store.ledger) : undefined)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve)
  })
  const { address, family, port } = server.address() as AddressInfo
  const room = (chat: number) => {
    const found = store.rooms.get(chat)
    if (!found) throw new Error(`chat ${chat} is not known; say something there or call know`)
    return found
  }
  return {
    ...verbs,
    failNext: faults.failNext,
    heal: faults.heal,
    dropReplyOf: faults.dropReplyOf,
    delay: faults.delay,
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    token,
    me,
    ledger: store.ledger,
    confirmations: world.updates.confirmations,
    get pending() {
      return world.updates.pending
    },
    get webhook() {
      return world.updates.webhook
    },
    posted,
    waitForPosted: posts.wait,
    onPosted: posts.watch,
    redeliver: (id) => world.updates.again(id),
    block: (chat, blocked = true) => {
      room(chat).blocked = blocked
    },
    migrate: (from, to) => {
      const { chat } = room(from)
      store.know({ ...chat, id: to, type: 'supergroup' })
      room(from).movedTo = to
    },
    [Symbol.asyncDispose]: async () => {
      world.updates.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The emulator as a server of its own, with its verbs below `/control/`. */
export function startTelegramEmulator(options: {
  readonly host: string
  readonly port: number
  readonly token: string
}): Promise<TelegramEmulator> {
  return createTelegramEmulator({ ...options, control: true, keep: 100_000 })
}

/** `POST say edit press fail drop`, `GET posted ledger`: the verbs for people without code. */
function createControl(verbs: Verbs, faults: Faults, posted: TelegramEmulator['posted'], ledger: readonly LedgerEntry[]): Control {
  return (verb, body) => {
    if (verb === 'say') return verbs.say(body as Saying)
    if (verb === 'press') return verbs.press(body as unknown as Parameters<Verbs['press']>[0])
    if (verb === 'posted') return posted(body.chat === undefined ? undefined : Number(body.chat)).map(withoutBytes)
    if (verb === 'ledger') return ledger
    if (verb === 'fail') return faults.failNext(String(body.method), body as never) ?? true
    if (verb === 'drop') return faults.dropReplyOf(String(body.method), Number(body.times ?? 1)) ?? true
    return undefined
  }
}

function withoutBytes({ file, ...message }: PostedMessage): object {
  return file ? { ...message, file: { name: file.name, mime: file.mime, size: file.size } } : message
}
