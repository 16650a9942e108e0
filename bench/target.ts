/** The program under test: the gateway or the floor, as a process of its own beside the emulated world. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ModelEmulator, TelegramEmulator } from '@posthouse/testkit'
import { nodeEnvironment, nodeFlags } from '../packages/server/bin/node-flags.mjs'

const server = join(import.meta.dirname, '../packages/server/src/main.ts')
const SECRET = 'bench-secret'
const TICKS = 100

/** `with history`: asks the model what the gateway asks, with 40 messages from memory. `durable`: that, and a synced journal. */
export type TargetName = 'floor' | 'floor with history' | 'durable floor' | 'gateway'

export interface World {
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
}

export interface Target extends AsyncDisposable {
  readonly name: string
  readonly child: ChildProcess
  readonly url: string
  /** Of the one-time set-up link. */
  readonly setupToken: string
  /** Milliseconds from the call to the first sign of readiness. */
  readonly ready: number
}

export const newPort = (): number => 20_000 + Math.floor(Math.random() * 12_000)

/** Where the gateway keeps its data: made anew for each target unless given. */
export const newFolder = (): string => mkdtempSync(join(tmpdir(), 'posthouse-bench-'))

export interface TargetOptions {
  readonly folder?: string
  readonly port?: number
  /** Sections of the configuration beside those of every bench. */
  readonly config?: object
}

/** Starts it and waits until it is ready and the emulated Telegram knows its webhook. */
export async function startTarget(
  name: TargetName,
  { telegram, model }: World,
  { folder = newFolder(), port = newPort(), config = {} }: TargetOptions = {},
): Promise<Target> {
  const env = {
    ...nodeEnvironment,
    ...process.env,
    TELEGRAM: telegram.url,
    MODEL: model.url,
    TOKEN: telegram.token,
    SECRET,
    HISTORY: name === 'floor' ? '0' : '40',
    ...(name === 'durable floor' ? { JOURNAL: join(folder, 'journal.db') } : {}),
  }
  const started = performance.now()
  if (name === 'gateway') {
    writeFileSync(
      join(folder, 'posthouse.yaml'),
      JSON.stringify({
        server: { port, public_url: `http://127.0.0.1:${port}` },
        resources: { max_concurrency: 1000, requests_per_minute: 10_000 },
        models: {
          endpoints: {
            main: { api: 'openai', base_url: `${model.url}/v1`, api_key: 'test-key', model: 'test-model', max_concurrency: 1000 },
          },
        },
        channels: {
          telegram: {
            token: telegram.token,
            api_root: telegram.url,
            mode: 'webhook',
            secret_token: SECRET,
            send_rate: 100_000,
            room_send_rate: 100_000,
          },
        },
        ...config,
      }),
    )
  }
  const args = name !== 'gateway' ? [join(import.meta.dirname, 'floor.ts')] : [server, 'start']
  const child = spawn(
    process.execPath,
    [
      ...nodeFlags,
      ...(process.env.BENCH_FLAGS?.split(' ') ?? []),
      ...(process.env.BENCH_PROF ? ['--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_PROF}`] : []),
      ...args,
    ],
    { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let said = ''
  await new Promise<void>((resolve, reject) => {
    const listen = (data: Buffer) => {
      said += data.toString()
      if (/ready|runs at \S+[\s\S]*\n\n/.test(said)) resolve()
    }
    child.stdout.on('data', listen)
    child.stderr.on('data', listen)
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${said}`)))
  })
  const ready = performance.now() - started
  while (telegram.webhook === undefined) await new Promise((resolve) => setTimeout(resolve, 10))
  return {
    name,
    child,
    url: `http://127.0.0.1:${port}`,
    setupToken: /#setup=(\S+)/.exec(said)?.[1] ?? '',
    ready,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await new Promise((resolve) => child.once('close', resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** CPU in seconds so far, memory in MB. */
export function usage(pid: number | undefined): { cpu: number; rss: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  return { cpu: (Number(stat[11]) + Number(stat[12])) / TICKS, rss }
}
