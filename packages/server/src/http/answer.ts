/** Follows one question to its answer: by live frames, and by the store, which is asked when frames are missed. */
import { PosthouseError } from '@posthouse/contract'
import type { MessageView, ServerFrame } from '@posthouse/contract/http'
import { conversationTopic } from '../ports/live.ts'
import type { StoredMessage } from '../ports/store.ts'
import { viewMessage } from '../ports/views.ts'
import type { Gateway } from './gateway.ts'

export type AnswerEvent =
  /** The whole draft of a turn so far. */
  { readonly type: 'draft'; readonly turn: string; readonly text: string } | { readonly type: 'end'; readonly message: MessageView }

type Follows = Pick<Gateway, 'store' | 'live' | 'inFlight'>

const LOOK_AGAIN = 2000
const PAGE = 200
/** Pages that are looked through for an answer: a question that far back was answered long ago, and is in the history. */
const MOST_PAGES = 20

/** The draft with a frame's text added; what overlaps is not taken twice. Undefined when something between is missing. */
export function extendDraft(draft: string, { offset, text }: { readonly offset: number; readonly text: string }): string | undefined {
  return offset > draft.length ? undefined : draft + text.slice(draft.length - offset)
}

/** Ends with `end`, or without it when the signal fires. @throws PosthouseError when there will be no answer. */
export async function* followAnswer(
  gateway: Follows,
  conversationId: string,
  messageId: string,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent> {
  let draft: { readonly turn: string; readonly text: string } | undefined
  let shown: typeof draft
  let look = true
  let asking = false
  let wake = () => {}
  const join = () => {
    const turn = gateway.inFlight(conversationId)
    if (turn?.answers.includes(messageId)) draft = { turn: turn.id, text: turn.draft ?? '' }
    // Another node shows what is there, then how it goes on.
    else if (!turn && !asking) {
      asking = true
      gateway.live.tell(conversationTopic(conversationId), 'show')
    }
  }
  const take = (frame: ServerFrame) => {
    if (frame.type === 'turn' && frame.turn.answers.includes(messageId)) {
      asking = false
      if (frame.turn.state === 'running') draft = { turn: frame.turn.id, text: frame.turn.draft ?? '' }
      else look = true
    } else if (frame.type === 'delta' && draft?.turn === frame.turn_id) {
      const text = extendDraft(draft.text, frame)
      if (text === undefined) join()
      else if (text !== draft.text) draft = { turn: draft.turn, text }
    } else if (frame.type === 'conversation-deleted') look = true
    else return
    wake()
  }
  const missed = () => {
    look = true
    wake()
  }
  using _listening = gateway.live.subscribe(conversationTopic(conversationId), take, missed)
  join()
  const onAbort = () => wake()
  signal.addEventListener('abort', onAbort)
  try {
    while (!signal.aborted) {
      if (draft && draft !== shown) {
        shown = draft
        yield { type: 'draft', ...draft }
      } else if (look) {
        look = false
        asking = false
        const message = await finalMessage(gateway, conversationId, messageId)
        if (!message) continue
        if (message.status !== 'failed') yield { type: 'draft', turn: draft?.turn ?? '', text: message.text }
        yield { type: 'end', message }
        return
      } else {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(() => {
            look = true
            resolve()
          }, LOOK_AGAIN)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** The answer, once there is one. Messages of a burst share the answer to the last of them. */
async function finalMessage({ store }: Follows, conversationId: string, messageId: string): Promise<MessageView | undefined> {
  const outcome = await store.inbox.outcome(messageId)
  if (outcome && (outcome.state === 'pending' || outcome.state === 'claimed')) return undefined
  const question = await store.conversations.message(messageId)
  if (!question) throw new PosthouseError('not-found', 'the conversation was deleted')
  const later = await allAfter(store, conversationId, question.seq)
  // Answers come in the order of admission: the first one that answers this question, or one that was asked after it, is ours.
  const asked = new Set([messageId, ...later.filter(({ role }) => role === 'user').map(({ id }) => id)])
  const found = later.find(({ role, replyTo }) => role !== 'user' && replyTo !== undefined && asked.has(replyTo))
  if (found) return viewMessage(found)
  if (outcome?.outcome === 'handed') throw new PosthouseError('handed')
  throw new PosthouseError('model-failed', `the message ended without an answer (${outcome?.outcome ?? outcome?.state ?? 'unknown'})`)
}

/** All messages behind `after`, oldest first; the store gives the newest of a range, so it is asked backwards. */
export async function allAfter(store: Gateway['store'], conversationId: string, after: number): Promise<readonly StoredMessage[]> {
  let found: readonly StoredMessage[] = []
  for (let page = 0; page < MOST_PAGES; page++) {
    const before = found[0]?.seq
    const earlier = await store.conversations.messages(conversationId, before === undefined ? { after } : { after, before }, PAGE)
    found = [...earlier, ...found]
    if (earlier.length < PAGE) break
  }
  return found
}
