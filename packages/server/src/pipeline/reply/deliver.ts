/**
 * Last station: what the outbox promises is sent, piece by piece, in the order of each conversation.
 *
 * Every attempt is journaled before it is made (P6). What then happens is one of: confirmed, tried again later, or buried as a dead
 * letter. An attempt whose end nobody knows is reconciled, or repeated with the platform's idempotency key, or repeated
 * once and marked `maybe_duplicate`.
 */
import {
  type Connection,
  DeliveryError,
  type DeliveryFailure,
  deliveryFailureActions,
  type Logger,
  type OutboundMessage,
  type Piece,
  type Receipt,
  type SendOptions,
} from '@posthouse/contract'
import { backoff } from '../../base/backoff.ts'
import type { Clock } from '../../base/clock.ts'
import type { TaskGroup } from '../../base/lifecycle.ts'
import { persist } from '../../base/persist.ts'
import type { Account, Accounts } from '../../ports/accounts.ts'
import type { Blobs } from '../../ports/blobs.ts'
import type { Node } from '../../ports/node.ts'
import type { Observer } from '../../ports/observer.ts'
import type { Rates } from '../../ports/rates.ts'
import { type Conversation, type Delivery, type OutboxStore, StaleDelivery } from '../../ports/store.ts'
import { parseMarkdown, withMark } from '../markdown.ts'

export interface Deliver {
  /** Takes a delivery that is committed; one that is in hand already is not taken twice. */
  take(delivery: Delivery): void
  /** Whether a send may go at once: then its first attempt may be journaled with the message itself. Takes the place. */
  ready(account: Account, conversation: Pick<Conversation, 'id' | 'place'>, draft: Receipt | undefined): Promise<boolean>
  /** A delivery is about to be committed as begun: until it is taken, nobody may think that it was forgotten. */
  expect(id: string): Disposable
  /** Takes what of a conversation is for this node to send, in order. */
  look(conversation: Pick<Conversation, 'id' | 'account'>): Promise<void>
  /** Takes what is due and in nobody's hands: also what a node was sending that is no more. */
  sweep(): Promise<void>
  /** No waiting any more: what has to wait stays in the database; what may go at once still goes. */
  rest(): void
  stop(): void
  readonly size: number
}

const MOST_ATTEMPTS = 12
const RETRY = { first: 1000, most: 300_000 }
/** Credentials refused, identity in use: nothing gets better in a second. */
const HOLD = { first: 30_000, most: 600_000 }
/** While the account is not connected. */
const PARKED = { first: 200, most: 10_000 }
/** How long a delivery waits for an account that is not configured: it may come back with the next correction. */
const CLOSED_FOR = 3_600_000
/** How long the address of a file that is too large for its platform is good. */
const LINK_LIFE = 7 * 86_400_000
const SEND_TIMEOUT = 60_000
const SWEEP = 1000
/** Mark of an answer that somebody stopped; needs no translation. */
const STOPPED = '⏹'

type Verdict = 'confirmed' | { readonly retryAt: number; readonly unknowns: number } | 'buried'

/** `interrupted`: whoever had it before was in an attempt, nobody knows its end. `parked`: times that there was no connection. */
type InHand = Delivery & { readonly interrupted?: boolean; readonly parked?: number }

