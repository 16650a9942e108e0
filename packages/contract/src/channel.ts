/** What a channel is: the adapter between one platform and the message's way. */
import type { DeliveryFailure, OutboundMessage, Piece, Receipt, SendOptions } from './delivery.ts'
import type { Fetch, PlatformCrypto, WebhookRequest, WebhookResponse } from './fetch.ts'
import type { Admission, FileKind, FileRef, InboundMessage, Place } from './message.ts'
import type { Reader } from './reader.ts'
import type { Schema } from './schema.ts'
import type { Connect } from './socket.ts'

/** A token bucket: `amount` calls within `per` milliseconds. */
export interface Rate {
  readonly amount: number
  readonly per: number
}

/**
 * What a call is for: a piece of a message, one with a file, the beginning of a preview, its growing, the answer in a preview's place, a sign that
 * an answer is being written.
 */
export type CallKind = 'send' | 'upload' | 'draft' | 'edit' | 'finish' | 'typing'

/** Buckets that each of `calls` takes a place in: the account's, and that of its room. */
export interface CallRates {
  readonly calls: readonly CallKind[]
  readonly account?: Rate
  readonly direct?: Rate
  readonly group?: Rate
}

/**
 * How fast we may be. What stands at the top may be set otherwise by an operator; unless `calls` tells, it counts what posts or completes a message.
 * `methods`: what the platform allows of one of its methods beside that, by its name there. A call waits until it has its place in every bucket that
 * counts it; a preview and the sign of writing are left out instead, and leave half of each bucket to what must go.
 */
export interface RateLimits extends Partial<CallRates> {
  readonly methods?: Readonly<Record<string, CallRates>>
}

/** What the platform allows, as data. Figures come from the platform's documentation; the channel names the page. */
export interface Capabilities {
  readonly maxText: { readonly limit: number; readonly unit: 'bytes' | 'utf16' | 'code-points' }
  /** Bytes that may be sent, by kind; a kind that is absent can't be sent. */
  readonly upload: Partial<Readonly<Record<FileKind, number>>>
  /** Bytes that may be fetched. */
  readonly download: number
  /** `single`: one node by lease. `spread`: several connections share the flow. `stateless`: webhooks on any node. */
  readonly ownership: 'single' | 'spread' | 'stateless'
  /** Of an account that is owned `single`: only the node that listens can send, over its connection. */
  readonly sendsOverConnection?: boolean
  /** Whether we may write first. */
  readonly proactive: boolean
  /** How long after a message an answer is allowed, in milliseconds. */
  readonly replyWindow?: number
  /** Whether the platform refuses a second send with the same key. */
  readonly idempotentSend: boolean
  /** Whether each answer names the message that it answers also in a direct place, because people (mail threads) or the channel (Discord's interactions) find it by that. */
  readonly answersRefer?: boolean
  /** How long the platform waits for an acknowledgement, and how long it repeats an unacknowledged message, in milliseconds. */
  readonly ackDeadline: number
  readonly retryWindow: number
  readonly rates: RateLimits
  /** How long the sign of writing stands, in milliseconds: so often it is shown again. Four seconds unless told. */
  readonly typingLasts?: number
  /** The least time between two edits of a draft, in milliseconds. */
  readonly draftInterval?: number
  /** A draft may only grow: it gets no mark at its end that the next one would have to take away. */
  readonly draftGrows?: boolean
}

/** Small durable state of one account: cursors, tokens. Sealed at rest. A key that begins with `~` may be forgotten three hours after it was written. */
export interface KeyValue {
  get(key: string): Promise<string | undefined>
  set(key: string, value: string): Promise<void>
  /** Puts `value` where `before` still stands (undefined: nothing), for what several nodes change; answers whether it did. */
  swap(key: string, before: string | undefined, value: string): Promise<boolean>
}

/** A channel's door for HTTP calls from its platform, at `/api/webhook/{account}`. */
export interface Routes {
  /** The address that the platform must be given; undefined while no public address is configured. */
  readonly url: string | undefined
  /**
   * Serves the account's webhook until the connection is disposed. The request reaches `handle` only after one of the reader's
   * `verification` held over the raw bytes; the answer is sent after `handle` resolved, thus after the inbox commit. What `challenge`
   * answers reaches nobody else.
   */
  webhook(door: Pick<Reader, 'verification' | 'challenge'>, handle: (request: WebhookRequest) => Promise<WebhookResponse>): void
}

/** The state of a connection as an operator sees it (P11). `standby`: another node receives, this one only sends. */
export type ConnectionState = 'starting' | 'standby' | 'connected' | 'degraded' | 'needs-auth' | 'conflict' | 'rate-limited'

