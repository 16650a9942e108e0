/**
 * The newest messages of the conversations that were talked in last, opened: a busy conversation is neither read nor decrypted anew for each
 * turn. They are known to be the newest as long as the conversation's revision, and the turn that ended last in it, are those of the entry; a turn
 * on another node, an edit, or a word beside a turn makes them void.
 */
import { createGenerations } from '../base/generations.ts'
import type { Conversation, StoredMessage } from '../ports/store.ts'

/** What tells one state of a conversation from another. */
export type Mark = Pick<Conversation, 'id' | 'revision' | 'lastTurn'>

export interface Recent {
  /** Newest first; undefined when what is kept, if anything, is not this state's. */
  get(mark: Mark): readonly StoredMessage[] | undefined
  /** Keeps what was read, newest first. */
  set(mark: Mark, messages: readonly StoredMessage[]): void
  /** A turn ended: what it claimed and what it said come to what is kept for the state before it. */
  extend(before: Mark, turn: string, said: readonly StoredMessage[]): void
}

interface Entry {
  readonly revision: number
  readonly lastTurn: string | undefined
  readonly messages: readonly StoredMessage[]
  readonly size: number
}

/** What a message costs beside its text. */
const OVERHEAD = 300

/** Keeps `most` messages of each conversation, of those that were talked in last; `limit`: characters of all together. */
export function createRecent(most: number, limit: number): Recent {
  const kept = createGenerations<Entry>(limit)
  const find = ({ id, revision, lastTurn }: Mark) => {
    const entry = kept.get(id)
    return entry && entry.revision === revision && entry.lastTurn === lastTurn ? entry : undefined
  }
  return {
    get: (mark) => find(mark)?.messages,
    set({ id, revision, lastTurn }, messages) {
      const newest = messages.slice(0, most)
      const size = sizeOf(newest)
      kept.set(id, { revision, lastTurn, messages: newest, size }, size)
    },
    extend(before, turn, said) {
      const entry = find(before)
      if (!entry) return kept.delete(before.id)
      const known = entry.messages
      const newest = known[0]?.seq ?? 0
      const newer = said.every(({ seq }) => seq > newest)
      const added = newer ? said : missing(known, said, most)
      const all = [...added, ...known]
      if (!newer) all.sort((a, b) => b.seq - a.seq)
      const messages = all.slice(0, most)
      const size = entry.size + sizeOf(added) - sizeOf(all.slice(most))
      kept.set(before.id, { revision: before.revision, lastTurn: turn, messages, size }, size)
    },
  }
}

/** What an operator let go again may have its place already, or be older than what is kept. */
function missing(known: readonly StoredMessage[], said: readonly StoredMessage[], most: number): readonly StoredMessage[] {
  const oldest = known.length < most ? 0 : (known.at(-1)?.seq ?? 0)
  return said.filter(({ seq }) => seq > oldest && !known.some((message) => message.seq === seq))
}

function sizeOf(messages: readonly StoredMessage[]): number {
  let size = 0
  for (const { body } of messages) {
    size += OVERHEAD
    for (const part of body.parts) size += part.type === 'text' ? part.text.length : OVERHEAD
  }
  return size
}
