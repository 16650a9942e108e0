/**
 * What the parts need from the database, in words of the domain. Every write resolves after its commit is synced.
 * Row ids are UUIDv7; times are epoch milliseconds.
 */
import type {
  DeliveryFailure,
  DeliveryState,
  FileKind,
  InboundMessage,
  OutboundMessage,
  Part,
  Place,
  Priority,
  Receipt,
  Usage,
} from '@posthouse/contract'
import type { MessageStatus } from '@posthouse/contract/http'
import type { Ticket } from './broker.ts'
import type { Lease, LeaseStore } from './leases.ts'
import type { NodeStore } from './node.ts'
import type { UserStore } from './users.ts'

// ---- State machines, as data (the delivery's is in the contract) ------------------------------------------------------

/** States of an inbox entry. */
export type InboxState = 'pending' | 'claimed' | 'done' | 'dead' | 'dropped'
export const inboxSteps: Readonly<Record<InboxState, readonly InboxState[]>> = {
  pending: ['claimed', 'done', 'dead'],
  claimed: ['pending', 'done', 'dead'],
  done: [],
  dead: ['pending', 'dropped'],
  dropped: [],
}

/** States of a tool call (P5). `unknown` is never repeated. */
export type ToolCallState = 'intended' | 'done' | 'failed' | 'unknown'
export const toolCallSteps: Readonly<Record<ToolCallState, readonly ToolCallState[]>> = {
  intended: ['done', 'failed', 'unknown'],
  done: [],
  failed: [],
  unknown: [],
}

/** How an admitted message ended (P3). `withdrawn`: its author took it back before it was read. `closed`: its account is not configured any more. `restored`: it was under way when a backup was made. `handed`: a person answers. */
export type Outcome =
  | 'replied'
  | 'stopped'
  | 'refused'
  | 'failed'
  | 'command'
  | 'noted'
  | 'quarantined'
  | 'stale'
  | 'closed'
  | 'replaced'
  | 'withdrawn'
  | 'restored'
  | 'handed'

// ---- Conversations and messages ---------------------------------------------------------------------------------------

export interface Conversation {
  readonly id: string
  readonly account: string
  readonly place: Place
  /** User id of the person it belongs to; only for web chat and API. */
  readonly owner: string | undefined
  readonly createdAt: number
  readonly updatedAt: number
  /** The model sees only messages with a higher `seq`. */
  readonly contextFrom: number
  /** Rises when a message that was there already changes, or something is said beside a turn. */
  readonly revision: number
  /** The turn that ended last; with the revision it tells whether kept messages are still the newest. */
  readonly lastTurn: string | undefined
  /** What was asked with a lower `seq` is not answered any more. */
  readonly stoppedBefore: number
  /** The person who answers in the assistant's place, and when they last did. */
  readonly held: { readonly by: string; readonly at: number } | undefined
}

/** The sealed part of a message. */
export interface MessageBody {
  readonly parts: readonly Part[]
  readonly author?: InboundMessage['author']
  /** The platform's id, for answers that refer to it. */
  readonly platformId?: string
  readonly command?: InboundMessage['command']
}

export interface StoredMessage {
  readonly id: string
  readonly seq: number
  readonly conversationId: string
  readonly role: 'user' | 'assistant' | 'system'
  readonly body: MessageBody
  readonly status: MessageStatus
  readonly createdAt: number
  readonly replyTo: string | undefined
  readonly clientId: string | undefined
  readonly replacedBy: string | undefined
  readonly model: string | undefined
  readonly usage: Usage | undefined
  readonly maybeDuplicate: boolean
}

