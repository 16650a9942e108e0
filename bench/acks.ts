/**
 * Acknowledgements: how long a platform waits for the answer to its call, which comes after the commit. At 200 messages a second, whose turns run
 * beside it, and at twenty times that, of which the gateway refuses what it cannot keep. The call is offered at its time, whatever became of those before it.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { createFeishuEmulator, createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { startTarget, type TargetName } from './target.ts'

const RATE = 200
const TIMES = 20
const SECONDS = Number(process.env.BENCH_SECONDS ?? 10)
/** Conversations that take turns. */
const ROOMS = 5000

const FEISHU = {
  app_id: 'cli_a000000000000001',
  app_secret: 'emulated-secret-of-the-testkit-01',
  mode: 'webhook',
  encrypt_key: 'bench-key',
}

/** What a thread of load is told. */
export interface Offer {
  readonly url: string
  readonly kind: 'telegram' | 'feishu'
  readonly rate: number
  readonly seconds: number
  /** Number of the last message that was offered before. */
  readonly from: number
  readonly rooms: number
  readonly appId: string
  readonly encryptKey: string
}

/** Milliseconds until the answer. */
export interface Acks {
  readonly taken: readonly number[]
  readonly refused: readonly number[]
  readonly failed: number
  /** Calls that still waited for a line when the last was offered. */
  readonly late: number
}

const sorted = (values: readonly number[]) => values.toSorted((a, b) => a - b)
const at = (values: readonly number[], part: number) => values[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0

let count = 0

async function offer(url: string, kind: Offer['kind'], rate: number): Promise<Acks> {
  const told: Offer = { url, kind, rate, seconds: SECONDS, from: count, rooms: ROOMS, appId: FEISHU.app_id, encryptKey: FEISHU.encrypt_key }
  count += rate * SECONDS + 1000
  const worker = new Worker(new URL('./acks-load.ts', import.meta.url), { workerData: told })
  const [acks] = (await once(worker, 'message')) as [Acks]
  await worker.terminate()
  return { ...acks, taken: sorted(acks.taken), refused: sorted(acks.refused) }
}

function show(name: string, { taken, refused, failed, late }: Acks): void {
  const all = sorted([...taken, ...refused])
  console.log(
    `${name.padEnd(28)} ${taken.length} taken, ${refused.length} refused, ${failed} without an answer, ${late} late  ack p50 ${at(all, 0.5).toFixed(1)} p95 ${at(all, 0.95).toFixed(1)} p99 ${at(all, 0.99).toFixed(1)} ms`,
  )
}

/** `work` gets the address where calls go. */
async function within(name: TargetName, work: (url: string) => Promise<void>): Promise<void> {
  await using telegram = await createTelegramEmulator({ keep: 1000 })
  await using feishu = await createFeishuEmulator({ encrypt_key: FEISHU.encrypt_key })
  await using model = await createModelEmulator({ keep: 10 })
  const unlimited = { send_rate: 100_000, room_send_rate: 100_000 }
  const channels = {
    telegram: { token: telegram.token, api_root: telegram.url, mode: 'webhook', secret_token: 'bench-secret', ...unlimited },
    feishu: { ...FEISHU, base_url: feishu.url, ...unlimited },
  }
  for (let room = 0; room < ROOMS; room++) telegram.know(500_000 + room)
  await using _target = await startTarget(name, { telegram, model }, { config: { channels, resources: {} } })
  await work(new URL(telegram.webhook?.url ?? '').origin)
}

export async function measureAcks(): Promise<void> {
  let floor = 0
  await within('floor', async (url) => {
    await offer(url, 'telegram', RATE)
    const acks = await offer(url, 'telegram', RATE)
    floor = at(acks.taken, 0.5)
    show(`floor, ${RATE}/s`, acks)
  })
  await within('gateway', async (url) => {
    await offer(url, 'telegram', RATE)
    for (const name of ['telegram', 'feishu'] as const) {
      const acks = await offer(url, name, RATE)
      show(`gateway, ${name}, ${RATE}/s`, acks)
      console.log(`  own share of the acknowledgement: p50 ${(at(acks.taken, 0.5) - floor).toFixed(1)} ms`)
    }
    show(`gateway, telegram, ${RATE * TIMES}/s`, await offer(url, 'telegram', RATE * TIMES))
  })
}
