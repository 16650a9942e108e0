/** How fast an account may be: buckets for the account and for each room; shared by all nodes where there is something to share them in. */
import type { CallKind, Place, Rate, RateLimits } from '@posthouse/contract'

/** Answers are promises only where another process is asked; none of them rejects. */
export interface Rates {
  /** Takes a place for one call; answers how many milliseconds to wait before it. */
  reserve(account: string, place: Place, limits: RateLimits, call: CallKind): number | Promise<number>
  /** Takes a place only if there is no wait. */
  tryReserve(account: string, place: Place, limits: RateLimits, call: CallKind): boolean | Promise<boolean>
  /** The platform told us to wait: nothing goes to this room (or, without a room, to this account) before. */
  pause(account: string, room: string | undefined, ms: number): void
  /** Which part of a rate of the whole account this process has in use, 0 to 1; without a method, that of messages. */
  used(account: string, method: string | undefined, rate: Rate): number
}
