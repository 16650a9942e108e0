/** Ends what stays open (sockets, event streams) when the login or token behind it becomes void: signed out, revoked, password changed. */
import type { Clock } from '../base/clock.ts'

export interface Watch extends Disposable {
  /** Calls `end` within a second after `still` answers false. Several openings of one credential share one question. */
  add(credential: string, still: () => Promise<boolean>, end: () => void): Disposable
}

/** With what the check of a token may remember, an open socket outlives its credential by less than a second. */
const EVERY = 400

export function createWatch(clock: Pick<Clock, 'every'>): Watch {
  const watched = new Map<string, { readonly still: () => Promise<boolean>; readonly ends: Set<() => void> }>()
  const look = async () => {
    for (const [credential, { still, ends }] of [...watched]) {
      // When the database is away nobody is known to be void.
      if (await still().catch(() => true)) continue
      watched.delete(credential)
      for (const end of ends) end()
    }
  }
  let looking = false
  const timer = clock.every(EVERY, () => {
    if (looking) return
    looking = true
    void look().finally(() => {
      looking = false
    })
  })
  return {
    add(credential, still, end) {
      const entry = watched.get(credential) ?? { still, ends: new Set() }
      watched.set(credential, entry)
      entry.ends.add(end)
      return {
        [Symbol.dispose]() {
          entry.ends.delete(end)
          if (entry.ends.size === 0 && watched.get(credential) === entry) watched.delete(credential)
        },
      }
    },
    [Symbol.dispose]: () => timer[Symbol.dispose](),
  }
}
