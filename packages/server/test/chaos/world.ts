/** One gateway process between an emulated platform and an emulated model; people who ask; and the auditor at the end. */
import { join } from 'node:path'
import {
  createFaultProxy,
  createModelEmulator,
  createTelegramEmulator,
  type FaultProxy,
  type ModelEmulator,
  type ModelQuestion,
  type ModelReply,
  type TelegramEmulator,
  type TelegramEmulatorOptions,
} from '@posthouse/testkit'
import { createPosthouse, type Posthouse } from '../journeys/posthouse.ts'
import { freePorts } from '../ports.ts'
import { type Crowd, createCrowd, onTelegram } from './crowd.ts'
import { withMutant } from './mutants.ts'

export interface World extends Crowd, AsyncDisposable {
  /** What is played instead of the product. */
  readonly mutant: string | undefined
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  /** What stands between the platform and the webhook, if anything. */
  readonly front: FaultProxy | undefined
  /** Starts the gateway, or the mutant; each start but the first counts as a recovery. */
  start(env?: NodeJS.ProcessEnv, prefix?: readonly string[]): Promise<void>
  /** Starts it again whenever it ends, until disposed. */
  keepUp(env?: NodeJS.ProcessEnv): AsyncDisposable
  /** Writes another configuration: with these sections, and these keys of the Telegram account. */
  reconfigure(change: { readonly channels?: { readonly telegram?: object }; readonly [section: string]: unknown }): void
  /** An administrator's question to the running gateway. */
  admin<T>(path: string): Promise<T>
  /** Of an administrator who may chat, too. */
  token(): Promise<string>
}

export interface WorldOptions {
  readonly seed: number
  readonly mutant?: string | undefined
  readonly mode?: 'polling' | 'webhook'
  readonly telegram?: TelegramEmulatorOptions
  /** Of the Telegram account. */
  readonly account?: object
  /** Of the whole configuration. */
  readonly config?: { readonly channels?: object; readonly [section: string]: unknown }
  /** A proxy before the webhook. */
  readonly front?: boolean
  /** Where the gateway finds the platform; the emulator's own address unless something stands in between. */
  readonly apiRoot?: (telegram: TelegramEmulator) => string
  /** How long lost messages are waited for; mutants lose them for sure. */
  readonly patience?: number
}

/** P10: milliseconds from the start of the process to the first request that it takes. */
const SERVING_AGAIN = 5000

/** A gateway that is killed and started: its starts are measured, and an administrator may ask it. */
export function createGateway(posthouse: Posthouse, mutant: string | undefined) {
  const recoveries: number[] = []
  let started = false
  let token: string | undefined
  const tokenOf = async () => {
    const scopes = ['token', 'create', '--name', 'auditor', '--scopes', 'admin,chat,metrics', '--json']
    token ??= JSON.parse((await posthouse.cli(...scopes)).stdout).token as string
    return token
  }
  return {
    recoveries,
    bound: SERVING_AGAIN,
    token: tokenOf,
    /** Each start but the first counts as a recovery. */
    async start(env: NodeJS.ProcessEnv = {}, prefix: readonly string[] = []) {
      const began = performance.now()
      await posthouse.start(withMutant(mutant, env), prefix)
      if (started) recoveries.push(performance.now() - began)
      started = true
    },
    async admin<T>(path: string): Promise<T> {
      const response = await fetch(`${posthouse.url}${path}`, {
        headers: { authorization: `Bearer ${await tokenOf()}` },
        signal: AbortSignal.timeout(10_000),
      })
      if (!response.ok) throw new Error(`${path} answered ${response.status}`)
      return (await response.json()) as T
    },
  }
}

/** What the platform sends with every webhook call. */
export const SECRET = 'chaos-secret'

/** Makes the world; the gateway does not run yet. */
export async function createWorld(options: WorldOptions): Promise<World> {
  const { seed, mutant, mode = 'polling' } = options
  await using parts = new AsyncDisposableStack()
  const telegram = parts.use(await createTelegramEmulator({ retryDelay: 100, maxRetryDelay: 2000, ...options.telegram }))
  const model = parts.use(
    await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 30, interval: 10, chunks: 6 }, reply: answerOf }),
  )
  const [port = 0] = await freePorts(1)
  const front = options.front ? parts.use(await createFaultProxy(`http://127.0.0.1:${port}`)) : undefined
  let account: object = {
    token: telegram.token,
    api_root: options.apiRoot?.(telegram) ?? telegram.url,
    send_rate: 1000,
    room_send_rate: 1000,
    ...(mode === 'webhook' ? { mode, secret_token: SECRET } : {}),
    ...options.account,
  }
  let config: object = {
    server: { port, public_url: front?.url ?? `http://127.0.0.1:${port}` },
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    assistant: { burst: 'one-by-one' },
    ...options.config,
  }
  const configured = () => ({ ...config, channels: { ...options.config?.channels, telegram: account } })
  const posthouse = parts.use(createPosthouse(configured()))
  const { start, ...gateway } = createGateway(posthouse, mutant)
  const crowd = createCrowd({
    seed,
    ground: onTelegram(telegram),
    ...gateway,
    toolLedgers: () => [join(posthouse.folder, 'ledger')],
    patience: options.patience,
  })
  const built = parts.move()
  return {
    ...crowd,
    mutant,
    telegram,
    model,
    posthouse,
    front,
    start,
    keepUp(env = {}) {
      let ended = false
      const loop = async () => {
        for (;;) {
          await posthouse.exited()
          if (ended) return
          // It may die again before it says that it runs.
          await start(env).catch(() => {})
        }
      }
      const running = loop()
      return {
        async [Symbol.asyncDispose]() {
          ended = true
          void running
        },
      }
    },
    reconfigure({ channels, ...sections }) {
      account = { ...account, ...channels?.telegram }
      config = { ...config, ...sections }
      posthouse.configure(configured())
    },
    admin: gateway.admin,
    token: gateway.token,
    [Symbol.asyncDispose]: () => built.disposeAsync(),
  }
}

/**
 * What the model says. By the question's words: `long` in many pieces, `slow` so that a preview shows, `book` with a tool that cannot be
 * taken back; else an echo.
 */
export function answerOf({ text, messages }: ModelQuestion): ModelReply {
  const number = /\bm(\d+)p1\b/.exec(text)?.[1]
  const results = messages.filter(({ role }) => role === 'tool')
  if (/\blong\b/.test(text)) {
    const paragraph = 'The road goes on and the horses are fresh. '.repeat(60)
    return { text: [1, 2, 3].map((part) => `m${number}p${part} ${paragraph}`).join('\n\n') }
  }
  if (/\bslow\b/.test(text)) return { text: `m${number}p1 ${'and on, '.repeat(20)}there.`, firstToken: 0, interval: 140, chunks: 22 }
  if (/\bbook\b/.test(text) && results.length === 0) return { toolCalls: [{ name: 'book', arguments: { what: `seat-${number}` } }] }
  if (/\bbook\b/.test(text)) return { text: `m${number}p1 It says: ${results.map((result) => result.text).join(' | ')}` }
  return { text: `You said: ${text}` }
}
