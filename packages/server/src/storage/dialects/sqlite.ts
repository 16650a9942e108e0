/** SQLite through node:sqlite: one connection that writes, one that reads. WAL, and every commit synced (P1). */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, sql } from 'kysely'
import { checkLog } from '../log-check.ts'
import type { Query, Transaction } from '../query.ts'
import { KEY_CHECK, type Schema } from '../schema.ts'
import { createWriter, type Verdict, type WriteConnection } from '../writer.ts'
import { type Database, type Dialect, type Findings, fileOf } from './dialect.ts'

export const sqlite: Dialect = {
  name: 'sqlite',
  blob: 'blob',
  count: 'integer',
  builder: new Kysely<Schema>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  }),
  serial: (column) => column.primaryKey().autoIncrement(),
  // A transaction that writes is the only one.
  hold: (query) => query,
  keep: (query) => query,
  // Whoever has the folder has the file.
  shared: false,
  now: sql`cast(unixepoch('subsec') * 1000 as integer)`,
  beforeMigrating: [],
  // The highest key that a table ever had is kept by itself.
  afterCopying: () => [],
  analyze: ['PRAGMA optimize'],
  async open(url) {
    // Before SQLite looks: it would cut a damaged log off without a word.
    await checkLog(fileOf(url))
    return openDatabase(fileOf(url))
  },
  inspect: async (url) => inspect(fileOf(url)),
  keyCheck: async (url) => keyCheck(fileOf(url)),
}

/** The level of durability that P1 rests on: FULL. A commit that is not synced would be an acknowledgement that a power cut takes back. */
const SYNCHRONOUS_FULL = 2

function openDatabase(path: string): Database {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
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
    all: <P, R>(query: Query<P, R>, params: P) => statement(query.sql).all(...query.bind(params)) as R[],
    run: <P>(query: Query<P, unknown>, params: P) => Number(statement(query.sql).run(...query.bind(params)).changes),
    insert: <P>(query: Query<P, unknown>, params: P) => Number(statement(query.sql).run(...query.bind(params)).lastInsertRowid),
  }
}

function writeConnection(database: DatabaseSync): WriteConnection {
  return {
    ...transactionOn(database),
    interleaves: false,
    judge,
    begin: () => database.exec('BEGIN IMMEDIATE'),
    commit: () => database.exec('COMMIT'),
    rollback: () => database.exec('ROLLBACK'),
  }
}

/** Disk full, read-only, broken, locked: not the fault of the work. A constraint that was violated is. */
function judge(error: unknown): Verdict {
  const { code, errcode } = error as { code?: string; errcode?: number }
  const CONSTRAINT = 19
  return code === 'ERR_SQLITE_ERROR' && (errcode ?? 0) % 256 !== CONSTRAINT ? 'busy' : 'work'
}

/** Milliseconds that a look waits for a writer. */
const PATIENCE = 2000

function inspect(path: string): Findings {
  const database = new DatabaseSync(path, { timeout: PATIENCE })
  try {
    const ask = (pragma: string) => Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]
    const integrity = String(ask('quick_check(1)'))
    const journal = String(ask('journal_mode'))
    let refusal: string | undefined
    try {
      // The same number again is a commit that changes nothing.
      database.exec(`PRAGMA synchronous = FULL; BEGIN IMMEDIATE; PRAGMA user_version = ${Number(ask('user_version'))}; COMMIT`)
    } catch (error) {
      refusal = (error as Error).message
    }
    return { kind: 'SQLite', integrity, corrected: journal === 'wal' ? undefined : journal, refusal, holder: undefined, gateways: 0 }
  } finally {
    database.close()
  }
}

function keyCheck(path: string): Uint8Array | undefined {
  if (!existsSync(path)) return undefined
  const database = new DatabaseSync(path, { timeout: PATIENCE, readOnly: true })
  try {
    const row = database.prepare(`SELECT value FROM meta WHERE key = '${KEY_CHECK}'`).get() as { value: Uint8Array } | undefined
    return row?.value
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_SQLITE_ERROR') return undefined
    throw error
  } finally {
    database.close()
  }
}
