/** The newest messages of the conversations that were talked in last, opened: a busy conversation is not decrypted anew for each turn. */
import type { StoredMessage } from '../ports/store.ts'

export interface Recent {
  /** Newest first; empty when nothing is kept for this revision. */
  get(conversation: string, revision: number): readonly StoredMessage[]
  /** Puts `fresh` (newest first) before what is kept for this revision; answers all of it. */
  add(conversation: string, revision: number, fresh: readonly StoredMessage[]): readonly StoredMessage[]
}

/** What a message costs beside its text. */
const OVERHEAD = 300

interface Entry {
  readonly revision: number
  readonly messages: readonly StoredMessage[]
  readonly size: number
}

/** Keeps `most` messages of each conversation; forgets the one that was quiet longest when all together exceed `limit` characters. */
export function createRecent(most: number, limit: number): Recent {
  const kept = new Map<string, Entry>()
  let total = 0
  const forget = (conversation: string) => {
    total -= kept.get(conversation)?.size ?? 0
    kept.delete(conversation)
  }
  const find = (conversation: string, revision: number) => {
    const entry = kept.get(conversation)
    return entry?.revision === revision ? entry : undefined
  }
  return {
    get: (conversation, revision) => find(conversation, revision)?.messages ?? [],
    add(conversation, revision, fresh) {
      const before = find(conversation, revision)
      if (before && fresh.length === 0) return before.messages
      const all = before ? [...fresh, ...before.messages] : fresh
      const messages = all.slice(0, most)
      const size = (before?.size ?? 0) + sizeOf(fresh) - sizeOf(all.slice(most))
      forget(conversation)
      if (size > limit / 4) return messages
      kept.set(conversation, { revision, messages, size })
      total += size
      for (const oldest of kept.keys()) {
        if (total <= limit) break
        forget(oldest)
      }
      return messages
    },
  }
}

function sizeOf(messages: readonly StoredMessage[]): number {
  let size = 0
  for (const { body } of messages) {
    size += OVERHEAD
    for (const part of body.parts) size += part.type === 'text' ? part.text.length : OVERHEAD
  }
  return size
}
