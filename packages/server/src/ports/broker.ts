/** Who has work: tickets that may be lost or repeated; the database decides (law 3). */

export interface Ticket {
  /** Conversation id. */
  readonly lane: string
  readonly priority: Priority
  /** Its turns broke before, and may have killed the process: no other such lane runs beside it. */
  readonly suspect?: boolean
}

/** Lower goes first. */
export const priorities = { interactive: 0, background: 1 } as const
export type Priority = (typeof priorities)[keyof typeof priorities]

export interface Broker extends AsyncDisposable {
  publish(ticket: Ticket): void
  /** One consumer per node. */
  consume(take: (ticket: Ticket) => void): void
}
