/** This process among the others that work on the same database. */
export interface Node {
  /** Of this incarnation; another one after it had to be taken for dead. */
  readonly id: string
  /** Whether it may begin anything. By a clock that never jumps it is false before others take the node for dead: to be asked right before. */
  readonly live: boolean
  /** Names of the others, as of the last look. */
  readonly others: readonly string[]
  /** Fires when this incarnation is over. */
  readonly ended: AbortSignal
}

/** A node as the database knows it. */
export interface KnownNode {
  readonly id: string
  readonly name: string
  readonly version: string
  readonly startedAt: number
  readonly seenAt: number
  /** It takes no new work and is about to leave. */
  readonly draining: boolean
  /** It was seen lately enough, by the database's clock. */
  readonly alive: boolean
}

/** The nodes on one database. A node lives as long as its row is there; what belongs to one without a row is anybody's. */
export interface NodeStore {
  /** Several gateways may be there; else whoever opened the database is the only one, and buries all others as it joins. */
  readonly shared: boolean
  /** `formerly`: earlier incarnations that are certainly over; they are buried in the same commit. */
  join(node: Pick<KnownNode, 'id' | 'name' | 'version'>, ttl: number, formerly: readonly string[]): Promise<void>
  /** Lives for `ttl` more milliseconds. Answers whether it still lived: who is dead stays dead. */
  beat(id: string, ttl: number, draining: boolean): Promise<boolean>
  leave(id: string): Promise<void>
  /** Buries the others that were not seen for too long; answers their names. */
  bury(id: string): Promise<readonly string[]>
  list(): Promise<readonly KnownNode[]>
}
