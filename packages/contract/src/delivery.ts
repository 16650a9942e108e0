/** The outbox's side of a message: what is sent, what came of it. */
import type { Block } from './document.ts'
import type { FileRef, Part, Place } from './message.ts'

/** A message on its way out, as the channel receives it for rendering. */
export interface OutboundMessage {
  /** Our id, the same over all attempts. */
  readonly id: string
  readonly to: Place
  /** The platform's id of the message to answer, if the answer should refer to it. */
  readonly replyTo?: string
  /** Markdown as the author (a model, an operator) wrote it. */
  readonly text: string
  /** The same text, parsed once for all channels. */
  readonly document: readonly Block[]
  readonly files?: readonly OutboundFile[]
  /** The same as data, for platforms that take events as such; the text says it to all others. */
  readonly event?: Pick<Extract<Part, { type: 'event' }>, 'event_type' | 'content'>
}

/** A file to send. `open` may be called once per attempt. */
export interface OutboundFile extends FileRef {
  readonly size: number
  /** A signed address under which anybody who has it may fetch the file for some days: for what is larger than the platform takes. */
  readonly link?: string
  open(): AsyncIterable<Uint8Array>
}

/**
 * The message with what the platform does not take (`fits` is false for it) told as links behind its text. A file without a link stays: its
 * send says what is wrong.
 */
export function withLinks(message: OutboundMessage, fits: (file: OutboundFile) => boolean): OutboundMessage {
  const linked = (message.files ?? []).filter((file) => file.link !== undefined && !fits(file))
  if (linked.length === 0) return message
  const lines = linked.map(
    ({ name, link = '' }): Block => ({
      type: 'paragraph',
      children: [
        { type: 'text', text: '📎 ' },
        { type: 'link', href: link, children: [{ type: 'text', text: name }] },
      ],
    }),
  )
  return {
    ...message,
    text: [message.text, ...linked.map(({ name, link = '' }) => `📎 ${name}: ${link}`)].filter((line) => line !== '').join('\n\n'),
    document: [...message.document, ...lines],
    files: (message.files ?? []).filter((file) => !linked.includes(file)),
  }
}

/**
 * One call to the platform. Rendering the same message gives the same pieces in the same order, so that a delivery which
 * stopped after piece n goes on with piece n + 1.
 */
export interface Piece {
  /** What a person will read; for logs of sizes, previews and `channel render`. */
  readonly text: string
  /** The platform's name of the format: `html`, `markdown`, `plain`, `card` ... */
  readonly format: string
  /** The platform's own request body, as data. */
  readonly payload: Readonly<Record<string, unknown>>
  /** The file that this piece carries, if it is an upload. */
  readonly file?: OutboundFile
}

/** What surrounds the sending of one piece. */
export interface SendOptions {
  /** The same for every attempt of this piece; channels whose platform has an idempotency key pass it on. */
  readonly idempotencyKey: string
  /** Fires when the attempt must end; the send then throws. */
  readonly signal: AbortSignal
  /** Before this time (epoch milliseconds) the piece was surely not sent: how far back `reconcile` has to look. */
  readonly since?: number
  /** The text still grows: a preview. Where a platform streams, the first such send opens the stream and an edit without it ends it. */
  readonly draft?: boolean
}

/** Proof that the platform took a piece. */
export interface Receipt {
  /** The platform's id of the message; behind a `/`, what the channel needs for an edit. */
  readonly id: string
  /** Where it was sent, for channels whose ids are only unique within a room. */
  readonly room: string
}

/**
 * Why a send failed, from the sender's point of view.
 *
 * - `transient`: surely not sent, may work later. `rate-limited`: surely not sent, wait `retryAfter`.
 * - `auth`: our credentials are refused. `permission`: we may not write there. `not-found`: the place is gone.
 * - `invalid`: the platform refuses this content. `conflict`: somebody else uses our identity. `cancelled`: we stopped it.
 * - `unknown`: it may have been sent. Never treated as "not sent".
 */
export const deliveryFailures = [
  'transient',
  'rate-limited',
  'auth',
  'permission',
  'not-found',
  'invalid',
  'conflict',
  'cancelled',
  'unknown',
] as const
export type DeliveryFailure = (typeof deliveryFailures)[number]

/** What happens after a failure; a failure that isn't retried is a dead letter at once (P6). */
export const deliveryFailureActions: Readonly<Record<DeliveryFailure, 'retry' | 'hold' | 'dead' | 'reconcile'>> = {
  transient: 'retry',
  'rate-limited': 'retry',
  auth: 'hold',
  permission: 'dead',
  'not-found': 'dead',
  invalid: 'dead',
  conflict: 'hold',
  cancelled: 'retry',
  unknown: 'reconcile',
}

/** Thrown by `Connection.send` and `edit`. `detail` is for the operator and carries no secret. */
export class DeliveryError extends Error {
  readonly kind: DeliveryFailure
  /** Milliseconds to wait at least. */
  readonly retryAfter: number | undefined
  constructor(kind: DeliveryFailure, detail: string, options: { retryAfter?: number; cause?: unknown } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'DeliveryError'
    this.kind = kind
    this.retryAfter = options.retryAfter
  }
}

/** States of an outbox entry. */
export type DeliveryState = 'pending' | 'sending' | 'sent' | 'dead' | 'dropped'

/** Which state may follow which. Storage refuses every other step; the docs print this table; tests walk it. */
export const deliverySteps: Readonly<Record<DeliveryState, readonly DeliveryState[]>> = {
  pending: ['sending', 'dead', 'dropped'],
  sending: ['sending', 'pending', 'sent', 'dead'],
  sent: [],
  dead: ['pending', 'dropped'],
  dropped: [],
}
