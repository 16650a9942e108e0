/**
 * What several nodes cost and carry: one on PostgreSQL, RabbitMQ and Redis beside one on SQLite, two beside one, 1,000 conversations beside
 * 200. All of it shares one machine with the load, so that two nodes show what sharing costs rather than what a second machine brings.
 */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import pg from 'pg'
import { newFolder, newPort, startTarget, type Target } from './target.ts'
import { drive, driveAtPace, type Figures, PEOPLES_PACE, show } from './turns.ts'

/** Servers that may be filled: a database, a prefix and nothing else of them is touched. */
const {
  BENCH_POSTGRES = 'postgres://postgres@127.0.0.1:5432/postgres',
  BENCH_RABBITMQ = 'amqp://guest:guest@127.0.0.1:5672',
  BENCH_REDIS = 'redis://127.0.0.1:6379',
} = process.env

type Place = { readonly config: object } & AsyncDisposable

const onSqlite = async (): Promise<Place> => ({ config: {}, async [Symbol.asyncDispose]() {} })

/** An empty database that goes with the bench. */
async function onServers(): Promise<Place> {
  const name = `bench_${randomUUID().slice(0, 8)}`
  const ask = async (sql: string) => {
    const client = new pg.Client({ connectionString: BENCH_POSTGRES })
    await client.connect()
    await client.query(sql)
    await client.end()
  }
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
    async [Symbol.asyncDispose]() {
      await ask(`drop database ${name} with (force)`)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

interface Run {
  readonly closed: Figures
  /** The own share of the latency, 99th percentile, when the model answers as models answer people. */
  readonly ownShare: number
}

async function measure(name: string, open: () => Promise<Place>, count: number, conversations: number): Promise<Run> {
  const closed = await inPlace(open, count, undefined, (world, targets) => drive(world, targets, conversations))
  show(`${name}, ${conversations}`, closed)
  const ownShare = await inPlace(open, count, PEOPLES_PACE, (world, targets) => driveAtPace(world, targets, conversations))
  return { closed, ownShare }
}

async function inPlace<T>(
  open: () => Promise<Place>,
  count: number,
  pace: typeof PEOPLES_PACE | undefined,
  run: (world: Parameters<typeof drive>[0], targets: readonly Target[]) => Promise<T>,
): Promise<T> {
  await using place = await open()
  const ports = Array.from({ length: count }, newPort)
  await using telegram = await createTelegramEmulator({ keep: 1000, addresses: () => ports.map((port) => `127.0.0.1:${port}`) })
  await using model = await createModelEmulator({ keep: pace ? 100_000 : 10, ...(pace ? { pace } : {}) })
  await using nodes = new AsyncDisposableStack()
  const targets: Target[] = []
  for (const port of ports) targets.push(nodes.use(await startTarget('gateway', { telegram, model }, { port, config: place.config })))
  return await run({ telegram, model }, targets)
}

/** Names its servers by `BENCH_POSTGRES`, `BENCH_RABBITMQ`, `BENCH_REDIS`; the usual local addresses unless told. */
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
    console.log(
      `${conversations}: a node on servers to SQLite ${ratio(one, sqlite)}, two nodes to one ${ratio(two, one)}, own share p99 ${[sqlite, one, two].map(({ ownShare }) => ownShare.toFixed(0)).join(' / ')} ms`,
    )
  }
  const [few, many] = [results.get(200), results.get(1000)]
  if (few && many)
    console.log(
      `1000 to 200 conversations: SQLite ${ratio(many.sqlite, few.sqlite)}, one node ${ratio(many.one, few.one)}, two nodes ${ratio(many.two, few.two)}`,
    )
}
