/** Failures on demand, and the platform's own flood limits. */
import type { Room } from './store.ts'

export interface Fault {
  /** Error code and HTTP status of the answer. */
  readonly status: number
  readonly description?: string
  /** Seconds. */
  readonly retryAfter?: number
  /** How often; once unless told otherwise. */
  readonly times?: number
  /** Answers this text instead of the Bot API's JSON, as a proxy would. */
  readonly body?: string
}

export interface Faults {
  /** The next calls of a method (`*` for any) are refused. */
  failNext(method: string, fault: Fault): void
  /** Forgets failures that were not played. */
  heal(): void
  /** The next calls of a method are carried out, but the connection ends without an answer. */
  dropReplyOf(method: string, times?: number): void
  /** Every answer of a method comes this much later; 0 ends it. */
  delay(method: string, ms: number): void
  takeFault(method: string): Fault | undefined
  takeDrop(method: string): boolean
  delayOf(method: string): number
}

export function createFaults(): Faults {
  const failing = new Map<string, { fault: Fault; left: number }[]>()
  const dropping = new Map<string, number>()
  const delays = new Map<string, number>()
  const key = (method: string) => method.toLowerCase()
  return {
    failNext: (method, fault) => {
      const queue = failing.get(key(method)) ?? []
      queue.push({ fault, left: fault.times ?? 1 })
      failing.set(key(method), queue)
    },
    heal: () => failing.clear(),
    dropReplyOf: (method, times = 1) => {
      dropping.set(key(method), times)
    },
    delay: (method, ms) => {
      delays.set(key(method), ms)
    },
    takeFault: (method) => {
      for (const name of failing.size === 0 ? [] : [method, '*']) {
        const queue = failing.get(name)
        const first = queue?.[0]
        if (!first) continue
        if (--first.left <= 0) queue.shift()
        return first.fault
      }
      return undefined
    },
    takeDrop: (method) => {
      const left = dropping.get(method) ?? 0
      if (left > 0) dropping.set(method, left - 1)
      return left > 0
    },
    delayOf: (method) => delays.get(method) ?? 0,
  }
}

/** At most `amount` messages within `per` milliseconds. */
interface FloodLimit {
  readonly amount: number
  readonly per: number
}

export interface FloodLimits {
  readonly global?: FloodLimit
  readonly chat?: FloodLimit
  readonly group?: FloodLimit
}

/** Seconds to wait, or undefined when the message may go. */
export function createFloods(limits: FloodLimits | undefined): (room: Room) => number | undefined {
  if (!limits) return () => undefined
  const sent = new Map<string, number[]>()
  const tooMany = (name: string, limit: FloodLimit | undefined, now: number) => {
    if (!limit) return undefined
    const recent = (sent.get(name) ?? []).filter((at) => at > now - limit.per)
    sent.set(name, recent)
    return recent.length < limit.amount ? undefined : Math.max(1, Math.ceil(((recent[0] ?? now) + limit.per - now) / 1000))
  }
  return ({ chat }) => {
    const now = Date.now()
    const group = chat.type === 'private' ? undefined : limits.group
    const wait = tooMany('', limits.global, now) ?? tooMany(`c${chat.id}`, limits.chat, now) ?? tooMany(`g${chat.id}`, group, now)
    if (wait === undefined) for (const name of ['', `c${chat.id}`, `g${chat.id}`]) sent.get(name)?.push(now)
    return wait
  }
}
