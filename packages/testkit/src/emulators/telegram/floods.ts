/** Telegram's own flood limits. */
import type { Room } from './store.ts'

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
