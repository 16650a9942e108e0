/** RabbitMQ and Redis for tests: at the usual local addresses, or where the environment says. Each test has names of its own in them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { priorities } from '@posthouse/contract'
import { createFaultProxy, type FaultProxy } from '@posthouse/testkit'
import { connect } from 'amqplib'
import { Redis } from 'ioredis'
import { probeRabbit } from '../../src/broker/index.ts'
import { probeRedis } from '../../src/cluster/index.ts'
import { freePort } from '../ports.ts'

const rabbitUrl = process.env.POSTHOUSE_TEST_RABBITMQ ?? 'amqp://guest:guest@127.0.0.1:5672'
const redisUrl = process.env.POSTHOUSE_TEST_REDIS ?? 'redis://127.0.0.1:6379'

/** A name that nobody else has. */
export const ownPrefix = () => `test-${randomUUID().slice(0, 13)}`

const hint = (name: string, variable: string, packages: string) =>
  `no ${name} answers: apt-get install ${packages} and start it, or name one in ${variable}`
const looking = ownPrefix()

/** Why no test with it can run here, with the remedy; undefined when they can. */
export const noRabbit = await probeRabbit({ url: rabbitUrl, prefix: looking }).then(
  () => undefined,
  () => hint('RabbitMQ', 'POSTHOUSE_TEST_RABBITMQ', 'rabbitmq-server'),
)
export const noRedis = await probeRedis(redisUrl).then(
  () => undefined,
  () => hint('Redis', 'POSTHOUSE_TEST_REDIS', 'redis-server'),
)
if (!noRabbit) await clearRabbit(looking)

/** With CI=true what is missing is a failure, not a skip. */
export const skipWithout = (...missing: (string | undefined)[]) =>
  process.env.CI === 'true' ? false : (missing.find((reason) => reason !== undefined) ?? false)

/** Deletes the queues of a prefix. */
export async function clearRabbit(prefix: string): Promise<void> {
  await withChannel(async (channel) => {
    for (const queue of queuesOf(prefix)) await channel.deleteQueue(queue)
  })
}

export function queuesOf(prefix: string): string[] {
  return Object.keys(priorities).map((name) => `${prefix}.tickets.${name}`)
}

/** Asks the broker itself, past every wire. */
export async function withChannel<T>(
  work: (channel: Awaited<ReturnType<Awaited<ReturnType<typeof connect>>['createConfirmChannel']>>) => Promise<T>,
) {
  const connection = await connect(rabbitUrl)
  try {
    const channel = await connection.createConfirmChannel()
    const found = await work(channel)
    await channel.waitForConfirms()
    return found
  } finally {
    await connection.close()
  }
}

/** Deletes the keys of a prefix. */
export async function clearRedis(prefix: string): Promise<void> {
  const redis = new Redis(redisUrl)
  const keys = await redis.keys(`${prefix}:*`)
  if (keys.length > 0) await redis.del(...keys)
  redis.disconnect()
}

/** What a node says that could not bring a frame. */
export async function tellMissed(prefix: string, topic: string): Promise<void> {
  const redis = new Redis(redisUrl)
  await redis.publish(`${prefix}:live`, `missed another ${topic}\n`)
  redis.disconnect()
}

export interface Wire extends AsyncDisposable {
  readonly proxy: FaultProxy
  /** The address of the server through the proxy. */
  readonly url: string
  /** What came in, from both sides. */
  read(): Buffer
}

export const wireTo = {
  rabbit: (url = rabbitUrl) => wire(url, 5672),
  redis: (url = redisUrl) => wire(url, 6379),
  /** Any other; the port that is usual for it. */
  server: (url: string, usual: number) => wire(url, usual),
}

async function wire(address: string, usual: number): Promise<Wire> {
  const url = new URL(address)
  const heard: Buffer[] = []
  const proxy = await createFaultProxy(`${url.hostname}:${url.port || usual}`, (piece) => void heard.push(piece))
  url.hostname = proxy.host
  url.port = String(proxy.port)
  return {
    proxy,
    url: url.href.replace(/\/$/, ''),
    read: () => Buffer.concat(heard),
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
}

export interface OwnRedis extends AsyncDisposable {
  readonly url: string
  readonly client: Redis
  signal(name: NodeJS.Signals): void
  stop(): Promise<void>
  start(): Promise<void>
}

/** A Redis of one's own, that may be stopped, frozen and emptied. */
export async function startRedis(): Promise<OwnRedis> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-redis-'))
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  let child: ChildProcess | undefined
  const start = async () => {
    child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'], {
      stdio: 'ignore',
    })
    for (let answered = false; !answered; )
      answered = await probeRedis(url).then(
        () => true,
        () => new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 20)),
      )
  }
  const stop = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await start()
  const client = new Redis(url, { retryStrategy: () => 50 })
  client.on('error', () => {})
  return {
    url,
    client,
    signal: (name) => child?.kill(name),
    stop,
    start,
    async [Symbol.asyncDispose]() {
      client.disconnect()
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