export interface ConversationStore {
  find(id: string): Promise<Conversation | undefined>
  /** Newest first, of one owner and account. `before`: `updatedAt` of the last one of the page before. */
  list(owner: string, account: string, limit: number, before?: number): Promise<readonly Conversation[]>
  rename(id: string, title: string): Promise<void>
  /** Removes the conversation with everything in it; answers the ids of its files, whose bytes are to be removed, too. */
  remove(id: string): Promise<readonly string[]>
  /** The model forgets what came before now. */
  forget(id: string): Promise<void>
  /** Messages with `seq` in the open interval, oldest first; the newest `limit` of them. */
  messages(id: string, range: { after?: number; before?: number }, limit: number): Promise<readonly StoredMessage[]>
  message(id: string): Promise<StoredMessage | undefined>
  /**
   * What the model may see, newest first, at the most so many: without what was replaced, forgotten, refused or set aside, and without questions from
   * `before` on. A message that did not change is the same object from call to call.
   */
  context(conversation: Conversation, before: number, most: number): Promise<readonly StoredMessage[]>
  /** Puts other parts in the place of a message's own (files that were fetched). */
  rewrite(message: StoredMessage, parts: readonly Part[]): Promise<void>
  /** Finds the conversation of a place, or makes it. */
  at(account: string, place: Place, owner: string | undefined): Promise<Conversation>
}

// ---- Inbox ------------------------------------------------------------------------------------------------------------

export interface NewInbound {
  readonly account: string
  readonly message: InboundMessage
  readonly priority: Priority
  /** Kept, and ended at once: its conversation has too many unanswered messages. */
  readonly refused?: boolean
  /** What was asked in the conversation before it is not answered any more. */
  readonly stops?: boolean
  /** For web chat and API: the conversation's id as the client chose it, its owner, the client's own message id. */
  readonly conversationId?: string
  readonly owner?: string
  readonly clientId?: string
  /** It came over a connection that one node owns: without the lease it is not admitted. */
  readonly lease?: Lease
}

export interface Recorded {
  readonly status: 'admitted' | 'duplicate' | 'noted' | 'refused'
  readonly messageId: string
  readonly conversationId: string
  /** Present unless it is a duplicate. */
  readonly stored: StoredMessage | undefined
}

export interface InboxStore {
  /** One admission per (account, key) (P2); files that the owner sent are the conversation's in the same commit; an `edit` or `delete` changes an earlier message of its conversation, else of the room's others, else is only noted. @throws {StaleLease} */
  record(inbound: NewInbound): Promise<Recorded>
  /** Lanes with pending messages and no running turn. */
  waitingLanes(limit: number): Promise<readonly Ticket[]>
  /** Pending and claimed entries: the depth of the queue, or of one place. */
  depth(of?: { readonly account: string; readonly place: Place }): Promise<number>
  /** Receipt time of the oldest pending entry of each class that has one. */
  oldestPending(): Promise<ReadonlyMap<Priority, number>>
  outcome(messageId: string): Promise<{ readonly state: InboxState; readonly outcome: Outcome | undefined } | undefined>
}

// ---- Turns ------------------------------------------------------------------------------------------------------------

export interface ClaimedMessage extends StoredMessage {
  /** Turns begun for it, this one included. */
  readonly attempts: number
  readonly sentAt: number
  /** Set when an operator let it go again: freshness counts from here. */
  readonly releasedAt: number | undefined
}

export interface Turn {
  readonly id: string
  readonly conversation: Conversation
  /** In order of admission; at least one. */
  readonly messages: readonly ClaimedMessage[]
  /** The most urgent class of these and of those that wait behind them. */
  readonly priority: Priority
  /** A preview that an earlier, interrupted turn left in the chat tool. */
  readonly draft: Receipt | undefined
  /** Other messages were waiting in the lane when this one was claimed. */
  readonly more: boolean
}

export interface NewMessage {
  readonly id: string
  readonly role: 'assistant' | 'system'
  readonly parts: readonly Part[]
  readonly status: MessageStatus
  readonly replyTo?: string
  readonly model?: string
  readonly usage?: Usage
}

/** The delivery of a message; a message has one at the most, and it goes by the message's id. */
export interface NewDelivery {
  readonly id: string
  readonly replyTo?: string
  readonly draft?: Receipt
  /** The first attempt is journaled in the same commit (P6). */
  readonly begun: boolean
}

