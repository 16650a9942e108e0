/** What a signed-in person or a program sent us, as an inbound message. Pure. */
import { type FileRef, type InboundMessage, parseCommand } from '@posthouse/contract'

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

function titleOf({ text, files }: WebInput): string {
  const line = text.trim().split('\n')[0] || files[0]?.name || ''
  const characters = [...line]
  return characters.length > TITLE ? `${characters.slice(0, TITLE).join('')}…` : line
}
