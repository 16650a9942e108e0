/** What differs between databases, as named members. */
import type { ColumnDefinitionBuilder, Kysely } from 'kysely'
import type { Transaction } from '../query.ts'
import type { Schema } from '../schema.ts'
import type { Work } from '../writer.ts'

export interface Database extends AsyncDisposable {
  /** Sees only what is committed. */
  readonly read: Transaction
  write<T>(work: Work<T>): Promise<T>
  /** Statements without parameters and without answer (schema changes). */
  execute(sql: string): void | Promise<void>
}

export interface Dialect {
  readonly name: string
  /** Type of a column of bytes. */
  readonly blob: 'blob' | 'bytea'
  /** Builds and compiles queries; it never runs one. */
  readonly builder: Kysely<Schema>
  /** A primary key that the database counts up by itself. */
  serial(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder
  open(path: string): Database | Promise<Database>
}
