/**
 * PostgreSQL through pg: one connection that writes, a pool that reads.
 *
 * The connection that writes carries a transaction at a time, with many works in it, and their statements go out without waiting for each other's
 * answers. It also holds the gateway's share of the lock: while there is one, nobody gets the database alone.
 */
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler, sql } from 'kysely'
import pg from 'pg'
import { backoff } from '../../base/backoff.ts'
import type { Query, Transaction } from '../query.ts'
import { COPYING, type Schema, tableNames } from '../schema.ts'
import { createWriter, unavailable, type Verdict, type WriteConnection } from '../writer.ts'
import { type Database, DatabaseInUse, type Dialect, type Findings, type OpenOptions, type Snapshot, UnsafeDatabase } from './dialect.ts'
import { ConnectionLost, judge } from './postgres-errors.ts'

/** Class of our advisory locks; the second number tells the schema, and 1 more of the class the migrations. */
const LOCKS = 0x706f_7374
const SCHEMA = `hashtext(coalesce(current_schema(), ''))`

export const postgres: Dialect = {
  name: 'postgres',
  blob: 'bytea',
  count: 'bigint',
  keepsFiles: true,
  builder: new Kysely<Schema>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  }),
  // By default, not always: copied rows bring their own.
  serial: (column) => column.primaryKey().generatedByDefaultAsIdentity(),
  hold: (query) => query.forNoKeyUpdate(),
  keep: (query) => query.forShare(),
  shared: true,
  // Not that of the transaction's begin.
  now: sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`,
  beforeMigrating: [
    `set local lock_timeout = '60s'`,
    'set local statement_timeout = 0',
    `select pg_advisory_xact_lock(${LOCKS + 1}, ${SCHEMA})`,
  ],
  afterCopying: (table) => [
    `select setval(pg_get_serial_sequence('${table}', 'seq'), (select max(seq) from ${table})) where exists (select 1 from ${table})`,
  ],
  analyze: ['set local statement_timeout = 0', 'analyze'],
  open,
  inspect,
  look,
  snapshot,
  claim,
}

/** The first that tells how a transaction ended. */
const LEAST_VERSION = 13
/** Connections that read at the same time. */
const READERS = 6
/** Milliseconds until a connection is there, a lock is given up, a place among the gateways is given up, a statement is given up, the line is given up; the same for a migration or a copy. */
const LIMITS = { connect: 5000, lock: 500, place: 2000, statement: 10_000, answer: 15_000, occasion: 600_000 }
/** Milliseconds that a transaction of ours may stand still before the server ends it, and a server's silence before the socket is probed. */
const [STANDSTILL, SILENCE] = [5000, 10_000]
/** Tries of a read while the connection comes and goes: about 3 seconds. */
const READ_TRIES = 6
const AGAIN = { first: 50, most: 1000 }

const NUMBERS: readonly number[] = [pg.types.builtins.INT8, pg.types.builtins.NUMERIC]

/** What is asked in the same moment goes out in one write. */
function gather(client: pg.Client): void {
  const { stream } = (client as unknown as { connection: { stream: Duplex } }).connection
  if (stream.writableCorked > 0) return
  stream.cork()
  process.nextTick(() => stream.uncork())
}

/** How every connection is made. */
function connectionOptions(url: string, name: string): pg.ClientConfig {
  const address = new URL(url)
  const own = address.searchParams.get('options')
  // Every hot query has its index; a plan that was made while a table was small must not stay. Half-open connections end, also on the server's side.
  const session = ['enable_seqscan=off', 'jit=off', 'tcp_keepalives_idle=10', 'tcp_keepalives_interval=5', 'tcp_keepalives_count=3']
  address.searchParams.set('options', [own, ...session.map((setting) => `-c ${setting}`)].filter(Boolean).join(' '))
  return {
    connectionString: address.href,
    application_name: `posthouse ${name}`,
    connectionTimeoutMillis: LIMITS.connect,
    lock_timeout: LIMITS.lock,
    statement_timeout: LIMITS.statement,
    query_timeout: LIMITS.answer,
    idle_in_transaction_session_timeout: STANDSTILL,
    keepAlive: true,
    keepAliveInitialDelayMillis: SILENCE,
    types: { getTypeParser: (type, format) => (NUMBERS.includes(type) ? Number : pg.types.getTypeParser(type, format as 'text')) },
  }
}

async function open(url: string, options: OpenOptions): Promise<Database> {
  const pool = new pg.Pool({ ...connectionOptions(url, 'reader'), max: READERS })
  // A connection that breaks while nobody uses it: the pool forgets it.
  pool.on('error', () => {})
  const read = retrying((config) => pool.query(config))
  const line = createLine(url, options, read)
  const writer = createWriter(line)
  const close = async () => {
    await line.close()
    if (!pool.ending) await pool.end()
  }
  try {
    await line.connect()
  } catch (error) {
    await close()
    throw error
  }
  return {
    read: transactionOver(read),
    write: writer.write,
    analyze: () => analyze(url),
    async [Symbol.asyncDispose]() {
      line.give()
      await writer.idle()
      await close()
    },
  }
}

type Ask = (config: pg.QueryConfig & { query_timeout?: number }) => Promise<pg.QueryResult>

/** Statements keep their plans under short names: PostgreSQL takes at most 63 bytes. */
const names = new Map<string, string>()

function nameOf(sql: string): string {
  let name = names.get(sql)
  if (name === undefined) {
    name = `q${names.size}`
    names.set(sql, name)
  }
  return name
}

function transactionOver(ask: Ask): Transaction {
  const run = (query: Query<never, unknown>, params: unknown, more = '') => {
    const text = query.sql + more
    const values = query.bind(params as never)
    return ask(query.once ? { text, values, query_timeout: LIMITS.occasion } : { name: nameOf(text), text, values })
  }
  return {
    all: async <P, R>(query: Query<P, R>, params: P) => (await run(query, params)).rows as R[],
    run: async <P>(query: Query<P, unknown>, params: P) => (await run(query, params)).rowCount ?? 0,
    insert: async <P>(query: Query<P, unknown>, params: P) => {
      const { rows } = await run(query, params, ' returning "seq"')
      return Number((rows[0] as { seq: number } | undefined)?.seq)
    },
  }
}

/** What the driver says without a code of the server is about the connection. */
async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    if (cause instanceof pg.DatabaseError) throw cause
    throw new ConnectionLost('the connection to the database is lost', { cause })
  }
}

/** A read changes nothing: it is asked again while the connection comes and goes. */
function retrying(ask: Ask): Ask {
  return async (config) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await asked(ask(config))
      } catch (error) {
        const verdict = judge(error)
        if (verdict === 'work') throw error
        if (verdict === 'busy' || attempt >= READ_TRIES + (verdict === 'worn' ? READERS : 0)) throw unavailable(error)
        await sleep(backoff(attempt, AGAIN))
      }
    }
  }
}

interface Line extends WriteConnection {
  /** Connects if there is no connection. @throws what the server says, {DatabaseInUse}, {UnsafeDatabase}. */
  connect(): Promise<pg.Client>
  /** Nothing is waited for any more. */
  give(): void
  close(): Promise<void>
}

/** The connection that writes. It is made anew when it was lost. */
function createLine(url: string, { as, lost }: OpenOptions, read: Ask): Line {
  let client: pg.Client | undefined
  let its: pg.Client | undefined
  let transaction = ''
  /** What was begun behind the last commit, in the same way to the database. */
  let beginning: { readonly line: pg.Client; readonly id: Promise<string> } | undefined
  let trouble: Verdict | undefined
  let given = false
  let taken: DatabaseInUse | undefined
  let held = false
  let connecting: Promise<pg.Client> | undefined
  const drop = (which: pg.Client) => {
    which.end().catch(() => {})
    if (client !== which) return
    client = undefined
    if (as) void comeBack()
  }

  const connect = async () => {
    if (client) return client
    connecting ??= dial().finally(() => {
      connecting = undefined
    })
    return await connecting
  }

  /** A gateway holds its lock also while it has nothing to write. */
  const comeBack = async () => {
    for (let attempt = 1; !client && !given && !taken; attempt++) {
      await connect().catch(() => {})
      if (!client) await sleep(backoff(attempt, AGAIN))
    }
  }

  const dial = async () => {
    if (taken) throw taken
    const fresh = new pg.Client({ ...connectionOptions(url, as ? 'gateway' : 'command'), pipeline: true })
    fresh.on('error', () => drop(fresh))
    fresh.on('end', () => drop(fresh))
    try {
      await fresh.connect()
      await demandFitness(fresh)
      if (as) await takeLock(fresh, as)
    } catch (error) {
      drop(fresh)
      if (error instanceof DatabaseInUse && held) {
        // Somebody works on it alone: what we remember does not count any more.
        taken = error
        lost?.(error)
      }
      throw error
    }
    if (given) {
      drop(fresh)
      throw new ConnectionLost('the database was closed')
    }
    held = true
    client = fresh
    return fresh
  }

  const ask: Ask = async (config) => {
    // A transaction ends with its connection: what is left of it must not run on the next one.
    if (!client || client !== its) throw new ConnectionLost('the connection to the database is lost')
    gather(client)
    try {
      return await asked(client.query(config))
    } catch (error) {
      // What fails after it in the same transaction says nothing.
      trouble ??= judge(error)
      throw error
    }
  }

  /** Answers the transaction's id. */
  const beginOn = async (line: pg.Client): Promise<string> => {
    gather(line)
    const answers = (await asked(line.query('begin; select pg_current_xact_id()::text as id'))) as unknown as pg.QueryResult[]
    return String((answers[1]?.rows[0] as { id: string } | undefined)?.id)
  }

  /** Whether the transaction was committed whose confirmation was lost. Nobody may be told anything before the database answers. */
  const wasCommitted = async (id: string): Promise<boolean> => {
    for (let attempt = 1; !given; attempt++) {
      try {
        const { rows } = await read({ text: 'select pg_xact_status($1::text::xid8) as status', values: [id] })
        const status = (rows[0] as { status: string | null } | undefined)?.status
        if (status !== 'in progress') return status === 'committed'
      } catch (error) {
        // The server does not know it: it was restored, or another one took over.
        if (judge((error as Error).cause ?? error) === 'work') return false
      }
      await sleep(backoff(attempt, AGAIN))
    }
    throw new ConnectionLost('the database was closed before it told how a transaction ended')
  }

  return {
    ...transactionOver(ask),
    interleaves: true,
    judge,
    connect,
    async begin() {
      trouble = undefined
      const line = await connect()
      its = line
      const begun = beginning?.line === line ? beginning.id : beginOn(line)
      beginning = undefined
      try {
        transaction = await begun
      } catch (error) {
        drop(line)
        throw error
      }
    },
    async commit(more) {
      let command: string | undefined
      try {
        const committed = ask({ text: 'commit' })
        if (more && its) {
          beginning = { line: its, id: beginOn(its) }
          beginning.id.catch(() => {})
        }
        command = (await committed).command
      } catch (error) {
        if (judge(error) !== 'lost') throw error
        if (its) drop(its)
        if (await wasCommitted(transaction)) return
        throw error
      }
      if (command !== 'COMMIT') throw new Error('a work went on after an error of its own: nothing was committed')
    },
    async rollback() {
      // A commit that failed: what was begun behind it ends here, too.
      beginning = undefined
      if (!its) return
      if (trouble === 'lost' || trouble === 'worn') return drop(its)
      try {
        await ask({ text: 'rollback' })
      } catch (error) {
        drop(its)
        throw error
      }
    },
    give() {
      given = true
    },
    async close() {
      given = true
      const last = client
      client = undefined
      await last?.end().catch(() => {})
    },
  }
}

/** What it must be, whatever it is asked for: able to hold any text, to tell how a transaction ended, and to keep what it confirmed (P1). */
async function demandFitness(client: pg.Client): Promise<void> {
  const { rows } = await client.query(
    `select current_setting('synchronous_commit') as commits, current_setting('fsync') as fsync, current_setting('transaction_read_only') as reads,
       current_setting('server_encoding') as encoding, current_setting('server_version_num')::int as version`,
  )
  const { commits, fsync, reads, encoding, version } = rows[0] as Record<string, string> & { version: number }
  if (fsync !== 'on' || (commits !== 'on' && commits !== 'remote_apply'))
    throw new UnsafeDatabase(
      `the database does not sync its commits (synchronous_commit ${commits}, fsync ${fsync}): it would lose messages. Set both to on.`,
    )
  if (reads === 'on') throw new UnsafeDatabase('the database takes no writes: it is a standby, or default_transaction_read_only is on.')
  if (encoding !== 'UTF8') throw new UnsafeDatabase(`the database has the encoding ${encoding}. Make one with UTF8.`)
  if (version < LEAST_VERSION * 10_000) throw new UnsafeDatabase(`the server is too old. PostgreSQL ${LEAST_VERSION} or later is needed.`)
}

/**
 * Gateways share a lock; who wants the database alone gets it when none of them is left. Gateways of versions that do not know of others took it alone, too: none of
 * theirs and none of ours ever run beside each other.
 */
async function takeLock(client: pg.Client, as: 'gateway' | 'alone'): Promise<void> {
  const take = as === 'alone' ? 'pg_advisory_lock' : 'pg_advisory_lock_shared'
  try {
    await client.query(`set lock_timeout = ${LIMITS.place}; select ${take}(${LOCKS}, ${SCHEMA}); set lock_timeout = ${LIMITS.lock}`)
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== '55P03') throw error
    const { words: who } = await holdersOf(client)
    throw as === 'alone'
      ? new DatabaseInUse('gateways', `A Posthouse (${who}) uses this database. Stop every node of it.`)
      : new DatabaseInUse(
          'one alone',
          `A Posthouse of an older version, or a copy, has this database alone (${who}). Stop it, or wait for its end.`,
        )
  }
}

/** Who holds the lock, or a share of it. */
async function holdersOf(client: pg.Client): Promise<{ readonly words: string | undefined; readonly count: number }> {
  const { rows } = await client.query(
    `select a.pid, coalesce(host(a.client_addr), 'local') as host from pg_locks l join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = ${LOCKS} and l.objid = (${SCHEMA}::bigint & 4294967295)::oid
       and l.database = (select oid from pg_database where datname = current_database()) order by l.mode, a.pid`,
  )
  const [holder, ...others] = rows as { host: string; pid: number }[]
  const words = holder && `from ${holder.host}, server process ${holder.pid}${others.length > 0 ? `, and ${others.length} more` : ''}`
  return { words, count: rows.length }
}

/** A connection for one look. */
async function looking<T>(url: string, look: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connectionOptions(url, 'look'))
  client.on('error', () => {})
  try {
    await client.connect()
    return await look(client)
  } finally {
    await client.end().catch(() => {})
  }
}

async function inspect(url: string): Promise<Findings> {
  return await looking(url, async (client) => {
    const { rows } = await client.query(`select current_setting('server_version') as version`)
    let refusal: string | undefined
    try {
      await demandFitness(client)
      // A commit that changes nothing.
      await client.query('begin; select pg_current_xact_id(); commit')
    } catch (error) {
      refusal = (error as Error).message
    }
    const holders = await holdersOf(client).catch(() => undefined)
    return {
      kind: `PostgreSQL ${(rows[0] as { version: string }).version}`,
      integrity: 'ok',
      corrected: undefined,
      refusal,
      holder: holders?.words,
      gateways: holders?.count ?? 0,
    }
  })
}

async function look(url: string, key: string): Promise<Uint8Array | undefined> {
  return await looking(url, async (client) => {
    const { rows } = await client.query(`select to_regclass('meta') is not null as there`)
    if (!(rows[0] as { there: boolean }).there) return undefined
    const found = await client.query('select value from meta where key = $1', [key])
    return (found.rows[0] as { value: Uint8Array } | undefined)?.value
  })
}

/** On a connection of its own: it may take minutes. */
async function analyze(url: string): Promise<void> {
  const client = new pg.Client({ ...connectionOptions(url, 'upkeep'), statement_timeout: 0, query_timeout: 0 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query(`analyze ${tableNames.join(', ')}`)
  } finally {
    await client.end().catch(() => {})
  }
}

async function snapshot(url: string): Promise<Snapshot> {
  const limits = { statement_timeout: 0, idle_in_transaction_session_timeout: 0 }
  const client = new pg.Client({ ...connectionOptions(url, 'backup'), ...limits })
  client.on('error', () => {})
  const close = () => client.end().catch(() => {})
  try {
    await client.connect()
    await client.query('begin isolation level repeatable read read only')
  } catch (error) {
    await close()
    throw error
  }
  return { read: transactionOver((config) => asked(client.query(config))), [Symbol.asyncDispose]: close }
}

async function claim(url: string, mark: Uint8Array, aside: string | undefined): Promise<void> {
  await looking(url, async (client) => {
    await client.query('begin')
    if (aside !== undefined) {
      const schema = client.escapeIdentifier(aside)
      await client.query(`create schema ${schema}`)
      const { rows } = await client.query(
        `select c.oid::regclass::text as name from pg_class c where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace and c.relname = any($1)`,
        [tableNames],
      )
      for (const { name } of rows as { name: string }[]) await client.query(`alter table ${name} set schema ${schema}`)
    }
    await client.query('create table if not exists meta (key text primary key, value bytea not null)')
    await client.query('insert into meta values ($1, $2)', [COPYING, mark])
    await client.query('commit')
  })
}
