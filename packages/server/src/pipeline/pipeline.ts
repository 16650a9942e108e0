/**
 * The message's way: receive -> queue -> converse -> reply.
 *
 * A message is committed to the inbox and acknowledged; its lane waits for a place; a turn is claimed, computed and ended in one commit; what
 * it promised is delivered. Whatever is interrupted is found again in the database: at the start and by the sweep.
 */
import { type Admission, type InboundMessage, textOf } from '@posthouse/contract'
import type { TurnView } from '@posthouse/contract/http'
import { createTaskGroup } from '../base/lifecycle.ts'
import { persist } from '../base/persist.ts'
import type { Broker } from '../ports/broker.ts'
import { conversationTopic, userTopic } from '../ports/live.ts'
import type { Node } from '../ports/node.ts'
import {
  type Conversation,
  type Delivery,
  type NewDelivery,
  type PersonsWords,
  type Recorded,
  StaleTurn,
  type StoredMessage,
  type Turn,
  type TurnResult,
} from '../ports/store.ts'
import { viewConversation, viewMessage } from '../ports/views.ts'
import { languageIn, languageOfMessage, noticeText } from './converse/notices.ts'
import { runTurn } from './converse/turn.ts'
import { type Interruption, LeftInDoubt, replyTarget, type Timing, type TurnParts, type TurnWork } from './converse/work.ts'
import { createLanes } from './queue/lanes.ts'
import { type AcceptLimits, createAccept, laneKey, type Origin } from './receive/accept.ts'
import { createDeliver } from './reply/deliver.ts'

export interface PipelineParts extends TurnParts {
  readonly node: Node
  readonly broker: Broker
  /** The signed address of a file, good until then; undefined without a public address. */
  readonly linkTo: (fileId: string, expires: number) => string | undefined
  readonly limits: AcceptLimits
  /** Turns at the same time. */
  readonly concurrency: number
  /** Messages of a burst that one turn may answer; 1: one by one. */
  readonly coalesce: number
}

export interface Pipeline {
  /** Takes a message in. Resolves after the commit (P1). @throws PosthouseError `overloaded`, `unavailable`. */
  receive(message: InboundMessage, origin: Origin): Promise<Admission & { readonly recorded: Recorded | undefined }>
  /**
   * A person answers from now on: no call with the assistant's words is begun there after this resolved. `words`: what the person says, once however often it is
   * repeated; without it people are told, once. Undefined: there is no such conversation.
   */
  takeOver(conversationId: string, by: string, words: PersonsWords | undefined): Promise<readonly StoredMessage[] | undefined>
  /** Ends the answer that is being written, on whatever node, keeping what is there. */
  stop(conversationId: string): Promise<void>
  /** The turn in flight, for who joins while it runs. */
  inFlight(conversationId: string): TurnView | undefined
  /** Takes up what an earlier process left, and begins to work. */
  start(): Promise<void>
  /** Begins no turn any more; those that run go on. */
  rest(): void
  /** Ends: no new turns, `grace` milliseconds for those that run; what is left is given back to the database. */
  drain(grace: number): Promise<void>
  readonly depth: { readonly waiting: number; readonly running: number; readonly sending: number }
}

interface Running {
  /** The incarnation that claimed it. */
  readonly by: string
  readonly turn: Turn
  readonly abort: AbortController
  readonly draft: TurnWork['draft']
  /** Resolves when nothing of it is under way any more. */
  readonly over: PromiseWithResolvers<void>
}

const SWEEP_LANES = 1000
/** How long messages of an account that is not configured here are left to other nodes. */
const STRANGE_FOR = 60_000
const FLOOD_NOTICE = 60_000
/** Characters of a draft in one frame. */
const PIECE = 40_000
const MOST_FLOODS = 10_000
/** Milliseconds that the last edit of a preview may take. */
const LAST_EDIT = 5000
/** Messages back in which the newest question is looked for. */
const LOOK_BACK = 20

