/** What the model is shown: instructions, as much history as fits, and the messages of this turn. */
import { type ModelContent, type ModelMessage, type ModelRequest, type Part, textOf } from '@posthouse/contract'
import type { StoredMessage } from '../../ports/store.ts'
import { type FetchedFile, readFiles } from './files.ts'
import { isNameless } from './names.ts'
import type { TurnWork } from './work.ts'

/** Rough size in tokens: one for a Han, kana or Hangul character, one for four others. */
export function estimateTokens(text: string): number {
  const wide = text.match(/[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]/g)?.length ?? 0
  return wide + Math.ceil((text.length - wide) / 4)
}

/** What a message costs beyond its text. */
const OVERHEAD = 8
const IMAGE_TOKENS = 1000
/** Messages that a model is shown at the most; fewer than storage keeps in memory for a conversation. */
const MOST_MESSAGES = 40

/** What a stored message is to a model. `shape` is missing where files have to be read, or the author's name is not known for ever. */
interface Reading {
  readonly cost: number
  readonly shape: ModelMessage | undefined
}

const NO_NAMES: ReadonlyMap<string, string> = new Map()

/** Messages of a busy conversation stay the same objects from turn to turn, and are read once. */
const readings = new WeakMap<StoredMessage, Reading>()

function readingOf(work: TurnWork, message: StoredMessage): Reading {
  const known = readings.get(message)
  if (known) return known
  const { parts } = message.body
  const files = parts.some((part) => part.type === 'file')
  const reading = {
    cost: estimateTokens(textOf(parts)) + OVERHEAD + (files ? IMAGE_TOKENS : 0),
    shape:
      message.role === 'assistant'
        ? ({ role: 'assistant', text: textOf(parts) } as const)
        : parts.some((part) => part.type !== 'text') || isNameless(work, message)
          ? undefined
          : userMessage(work, message, [], NO_NAMES),
  }
  readings.set(message, reading)
  return reading
}

/** Builds the request. `budget`: tokens of history; the turn's own messages are always whole. */
export async function buildRequest(work: TurnWork, files: readonly FetchedFile[], vision: boolean, budget: number): Promise<ModelRequest> {
  const { turn, parts } = work
  const newest = await parts.store.conversations.context(turn.conversation, turn.messages[0]?.seq ?? 0, MOST_MESSAGES)
  let left = budget
  const history: StoredMessage[] = []
  for (const message of newest) {
    left -= readingOf(work, message).cost
    if (left < 0) break
    history.push(message)
  }
  const names = await work.names([...history, ...turn.messages])
  const messages: ModelMessage[] = []
  for (const message of inOrder(history.reverse())) {
    // What the gateway said of itself is nothing that a model said.
    if (message.role === 'system' || message.body.command) continue
    messages.push(readingOf(work, message).shape ?? userMessage(work, message, await readFiles(work, message, [], vision), names))
  }
  for (const message of turn.messages) {
    messages.push(readingOf(work, message).shape ?? userMessage(work, message, await readFiles(work, message, files, vision), names))
  }
  return { system: systemText(work), messages: joined(messages) }
}

function systemText({ parts }: TurnWork): string {
  const today = new Date(parts.clock.now()).toISOString().slice(0, 10)
  return `${parts.assistant.instructions}\n\nToday is ${today}.`
}

function userMessage(
  { turn }: TurnWork,
  message: StoredMessage,
  files: readonly ModelContent[],
  names: ReadonlyMap<string, string>,
): ModelMessage {
  const text = [textOf(message.body.parts), ...message.body.parts.map(describe)].filter((line) => line !== '').join('\n')
  // In a group the model has to know who speaks.
  const { id = '', name: told, username } = message.body.author ?? {}
  const name = turn.conversation.place.type === 'group' ? told || username || names.get(id) : undefined
  const content: ModelContent[] = text === '' ? [] : [{ type: 'text', text: name ? `${name}: ${text}` : text }]
  return { role: 'user', content: [...content, ...files] }
}

function describe(part: Part): string {
  if (part.type === 'location') return `[location ${part.latitude}, ${part.longitude}${part.title ? ` ${part.title}` : ''}]`
  if (part.type === 'contact') return `[contact ${part.name}${part.phone ? ` ${part.phone}` : ''}]`
  return ''
}

/** Oldest first, each answer behind its question: a burst is admitted before the first of its answers is there. */
function inOrder(history: readonly StoredMessage[]): readonly StoredMessage[] {
  const ordered = history.every(
    (message, index) => message.role !== 'assistant' || index === 0 || message.replyTo === history[index - 1]?.id,
  )
  if (ordered) return history
  const places = new Map(history.map((message) => [message.id, message.seq]))
  const place = (message: StoredMessage) => (message.replyTo === undefined ? undefined : places.get(message.replyTo)) ?? message.seq
  return history.toSorted((a, b) => place(a) - place(b) || a.seq - b.seq)
}

/** Neighbours of the same role become one message: some providers refuse two in a row. */
function joined(messages: readonly ModelMessage[]): ModelMessage[] {
  const out: ModelMessage[] = []
  for (const message of messages) {
    const last = out.at(-1)
    if (last?.role === 'user' && message.role === 'user')
      out[out.length - 1] = { role: 'user', content: [...last.content, ...message.content] }
    else if (last?.role === 'assistant' && message.role === 'assistant')
      out[out.length - 1] = { ...last, text: `${last.text}\n\n${message.text}` }
    else if (message.role !== 'user' || message.content.length > 0) out.push(message)
  }
  while (out[0]?.role === 'assistant') out.shift()
  return out
}
