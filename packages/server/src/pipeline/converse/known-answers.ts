/**
 * Answers that may be given again to others who ask the same, where the assistant allows it: only answers that depend on nothing but the model, its
 * settings, what it is told, the tools it is offered and the question.
 */
import { textOf } from '@posthouse/contract'
import type { StoredMessage } from '../../ports/store.ts'
import { buildRequest } from './context.ts'
import type { TurnWork } from './work.ts'

/** What is known of a question; without `text` the answer, if it turns out to be one for all, is to be kept. */
export interface Known extends Disposable {
  readonly text: string | undefined
  keep(text: string): void
}

/** Until there is one: an answer would depend on what it holds. */
const KNOWLEDGE = 'none'
/** Earlier messages of the conversation that are looked through for the same question. */
const MOST_EARLIER = 100

/** Answers undefined when the answer would not be one for all. Waits for whoever asks the model the same just now. */
export async function findKnown(work: TurnWork, model: string): Promise<Known | undefined> {
  const { turn, parts, signal } = work
  const lifetime = parts.assistant.cacheAnswers
  const [message, ...others] = turn.messages
  // A second try may have to tell of tools that the first one called.
  if (lifetime === undefined || !message || others.length > 0 || message.attempts > 1) return undefined
  if (message.body.parts.some(({ type }) => type !== 'text')) return undefined
  const { system, messages } = await buildRequest(work, [], false, parts.assistant.contextTokens)
  const [asked, ...more] = messages
  const [content] = asked?.role === 'user' ? asked.content : []
  if (more.length > 0 || content?.type !== 'text') return undefined
  const endpoint = parts.models.endpoints.find(({ id }) => id === model)
  const key = JSON.stringify(['answer', model, endpoint?.digest, system, parts.tools.declarations, KNOWLEDGE, normalized(content.text)])
  const found = (await isAskedAgain(work, message)) ? undefined : await parts.cache.find(key, signal)
  return {
    text: found?.value,
    keep: (text) => parts.cache.keep(key, text, lifetime),
    [Symbol.dispose]: () => found?.[Symbol.dispose](),
  }
}

/** Whoever asks the same again in a conversation (after /new, or by asking again) wants another answer; it takes the place of the kept one. */
async function isAskedAgain({ turn, parts }: TurnWork, asked: StoredMessage): Promise<boolean> {
  const question = normalized(textOf(asked.body.parts))
  const earlier = await parts.store.conversations.messages(turn.conversation.id, { before: asked.seq }, MOST_EARLIER)
  return earlier.some(({ role, body }) => role === 'user' && normalized(textOf(body.parts)) === question)
}

/** The same question in another case, with other white space, or in wide letters. Not NFKC: it makes 52 of 5². */
export function normalized(text: string): string {
  const narrow = text.normalize('NFC').replace(/[\u3000\uff01-\uffef]+/gu, (wide) => wide.normalize('NFKC'))
  return narrow.toLowerCase().trim().replace(/\s+/gu, ' ')
}
