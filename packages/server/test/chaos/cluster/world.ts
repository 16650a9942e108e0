/**
 * Several gateways on one PostgreSQL, RabbitMQ and Redis between an emulated platform and an emulated model; people who ask; and the auditor at the
 * end, who reads what the platform saw and what an operator sees on any node that answers.
 */
import { join } from 'node:path'
import {
  createModelEmulator,
  createTelegramEmulator,
  type ModelEmulator,
  type TelegramEmulator,
  type TelegramEmulatorOptions,
} from '@posthouse/testkit'
import { createNodes, type OneOfSeveral } from '../../cluster/nodes.ts'
import { clearRabbit, clearRedis, ownPrefix } from '../../cluster/servers.ts'
import { newDatabase } from '../../contracts/postgres-server.ts'
import { type Crowd, createCrowd, onTelegram } from '../crowd.ts'
import { withMutant } from '../mutants.ts'
import { answerOf, SECRET } from '../world.ts'

const { POSTHOUSE_TEST_RABBITMQ = 'amqp://guest:guest@127.0.0.1:5672', POSTHOUSE_TEST_REDIS = 'redis://127.0.0.1:6379' } = process.env

/** Where a node finds a server: the same for all, or through a wire of its own. */
export type Address = string | ((node: string) => string)

export interface ClusterOptions {
  readonly seed: number
  readonly mutant?: string | undefined
  /** Names of the nodes; two unless told. */
  readonly names?: readonly string[]
  readonly mode?: 'polling' | 'webhook'
  /** An empty place in the shared server unless told. */
  readonly database?: Address
  /** `false`: the nodes do without. */
  readonly broker?: Address | false
  readonly redis?: Address | false
  readonly telegram?: TelegramEmulatorOptions
  /** Of all nodes; each has its own unless told. */
  readonly publicUrl?: string
  /** Where a node finds the platform. */
  readonly apiRoot?: (telegram: TelegramEmulator, node: string) => string
  /** Of the Telegram account, and of the whole configuration. */
  readonly account?: object
  readonly config?: (node: string) => object
  /** The figures of nodes as they are, or a twentieth of them (P10 is judged with the real ones). */
  readonly hurried?: boolean
  readonly patience?: number | undefined
  /** Milliseconds until it must serve again; those for a lost node unless told. */
  readonly bound?: number
}

export interface ClusterStatus {
  readonly nodes: readonly { readonly id: string; readonly name: string; readonly alive: boolean }[]
  readonly leases: readonly { readonly name: string; readonly node: string; readonly epoch: number }[]
  readonly maybeDuplicates: number
  readonly dead: number
}

export interface Cluster extends Crowd, AsyncDisposable {
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
  readonly nodes: readonly OneOfSeveral[]
  /** What stands before every name in RabbitMQ and Redis. */
  readonly prefix: string
  node(name: string): OneOfSeveral
  /** Starts one, or all, as the product or as the mutant. */
  start(name?: string, env?: NodeJS.ProcessEnv, prefix?: readonly string[]): Promise<void>
  /** Of an administrator who may chat and read figures, too. */
  token(): Promise<string>
  /** As the first node that answers tells it. */
  status(): Promise<ClusterStatus>
  /** The lease of the Telegram account, with the name of the node that has it. */
  lease(): Promise<{ readonly node: string; readonly epoch: number } | undefined>
  /** A figure of `/metrics`, over all its labels. */
  metric(node: string, name: string): Promise<number>
  /** Notes how long something took until it served again, in milliseconds. */
  recovered(took: number): void
}

/** P10: a node that is gone is taken over. */
const TAKEN_OVER = 45_000

