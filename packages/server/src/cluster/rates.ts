/** Rates within one process. */
import type { CallKind, CallRates, Place, Rate, RateLimits } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import type { Rates } from '../ports/rates.ts'

type Less = (rate: Rate) => Rate

/** The same within one process: every answer is there at once. `less`: keeps to other figures than those given. */
export interface LocalRates extends Rates {
  reserve(account: string, place: Place, limits: RateLimits, call: CallKind, less?: Less): number
  tryReserve(account: string, place: Place, limits: RateLimits, call: CallKind, less?: Less): boolean
}

/** A bucket that a call takes a place in: of one of the platform's methods, or of messages; of the account, or of the call's room. */
export interface Bucket {
  readonly method: string | undefined
  readonly ofRoom: boolean
  /** Milliseconds that one place takes to come back. */
  readonly step: number
  /** How far, in milliseconds, its use may run ahead. */
  readonly ahead: number
}

/** What counts unless a channel says otherwise: whatever posts a message or completes one. */
const MESSAGES: readonly CallKind[] = ['send', 'upload', 'draft', 'finish']
/** These may be left out: they leave that part of each bucket to what must go. */
const OPTIONAL: readonly CallKind[] = ['draft', 'edit', 'typing']
const LEFT_FREE = 0.5

/** The buckets that count this call. */
export function bucketsOf(limits: RateLimits, place: Pick<Place, 'type'>, call: CallKind, less: Less = (rate) => rate): readonly Bucket[] {
  const buckets: Bucket[] = []
  const add = (method: string | undefined, ofRoom: boolean, given: Rate | undefined) => {
    if (!given) return
    const { amount, per } = less(given)
    const step = per / amount
    buckets.push({ method, ofRoom, step, ahead: (per - step) * (OPTIONAL.includes(call) ? 1 - LEFT_FREE : 1) })
  }
  const addAll = (method: string | undefined, { calls = MESSAGES, account, direct, group }: Partial<CallRates>) => {
    if (!calls.includes(call)) return
    add(method, false, account)
    add(method, true, place.type === 'direct' ? direct : group)
  }
  addAll(undefined, limits)
  for (const method in limits.methods) addAll(method, limits.methods[method] ?? {})
  return buckets
}

/** Rooms remembered; a bucket that is full again need not be. */
const ROOMS = 20_000

/**
 * Buckets as the time at which the next call is due (GCRA): nothing has to tick, and an idle bucket is the same as none.
 * `due` runs ahead of now by what was used; a call may go while it runs ahead by less than the bucket's size.
 */
export function createLocalRates(clock: Pick<Clock, 'elapsed'>): LocalRates {
  const dues = new Map<string, number>()
  const pauses = new Map<string, number>()

  const use = (key: string, step: number, now: number) => {
    const due = Math.max(dues.get(key) ?? 0, now) + step
    // Last in, last out: what was used longest ago is forgotten first.
    dues.delete(key)
    dues.set(key, due)
    if (dues.size > ROOMS) forget(dues, now)
  }

  const take = (account: string, room: string, buckets: readonly Bucket[], only: boolean): number => {
    const now = clock.elapsed()
    const keys = buckets.map(({ method, ofRoom }) => keyOf(account, ofRoom ? room : undefined, method))
    const paused = Math.max(pauses.get(keyOf(account)) ?? 0, pauses.get(keyOf(account, room)) ?? 0)
    const wait = Math.max(0, paused - now, ...buckets.map(({ ahead }, index) => (dues.get(keys[index] ?? '') ?? 0) - ahead - now))
    if (only && wait > 0) return wait
    buckets.forEach(({ step }, index) => {
      use(keys[index] ?? '', step, now)
    })
    return wait
  }

  return {
    reserve: (account, place, limits, call, less) => take(account, place.room, bucketsOf(limits, place, call, less), false),
    tryReserve: (account, place, limits, call, less) => take(account, place.room, bucketsOf(limits, place, call, less), true) === 0,
    used: (account, method, { per }) =>
      Math.min(1, Math.max(0, (dues.get(keyOf(account, undefined, method)) ?? 0) - clock.elapsed()) / per),
    pause(account, room, ms) {
      const key = keyOf(account, room)
      const now = clock.elapsed()
      pauses.set(key, Math.max(pauses.get(key) ?? 0, now + ms))
      if (pauses.size > ROOMS) forget(pauses, now)
    },
  }
}

/** Of the whole account without a room; of messages without a method. */
const keyOf = (account: string, room?: string, method = '') =>
  room === undefined ? `a:${method}:${account}` : `r:${method}:${account}:${room}`

function forget(times: Map<string, number>, now: number): void {
  for (const [key, time] of times) if (time <= now) times.delete(key)
  for (const key of times.keys()) {
    if (times.size <= ROOMS) break
    times.delete(key)
  }
}
