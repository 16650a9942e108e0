/** The newest messages of the conversations that were talked in last, opened: a busy conversation is not decrypted anew for each turn. */
import type { StoredMessage } from '../ports/store.ts'

export interface Recent {
  /** Newest first; undefined when nothing is kept for this revision. */
  get(conversation: string, revision: number): readonly StoredMessage[] | undefined
  set(conversation: string, revision: number, messages: readonly StoredMessage[]): void
}

/** What a message costs beside its text. */
const OVERHEAD = 300

/** Forgets the conversation that was quiet longest when all together exceed `limit` characters. */
export function createRecent(limit: number): Recent {
  const kept = new Map<string, { revision: number; messages: readonly StoredMessage[]; size: number }>()
  let total = 0
  const forget = (conversation: string) => {
    total -= kept.get(conversation)?.size ?? 0
    kept.delete(conversation)
  }
  return {
    get(conversation, revision) {
      const entry = kept.get(conversation)
      return entry?.revision === revision ? entry.messages : undefined
    },
    set(conversation, revision, messages) {
      const before = kept.get(conversation)
      if (before?.messages === messages) return
      forget(conversation)
      const size = messages.reduce((sum, message) => sum + sizeOf(message), 0)
      if (size > limit / 4) return
      kept.set(conversation, { revision, messages, size })
      total += size
      for (const oldest of kept.keys()) {
        if (total <= limit) return
        forget(oldest)
      }
    },
  }
}

function sizeOf({ body }: StoredMessage): number {
  return body.parts.reduce((sum, part) => sum + (part.type === 'text' ? part.text.length : OVERHEAD), OVERHEAD)
}