export function createDeliver(parts: {
  readonly node: Node
  readonly outbox: OutboxStore
  readonly blobs: Blobs
  /** The signed address of a file, good until then; undefined without a public address. */
  readonly linkTo: (fileId: string, expires: number) => string | undefined
  readonly accounts: Accounts
  readonly rates: Rates
  readonly tasks: TaskGroup
  readonly observer: Observer
  readonly clock: Clock
  readonly log: Logger
}): Deliver {
  const { node, outbox, blobs, linkTo, accounts, rates, tasks, observer, clock, log } = parts
  const chains = new Map<string, InHand[]>()
  const held = new Set<string>()
  const expected = new Set<string>()
  const resting = new AbortController()
  const stopping = new AbortController()
  const write = <T>(work: () => Promise<T>) => persist(work, { clock, log, signal: stopping.signal })

  const take = (delivery: InHand) => {
    if (held.has(delivery.id)) return
    held.add(delivery.id)
    const chain = chains.get(delivery.conversationId)
    if (chain) {
      chain.push(delivery)
      return
    }
    chains.set(delivery.conversationId, [delivery])
    tasks.run(() => walk(delivery.conversationId))
  }

  const look: Deliver['look'] = async ({ id, account }) => {
    if (!node.live) return
    if (accounts.find(account)?.elsewhere) {
      // The node that can send finds it with its next look. What is under way here gives the rest back itself.
      if (!chains.has(id)) await outbox.release(node.id, id)
      return
    }
    for (const delivery of await outbox.adopt(node.id, id)) {
      // It comes by itself, and what is behind it with the next look.
      if (expected.has(delivery.id)) return
      // Begun and in nobody's hands: whoever began it is no more.
      take({ ...delivery, interrupted: delivery.state === 'sending' && delivery.attempts > 0 })
    }
  }

  /** Sends a conversation's deliveries one after the other. */
  const walk = async (conversationId: string) => {
    const chain = chains.get(conversationId) ?? []
    try {
      while (chain[0] && !stopping.signal.aborted) {
        // What waits holds what is behind it.
        if (!(await settle(chain[0]))) break
        const settled = chain.shift()
        if (settled) held.delete(settled.id)
      }
    } catch (error) {
      const fields = { err: error, conversation: conversationId }
      if (error instanceof StaleDelivery) {
        observer.fenced({ what: 'delivery' })
        log.warn(fields, 'deliveries of a conversation are for another node to send by now')
      } else log.error(fields, 'deliveries of a conversation stopped; the sweep takes them up again')
    } finally {
      for (const left of chain) held.delete(left.id)
      chains.delete(conversationId)
    }
  }

  /** Waits, and answers whether there may be done more after it. */
  const wait = async (ms: number) => {
    if (ms > 0) await clock.sleep(ms, resting.signal)
    return !stopping.signal.aborted && (ms <= 0 || !resting.signal.aborted)
  }

  /** Answers whether the delivery was brought to its end. */
  const settle = async (delivery: InHand): Promise<boolean> => {
    let current: InHand | undefined = delivery
    while (current) {
      if (!(await wait(current.nextAt - clock.now()))) return false
      const account = accounts.find(current.account)
      if (account?.elsewhere) {
        const { node: owner, conversationId } = current
        await write(() => outbox.release(owner, conversationId))
        return false
      }
      if (isStale(current, account)) {
        const { id, node: owner } = current
        await write(() => outbox.bury(owner, id, 'stale', 'older than the channel allows to be sent by itself'))
        observer.delivered({ channel: account?.channel ?? 'closed', result: 'stale', took: 0 })
        return true
      }
      if (!account?.connection) {
        const parked: number = (current.parked ?? 0) + 1
        current = { ...current, parked, nextAt: clock.now() + backoff(parked, PARKED) }
      } else {
        const next = await sendOnce(current, account, account.connection)
        if (next === 'waits') return false
        current = next
      }
    }
    return true
  }

  const isStale = (delivery: Delivery, account: Account | undefined) => {
    const freshness = account ? account.freshness : CLOSED_FOR
    return freshness !== undefined && clock.now() - Math.max(delivery.createdAt, delivery.releasedAt ?? 0) > freshness
  }

  /** One attempt at the piece in turn. Answers how the delivery stands, or undefined when it is settled; `waits`: there is no time left for it. */
  const sendOnce = async (delivery: InHand, account: Account, connection: Connection): Promise<InHand | 'waits' | undefined> => {
    const pieces = connection.render(toOutbound(delivery))
    const piece = pieces[delivery.confirmed]
    const confirmed = async (receipt: Receipt): Promise<InHand | undefined> => {
      const last = delivery.confirmed + 1 >= pieces.length
      await write(() => outbox.confirm(delivery.node, delivery.id, receipt, last))
      return last
        ? undefined
        : { ...delivery, interrupted: false, confirmed: delivery.confirmed + 1, state: 'sending', attempts: 0, unknowns: 0 }
    }
    const failed = async (attempts: number, failure: DeliveryError): Promise<InHand | undefined> => {
      const verdict = await judge({ ...delivery, attempts }, account, piece, failure)
      if (verdict === 'buried') return undefined
      if (verdict === 'confirmed') return await confirmed({ id: '', room: delivery.place.room })
      return { ...delivery, interrupted: false, state: 'pending', attempts, unknowns: verdict.unknowns, nextAt: verdict.retryAt }
    }
    if (delivery.interrupted) return await failed(delivery.attempts, new DeliveryError('unknown', 'the process ended during the attempt'))

    // The first attempt may have been journaled with the message itself.
    const journaled = delivery.state === 'sending' && delivery.attempts > 0
    if (!journaled) {
      const kind = piece?.file ? 'upload' : piece && edits(delivery, piece, connection) ? 'finish' : 'send'
      const held = await rates.reserve(account.id, delivery.place, account.rates, kind)
      observer.rateWaited({ channel: account.channel, call: kind, wait: held })
      if (!(await wait(held))) return 'waits'
      demandOurs(delivery)
      await write(() => outbox.begin(delivery.node, delivery.id))
    }
    const attempts = journaled ? delivery.attempts : delivery.attempts + 1
    if (!piece) return await confirmed({ id: '', room: delivery.place.room })
    const started = clock.elapsed()
    const observed = (result: string) => observer.delivered({ channel: account.channel, result, took: clock.elapsed() - started })
    let receipt: Receipt
    try {
      receipt = await attempt(delivery, piece, account, connection)
    } catch (error) {
      if (error instanceof StaleDelivery) throw error
      const failure = asDeliveryError(error)
      observed(failure.kind)
      return await failed(attempts, failure)
    }
    observed('sent')
    return await confirmed(receipt)
  }

  /** Right before each call to a platform: this node may have slept for so long that another took over. */
  const demandOurs = ({ id, node: owner }: Delivery) => {
    if (!node.live || node.id !== owner) throw new StaleDelivery(`the delivery ${id} may be another node's by now`)
  }

  /** A call to the platform, with its key and its limit of time. */
  const call = async <T>(delivery: Delivery, make: (options: SendOptions) => Promise<T>): Promise<T> => {
    demandOurs(delivery)
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), SEND_TIMEOUT)
    try {
      const options = { idempotencyKey: `${delivery.id}:${delivery.confirmed}`, signal: late.signal, since: delivery.createdAt }
      return await make(options)
    } finally {
      clearTimeout(timer)
    }
  }

  const attempt = async (delivery: Delivery, piece: Piece, account: Account, connection: Connection): Promise<Receipt> => {
    const { edit } = connection
    if (edit && edits(delivery, piece, connection)) {
      try {
        return await call(delivery, (options) => edit.call(connection, delivery.draft, piece, options))
      } catch (error) {
        // The preview is gone: the answer becomes a message of its own.
        if (error instanceof StaleDelivery || asDeliveryError(error).kind !== 'not-found') throw error
        // It counts, and does not wait: the attempt is under way.
        await rates.reserve(account.id, delivery.place, account.rates, 'send')
      }
    }
    return await call(delivery, (options) => connection.send(piece, delivery.place, options))
  }

  const toOutbound = (delivery: Delivery): OutboundMessage => {
    const text = delivery.stopped ? withMark(delivery.text, STOPPED) : delivery.text
    return {
      id: delivery.id,
      to: delivery.place,
      ...(delivery.replyTo ? { replyTo: delivery.replyTo } : {}),
      text,
      document: parseMarkdown(text),
      ...(delivery.event ? { event: delivery.event } : {}),
      files: delivery.files.flatMap((file) => {
        const { id } = file
        if (id === undefined) return []
        // By the delivery's own time, so that it renders alike on every attempt.
        const link = linkTo(id, delivery.createdAt + LINK_LIFE)
        return [{ ...file, size: file.size ?? 0, open: () => blobs.get(id), ...(link ? { link } : {}) }]
      }),
    }
  }

  const judge = async (delivery: Delivery, account: Account, piece: Piece | undefined, failure: DeliveryError): Promise<Verdict> => {
    const action = deliveryFailureActions[failure.kind]
    const detail = failure.message
    const fields = { delivery: delivery.id, account: account.id, kind: failure.kind, attempts: delivery.attempts, detail }
    const bury = async (reason: DeliveryFailure | 'exhausted'): Promise<Verdict> => {
      log.warn(fields, 'a delivery became a dead letter: see `posthouse dead list`')
      await write(() => outbox.bury(delivery.node, delivery.id, reason, detail))
      return 'buried'
    }
    const retry = async (wait: number, ambiguous = false): Promise<Verdict> => {
      const nextAt = clock.now() + wait
      log.info({ ...fields, wait }, 'a delivery is tried again')
      await write(() => outbox.retry(delivery.node, delivery.id, { failure: failure.kind, detail, nextAt, ambiguous }))
      return { retryAt: nextAt, unknowns: delivery.unknowns + (ambiguous ? 1 : 0) }
    }
    const later = Math.max(failure.retryAfter ?? 0, backoff(delivery.attempts, action === 'hold' ? HOLD : RETRY))
    if (action === 'dead') return await bury(failure.kind)
    if (action === 'hold') return await retry(later)
    if (delivery.attempts >= MOST_ATTEMPTS) return await bury('exhausted')
    if (failure.kind === 'rate-limited') {
      const wait = failure.retryAfter ?? later
      rates.pause(account.id, delivery.place.room, wait)
      return await retry(wait)
    }
    if (action === 'retry' || account.capabilities.idempotentSend || !piece || edits(delivery, piece, account.connection))
      return await retry(later)
    const answer = await reconcile(delivery, account, piece)
    if (answer === 'sent') return 'confirmed'
    if (answer === 'not-sent') return await retry(later)
    // Once more, marked; a second unknown end is for an operator to judge.
    return delivery.unknowns >= 1 ? await bury('unknown') : await retry(later, true)
  }

  const reconcile = async (delivery: Delivery, account: Account, piece: Piece) => {
    try {
      return (await call(delivery, async (options) => account.connection?.reconcile?.(piece, delivery.place, options))) ?? 'unknown'
    } catch {
      return 'unknown'
    }
  }

  return {
    take,
    async ready({ id: account, connection, elsewhere, rates: limits }, { id, place }, draft) {
      if (!connection || elsewhere || chains.has(id)) return false
      return await rates.tryReserve(account, place, limits, draft && connection.edit ? 'finish' : 'send')
    },
    expect(id) {
      expected.add(id)
      return { [Symbol.dispose]: () => void expected.delete(id) }
    },
    look,
    async sweep() {
      if (!node.live) return
      for (let after = 0, more = true; more; ) {
        const due = await outbox.due(node.id, clock.now(), after, SWEEP)
        more = due.length === SWEEP
        after = due.at(-1)?.seq ?? after
        const forgotten = due.filter(({ id }) => !held.has(id) && !expected.has(id))
        const conversations = new Map(forgotten.map(({ conversationId: id, account }) => [id, { id, account }]))
        await Promise.all([...conversations.values()].map(look))
      }
    },
    rest() {
      resting.abort()
    },
    stop() {
      resting.abort()
      stopping.abort()
    },
    get size() {
      return held.size
    },
  }
}

/** Whether this piece takes the place of a preview. Doing that twice changes nothing. */
function edits(delivery: Delivery, piece: Piece, connection: Connection | undefined): delivery is Delivery & { draft: Receipt } {
  return delivery.confirmed === 0 && delivery.draft !== undefined && connection?.edit !== undefined && piece.file === undefined
}

function asDeliveryError(error: unknown): DeliveryError {
  if (error instanceof Error && error.name === 'DeliveryError') return error as DeliveryError
  // A bug or a surprise in a channel: whether it was sent, nobody knows.
  return new DeliveryError('unknown', error instanceof Error ? error.message : 'unknown error', { cause: error })
}
