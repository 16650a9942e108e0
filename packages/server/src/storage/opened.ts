/** Message bodies that were sealed or opened last, told apart by the tag of their sealed form: a body that was rewritten is another one. */
import type { MessageBody } from '../ports/store.ts'

export interface Opened {
  get(id: string, sealed: Uint8Array): MessageBody | undefined
  /** Answers the body, for chaining. */
  set(id: string, sealed: Uint8Array, body: MessageBody): MessageBody
}

const TAG = 16

/** `limit`: sealed bytes that all kept bodies together may have. */
export function createOpened(limit: number): Opened {
  // The tag alone: a sealed value would keep the whole slab alive that it was cut from.
  const kept = new Map<string, { readonly tag: string; readonly size: number; readonly body: MessageBody }>()
  let total = 0
  return {
    get(id, sealed) {
      const entry = kept.get(id)
      return entry && entry.tag === tagOf(sealed) ? entry.body : undefined
    },
    set(id, sealed, body) {
      const size = sealed.length
      if (size > limit / 4) return body
      total += size - (kept.get(id)?.size ?? 0)
      kept.delete(id)
      kept.set(id, { tag: tagOf(sealed), size, body })
      if (total <= limit) return body
      for (const [oldest, entry] of kept) {
        total -= entry.size
        kept.delete(oldest)
        if (total <= limit) break
      }
      return body
    },
  }
}

function tagOf(sealed: Uint8Array): string {
  return Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength).toString('latin1', sealed.length - TAG)
}
