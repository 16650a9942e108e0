/** Failures on demand, for any platform that is called by methods with names. */

export interface Fault {
  /** Error code and HTTP status of the answer. */
  readonly status: number
  readonly description?: string
  /** Seconds. */
  readonly retryAfter?: number
  /** How often; once unless told otherwise. */
  readonly times?: number
  /** Answers this text instead of what the platform says, as a proxy would. */
  readonly body?: string
}

export interface Faults {
  /** The next calls of a method (`*` for any) are refused. */
  failNext(method: string, fault: Fault): void
  /** From now on no more than `amount` calls of a method within `per` milliseconds; what is more is refused with 429. */
  limit(method: string, amount: number, per: number): void
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
  const limits = new Map<string, { readonly amount: number; readonly per: number; taken: number[] }>()
  const key = (method: string) => method.toLowerCase()
  return {
    failNext: (method, fault) => {
      const queue = failing.get(key(method)) ?? []
      queue.push({ fault, left: fault.times ?? 1 })
      failing.set(key(method), queue)
    },
    limit: (method, amount, per) => {
      limits.set(key(method), { amount, per, taken: [] })
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
      const limit = limits.get(method)
      if (!limit) return undefined
      const now = performance.now()
      limit.taken = limit.taken.filter((at) => now - at < limit.per)
      const [oldest = now] = limit.taken
      if (limit.taken.length >= limit.amount) return { status: 429, retryAfter: Math.ceil((oldest + limit.per - now) / 1000) }
      limit.taken.push(now)
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
