/**
 * What the page knows about conversations, and how frames change it. Pure: no sockets, no storage, no React.
 *
 * Must hold: messages are unique by id and sorted by `seq`; `resume` never passes a message that we have not seen, so that a new
 * subscription with `after: resume` brings all that is missing; a draft belongs to exactly one turn.
 */
import type { HistoryResponse, MessageView, ServerFrame, TurnView } from '@posthouse/contract/http'

interface RunningTurn {
  readonly id: string
  readonly answers: readonly string[]
  /** The answer as far as it has arrived; empty before the first token. */
  readonly draft: string
}

export interface Conversation {
  readonly id: string
  readonly messages: readonly MessageView[]
  /** The `seq` to resume after. */
  readonly resume: number
  /** Cursor of the page before the oldest message here; undefined when that is the first page (or nothing is loaded). */
  readonly before: number | undefined
  /** At least one page of history, or a whole `synced`, has been seen (now or, from the kept copy, earlier). */
  readonly loaded: boolean
  /** All frames up to now have come over the present connection. */
  readonly synced: boolean
  readonly turn: RunningTurn | undefined
  /** A delta did not fit: subscribe again. */
  readonly torn: boolean
}

export function emptyConversation(id: string): Conversation {
  return { id, messages: [], resume: 0, before: undefined, loaded: false, synced: false, turn: undefined, torn: false }
}

/** Adds messages or replaces those known by id. */
export function mergeMessages(known: readonly MessageView[], incoming: readonly MessageView[]): readonly MessageView[] {
  if (incoming.length === 0) return known
  const last = known.at(-1)
  const only = incoming[0]
  if (incoming.length === 1 && only && (!last || only.seq > last.seq) && !known.some((message) => message.id === only.id))
    return [...known, only]
  const byId = new Map(known.map((message) => [message.id, message]))
  for (const message of incoming) byId.set(message.id, message)
  return [...byId.values()].sort((a, b) => a.seq - b.seq)
}

/**
 * The newest page: it may overlap what is here, and it tells what took the place of what.
 * `seen`: what `resume` was when we subscribed. A page that begins behind it may leave a hole, since a server sends only so many missed
 * messages: then what lies before the page is let go, and read again from its cursor when somebody scrolls there.
 */
export function withLatestPage(conversation: Conversation, page: HistoryResponse, seen = conversation.resume): Conversation {
  const newest = page.messages.at(-1)?.seq ?? 0
  const oldest = page.messages[0]?.seq ?? 0
  const apart = page.before !== undefined && oldest > seen
  const known = apart ? conversation.messages.filter(({ seq }) => seq >= oldest) : conversation.messages
  const first = known[0]?.seq
  return {
    ...conversation,
    messages: mergeMessages(known, page.messages),
    resume: Math.max(conversation.resume, newest),
    before: first === undefined || oldest <= first ? page.before : conversation.before,
    loaded: true,
  }
}

/** A page further back. */
export function withOlderPage(conversation: Conversation, page: HistoryResponse): Conversation {
  return { ...conversation, messages: mergeMessages(conversation.messages, page.messages), before: page.before, loaded: true }
}

/** The connection is gone: what is shown stays, but is no longer known to be current. */
export function withoutConnection(conversation: Conversation): Conversation {
  return conversation.synced || conversation.torn ? { ...conversation, synced: false, torn: false } : conversation
}

function startedTurn(turn: TurnView, present: RunningTurn | undefined): RunningTurn {
  const draft = turn.draft ?? ''
  // The same turn announced again with no less than we have: keep the object, so that nothing is drawn anew.
  if (present?.id === turn.id && present.draft === draft) return present
  return { id: turn.id, answers: turn.answers, draft }
}

function withMessage(conversation: Conversation, message: MessageView): Conversation {
  const { turn } = conversation
  // The answer itself takes the place of its draft at once; the end of the turn follows.
  const settled = turn && message.role !== 'user' && message.reply_to !== undefined && turn.answers.includes(message.reply_to)
  return {
    ...conversation,
    messages: mergeMessages(conversation.messages, [message]),
    resume: Math.max(conversation.resume, message.seq),
    turn: settled ? { ...turn, draft: '' } : turn,
  }
}

function withDelta(conversation: Conversation, frame: Extract<ServerFrame, { type: 'delta' }>): Conversation {
  const { turn } = conversation
  if (!conversation.synced || conversation.torn) return conversation
  if (!turn || turn.id !== frame.turn_id) return { ...conversation, torn: true }
  if (frame.offset > turn.draft.length) return { ...conversation, torn: true }
  const fresh = frame.text.slice(turn.draft.length - frame.offset)
  return fresh === '' ? conversation : { ...conversation, turn: { ...turn, draft: turn.draft + fresh } }
}

/** The conversation after a frame. The same object comes back when nothing changed. */
export function applyFrame(conversation: Conversation, frame: ServerFrame): Conversation {
  switch (frame.type) {
    case 'message':
      return frame.message.conversation_id === conversation.id ? withMessage(conversation, frame.message) : conversation
    case 'accepted': {
      if (frame.message.conversation_id !== conversation.id) return conversation
      // It may overtake messages that are still on their way: `resume` stays.
      return { ...conversation, messages: mergeMessages(conversation.messages, [frame.message]) }
    }
    case 'synced': {
      if (frame.conversation_id !== conversation.id) return conversation
      const turn = frame.turn?.state === 'running' ? startedTurn(frame.turn, conversation.turn) : undefined
      return { ...conversation, turn, synced: true, loaded: true, torn: false }
    }
    case 'turn': {
      if (frame.conversation_id !== conversation.id) return conversation
      if (frame.turn.state === 'running') return { ...conversation, turn: startedTurn(frame.turn, conversation.turn) }
      return conversation.turn?.id === frame.turn.id ? { ...conversation, turn: undefined } : conversation
    }
    case 'delta':
      return frame.conversation_id === conversation.id ? withDelta(conversation, frame) : conversation
    default:
      return conversation
  }
}

/** What is kept for the time without a connection: the latest messages. */
export function keepable(conversation: Conversation, limit: number): Pick<Conversation, 'id' | 'messages' | 'resume' | 'before'> {
  const messages = conversation.messages.slice(-limit)
  const cut = messages.length < conversation.messages.length
  return { id: conversation.id, messages, resume: conversation.resume, before: cut ? messages[0]?.seq : conversation.before }
}
