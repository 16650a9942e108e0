/** Exclusive, fenced ownership: of a long connection, of a job that one node does for all. A lease goes with its node: who is dead owns nothing. */

export interface Lease {
  readonly name: string
  readonly node: string
  /** Rises with every taking: whatever carries an older one is refused (P7). */
  readonly epoch: number
}

export interface LeaseStore {
  /** Takes it when nobody who lives has it. */
  take(name: string, node: string): Promise<Lease | undefined>
  /** Whether somebody might take it. */
  free(name: string): Promise<boolean>
  release(lease: Lease): Promise<void>
  list(): Promise<readonly Lease[]>
}

/** A lease in our hands. */
export interface Held {
  readonly lease: Lease
  /** To be called right before anything is done in its name. @throws {StaleLease} when it may not be ours any more. */
  demand(): void
}

export interface Leases {
  /**
   * Does `work` whenever the lease is ours, until the signal fires; the signal of the work fires when it may be ours no longer. `waiting` is told when another
   * has it. Resolves when the lease is given back.
   */
  keep(name: string, signal: AbortSignal, work: (held: Held, signal: AbortSignal) => Promise<void>, waiting?: () => void): Promise<void>
  /** Those that we hold. */
  readonly held: readonly Lease[]
}

/** The lease is another's by now: what was to be done in its name is not done, and must not be acknowledged. */
export class StaleLease extends Error {
  override readonly name = 'StaleLease'
}