export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What the gateway lends to a channel. */
export interface ChannelHost {
  readonly account: string
  readonly log: Logger
  readonly state: KeyValue
  readonly routes: Routes
  readonly fetch: Fetch
  readonly connect: Connect
  readonly crypto: PlatformCrypto
  /**
   * Hands over what the platform told us. Resolves after the inbox commit: only then may the platform get its acknowledgement (P1).
   * @throws PosthouseError `overloaded` (with `retryAfter`) when the queue is full: answer 429/503 or keep the cursor where it is.
   */
  receive(message: InboundMessage): Promise<Admission>
  /** The platform gave a sign of life: a frame, an empty poll, a webhook. Health is judged by its age (P11). */
  received(): void
  /** Says what the operator should see; `problem` in plain words with the remedy. */
  report(state: ConnectionState, problem?: string): void
}

/** What receiving works with: it counts only as long as this node owns the account. What is refused here must not be acknowledged. */
export type Listener = Pick<ChannelHost, 'receive' | 'received' | 'state'>

/** An open account, ready to send. Disposing it stops receiving, ends what is in flight and resolves when all is quiet. */
export interface Connection extends AsyncDisposable {
  /**
   * Receives, or looks after the webhook, until the signal fires; rejects when that broke, best with a DeliveryError. The gateway calls it again after a while; of an account
   * that is owned `single`, on one node at a time.
   */
  listen?(host: Listener, signal: AbortSignal): Promise<void>
  /** Pure: the platform calls that show this message, nothing cut, within the platform's limits. */
  render(message: OutboundMessage): readonly Piece[]
  /**
   * Sends one piece, once.
   * @throws DeliveryError of a closed kind; never retries by itself.
   */
  send(piece: Piece, to: Place, options: SendOptions): Promise<Receipt>
  /** Puts `piece` in the place of what `receipt` names. Repeating it changes nothing, so an ambiguous edit may be repeated. */
  edit?(receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt>
  /**
   * Shows that an answer is being written, best by a mark on `message` where the platform shows no typing. Best effort; the gateway
   * repeats it as `typingLasts` tells, and fires the signal when the answer is there.
   */
  typing?(to: Place, signal: AbortSignal, message?: string): Promise<void>
  /**
   * What somebody who wrote there is called; undefined where nobody says. Asked when a model is to be told who speaks in a group, for those whose
   * messages came without a name: no message waits for one. Best effort; keep what you learn for a while, as it is asked with each answer.
   */
  nameOf?(person: string, place: Place, signal: AbortSignal): Promise<string | undefined>
  /** Bytes of a received file, at most `limit`; throws when there are more. */
  download?(file: FileRef, limit: number, signal: AbortSignal): Promise<Download>
  /** Was the piece sent? Asked after an ambiguous send. */
  reconcile?(piece: Piece, to: Place, options: SendOptions): Promise<'sent' | 'not-sent' | 'unknown'>
}

/** The bytes of a file, and its name where only now that is told. */
export interface Download extends AsyncIterable<Uint8Array> {
  readonly name?: string
}

/** Who we are on a platform. */
export interface Identity {
  readonly id: string
  readonly name: string
  /** As people mention us, without `@`; where that is not the id. */
  readonly username?: string
}

/** What an operator is told after a failure to receive, and how long the gateway waits at least and at most before the next try. */
export interface Setback {
  readonly remedy: string
  readonly least?: number
  readonly most?: number
}

/** An adapter for one platform. */
export interface Channel<S = Record<string, unknown>> {
  readonly id: string
  readonly settings: Schema<S>
  readonly capabilities: Capabilities
  /** Where they depend on the account; else all accounts have `capabilities`. */
  capabilitiesOf?(settings: S): Capabilities
  /** Where the platform differs from what is usual; `transient` stands for whatever has no entry. */
  readonly setbacks?: Partial<Readonly<Record<DeliveryFailure, Setback>>>
  /**
   * Asks the platform whether our credentials work, without receiving anything; the answer names our identity there.
   * Undefined where the platform cannot be asked: then only what it sends tells that it is there.
   * @throws DeliveryError of kind `auth` when they do not.
   */
  probe(settings: S, host: Pick<ChannelHost, 'fetch' | 'connect' | 'crypto'>, signal: AbortSignal): Promise<Identity | undefined>
  /** How what the platform sends is understood; `posthouse channel decode` shows it. */
  reader?(settings: S): Reader | Promise<Reader>
  /** Makes ready to send, and to receive by webhook; on every node. It does not throw because the platform is down. */
  open(settings: S, host: ChannelHost, signal: AbortSignal): Promise<Connection>
}
