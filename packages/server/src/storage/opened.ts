/** Message bodies that were sealed or opened last, told apart by the tag of their sealed form: a body that was rewritten is another one. */
import type { MessageBody } from '../ports/store.ts'

export interface Opened {
  get(id: string, sealed: Uint8Array): MessageBody | undefined
  /** Answers the body, for chaining. */
  set(id: string, sealed: Uint8Array, body: MessageBody): MessageBody
}

const TAG = 16
/** What a kept body costs beside its bytes: short messages are mostly this. */
const OVERHEAD = 2000

/** `limit`: bytes that all kept bodies together may cost. */
export function createOpened(limit: number): Opened {
  const kept = new Map<string, { readonly sealed: Uint8Array; readonly body: MessageBody }>()
  let total = 0
  return {
    get(id, sealed) {
      const entry = kept.get(id)
      return entry && sameTag(entry.sealed, sealed) ? entry.body : undefined
    },
    set(id, sealed, body) {
      if (sealed.length > limit / 4) return body
      const before = kept.get(id)
      total += sealed.length + OVERHEAD - (before ? before.sealed.length + OVERHEAD : 0)
      kept.delete(id)
      kept.set(id, { sealed, body })
      for (const [oldest, entry] of kept) {
        if (total <= limit) break
        total -= entry.sealed.length + OVERHEAD
        kept.delete(oldest)
      }
      return body
    },
  }
}

function sameTag(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let index = a.length - TAG; index < a.length; index++) if (a[index] !== b[index]) return false
  return true
}