export interface TurnResult {
  readonly turnId: string
  /** Conversation id. */
  readonly lane: string
  readonly account: string
  readonly outcome: Outcome
  /** `dead`: waits for an operator; `done` for every other end. */
  readonly inbox: 'done' | 'dead'
  readonly messages: readonly NewMessage[]
  readonly deliveries: readonly NewDelivery[]
  /** Everything before is forgotten by the model. */
  readonly forget?: boolean
}

/** What came of the end of a turn. */
export interface Finished {
  readonly messages: readonly StoredMessage[]
  /** A delivery was not begun: it was not asked for, or earlier answers of the conversation are not settled; maybe it is another node's to send. */
  readonly waits: boolean
}

export interface TurnStore {
  /** Takes the lane's next message, or the next ones up to `coalesce` (commands and repeated messages always alone). */
  claim(lane: string, node: string, coalesce: number): Promise<Turn | undefined>
  /** The end of a turn: ONE transaction (P6). @throws {StaleTurn} when the turn is no longer ours. */
  finish(node: string, result: TurnResult): Promise<Finished>
  /** Gives the messages back; `counted` false: as if the turn had never begun. */
  release(node: string, turn: Turn, counted: boolean): Promise<void>
  /** What the turn at work in a conversation claimed is not answered any more, on whatever node it runs. */
  stop(conversationId: string): Promise<void>
  /** Of these conversations those that were ever stopped, with the `seq` before which nothing is answered. */
  stopped(conversationIds: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Remembers the preview, so that a later turn edits it instead of leaving it behind. */
  noteDraft(turn: Turn, draft: Receipt): Promise<void>
  /** Lanes with a turn at work, on whatever node. */
  running(): Promise<number>
  /** Gives back what nodes were doing that are no more; answers how many turns. */
  recover(): Promise<number>
}

/** The turn was taken from us meanwhile; its result must not count (P7). */
export class StaleTurn extends Error {
  override readonly name = 'StaleTurn'
}

// ---- Handing over -----------------------------------------------------------------------------------------------------

/** What a person says, with the id of the message that it becomes. */
export interface PersonsWords {
  readonly id: string
  readonly text: string
}

/** A person answers in the assistant's place. */
export interface HandoverStore {
  /**
   * From this commit on nothing of the assistant's is sent in the conversation: a turn at work there is stale, what was asked has the outcome `handed`,
   * answers not yet sent are dead letters. Answers the preview that stands in the chat, if any. Where a person answers already, only the name changes.
   */
  take(conversationId: string, by: string): Promise<Receipt | undefined>
  /** Words for the people there, in the place of a preview; a message that is there already is answered as it is, and goes out once. */
  say(conversation: Pick<Conversation, 'id' | 'account'>, message: NewMessage, draft: Receipt | undefined): Promise<StoredMessage>
  /** The assistant answers again; false: it did already. */
  giveBack(conversationId: string): Promise<boolean>
  /** Those that persons answer, who waits longest first. */
  list(limit: number): Promise<readonly Conversation[]>
  /** All conversations of a room, its threads too. */
  inRoom(account: string, room: string, limit: number): Promise<readonly Conversation[]>
}

// ---- Tool calls -------------------------------------------------------------------------------------------------------

export interface NewToolCall {
  /** The gateway's own; what the tool is told. */
  readonly id: string
  /** The model's answer within the turn that asked for it, from 1. */
  readonly step: number
  /** The model's id. */
  readonly callId: string
  readonly name: string
  /** JSON in one form: equal calls have equal texts. */
  readonly arguments: string
}

export interface StoredToolCall extends NewToolCall {
  readonly state: ToolCallState
  /** What the model was told; undefined while it is `intended`. */
  readonly result: string | undefined
}

export interface ToolCallStore {
  /**
   * The calls that earlier turns made for any of this turn's messages, oldest first; they are this turn's from now on. One that was
   * intended, and is not `repeatable` by its name, becomes `unknown` with `lost` as its result. @throws {StaleTurn}
   */
  takeOver(turn: Turn, repeatable: (name: string) => boolean, lost: string): Promise<readonly StoredToolCall[]>
  /** The intent, before the tool runs. @throws {StaleTurn} when the turn is no longer ours: the tool must not run. */
  intend(turn: Turn, call: NewToolCall): Promise<void>
  /** What came of it. @throws {StaleTurn} when another turn took the call over. */
  settle(turn: Turn, id: string, state: 'done' | 'failed' | 'unknown', result: string): Promise<void>
}

// ---- Outbox -----------------------------------------------------------------------------------------------------------

export interface Delivery {
  readonly id: string
  readonly seq: number
  readonly account: string
  readonly conversationId: string
  readonly place: Place
  readonly text: string
  readonly files: readonly {
    readonly kind: FileKind
    readonly name: string
    readonly mime?: string
    readonly size?: number
    readonly id?: string
  }[]
  readonly event?: NonNullable<OutboundMessage['event']>
  /** The text is what had arrived when somebody said stop. */
  readonly stopped: boolean
  readonly replyTo: string | undefined
  readonly draft: Receipt | undefined
  readonly state: DeliveryState
  /** Pieces that the platform confirmed. */
  readonly confirmed: number
  /** Attempts at the piece in turn. */
  readonly attempts: number
  /** How many of them ended without knowing. */
  readonly unknowns: number
  readonly nextAt: number
  readonly createdAt: number
  readonly releasedAt: number | undefined
  /** The node that sends it. */
  readonly node: string
}

export type DueDelivery = Pick<Delivery, 'id' | 'seq' | 'conversationId' | 'account'>

/** The delivery was taken from us meanwhile, or is settled (P7). */
export class StaleDelivery extends Error {
  override readonly name = 'StaleDelivery'
}

/** Why a delivery is a dead letter: a failure of the closed kinds, too old to be sent by itself (P8), or overtaken by a person. */
export type DeadReason = DeliveryFailure | 'stale' | 'exhausted' | 'restored' | 'handed'

/** An answer that may have arrived twice in the chat tool. */
export interface MaybeDuplicate {
  readonly id: string
  readonly account: string
  readonly conversationId: string
  readonly room: string
  readonly at: number
  readonly text: string
}

export interface OutboxStore {
  /** Unsettled deliveries that are due, in order (`seq > after`), without those that another node sends. */
  due(node: string, now: number, after: number, limit: number): Promise<readonly DueDelivery[]>
  /** Makes a conversation's unsettled deliveries this node's, unless another's that lives; answers them in order. */
  adopt(node: string, conversationId: string): Promise<readonly Delivery[]>
  /** Gives a conversation's unsettled deliveries back: they are for whatever node looks. */
  release(node: string, conversationId: string): Promise<void>
  /** Journals an attempt before it is made (P6). @throws {StaleDelivery} when another node sends it by now, or it is settled; so do all that follow. */
  begin(node: string, id: string): Promise<void>
  confirm(node: string, id: string, receipt: Receipt, last: boolean): Promise<void>
  /** `ambiguous`: the attempt may have reached its goal, and the next one may be seen twice. */
  retry(node: string, id: string, again: { failure: DeliveryFailure; detail: string; nextAt: number; ambiguous: boolean }): Promise<void>
  bury(node: string, id: string, reason: DeadReason, detail: string): Promise<void>
  /** Whether everything that was promised to a conversation is settled: only then may something that is no delivery be shown in it (P4). */
  isSettled(conversationId: string): Promise<boolean>
  /** Whether the platform's message in that room is one that we sent lately, in the place's own thread or in none. */
  isOurs(account: string, place: Pick<Place, 'room' | 'thread'>, platformId: string): Promise<boolean>
  /** Counts unsettled deliveries, and the creation time of the oldest. */
  backlog(): Promise<{ readonly count: number; readonly oldest: number | undefined }>
  /** Answers that may have arrived twice (P6): how many, and the newest of them. */
  maybeDuplicates(): Promise<number>
  listMaybeDuplicates(limit: number): Promise<readonly MaybeDuplicate[]>
  /** Stages a message of our own, outside any turn (operator, `posthouse send`, notices). */
  stage(conversation: Pick<Conversation, 'id' | 'account'>, message: NewMessage, delivery: NewDelivery | undefined): Promise<StoredMessage>
}

// ---- Dead letters -----------------------------------------------------------------------------------------------------

export interface DeadLetter {
  readonly id: string
  readonly kind: 'inbox' | 'delivery'
  readonly account: string
  readonly conversationId: string
  readonly reason: string
  readonly detail: string
  readonly at: number
  readonly text: string
}

export interface DeadLetterStore {
  list(limit: number): Promise<readonly DeadLetter[]>
  count(): Promise<number>
  /** Lets it go again, with a fresh age. Answers whether there was such a dead letter. */
  retry(id: string): Promise<boolean>
  drop(id: string): Promise<boolean>
}

// ---- The rest ---------------------------------------------------------------------------------------------------------

export interface AccountStateStore {
  get(account: string, key: string): Promise<string | undefined>
  /** `lease`: in whose name. @throws {StaleLease} */
  set(account: string, key: string, value: string, lease?: Lease): Promise<void>
  /** Puts `value` where `before` still stands, on whatever node; answers whether it did. `lease`: in whose name. @throws {StaleLease} */
  swap(account: string, key: string, before: string | undefined, value: string, lease?: Lease): Promise<boolean>
}

export interface SettingStore {
  get(key: string): Promise<string | undefined>
  set(key: string, value: string): Promise<void>
  /** Sets it if it is still as it was read; undefined: not there. False: somebody else changed it. */
  swap(key: string, before: string | undefined, value: string): Promise<boolean>
  /** True the first time it is called with this key: for notices that are given once. */
  once(key: string): Promise<boolean>
}

export interface StoredFile {
  readonly id: string
  /** The conversation that it was sent in; until then the person who uploaded it. */
  readonly owner: string
  readonly kind: FileKind
  readonly name: string
  readonly mime: string
  readonly size: number
}

export interface FileStore {
  add(file: StoredFile): Promise<void>
  find(id: string): Promise<StoredFile | undefined>
  /** Bytes of all files, and of those of an owner. */
  used(owner: string): Promise<{ readonly all: number; readonly own: number }>
  /** Of a batch of files, those of that time that no conversation has: nobody finds them any more, and their bytes are to be removed. */
  abandon(from: number, until: number): Promise<readonly string[]>
  /** Forgets abandoned files. */
  remove(ids: readonly string[]): Promise<void>
  /** Of these ids, those that nothing is known of, though they were made since this database was: their bytes are to be removed. */
  lost(ids: readonly string[]): Promise<readonly string[]>
}

/** What people deleted, or made void. */
export interface Erasure {
  readonly kind: 'conversation' | 'file' | 'token'
  readonly id: string
  /** Epoch milliseconds. */
  readonly erasedAt: number
}

export interface Store extends AsyncDisposable {
  readonly conversations: ConversationStore
  readonly inbox: InboxStore
  readonly turns: TurnStore
  readonly handovers: HandoverStore
  readonly toolCalls: ToolCallStore
  readonly outbox: OutboxStore
  readonly dead: DeadLetterStore
  readonly accountState: AccountStateStore
  readonly settings: SettingStore
  readonly users: UserStore
  readonly files: FileStore
  readonly nodes: NodeStore
  readonly leases: LeaseStore
  /** What was deleted, by id: no backup may bring it back. */
  erasures(): Promise<readonly Erasure[]>
  /** A write and a read that reach the disk; @throws when the database does not take writes. */
  probe(by: string): Promise<void>
  /** The database's planner counts anew what has grown. */
  analyze(): Promise<void>
  /** Deletes what is older than the retention, a bounded number of rows; answers how many. */
  prune(now: number): Promise<number>
}
