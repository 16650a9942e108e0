/** What is done once for all nodes, by the one that has the lease: what has served its time goes, and the database's planner counts anew. */
import type { Logger } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import type { Blobs } from '../ports/blobs.ts'
import type { Leases } from '../ports/leases.ts'
import type { Store } from '../ports/store.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** A file that was uploaded and never sent is kept for this long; so are bytes without a row, which is more than any upload takes. */
const KEEP_UNSENT = DAY
/** Setting: since when a file that was sent belongs to its conversation. */
const ADOPTING_SINCE = 'files_adopted_since'
/** Setting: when the planner's figures were counted last. */
const ANALYZED = 'analyzed_at'

export interface Upkeep {
  /** Ends it, and gives the lease back. */
  rest(): Promise<void>
}

export function keepUp(parts: {
  readonly store: Store
  readonly blobs: Pick<Blobs, 'ids' | 'remove'>
  readonly leases: Leases
  readonly clock: Clock
  readonly log: Logger
}): Upkeep {
  const { store, blobs, leases, clock, log } = parts
  const resting = new AbortController()
  let lookedAt = 0

  const removeUnsent = async () => {
    // What was sent before conversations took their files over cannot be told from what never was: it stays.
    const since = await store.settings.get(ADOPTING_SINCE)
    if (since === undefined) return await store.settings.set(ADOPTING_SINCE, String(clock.now()))
    const unsent = await store.files.abandon(Number(since), clock.now() - KEEP_UNSENT)
    for (const id of unsent) await blobs.remove(id)
    await store.files.remove(unsent)
  }
  /** Bytes that a crash left without a row. */
  const removeLost = async () => {
    const until = clock.now() - KEEP_UNSENT
    for await (const ids of blobs.ids(lookedAt, until)) for (const id of await store.files.lost(ids)) await blobs.remove(id)
    lookedAt = until
  }
  const analyze = async () => {
    if (clock.now() - Number((await store.settings.get(ANALYZED)) ?? 0) < DAY) return
    await store.analyze()
    await store.settings.set(ANALYZED, String(clock.now()))
  }
  const tidy = async () => {
    try {
      for (let rows = 1; rows > 0; ) rows = await store.prune(clock.now())
      await removeUnsent()
      await removeLost()
      await analyze()
    } catch (error) {
      log.warn({ err: error }, 'old rows could not be deleted; it is tried again in an hour')
    }
  }
  const kept = leases.keep('upkeep', resting.signal, async (_held, signal) => {
    await removeUnsent().catch((error: unknown) => log.warn({ err: error }, 'files that were never sent could not be looked for'))
    using _hourly = clock.every(HOUR, () => void tidy())
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  })
  return {
    async rest() {
      resting.abort()
      await kept
    },
  }
}