export function createPipeline(parts: PipelineParts): Pipeline {
  const { store, live, clock, log, node, observer, broker } = parts
  const running = new Map<string, Running>()
  const open = new Map<string, number>()
  /** Lanes that look full: other nodes may have emptied them. */
  const crowded = new Map<string, Pick<Conversation, 'account' | 'place'>>()
  const floods = new Map<string, number>()
  let total = 0
  const failed = (error: unknown) => log.error({ err: error }, 'work in the background failed')
  const turns = createTaskGroup(failed)
  const sends = createTaskGroup(failed)
  const ending = new AbortController()
  const deliver = createDeliver({ ...parts, outbox: store.outbox, tasks: sends })
  const lanes = createLanes({ run: runLane, concurrency: parts.concurrency, tasks: turns, log })
  let sweeping = false
  let resting = false
  let timer: Disposable | undefined

  const receive = createAccept({
    inbox: store.inbox,
    outbox: store.outbox,
    broker,
    limits: parts.limits,
    observer,
    clock,
    stops,
    depth: {
      of: (lane) => open.get(lane) ?? 0,
      get total() {
        return total
      },
    },
    admitted(recorded, message, origin) {
      if (recorded.status === 'admitted') {
        const lane = laneKey(origin.account, message.place)
        count(lane, 1)
        if ((open.get(lane) ?? 0) * 2 >= parts.limits.lane) crowded.set(lane, { account: origin.account, place: message.place })
      }
      if (recorded.status === 'refused') sayFlooded(recorded, message, origin)
      if (stops(message, origin)) {
        stopHere(recorded.conversationId)
        live.tell(conversationTopic(recorded.conversationId), 'stop')
      }
      if (recorded.stored) announce(recorded.conversationId, [recorded.stored], origin.owner)
    },
  })

  function count(lane: string, by: number): void {
    const left = (open.get(lane) ?? 0) + by
    if (left > 0) open.set(lane, left)
    else open.delete(lane)
    total = Math.max(0, total + by)
  }

  /** What is admitted here may be answered elsewhere. */
  async function recount(): Promise<void> {
    total = await store.inbox.depth()
    if (total === 0) open.clear()
    for (const [lane, of] of crowded) {
      const left = total === 0 ? 0 : await store.inbox.depth(of)
      if (left > 0) open.set(lane, left)
      else open.delete(lane)
      if (left * 2 < parts.limits.lane) crowded.delete(lane)
    }
  }

  /** Tells a room that it sent too much, at most once in a while. */
  function sayFlooded({ conversationId }: Recorded, message: InboundMessage, { account }: Origin): void {
    const now = clock.elapsed()
    if (now - (floods.get(conversationId) ?? Number.NEGATIVE_INFINITY) < FLOOD_NOTICE) return
    if (floods.size > MOST_FLOODS) floods.clear()
    floods.set(conversationId, now)
    const text = noticeText('flooded', languageIn(textOf(message.parts), 'en'))
    const id = parts.newId()
    const replyTo = replyTarget(parts.accounts.find(account), message.place, message.id)
    store.outbox
      .stage(
        { id: conversationId, account },
        { id, role: 'system', parts: [{ type: 'text', text }], status: 'failed' },
        { id, begun: false, ...(replyTo ? { replyTo } : {}) },
      )
      .catch(failed)
  }

  function stops(message: InboundMessage, origin: Origin): boolean {
    if (message.command?.name !== 'stop') return false
    const allowed = parts.accounts.find(origin.account)?.allowedUsers
    return !allowed || allowed.has(message.author.id)
  }

  /** Ends the turns here that somebody stopped on another node. */
  async function obeyStops(lanes: readonly string[]): Promise<void> {
    for (const [lane, before] of await store.turns.stopped(lanes)) {
      if (running.get(lane)?.turn.messages.every(({ seq }) => seq < before)) stopHere(lane)
    }
  }

  live.heed((topic, word) => {
    const lane = topic.slice(conversationTopic('').length)
    const work = running.get(lane)
    if (work && word === 'show') show(work, 'running')
    else if (work) obeyStops([lane]).catch(failed)
  })

  function announce(conversationId: string, messages: readonly StoredMessage[], owner: string | undefined): void {
    for (const message of messages) live.publish(conversationTopic(conversationId), { type: 'message', message: viewMessage(message) })
    if (!owner) return
    store.conversations
      .find(conversationId)
      .then((found) => found && live.publish(userTopic(owner), { type: 'conversation', conversation: viewConversation(found) }))
      .catch(failed)
  }

  /** A node that was configured before us knows the account, maybe; not for ever. */
  function isForAnother({ conversation, messages }: Turn): boolean {
    if (node.others.length === 0 || parts.accounts.find(conversation.account)) return false
    return messages.every(({ createdAt, releasedAt }) => clock.now() - Math.max(createdAt, releasedAt ?? 0) < STRANGE_FOR)
  }

  async function runLane(lane: string): Promise<boolean> {
    if (!node.live) return false
    const { id: by, ended } = node
    const turn = await store.turns.claim(lane, by, parts.coalesce)
    if (!turn) return false
    if (resting || isForAnother(turn)) {
      // Claimed while the end was announced: the next process does it, with its accounts open. So does a node that knows the account.
      await store.turns.release(by, turn, false)
      return false
    }
    const started = clock.elapsed()
    const timing: Timing = { model: 0, firstToken: undefined }
    const work: Running = { by, turn, abort: new AbortController(), draft: { text: '' }, over: Promise.withResolvers() }
    running.set(lane, work)
    const interrupt = () => work.abort.abort('shutdown' satisfies Interruption)
    ended.addEventListener('abort', interrupt, { once: true })
    if (ending.signal.aborted || ended.aborted) interrupt()
    else if (turn.messages.every(({ seq }) => seq < turn.conversation.stoppedBefore)) work.abort.abort('stop' satisfies Interruption)
    show(work, 'running')
    let outcome = 'broken'
    try {
      const result = await runTurn(turn, parts, { signal: work.abort.signal, draft: work.draft, timing })
      await finish(work, result)
      outcome = result.outcome
      count(laneKey(turn.conversation.account, turn.conversation.place), -turn.messages.length)
      return turn.more
    } catch (error) {
      await giveBack(work, error)
      return !ending.signal.aborted
    } finally {
      running.delete(lane)
      work.over.resolve()
      ended.removeEventListener('abort', interrupt)
      show(work, 'ended')
      const took = clock.elapsed() - started
      observer.turnEnded({ outcome, took, own: took - timing.model, firstToken: timing.firstToken })
    }
  }

  /** The end of a turn: one commit, then delivery. While the database is away the result waits here. */
  async function finish({ turn, by }: Running, result: TurnResult): Promise<void> {
    const { conversation } = turn
    const account = parts.accounts.find(conversation.account)
    const ready =
      account !== undefined &&
      node.live &&
      node.id === by &&
      result.deliveries.length === 1 &&
      (await deliver.ready(account, conversation, result.deliveries[0]?.draft))
    const deliveries = result.deliveries.map((delivery) => ({ ...delivery, begun: ready }))
    const end = () => store.turns.finish(by, { ...result, deliveries })
    const commit = async () => {
      using _expected = ready && deliveries[0] ? deliver.expect(deliveries[0].id) : undefined
      const { messages, waits } = await persist(end, { clock, log, signal: ending.signal })
      announce(conversation.id, messages, conversation.owner)
      // Begun, there is nothing before it.
      const begun = ready && !waits && node.id === by
      if (begun) for (const delivery of deliveries) deliver.take(inHand(turn, by, delivery, messages))
      return begun
    }
    // Else the database knows what is before it: something may wait since an earlier run, in nobody's hand.
    if (!(await commit()) && deliveries.length > 0) await deliver.look(conversation)
  }

  function inHand({ conversation }: Turn, by: string, delivery: NewDelivery, stored: readonly StoredMessage[]): Delivery {
    const message = stored.find(({ id }) => id === delivery.id)
    const now = clock.now()
    return {
      id: delivery.id,
      seq: 0,
      account: conversation.account,
      conversationId: conversation.id,
      place: conversation.place,
      text: message?.body.parts.find((part) => part.type === 'text')?.text ?? '',
      files: [],
      stopped: message?.status === 'stopped',
      replyTo: delivery.replyTo,
      draft: delivery.draft,
      state: delivery.begun ? 'sending' : 'pending',
      confirmed: 0,
      attempts: delivery.begun ? 1 : 0,
      unknowns: 0,
      nextAt: now,
      createdAt: now,
      releasedAt: undefined,
      node: by,
    }
  }

  async function giveBack({ turn, by, abort }: Running, error: unknown): Promise<void> {
    if (error instanceof StaleTurn) {
      observer.fenced({ what: 'turn' })
      log.warn({ turn: turn.id }, 'a turn was taken over by another node or a person; its result is dropped')
      return
    }
    const ours = abort.signal.aborted
    if (!ours) log.error({ err: error, turn: turn.id }, 'a turn broke; its messages go back to the queue')
    const counted = !ours || error instanceof LeftInDoubt
    await persist(() => store.turns.release(by, turn, counted), { clock, log, signal: ending.signal }).catch(failed)
  }

  function show({ turn, draft }: Running, state: TurnView['state']): void {
    const conversation_id = turn.conversation.id
    const topic = conversationTopic(conversation_id)
    // A long draft goes on in pieces: between nodes a frame has its limit.
    live.publish(topic, { type: 'turn', conversation_id, turn: view(turn, state, draft.text.slice(0, PIECE)) })
    if (state === 'ended') return
    for (let offset = PIECE; offset < draft.text.length; offset += PIECE) {
      const text = draft.text.slice(offset, offset + PIECE)
      live.publish(topic, { type: 'delta', conversation_id, turn_id: turn.id, offset, text })
    }
  }

  function view(turn: Turn, state: TurnView['state'], draft: string): TurnView {
    const answers = turn.messages.map((message) => message.id)
    return state === 'running' ? { id: turn.id, state, answers, draft } : { id: turn.id, state, answers }
  }

  function stopHere(lane: string): boolean {
    const work = running.get(lane)
    work?.abort.abort('stop' satisfies Interruption)
    return work !== undefined
  }

  async function takeOver(
    conversationId: string,
    by: string,
    said: PersonsWords | undefined,
  ): Promise<readonly StoredMessage[] | undefined> {
    const conversation = await store.conversations.find(conversationId)
    if (!conversation) return undefined
    // Said before; the assistant may have been asked back since.
    const before = said && (await store.conversations.message(said.id))
    if (before) return [before]
    const shown = await store.handovers.take(conversationId, by)
    log.info({ conversation: conversationId }, 'a person answers in this conversation')
    live.tell(conversationTopic(conversationId), 'stop')
    const work = running.get(conversationId)
    work?.abort.abort('handed' satisfies Interruption)
    // Its last edit of a preview is behind it then.
    if (work) await Promise.race([work.over.promise, clock.sleep(LAST_EDIT)])
    const words = said?.text ?? (conversation.held ? undefined : noticeText('handed', await languageOfTalk(conversationId)))
    if (words === undefined) return []
    const role = said === undefined ? ('system' as const) : ('assistant' as const)
    const message = { id: said?.id ?? parts.newId(), role, parts: [{ type: 'text' as const, text: words }], status: 'complete' as const }
    const stored = [await store.handovers.say(conversation, message, work?.draft.shown ?? shown)]
    announce(conversationId, stored, conversation.owner)
    deliver.look(conversation).catch(failed)
    return stored
  }

  /** That of the person's newest words. */
  async function languageOfTalk(conversationId: string) {
    const newest = await store.conversations.messages(conversationId, {}, LOOK_BACK)
    return languageOfMessage(newest.findLast(({ role }) => role === 'user'))
  }

  async function stop(conversationId: string): Promise<void> {
    if (stopHere(conversationId) || !store.nodes.shared) return
    await store.turns.stop(conversationId)
    live.tell(conversationTopic(conversationId), 'stop')
  }

  async function sweep(): Promise<void> {
    if (sweeping || ending.signal.aborted || !node.live) return
    sweeping = true
    try {
      // What was replaced, deleted or let go again is not counted as it happens.
      await recount()
      const given = await store.turns.recover()
      if (given > 0) log.info({ turns: given }, 'taking up what other processes left')
      for (const ticket of await store.inbox.waitingLanes(SWEEP_LANES)) lanes.take(ticket)
      await deliver.sweep()
      if (store.nodes.shared) await obeyStops([...running.keys()])
    } catch (error) {
      log.warn({ err: error }, 'the sweep could not read the database; it tries again')
    } finally {
      sweeping = false
    }
  }

  function rest(): void {
    resting = true
    timer?.[Symbol.dispose]()
    lanes.stop()
  }

  return {
    receive,
    takeOver,
    stop,
    inFlight(conversationId) {
      const work = running.get(conversationId)
      return work && view(work.turn, 'running', work.draft.text)
    },
    async start() {
      const abandoned = await store.turns.recover()
      total = await store.inbox.depth()
      if (abandoned + total > 0) log.info({ abandoned, waiting: total }, 'taking up what an earlier run left')
      broker.consume(lanes.take)
      await sweep()
      // What the database has and memory does not know: lost tickets, letters let go again by an operator.
      timer = clock.every(broker.sweepEvery, () => void sweep())
    },
    rest,
    async drain(grace) {
      rest()
      await turns.idle(grace)
      ending.abort()
      for (const work of running.values()) work.abort.abort('shutdown' satisfies Interruption)
      await turns.idle(2000)
      deliver.rest()
      await sends.idle(Math.min(grace, 5000))
      deliver.stop()
      await sends.idle(2000)
    },
    get depth() {
      return { waiting: lanes.waiting, running: lanes.running, sending: deliver.size }
    },
  }
}
