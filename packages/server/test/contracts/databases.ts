/** The databases that every store is tested on, each for real. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import type { Store } from '../../src/ports/store.ts'
import { loadKey } from '../../src/security/key.ts'
import { createSealer } from '../../src/security/sealer.ts'
import { openStore } from '../../src/storage/index.ts'
import { newPlace, noPostgres } from './postgres.ts'
import type { StoreHarness } from './store-scene.ts'

/** Looks at a database past the store. */
export interface Witness extends AsyncDisposable {
  execute(sql: string): Promise<void>
  /** From now on every change of `state` in these tables is written down, by the database itself. */
  watch(tables: readonly string[]): Promise<void>
  /** As `table: was -> now`. */
  steps(): Promise<ReadonlySet<string>>
  /** Everything that is kept, as it lies there. */
  everything(): Promise<Buffer>
}

export interface TestedDatabase {
  readonly name: string
  /** Why it cannot be tested here. */
  readonly missing: string | undefined
  /** Several gateways may be there. */
  readonly shared: boolean
  /** An empty database below a folder that goes with the test. */
  url(folder: string): Promise<string>
  witness(url: string): Promise<Witness>
}

const sqlite: TestedDatabase = {
  name: 'SQLite',
  missing: undefined,
  shared: false,
  url: async (folder) => `sqlite:${join(folder, 'data/posthouse.db')}`,
  async witness(url) {
    const path = url.slice('sqlite:'.length)
    const database = new DatabaseSync(path)
    return {
      execute: async (sql) => database.exec(sql),
      async watch(tables) {
        database.exec('PRAGMA synchronous = OFF; CREATE TABLE walked (step TEXT PRIMARY KEY) WITHOUT ROWID')
        for (const table of tables) {
          database.exec(
            `CREATE TRIGGER walk_${table} AFTER UPDATE OF state ON ${table} BEGIN
              INSERT OR IGNORE INTO walked VALUES ('${table}: ' || OLD.state || ' -> ' || NEW.state); END`,
          )
        }
      },
      async steps() {
        const rows = database.prepare('SELECT step FROM walked').all()
        return new Set(rows.map(({ step }) => String(step)))
      },
      async everything() {
        const folder = join(path, '..')
        return Buffer.concat(readdirSync(folder).map((file) => readFileSync(join(folder, file))))
      },
      async [Symbol.asyncDispose]() {
        database.close()
      },
    }
  },
}

const postgres: TestedDatabase = {
  name: 'PostgreSQL',
  missing: noPostgres,
  shared: true,
  url: newPlace,
  async witness(url) {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    const tables = async () =>
      (await client.query('select table_name from information_schema.tables where table_schema = current_schema()')).rows.map(
        ({ table_name: name }) => String(name),
      )
    return {
      execute: async (sql) => void (await client.query(sql)),
      async watch(watched) {
        await client.query(`create table walked (step text primary key);
          create function walk() returns trigger language plpgsql as $$ begin
            insert into walked values (tg_argv[0] || ': ' || old.state || ' -> ' || new.state) on conflict do nothing; return new; end $$`)
        for (const table of watched)
          await client.query(
            `create trigger walk_${table} after update of state on ${table} for each row execute function walk('${table}')`,
          )
      },
      async steps() {
        return new Set((await client.query('select step from walked')).rows.map(({ step }) => String(step)))
      },
      async everything() {
        const found: Buffer[] = []
        for (const table of await tables())
          for (const row of (await client.query(`select * from ${table}`)).rows)
            for (const value of Object.values(row)) found.push(Buffer.isBuffer(value) ? value : Buffer.from(String(value)))
        return Buffer.concat(found)
      },
      async [Symbol.asyncDispose]() {
        await client.end()
      },
    }
  },
}

export const databases: readonly TestedDatabase[] = [sqlite, postgres]

export interface Opened extends StoreHarness {
  readonly folder: string
  readonly url: string
  readonly witness: Witness
}

/** A store on an empty database, for as long as `work` takes. */
export async function withStore(database: TestedDatabase, work: (opened: Opened) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-store-'))
  let now = 1_000_000
  const clock: Clock = { ...systemClock, now: () => now }
  const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
  const url = await database.url(folder)
  const open = () => openStore({ url, sealer, clock, newId })
  let store = await open()
  const others: Store[] = []
  const witness = await database.witness(url)
  try {
    await work({
      store,
      newId,
      folder,
      url,
      witness,
      advance: (ms) => {
        now += ms
      },
      async reopen() {
        await store[Symbol.asyncDispose]()
        store = await open()
        return store
      },
      async another() {
        const other = await open()
        others.push(other)
        return other
      },
    })
  } finally {
    await witness[Symbol.asyncDispose]()
    for (const each of [store, ...others]) await each[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  }
}
