/** Message bodies that were sealed or opened last, told apart by the tag of their sealed form: a body that was rewritten is another one. */
import { createGenerations } from '../base/generations.ts'
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
  // The tag alone: a sealed value would keep the whole slab alive that it was cut from.
  const kept = createGenerations<{ readonly tag: string; readonly body: MessageBody }>(limit)
  return {
    get(id, sealed) {
      const entry = kept.get(id)
      return entry && entry.tag === tagOf(sealed) ? entry.body : undefined
    },
    set(id, sealed, body) {
      kept.set(id, { tag: tagOf(sealed), body }, sealed.length + OVERHEAD)
      return body
    },
  }
}

function tagOf(sealed: Uint8Array): string {
  return Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength).toString('latin1', sealed.length - TAG)
}
