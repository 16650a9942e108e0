/** One gateway process between an emulated platform and an emulated model; people who ask; and the auditor at the end. */
import { existsSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
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
import { createPosthouse, type Posthouse, until } from '../journeys/posthouse.ts'
import { type Asked, audit, type Findings } from './auditor.ts'
import { withMutant } from './mutants.ts'

export interface Asking {
  readonly chat: number
  /** What the model is to do: see {@link answerOf}. */
  readonly wish?: string
  readonly parts?: number
  readonly more?: Parameters<TelegramEmulator['say']>[0] & object
}

/** A question with what the platform hands over. */
export type Question = Asked & { readonly said: ReturnType<TelegramEmulator['say']> }

/** Findings, and how long each start after the first took until the gateway served, in milliseconds. */
export interface Outcome extends Findings {
  readonly recoveries: readonly number[]
  /** What else the row found to be wrong. */
  readonly broken: readonly string[]
  /** Starts that took longer than the bound. Not for tests that run with every commit: machines differ. */
  readonly slow: readonly string[]
  /** What was measured, in words. */
  readonly figures: string
}

export interface World extends AsyncDisposable {
  readonly seed: number
  /** What is played instead of the product. */
  readonly mutant: string | undefined
  /** The same numbers for the same seed. */
  random(): number
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly asked: readonly Asked[]
  ask(asking: Asking): Question
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
  /** The whole answer to a question is there. */
  isAnswered(asked: Asked): boolean
  /** Waits until every question has its outcome and nothing is left to do, at most `patience` milliseconds. */
  settle(patience?: number): Promise<void>
  /** The end: what came of it all. `broken` is what the row itself found. */
  outcome(broken?: readonly (string | false | undefined)[], figures?: string): Promise<Outcome>
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

/** What the platform sends with every webhook call. */
export const SECRET = 'chaos-secret'

/** A small generator of numbers: the same seed, the same run. */
function randomFrom(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1
  return () => {
    state = (state ^ (state << 13)) >>> 0
    state = (state ^ (state >>> 17)) >>> 0
    state = (state ^ (state << 5)) >>> 0
    return state / 2 ** 32
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Makes the world; the gateway does not run yet. */
export async function createWorld(options: WorldOptions): Promise<World> {
  const { seed, mutant, mode = 'polling' } = options
  await using parts = new AsyncDisposableStack()
  const telegram = parts.use(await createTelegramEmulator({ retryDelay: 100, maxRetryDelay: 2000, ...options.telegram }))
  const model = parts.use(
    await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 30, interval: 10, chunks: 6 }, reply: answerOf }),
  )
  const port = await freePort()
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
  const asked: Asked[] = []
  const recoveries: number[] = []
  let started = false
  let token: string | undefined

  const isAnswered = ({ number, chat, parts: count }: Asked) => {
    const texts = telegram
      .posted(chat)
      .map(({ text }) => text)
      .filter((text) => !text.trimEnd().endsWith('…'))
    return Array.from({ length: count }, (_, part) => new RegExp(`\\bm${number}p${part + 1}\\b`)).every((mark) =>
      texts.some((text) => mark.test(text)),
    )
  }
  const start = async (env: NodeJS.ProcessEnv = {}, prefix: readonly string[] = []) => {
    const began = performance.now()
    await posthouse.start(withMutant(mutant, env), prefix)
    if (started) recoveries.push(performance.now() - began)
    started = true
  }
  const tokenOf = async () => {
    const scopes = ['token', 'create', '--name', 'auditor', '--scopes', 'admin,chat,metrics', '--json']
    token ??= JSON.parse((await posthouse.cli(...scopes)).stdout).token as string
    return token
  }
  const admin = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${posthouse.url}${path}`, {
      headers: { authorization: `Bearer ${await tokenOf()}` },
      signal: AbortSignal.timeout(10_000),
    })
    if (!response.ok) throw new Error(`${path} answered ${response.status}`)
    return (await response.json()) as T
  }
  const ledgers = async () => {
    const { dead } = await admin<{ dead: { text: string }[] }>('/api/admin/dead?limit=500')
    const { messages } = await admin<{ messages: { text: string }[] }>('/api/admin/maybe-duplicates?limit=500')
    const tool = join(posthouse.folder, 'ledger')
    return {
      asked,
      confirmed: new Set(telegram.confirmations.map(({ update_id }) => update_id)),
      posted: telegram.posted(),
      toolRuns: existsSync(tool)
        ? readFileSync(tool, 'utf8')
            .split('\n')
            .filter((line) => line !== '' && !line.startsWith('signal'))
            .map((line) => line.split(' ')[0] ?? '')
        : [],
      dead: dead.map(({ text }) => text),
      maybe: messages.map(({ text }) => text),
    }
  }

  const built = parts.move()
  return {
    seed,
    mutant,
    random: randomFrom(seed),
    telegram,
    model,
    posthouse,
    front,
    asked,
    ask({ chat, wish = '', parts: count = 1, more = {} }) {
      const number = asked.length + 1
      const text = `m${number}p1 ${wish}`.trim()
      const said = telegram.say({
        ...(more.document || more.photo ? { caption: text } : { text }),
        chat,
        from: Math.abs(chat),
        ...more,
      })
      const question = { number, chat, update: said.update_id, text, parts: count, said }
      asked.push(question)
      return question
    },
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
    admin,
    token: tokenOf,
    isAnswered,
    async settle(patience = options.patience ?? 30_000) {
      const end = performance.now() + patience
      const left = () => Math.max(1, end - performance.now())
      const quiet = async () => {
        const { queue } = await admin<{ queue: { depth: number; count: number } }>('/api/admin/status')
        return queue.depth + queue.count === 0
      }
      await until(() => telegram.pending === 0, 'every update is confirmed', left()).catch(() => {})
      await until(() => asked.every(isAnswered), 'all are answered', Math.min(left(), 1500)).catch(() => {})
      while (performance.now() < end) {
        const { lost, asked: all, admitted } = audit(await ledgers())
        if (lost.length === 0 && admitted === all && (await quiet())) return
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    async outcome(broken = [], figures = '') {
      const findings = audit(await ledgers())
      const slow = recoveries.filter((took) => took > SERVING_AGAIN).map((took) => `serving again only after ${Math.round(took)} ms`)
      return { ...findings, recoveries, slow, figures, broken: broken.filter((problem) => typeof problem === 'string') }
    },
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
