/** What differs between databases, as named members. */
import type { ColumnDefinitionBuilder, Kysely, RawBuilder, SelectQueryBuilder } from 'kysely'
import type { Transaction } from '../query.ts'
import type { Schema } from '../schema.ts'
import type { Write } from '../writer.ts'

export interface Database extends AsyncDisposable {
  /** Sees only what is committed. @throws PosthouseError `unavailable` */
  readonly read: Transaction
  readonly write: Write
  /** The planner's figures are counted anew, without holding anybody. */
  analyze(): Promise<void>
}

export interface Snapshot extends AsyncDisposable {
  readonly read: Transaction
}

export interface OpenOptions {
  /**
   * `gateway`: one of those that know each other, until disposed. `alone`: nobody else, not even a gateway of an older version, which takes itself for the only
   * one. @throws {DatabaseInUse}
   */
  readonly as?: 'gateway' | 'alone'
  /** Somebody has it alone meanwhile: nothing is written any more. */
  readonly lost?: (error: Error) => void
}

export interface Dialect {
  readonly name: 'sqlite' | 'postgres'
  /** Type of a column of bytes. */
  readonly blob: 'blob' | 'bytea'
  /** Type of a column that the database counts up by itself. */
  readonly count: 'integer' | 'bigint'
  /** Bytes of files are rows, too: whoever uses it shares no folder. */
  readonly keepsFiles: boolean
  /** Builds and compiles queries; it never runs one. */
  readonly builder: Kysely<Schema>
  /** A primary key that the database counts up by itself. */
  serial(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder
  /** Several gateways may work on it. */
  readonly shared: boolean
  /** Epoch milliseconds by the clock of the database, as it is now. */
  readonly now: RawBuilder<number>
  /** Nobody else changes the rows that are found before our transaction ends. */
  hold<D, T extends keyof D, R>(query: SelectQueryBuilder<D, T, R>): SelectQueryBuilder<D, T, R>
  /** The rows that are found stay as they are before our transaction ends; others may hold them, too. */
  keep<D, T extends keyof D, R>(query: SelectQueryBuilder<D, T, R>): SelectQueryBuilder<D, T, R>
  /** Run before a migration, within its transaction: one process at a time. */
  readonly beforeMigrating: readonly string[]
  /** Run after rows were put into a table with their `seq`: counting goes on behind them. */
  afterCopying(table: string): readonly string[]
  /** Run in a transaction when a database has grown at once: its planner counts anew. */
  readonly analyze: readonly string[]
  open(url: string, options: OpenOptions): Promise<Database>
  /** Looks without changing anything. @throws when there is no such database. */
  inspect(url: string): Promise<Findings>
  /** A value of `meta`; undefined while there is none. @throws when a server cannot be asked. */
  look(url: string, key: string): Promise<Uint8Array | undefined>
  /** Everything as it is at this moment, until disposed; whoever writes meanwhile is not held. */
  snapshot(url: string): Promise<Snapshot>
  /** In one step: what is there lies aside under that name, and an empty database with the mark {@link COPYING} stands in its place. */
  claim(url: string, mark: Uint8Array, aside: string | undefined): Promise<void>
}

/** What a database says of itself. */
export interface Findings {
  /** What it is, for people. */
  readonly kind: string
  /** `ok`, or what is damaged. */
  readonly integrity: string
  /** Whether the next start would correct how it keeps its journal. */
  readonly corrected: string | undefined
  /** Why no commit went through; undefined when one did. */
  readonly refusal: string | undefined
  /** Who works on it, as far as the database knows, and how many gateways. */
  readonly holder: string | undefined
  readonly gateways: number
}

/** Whether a URL names a server, not a file. */
export const isServer = (url: string): boolean => /^postgres(ql)?:\/\//.test(url)

/** Path of the file of a `sqlite:` URL. */
export const fileOf = (url: string): string => url.slice('sqlite:'.length)

/** Others work on this database; or, to a gateway, one has it alone. */
export class DatabaseInUse extends Error {
  override readonly name = 'DatabaseInUse'
  readonly by: 'gateways' | 'one alone'
  constructor(by: DatabaseInUse['by'], message: string) {
    super(message)
    this.by = by
  }
}

/** The database would lose what it confirmed. */
export class UnsafeDatabase extends Error {
  override readonly name = 'UnsafeDatabase'
}
