/** Rates within one process. */
import type { Place, Rate } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import type { RateSet, Rates } from '../ports/rates.ts'

/** The same within one process: every answer is there at once. */
export interface LocalRates extends Rates {
  reserve(account: string, place: Place, rates: RateSet): number
  tryReserve(account: string, place: Place, rates: RateSet): boolean
}

/** Rooms remembered; a bucket that is full again need not be. */
const ROOMS = 20_000

/**
 * Buckets as the time at which the next send is due (GCRA): nothing has to tick, and an idle bucket is the same as none.
 * `due` runs ahead of now by what was used; a send may go while it runs ahead by less than the bucket's size.
 */
export function createLocalRates(clock: Pick<Clock, 'elapsed'>): LocalRates {
  const dues = new Map<string, number>()
  const pauses = new Map<string, number>()

  const waitOf = (key: string, rate: Rate | undefined, now: number): number => {
    const room = rate ? rate.per - rate.per / rate.amount : 0
    const byRate = rate ? (dues.get(key) ?? 0) - room - now : 0
    return Math.max(0, byRate, (pauses.get(key) ?? 0) - now)
  }
  const use = (key: string, rate: Rate | undefined, now: number) => {
    if (!rate) return
    const due = Math.max(dues.get(key) ?? 0, now) + rate.per / rate.amount
    // Last in, last out: what was used longest ago is forgotten first.
    dues.delete(key)
    dues.set(key, due)
    if (dues.size > ROOMS) forget(dues, now)
  }

  const take = (account: string, place: Place, rates: RateSet, only: boolean): number => {
    const now = clock.elapsed()
    const all = `a:${account}`
    const room = `r:${account}:${place.room}`
    const roomRate = place.type === 'direct' ? rates.direct : rates.group
    const wait = Math.max(waitOf(all, rates.account, now), waitOf(room, roomRate, now))
    if (only && wait > 0) return wait
    use(all, rates.account, now)
    use(room, roomRate, now)
    return wait
  }

  return {
    reserve: (account, place, rates) => take(account, place, rates, false),
    tryReserve: (account, place, rates) => take(account, place, rates, true) === 0,
    used: (account, { per }) => Math.min(1, Math.max(0, (dues.get(`a:${account}`) ?? 0) - clock.elapsed()) / per),
    pause(account, room, ms) {
      const key = room === undefined ? `a:${account}` : `r:${account}:${room}`
      const now = clock.elapsed()
      pauses.set(key, Math.max(pauses.get(key) ?? 0, now + ms))
      if (pauses.size > ROOMS) forget(pauses, now)
    },
  }
}

function forget(times: Map<string, number>, now: number): void {
  for (const [key, time] of times) if (time <= now) times.delete(key)
  for (const key of times.keys()) {
    if (times.size <= ROOMS) break
    times.delete(key)
  }
}
