/** What a signed-in person or a program sent us, as an inbound message. Pure. */
import { type FileRef, type InboundMessage, type Known, PosthouseError, parseCommand, type Reader, type Reading } from '@posthouse/contract'

export interface WebInput {
  /** Chosen by the client, the same over all repeats. */
  readonly clientId: string
  readonly conversationId: string
  readonly owner: string
  readonly author: { readonly id: string; readonly name: string }
  readonly text: string
  readonly files: readonly FileRef[]
  readonly replaces: string | undefined
  readonly now: number
}

/** Characters of the first message that become the conversation's title. */
const TITLE = 60

export function decode(input: WebInput): InboundMessage {
  const command = parseCommand(input.text)
  return {
    kind: 'message',
    // Unique for its owner: nobody can take, or learn of, somebody else's key.
    key: `${encodeURIComponent(input.owner)}:${input.clientId}`,
    id: input.clientId,
    place: { room: input.conversationId, type: 'direct', title: titleOf(input) },
    author: input.author,
    parts: [
      ...(input.text === '' ? [] : [{ type: 'text' as const, text: input.text }]),
      ...input.files.map((file) => ({ type: 'file' as const, file })),
    ],
    sentAt: input.now,
    addressed: true,
    ...(command ? { command } : {}),
    ...(input.replaces ? { replaces: input.replaces } : {}),
  }
}

/** Bodies of `POST /api/v1/chat` and frames of `/ws`, without the signing in that stands before both; for `channel decode`. */
export const reader: Reader = {
  request: ({ body }, known) => {
    let given: unknown
    try {
      given = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    } catch {
      throw new PosthouseError('invalid', 'the body is not JSON in UTF-8')
    }
    const { query, conversation_id: conversation, user } = objectIn(given)
    return read(query, conversation, '', user, known)
  },
  frame: (frame, known) => {
    const { type, text, conversation_id: conversation, id } = objectIn(frame)
    if (type !== 'send') return { messages: [], reason: 'not a message: only frames of the type "send" are' }
    return read(text, conversation, id, undefined, known)
  },
}

function objectIn(given: unknown): Readonly<Record<string, unknown>> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw new PosthouseError('invalid', 'an object is expected')
  return given as Record<string, unknown>
}

function read(text: unknown, conversation: unknown, id: unknown, user: unknown, { now }: Known): Reading {
  if (typeof text !== 'string' || text.trim() === '') throw new PosthouseError('invalid', 'a text is expected')
  for (const each of [conversation, id, user])
    if (each !== undefined && typeof each !== 'string') throw new PosthouseError('invalid', 'ids are strings')
  const owner = typeof user === 'string' ? user : 'you'
  const message = decode({
    clientId: String(id ?? ''),
    conversationId: String(conversation ?? ''),
    owner,
    author: { id: owner, name: owner },
    text,
    files: [],
    replaces: undefined,
    now,
  })
  return { messages: [message] }
}

function titleOf({ text, files }: WebInput): string {
  const line = text.trim().split('\n')[0] || files[0]?.name || ''
  const characters = [...line]
  return characters.length > TITLE ? `${characters.slice(0, TITLE).join('')}…` : line
}
