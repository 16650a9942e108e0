/** The one loop that keeps an account listening: a failure is told and waited off, capped and jittered, and is never the end (P11). */
import {
  type Channel,
  type Connection,
  type ConnectionState,
  DeliveryError,
  type DeliveryFailure,
  type Listener,
} from '@posthouse/contract'
import { backoff } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'

/** What is usual after a failure; a channel may know better. */
const USUAL: Partial<Record<DeliveryFailure, { readonly state?: ConnectionState; readonly least: number; readonly most: number }>> = {
  auth: { state: 'needs-auth', least: 30_000, most: 300_000 },
  conflict: { state: 'conflict', least: 30_000, most: 120_000 },
  'not-found': { least: 30_000, most: 300_000 },
  'rate-limited': { state: 'rate-limited', least: 1000, most: 30_000 },
}
const NETWORK = { least: 500, most: 30_000, remedy: 'the platform is not reachable; it is being tried again' }
const OURSELVES = 'the gateway could not keep its place; it is being tried again'

export interface Listening {
  readonly channel: Pick<Channel, 'setbacks'>
  readonly connection: Connection
  readonly host: Listener
  readonly clock: Pick<Clock, 'sleep'>
  /** When the platform gave its last sign of life: what heard something begins its back-off anew. */
  readonly heard: () => number | undefined
  readonly report: (state: ConnectionState, problem: string) => void
  readonly random?: () => number
}

/** Resolves when the signal fired and all is quiet. */
export async function keepListening(listening: Listening, signal: AbortSignal): Promise<void> {
  const { channel, connection, host, clock, heard, report, random = Math.random } = listening
  for (let failures = 1; !signal.aborted; failures++) {
    const before = heard()
    try {
      await connection.listen?.(host, signal)
      if (!signal.aborted) throw new DeliveryError('transient', 'the connection ended')
    } catch (thrown) {
      if (signal.aborted) return
      if (heard() !== before) failures = 1
      const { state, least, most, remedy, message, retryAfter } = setbackOf(channel, thrown)
      report(state, `${remedy} (${message})`)
      await clock.sleep(Math.max(retryAfter, least, backoff(failures + 1, { first: least, most, random })), signal)
    }
  }
}

function setbackOf({ setbacks }: Pick<Channel, 'setbacks'>, thrown: unknown) {
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  // By its name: a channel may have the contract of its own.
  if (!(thrown instanceof Error) || thrown.name !== 'DeliveryError')
    return { ...NETWORK, state: 'degraded' as const, remedy: OURSELVES, message, retryAfter: 0 }
  const { kind, retryAfter = 0 } = thrown as DeliveryError
  const usual = { state: 'degraded' as const, ...NETWORK, ...setbacks?.transient, ...USUAL[kind] }
  return { ...usual, ...setbacks?.[kind], message, retryAfter }
}
