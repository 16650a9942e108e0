/** Follows one question to its answer: by live frames, and by the store, which is asked when frames are missed. */
import { PosthouseError } from '@posthouse/contract'
import type { MessageView, ServerFrame } from '@posthouse/contract/http'
import { conversationTopic } from '../ports/live.ts'
import { viewMessage } from '../ports/views.ts'
import type { Gateway } from './server.ts'

export type AnswerEvent =
  /** The whole draft of a turn so far. */
  { readonly type: 'draft'; readonly turn: string; readonly text: string } | { readonly type: 'end'; readonly message: MessageView }

const LOOK_AGAIN = 2000
const MESSAGES = 50

/** Ends with `end`, or without it when the signal fires. @throws PosthouseError when there will be no answer. */
export async function* followAnswer(
  gateway: Gateway,
  conversationId: string,
  messageId: string,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent> {
  let draft: { turn: string; text: string } | undefined
  let fresh = true
  let ended = false
  let wake = () => {}
  const take = (frame: ServerFrame) => {
    if (frame.type === 'turn' && frame.turn.answers.includes(messageId)) {
      if (frame.turn.state === 'running') draft = { turn: frame.turn.id, text: frame.turn.draft ?? '' }
      else ended = true
    } else if (frame.type === 'delta' && draft?.turn === frame.turn_id && frame.offset === draft.text.length) {
      draft = { ...draft, text: draft.text + frame.text }
    } else return
    fresh = true
    wake()
  }
  using _listening = gateway.live.subscribe(conversationTopic(conversationId), take)
  const running = gateway.inFlight(conversationId)
  if (running?.answers.includes(messageId)) draft = { turn: running.id, text: running.draft ?? '' }
  signal.addEventListener('abort', () => wake(), { once: true })
  for (;;) {
    if (signal.aborted) return
    if (ended || !fresh) {
      const message = await finalMessage(gateway, conversationId, messageId)
      if (message) {
        if (message.role === 'assistant') yield { type: 'draft', turn: draft?.turn ?? '', text: message.text }
        yield { type: 'end', message }
        return
      }
      ended = false
    } else if (draft) yield { type: 'draft', ...draft }
    fresh = false
    if (ended || signal.aborted) continue
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LOOK_AGAIN)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
      if (fresh) wake()
    })
  }
}

/** The answer, once there is one. Messages of a burst share the answer to the last of them. */
async function finalMessage({ store }: Gateway, conversationId: string, messageId: string): Promise<MessageView | undefined> {
  const outcome = await store.inbox.outcome(messageId)
  if (outcome && (outcome.state === 'pending' || outcome.state === 'claimed')) return undefined
  const question = await store.conversations.message(messageId)
  if (!question) throw new PosthouseError('gone', 'the conversation was deleted')
  const later = await laterMessages(store, conversationId, question.seq)
  const found = later.find((message) => message.role !== 'user' && (message.replyTo === messageId || message.seq > question.seq))
  if (found) return viewMessage(found)
  throw new PosthouseError('model-failed', `the message ended without an answer (${outcome?.outcome ?? outcome?.state ?? 'unknown'})`)
}

async function laterMessages(store: Gateway['store'], conversationId: string, after: number) {
  const messages = await store.conversations.messages(conversationId, { after }, MESSAGES)
  return messages
}
