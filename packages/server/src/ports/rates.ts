/** How fast an account may send: one bucket for the account, one for each room; shared by all nodes where there is something to share them in. */
import type { Place, Rate } from '@posthouse/contract'

export interface RateSet {
  readonly account?: Rate
  readonly direct?: Rate
  readonly group?: Rate
}

/** Answers are promises only where another process is asked; none of them rejects. */
export interface Rates {
  /** Takes a place for one send; answers how many milliseconds to wait before it. */
  reserve(account: string, place: Place, rates: RateSet): number | Promise<number>
  /** Takes a place only if there is no wait. */
  tryReserve(account: string, place: Place, rates: RateSet): boolean | Promise<boolean>
  /** The platform told us to wait: nothing goes to this room (or, without a room, to this account) before. */
  pause(account: string, room: string | undefined, ms: number): void
  /** Which part of the account's rate this process has in use, 0 to 1. */
  used(account: string, rate: Rate): number
}
