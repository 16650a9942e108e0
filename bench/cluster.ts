/**
 * What several nodes cost and carry: one on PostgreSQL, RabbitMQ and Redis beside one on SQLite, two beside one, 1,000 conversations beside
 * 200. All of it shares one machine with the load, so that two nodes show what sharing costs rather than what a second machine brings.
 */
import { randomUUID } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import pg from 'pg'
import { newFolder, newPort, startTarget, type Target, usage } from './target.ts'
import { drive, driveAtPace, type Figures, type Paced, PEOPLES_PACE, show } from './turns.ts'

/** Servers that may be filled: a database, a prefix and nothing else of them is touched. */
const {
  BENCH_POSTGRES = 'postgres://postgres@127.0.0.1:5432/postgres',
  BENCH_RABBITMQ = 'amqp://guest:guest@127.0.0.1:5672',
  BENCH_REDIS = 'redis://127.0.0.1:6379',
} = process.env

type Place = {
  readonly config: object
  /** What the database spent so far; undefined where it is a file. */
  readonly spent: (() => Promise<Spent>) | undefined
} & AsyncDisposable

/** Of the database server: CPU in seconds of the connections that are open, bytes of its log and of the data. */
interface Spent {
  readonly cpu: number
  readonly log: number
  readonly data: number
}

const onSqlite = async (): Promise<Place> => ({ config: {}, spent: undefined, async [Symbol.asyncDispose]() {} })

/** An empty database that goes with the bench. */
async function onServers(): Promise<Place> {
  const name = `bench_${randomUUID().slice(0, 8)}`
  const asking = async (sql: string, url: string) => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query(sql)).rows as Record<string, string>[]
    } finally {
      await client.end()
    }
  }
  const ask = (sql: string) => asking(sql, BENCH_POSTGRES)
  await ask(`create database ${name} encoding 'UTF8' template template0`)
  const database = new URL(BENCH_POSTGRES)
  database.pathname = `/${name}`
  const folder = newFolder()
  return {
    config: {
      database: { url: database.href },
      broker: { url: BENCH_RABBITMQ, prefix: name },
      redis: { url: BENCH_REDIS, prefix: name },
      security: { key_file: join(folder, 'posthouse.key') },
    },
    async spent() {
      const [sizes] = await asking(
        `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as log, pg_database_size(current_database()) as data`,
        database.href,
      )
      const servers = await asking(
        `select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
        database.href,
      )
      return {
        cpu: servers.reduce((sum, { pid }) => sum + usage(Number(pid)).cpu, 0),
        log: Number(sizes?.log),
        data: Number(sizes?.data),
      }
    },
    async [Symbol.asyncDispose]() {
      await ask(`drop database ${name} with (force)`)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** For each turn: microseconds and bytes. */
interface DatabaseShare {
  readonly cpu: number
  readonly log: number
  readonly data: number
}

interface Run {
  readonly closed: Figures
  readonly database: DatabaseShare | undefined
  /** When the model answers as models answer people. */
  readonly paced: Paced
  /** When people read, too, before they ask again. */
  readonly read: Paced
}

/** Milliseconds for which an answer of 20 pieces is read. */
const READING = 5000

async function measure(name: string, open: () => Promise<Place>, count: number, conversations: number): Promise<Run> {
  const { closed, database } = await inPlace(open, count, undefined, async (world, targets, place) => {
    const before = await place.spent?.()
    const figures = await drive(world, targets, conversations)
    const after = await place.spent?.()
    return { closed: figures, database: before && after && shareOf(before, after, figures.asked) }
  })
  show(`${name}, ${conversations}`, closed)
  const paced = await inPlace(open, count, PEOPLES_PACE, (world, targets) => driveAtPace(world, targets, conversations))
  const read = await inPlace(open, count, PEOPLES_PACE, (world, targets) => driveAtPace(world, targets, conversations, READING))
  return { closed, database, paced, read }
}

function shareOf(before: Spent, after: Spent, turns: number): DatabaseShare {
  return {
    cpu: ((after.cpu - before.cpu) * 1e6) / turns,
    log: (after.log - before.log) / turns,
    data: (after.data - before.data) / turns,
  }
}

async function inPlace<T>(
  open: () => Promise<Place>,
  count: number,
  pace: typeof PEOPLES_PACE | undefined,
  run: (world: Parameters<typeof drive>[0], targets: readonly Target[], place: Place) => Promise<T>,
): Promise<T> {
  await using place = await open()
  const ports = Array.from({ length: count }, newPort)
  await using telegram = await createTelegramEmulator({ keep: 1000, addresses: () => ports.map((port) => `127.0.0.1:${port}`) })
  await using model = await createModelEmulator({ keep: pace ? 100_000 : 10, ...(pace ? { pace } : {}) })
  await using nodes = new AsyncDisposableStack()
  const targets: Target[] = []
  for (const port of ports) targets.push(nodes.use(await startTarget('gateway', { telegram, model }, { port, config: place.config })))
  return await run({ telegram, model }, targets, place)
}

/** Two digits: a measurement says no more. */
const round = (value: number) => Number(value.toPrecision(2))

/** Names its servers by `BENCH_POSTGRES`, `BENCH_RABBITMQ`, `BENCH_REDIS`; the usual local addresses unless told. `BENCH_FIGURES` names a file for what scripts/scaling.ts reads. */
export async function measureCluster(): Promise<void> {
  const ratio = (of: Run, to: Run) => (of.closed.turns / to.closed.turns).toFixed(2)
  const results = new Map<number, { readonly sqlite: Run; readonly one: Run; readonly two: Run }>()
  for (const conversations of [200, 1000]) {
    const sqlite = await measure('SQLite, one node', onSqlite, 1, conversations)
    const one = await measure('servers, one node', onServers, 1, conversations)
    const two = await measure('servers, two nodes', onServers, 2, conversations)
    results.set(conversations, { sqlite, one, two })
  }
  for (const [conversations, { sqlite, one, two }] of results) {
    const shares = (kind: 'paced' | 'read') => [sqlite, one, two].map((run) => run[kind].p99.toFixed(0)).join(' / ')
    console.log(
      `${conversations}: a node on servers to SQLite ${ratio(one, sqlite)}, two nodes to one ${ratio(two, one)}, own share p99 ${shares('paced')} ms, where people read ${shares('read')} ms`,
    )
  }
  const [few, many] = [results.get(200), results.get(1000)]
  if (few?.one.database) {
    const { cpu, log, data } = few.one.database
    console.log(`PostgreSQL for each turn: ${cpu.toFixed(0)} us CPU, ${log.toFixed(0)} bytes of log, ${data.toFixed(0)} bytes of data`)
    const figures = {
      node: { cpu: round(few.one.paced.figures.cpu), memory: round(few.one.paced.figures.rss) },
      database: { cpu: round(cpu), log: round(log), data: round(data) },
    }
    if (process.env.BENCH_FIGURES) writeFileSync(process.env.BENCH_FIGURES, `${JSON.stringify(figures, null, 2)}\n`)
  }
  if (few && many)
    console.log(
      `1000 to 200 conversations: SQLite ${ratio(many.sqlite, few.sqlite)}, one node ${ratio(many.one, few.one)}, two nodes ${ratio(many.two, few.two)}`,
    )
}
