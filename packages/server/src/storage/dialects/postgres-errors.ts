/** What the errors of PostgreSQL say, by their codes. https://www.postgresql.org/docs/15/errcodes-appendix.html */
import type { Verdict } from '../writer.ts'

/** There is no connection (any more), or what is asked over it leads nowhere. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
}

/** By the whole code, or by its class of two letters. What is not named is the fault of the work. */
const VERDICTS: Readonly<Record<string, Verdict>> = {
  '40001': 'conflict', // serialization failure
  '40P01': 'conflict', // deadlock
  '55P03': 'busy', // lock not available in time
  '57014': 'busy', // statement timeout
  '53': 'busy', // disk full, out of memory
  '58': 'busy', // system error
  XX: 'busy', // internal error
  '53300': 'lost', // too many connections
  '08': 'lost', // connection exception
  '28': 'lost', // not let in
  '3D': 'lost', // the database is gone
  '57': 'lost', // shutting down, starting up, dropped
  '25006': 'lost', // read-only: it became a standby
  '25P03': 'lost', // idle in transaction for too long
  '0A000': 'worn', // a table of a prepared statement has other columns by now
  '26000': 'worn', // a prepared statement is gone
  '42P05': 'worn', // or is there twice
}

/** Judges an error that came out of a transaction. */
export function judge(error: unknown): Verdict {
  if (error instanceof ConnectionLost) return 'lost'
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  // Errors of our own have no severity.
  if (typeof code !== 'string' || typeof severity !== 'string') return 'work'
  return VERDICTS[code] ?? VERDICTS[code.slice(0, 2)] ?? 'work'
}
