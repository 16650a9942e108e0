/** Who has work: tickets that may be lost or repeated; the database decides (law 3). */
import type { Priority } from '@posthouse/contract'
import type { Outside } from './outside.ts'

export interface Ticket {
  /** Conversation id. */
  readonly lane: string
  readonly priority: Priority
  /** Its turns broke before, and may have killed the process: no other such lane runs beside it. */
  readonly suspect?: boolean
}

/** Takes a ticket; calls `taken` once its lane runs, or will be looked at anyway. What was not taken goes to another node. */
export type TakeTicket = (ticket: Ticket, taken?: () => void) => void

export interface Broker extends Outside, AsyncDisposable {
  /** Only after the commit. Never throws, never waits: who acknowledges to a platform is not held by a broker. */
  publish(ticket: Ticket): void
  /** One consumer per node. */
  consume(take: TakeTicket): void
  /** Milliseconds after which the database is asked again for lanes whose ticket got lost. */
  readonly sweepEvery: number
}
