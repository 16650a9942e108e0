import type { CallKind } from '@posthouse/contract'
import type { CacheResult, CacheTier } from './cache.ts'

/** What the parts tell about themselves; metrics are made of it. No ids, no content. Durations in milliseconds. */
export interface Observer {
  admitted(fact: { readonly channel: string; readonly status: string; readonly took: number }): void
  turnEnded(fact: { readonly outcome: string; readonly took: number; readonly own: number; readonly firstToken: number | undefined }): void
  modelCalled(fact: { readonly endpoint: string; readonly outcome: string; readonly took: number }): void
  delivered(fact: { readonly channel: string; readonly result: string; readonly took: number }): void
  /** How long a call has to wait for the platform's rate. */
  rateWaited(fact: { readonly channel: string; readonly call: CallKind; readonly wait: number }): void
  /** A call of a preview, or the sign of writing, was left out for the platform's rate. */
  rateSkipped(fact: { readonly channel: string; readonly call: CallKind }): void
  /** Something was not done, or not written, because it is another node's by now (P7). */
  fenced(fact: { readonly what: 'lease' | 'turn' | 'delivery' }): void
  /** A ticket `confirmed` by the broker; `refused`: not handed over; `unconfirmed`: nobody knows; `foreign`: read from a queue, and none of ours. */
  ticket(fact: { readonly result: 'confirmed' | 'refused' | 'unconfirmed' | 'foreign' }): void
  /** A live frame between nodes; `dropped`: who wants it asks the store. */
  frame(fact: { readonly result: 'sent' | 'dropped' | 'received' | 'foreign' }): void
  cached(fact: { readonly tier: CacheTier; readonly result: CacheResult }): void
}
