/** First station: a decoded message is committed to the inbox, and only then acknowledged (P1, P2, P9). */
import {
  type Admission,
  conversationKey,
  type InboundMessage,
  type Place,
  PosthouseError,
  type Priority,
  priorities,
} from '@posthouse/contract'
import type { Clock } from '../../base/clock.ts'
import { placesFor } from '../../base/places.ts'
import type { Broker } from '../../ports/broker.ts'
import type { Lease } from '../../ports/leases.ts'
import type { Observer } from '../../ports/observer.ts'
import type { InboxStore, OutboxStore, Recorded } from '../../ports/store.ts'

export interface Origin {
  readonly account: string
  readonly channel: string
  /** For web chat and API. */
  readonly conversationId?: string
  readonly owner?: string
  readonly clientId?: string
  /** `interactive` unless told otherwise. */
  readonly priority?: Priority
  /** In whose name it was received. */
  readonly lease?: Lease
}

export interface AcceptLimits {
  /** Admitted and not yet ended, over all lanes. */
  readonly waiting: number
  /** The same for one lane. */
  readonly lane: number
}

/** Messages admitted and not yet ended. */
export interface Depth {
  readonly total: number
  /** Of one conversation, by its key. */
  of(lane: string): number
}

/** Names a conversation before it has an id. */
export function laneKey(account: string, place: Place): string {
  const { room, thread } = conversationKey(account, place)
  return `${account}\n${room}\n${thread}`
}

/** How long a sender should wait when the queue is full. */
const RETRY_AFTER = 5000

/** @throws PosthouseError `overloaded` when the queue is full, `unavailable` when the database takes no writes. */
export type Accept = (message: InboundMessage, origin: Origin) => Promise<Admission & { readonly recorded: Recorded | undefined }>

export interface AcceptParts {
  readonly inbox: InboxStore
  readonly outbox: Pick<OutboxStore, 'isOurs'>
  readonly broker: Broker
  readonly depth: Depth
  readonly limits: AcceptLimits
  readonly observer: Observer
  readonly clock: Clock
  /** Whether it ends what was asked before it. */
  readonly stops: (message: InboundMessage, origin: Origin) => boolean
  /** Called after the commit, before the acknowledgement. Must not throw. */
  readonly admitted: (recorded: Recorded, message: InboundMessage, origin: Origin) => void
}

export function createAccept(parts: AcceptParts): Accept {
  const { inbox, outbox, broker, depth, limits, observer, clock } = parts
  /** Where its reader cannot tell: whether it answers what we sent, by our own receipts. */
  const answersUs = async ({ id, place, replyTo = place.thread, answersUs }: InboundMessage, { account }: Origin) =>
    answersUs === undefined && replyTo !== undefined && replyTo !== id && (await outbox.isOurs(account, place, replyTo))
  return async (message, origin) => {
    const started = clock.elapsed()
    const done = (status: Admission['status'], recorded: Recorded | undefined) => {
      observer.admitted({ channel: origin.channel, status, took: clock.elapsed() - started })
      return { status, messageId: recorded?.messageId ?? '', conversationId: recorded?.conversationId ?? '', recorded }
    }
    // Bots are not answered, or two of them would talk for ever. What is not meant for us is not kept either.
    if (message.author.isBot || message.kind === 'reaction') return done('ignored', undefined)
    if (!message.addressed && !(await answersUs(message, origin))) return done('ignored', undefined)
    const { priority = priorities.interactive } = origin
    if (depth.total >= placesFor(priority, limits.waiting)) throw new PosthouseError('overloaded', undefined, { retryAfter: RETRY_AFTER })
    const full = depth.of(laneKey(origin.account, message.place)) >= limits.lane
    // A client of ours can be told to come back. A platform cannot be told so for one room alone: it would hold the others.
    if (full && origin.conversationId) {
      throw new PosthouseError('overloaded', 'this conversation has too many unanswered messages', { retryAfter: RETRY_AFTER })
    }
    const recorded = await inbox.record({
      account: origin.account,
      message,
      priority,
      refused: full && message.command?.name !== 'stop',
      stops: parts.stops(message, origin),
      ...(origin.conversationId ? { conversationId: origin.conversationId } : {}),
      ...(origin.owner ? { owner: origin.owner } : {}),
      ...(origin.clientId ? { clientId: origin.clientId } : {}),
      ...(origin.lease ? { lease: origin.lease } : {}),
    })
    if (recorded.status === 'admitted') {
      parts.admitted(recorded, message, origin)
      broker.publish({ lane: recorded.conversationId, priority })
    } else if (recorded.status !== 'duplicate') {
      parts.admitted(recorded, message, origin)
    }
    return done(recorded.status === 'duplicate' ? 'duplicate' : 'admitted', recorded)
  }
}
