/** SQLite through node:sqlite: one connection that writes, one that reads. WAL, and every commit synced (P1). */
import { chmodSync, closeSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { DummyDriver, Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, sql } from 'kysely'
import { checkLog } from '../log-check.ts'
import { type Query, statement, type Transaction } from '../query.ts'
import { COPYING, type Schema } from '../schema.ts'
import { createWriter, type Verdict, type WriteConnection } from '../writer.ts'
import { type Database, type Dialect, type Findings, fileOf, type Snapshot } from './dialect.ts'

export const sqlite: Dialect = {
  name: 'sqlite',
  blob: 'blob',
  count: 'integer',
  keepsFiles: false,
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
  look: async (url, key) => look(fileOf(url), key),
  async snapshot(url) {
    await checkLog(fileOf(url))
    return snapshot(fileOf(url))
  },
  claim: async (url, mark, aside) => claim(fileOf(url), mark, aside),
}

/** The level of durability that P1 rests on: FULL. A commit that is not synced would be an acknowledgement that a power cut takes back. */
const SYNCHRONOUS_FULL = 2

/** Bytes of the log that stay when it begins anew. */
const LOG_KEPT = 64 * 1024 * 1024

function openDatabase(path: string): Database {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const writing = new DatabaseSync(path, { timeout: 5000, enableForeignKeyConstraints: false })
  writing.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000')
  // A log that grew while somebody read the past gives its room back.
  writing.exec(`PRAGMA journal_size_limit = ${LOG_KEPT}`)
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
    analyze: () => writer.write(optimize),
    async [Symbol.asyncDispose]() {
      await writer.idle()
      if (reading.isOpen) reading.close()
      if (writing.isOpen) writing.close()
    },
  }
}

/** Looks at what has grown, and at a sample of it. */
const optimize = async (transaction: Transaction) => void (await transaction.run(statement('PRAGMA optimize'), {}))

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

function look(path: string, key: string): Uint8Array | undefined {
  if (!existsSync(path)) return undefined
  const database = new DatabaseSync(path, { timeout: PATIENCE, readOnly: true })
  try {
    const row = database.prepare('SELECT value FROM meta WHERE key = ?').get(key) as { value: Uint8Array } | undefined
    return row?.value
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_SQLITE_ERROR') return undefined
    throw error
  } finally {
    database.close()
  }
}

/** The log cannot begin anew while somebody reads what is in it: it grows until this ends, and is emptied then. */
function snapshot(path: string): Snapshot {
  const database = new DatabaseSync(path, { timeout: PATIENCE, readOnly: true })
  database.exec('BEGIN')
  // The moment is that of the first read.
  database.prepare('SELECT count(*) FROM sqlite_schema').get()
  return {
    read: transactionOn(database),
    async [Symbol.asyncDispose]() {
      if (!database.isOpen) return
      database.close()
      const writing = new DatabaseSync(path, { timeout: PATIENCE })
      try {
        writing.exec('PRAGMA wal_checkpoint(PASSIVE)')
      } catch {
        // Then the gateway's next checkpoint does it.
      } finally {
        writing.close()
      }
    },
  }
}

function claim(path: string, mark: Uint8Array, aside: string | undefined): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const fresh = `${path}.new`
  rmSync(fresh, { force: true })
  const database = new DatabaseSync(fresh)
  database.exec('PRAGMA synchronous = FULL; CREATE TABLE meta (key text primary key, value blob not null)')
  database.prepare('INSERT INTO meta VALUES (?, ?)').run(COPYING, mark)
  database.close()
  if (existsSync(path)) {
    emptyLog(path)
    if (aside !== undefined) mkdirSync(aside, { recursive: true, mode: 0o700 })
    // What cannot be read keeps its log, but not beside another database.
    for (const suffix of ['-wal', '-shm']) {
      if (!existsSync(path + suffix)) continue
      if (aside === undefined) rmSync(path + suffix)
      else renameSync(path + suffix, join(aside, basename(path) + suffix))
    }
    // Two names for a moment: at no time is there none, on which a gateway would begin anew.
    if (aside !== undefined) linkSync(path, join(aside, basename(path)))
  }
  renameSync(fresh, path)
  const folder = openSync(dirname(path), 'r')
  fsyncSync(folder)
  closeSync(folder)
}

function emptyLog(path: string): void {
  try {
    const database = new DatabaseSync(path, { timeout: PATIENCE })
    try {
      database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } finally {
      database.close()
    }
  } catch {
    // It is damaged: that may be why it is replaced.
  }
}

/** The file of a backup. `new`: written once, by one process, and worth nothing until it is whole; so nothing is synced on the way. */
export function openArchive(path: string, mode: 'new' | 'read'): Database {
  const database = new DatabaseSync(path, { timeout: 0, readOnly: mode === 'read' })
  if (mode === 'new') {
    try {
      database.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -64000;
        BEGIN EXCLUSIVE; COMMIT`)
      chmodSync(path, 0o600)
    } catch (error) {
      database.close()
      throw error
    }
  }
  const writer = createWriter(writeConnection(database))
  return {
    read: transactionOn(database),
    write: writer.write,
    analyze: () => writer.write(optimize),
    async [Symbol.asyncDispose]() {
      await writer.idle()
      if (database.isOpen) database.close()
    },
  }
}
