/** SQLite through node:sqlite: one connection that writes, one that reads. WAL, and every commit synced (P1). */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import type { Query, Transaction, Value } from '../query.ts'
import type { Schema } from '../schema.ts'
import { createWriter, type WriteConnection } from '../writer.ts'
import type { Database, Dialect } from './dialect.ts'

export const sqlite: Dialect = {
  name: 'sqlite',
  blob: 'blob',
  builder: new Kysely<Schema>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  }),
  serial: (column) => column.primaryKey().autoIncrement(),
  open: openDatabase,
}

/** The level of durability that P1 rests on: FULL. A commit that is not synced would be an acknowledgement that a power cut takes back. */
const SYNCHRONOUS_FULL = 2

function openDatabase(path: string): Database {
  const writing = new DatabaseSync(path, { timeout: 5000, enableForeignKeyConstraints: false })
  writing.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000')
  const { synchronous } = writing.prepare('PRAGMA synchronous').get() as { synchronous: number }
  const { journal_mode: journal } = writing.prepare('PRAGMA journal_mode').get() as { journal_mode: string }
  if (synchronous !== SYNCHRONOUS_FULL || journal !== 'wal') {
    throw new Error(`the database does not sync its commits (journal ${journal}, synchronous ${synchronous}): it would lose messages`)
  }
  const check = writing.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
  if (check.quick_check !== 'ok') {
    throw new Error(`${path} is damaged (${check.quick_check}). Restore it from a backup; nothing was changed.`)
  }
  const reading = new DatabaseSync(path, { timeout: 5000, readOnly: true })
  const connection = writeConnection(writing)
  const writer = createWriter(connection)
  return {
    read: transactionOn(reading),
    write: writer.write,
    execute: (sql) => writing.exec(sql),
    async [Symbol.asyncDispose]() {
      await writer.idle()
      if (reading.isOpen) reading.close()
      if (writing.isOpen) writing.close()
    },
  }
}

function transactionOn(database: DatabaseSync): Transaction {
  const statements = new Map<string, StatementSync>()
  const statement = (sql: string) => {
    let found = statements.get(sql)
    if (!found) {
      found = database.prepare(sql)
      statements.set(sql, found)
    }
    return found
  }
  return {
    all: <P, R>(query: Query<P, R>, params: P) => statement(query.sql).all(...checked(query, params)) as R[],
    run: <P>(query: Query<P, unknown>, params: P) => Number(statement(query.sql).run(...checked(query, params)).changes),
    insert: <P>(query: Query<P, unknown>, params: P) => Number(statement(query.sql).run(...checked(query, params)).lastInsertRowid),
  }
}

function writeConnection(database: DatabaseSync): WriteConnection {
  return {
    ...transactionOn(database),
    begin: () => database.exec('BEGIN IMMEDIATE'),
    commit: () => database.exec('COMMIT'),
    rollback: () => database.exec('ROLLBACK'),
  }
}

/** node:sqlite takes an object in first place for a bag of named parameters and `undefined` for NULL, silently: refuse both. */
function checked<P>(query: Query<P, unknown>, params: P): Value[] {
  const values = query.bind(params)
  for (const value of values) {
    const type = typeof value
    if (type === 'string' || type === 'number' || value === null || type === 'bigint' || value instanceof Uint8Array) continue
    throw new TypeError(`a parameter of type ${type} can't be stored: ${query.sql}`)
  }
  return values
}