/** Makes the world; no node runs yet. */
export async function createCluster(options: ClusterOptions): Promise<Cluster> {
  const { seed, mutant, names = ['a', 'b'], mode = 'polling', broker, redis } = options
  await using parts = new AsyncDisposableStack()
  const prefix = ownPrefix()
  const place = options.database ?? parts.use(await newDatabase()).url
  const at = (address: Address, node: string) => (typeof address === 'string' ? address : address(node))
  const telegram = parts.use(
    await createTelegramEmulator({
      retryDelay: 100,
      maxRetryDelay: 2000,
      addresses: () => (mode === 'webhook' ? nodes.map(({ port }) => `127.0.0.1:${port}`) : []),
      ...options.telegram,
    }),
  )
  const model = parts.use(
    await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 30, interval: 10, chunks: 6 }, reply: answerOf }),
  )
  const nodes: readonly OneOfSeveral[] = parts.use(
    await createNodes(names, (name, port) => ({
      server: { public_url: options.publicUrl ?? `http://127.0.0.1:${port}` },
      database: { url: at(place, name) },
      ...(broker === false ? {} : { broker: { url: at(broker ?? POSTHOUSE_TEST_RABBITMQ, name), prefix } }),
      ...(redis === false ? {} : { redis: { url: at(redis ?? POSTHOUSE_TEST_REDIS, name), prefix } }),
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      assistant: { burst: 'one-by-one' },
      // Who waits for a state asks often.
      resources: { requests_per_minute: 100_000 },
      channels: {
        telegram: {
          token: telegram.token,
          api_root: options.apiRoot?.(telegram, name) ?? telegram.url,
          send_rate: 1000,
          room_send_rate: 1000,
          ...(mode === 'webhook' ? { mode, secret_token: SECRET } : {}),
          ...options.account,
        },
      },
      ...options.config?.(name),
    })),
  )
  // What was begun in servers that others use, too.
  parts.defer(async () => {
    if (broker === undefined) await clearRabbit(prefix)
    if (redis === undefined) await clearRedis(prefix)
  })
  const node = (name: string) => {
    const found = nodes.find((one) => one.name === name)
    if (!found) throw new Error(`there is no node ${name}`)
    return found
  }
  let token: Promise<string> | undefined
  const tokenOf = async (of: OneOfSeveral) => {
    const { stdout } = await of.cli('token', 'create', '--name', 'auditor', '--scopes', 'admin,chat,metrics', '--json')
    return (JSON.parse(stdout) as { token: string }).token
  }
  const get = async (of: OneOfSeveral, path: string) => {
    token ??= tokenOf(of)
    const headers = { authorization: `Bearer ${await token}` }
    const response = await fetch(`${of.url}${path}`, { headers, signal: AbortSignal.timeout(3000) })
    if (!response.ok) throw new Error(`${path} answered ${response.status}`)
    return response
  }
  /** The first that answers: one may be frozen, or cut off. */
  const admin = async <T>(path: string): Promise<T> => {
    let last: unknown
    for (const one of nodes) {
      if (one.url === '') continue
      try {
        return (await (await get(one, path)).json()) as T
      } catch (error) {
        token = token?.catch(() => undefined as never)
        last = error
      }
    }
    throw last
  }
  const recoveries: number[] = []
  const crowd = createCrowd({
    seed,
    ground: onTelegram(telegram),
    admin,
    toolLedgers: () => nodes.map(({ folder }) => join(folder, 'ledger')),
    recoveries,
    bound: options.bound ?? TAKEN_OVER,
    patience: options.patience,
  })
  const tokenOfAny = async () => {
    await status()
    return (await token) ?? ''
  }
  const status = () => admin<ClusterStatus>('/api/admin/status')
  const withMutants = [...(options.hurried ? ['hurried nodes'] : []), ...(mutant ? [mutant] : [])].join(',')
  const built = parts.move()
  return {
    ...crowd,
    telegram,
    model,
    nodes,
    prefix,
    node,
    async start(name, env = {}, command = []) {
      for (const one of name === undefined ? nodes : [node(name)]) await one.start(withMutant(withMutants || undefined, env), command)
    },
    token: tokenOfAny,
    status,
    async lease() {
      // Who was frozen in the midst of a write may hold up the others for some seconds.
      const { leases, nodes: known } = await status().catch(() => ({ leases: [], nodes: [] }))
      const found = leases.find((lease) => lease.name === 'account:telegram')
      return found && { epoch: found.epoch, node: known.find(({ id }) => id === found.node)?.name ?? '' }
    },
    async metric(of, name) {
      const lines = (await (await get(node(of), '/metrics')).text()).split('\n').filter((line) => line.startsWith(name))
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
    },
    recovered: (took) => void recoveries.push(took),
    [Symbol.asyncDispose]: () => built.disposeAsync(),
  }
}
