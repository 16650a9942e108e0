/** Turns: messages in over Telegram's webhook, the model asked, the answer sent. */
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { startTarget, type Target, type TargetName, usage, type World } from './target.ts'

const SECONDS = Number(process.env.BENCH_SECONDS ?? 8)
const WARM_UP = 3
/** As models answer people. */
export const PEOPLES_PACE = { firstToken: 300, interval: 40, chunks: 20 } as const

/** `turns`: a second. `asked`: questions in all, those before and after measuring too. `cpu`: microseconds for a turn, `rss`: MB, both of all targets. `latency`: milliseconds, sorted. */
export interface Figures {
  readonly turns: number
  readonly asked: number
  readonly cpu: number
  readonly rss: number
  readonly latency: readonly number[]
  readonly samples: readonly { readonly text: string; readonly took: number }[]
}

const sorted = (values: readonly number[]) => values.toSorted((a, b) => a - b)

/** So many people, each asking again as soon as the answer is there, or when it was read for `pause` milliseconds. Measures from when each has had two answers. */
export async function drive(
  { telegram }: World,
  targets: readonly Target[],
  conversations: number,
  { seconds = SECONDS, pause = 0 }: { readonly seconds?: number; readonly pause?: number } = {},
): Promise<Figures> {
  const answers = new Map<number, number>()
  const warm = Promise.withResolvers<void>()
  let warmed = 0
  const samples: { text: string; took: number }[] = []
  const asked = new Map<number, { text: string; at: number }>()
  let count = 0
  let measuring = false
  let stopped = false
  const ask = (chat: number) => {
    const text = `question ${count++} of ${chat}`
    asked.set(chat, { text, at: performance.now() })
    telegram.say({ text, chat, from: chat })
  }
  const watch = telegram.onPosted((message) => {
    const question = asked.get(message.chat)
    if (!question || !message.text.includes(question.text) || message.text.includes('…')) return
    if (measuring) samples.push({ text: question.text, took: performance.now() - question.at })
    const had = (answers.get(message.chat) ?? 0) + 1
    answers.set(message.chat, had)
    if (had === 2 && ++warmed === conversations) warm.resolve()
    asked.delete(message.chat)
    if (stopped) return
    if (pause === 0) ask(message.chat)
    else setTimeout(() => stopped || ask(message.chat), pause * (0.5 + Math.random()))
  })
  for (let chat = 1; chat <= conversations; chat++) ask(100_000 + chat)
  await Promise.all([warm.promise, new Promise((resolve) => setTimeout(resolve, WARM_UP * 1000))])
  measuring = true
  const before = usageOf(targets)
  const started = performance.now()
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  const took = (performance.now() - started) / 1000
  const after = usageOf(targets)
  measuring = false
  stopped = true
  const deadline = performance.now() + 20_000
  while (asked.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
  watch[Symbol.dispose]()
  const latency = sorted(samples.map(({ took: ms }) => ms))
  if (asked.size > 0) throw new Error(`${asked.size} questions were never answered`)
  return {
    turns: latency.length / took,
    asked: count,
    cpu: ((after.cpu - before.cpu) * 1e6) / latency.length,
    rss: after.rss,
    latency,
    samples,
  }
}

function usageOf(targets: readonly Target[]): { readonly cpu: number; readonly rss: number } {
  const each = targets.map(({ child }) => usage(child.pid))
  return { cpu: each.reduce((sum, { cpu }) => sum + cpu, 0), rss: each.reduce((sum, { rss }) => sum + rss, 0) }
}

const at = (values: readonly number[], part: number) => values[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0
export const show = (name: string, { turns, cpu, rss, latency }: Figures) =>
  console.log(
    `${name.padEnd(24)} ${turns.toFixed(0).padStart(7)} turns/s  ${cpu.toFixed(0).padStart(6)} us CPU/turn  RSS ${rss.toFixed(0).padStart(4)} MB  latency p50 ${at(latency, 0.5).toFixed(1)} p95 ${at(latency, 0.95).toFixed(1)} p99 ${at(latency, 0.99).toFixed(1)} ms`,
  )

/**
 * So many conversations with a model that answers at the pace of people's models. Own share: from the platform's call to the sent answer, without the
 * time that the model took by its own ledger.
 */
export async function measureOwnShare(conversations: number): Promise<void> {
  await using telegram = await createTelegramEmulator({ keep: 1000 })
  await using model = await createModelEmulator({ keep: 50_000, pace: PEOPLES_PACE })
  await using target = await startTarget('gateway', { telegram, model })
  await driveAtPace({ telegram, model }, [target], conversations)
}

export interface Paced {
  readonly figures: Figures
  /** The own share of the latency, 99th percentile, in milliseconds. */
  readonly p99: number
}

/** The same for any targets; the model keeps every call. */
export async function driveAtPace(
  { telegram, model }: World,
  targets: readonly Target[],
  conversations: number,
  pause = 0,
): Promise<Paced> {
  const figures = await drive({ telegram, model }, targets, conversations, { seconds: SECONDS * 2, pause })
  const modelTook = new Map(model.calls.map(({ question, at: began, ended }) => [question?.text, (ended?.at ?? began) - began]))
  const own = sorted(
    figures.samples.flatMap(({ text, took }) => took - (modelTook.get(text) ?? Number.NaN)).filter((ms) => !Number.isNaN(ms)),
  )
  show(`paced, ${conversations}${pause > 0 ? `, ${pause / 1000} s to read` : ''}`, figures)
  console.log(
    `  own share of ${own.length} turns: p50 ${at(own, 0.5).toFixed(1)} p95 ${at(own, 0.95).toFixed(1)} p99 ${at(own, 0.99).toFixed(1)} ms`,
  )
  return { figures, p99: at(own, 0.99) }
}

const ROUNDS = 3
/** Milliseconds in which a gateway gives back what a start or a load needed (`ops/memory.ts`). */
const QUIET = 15_000
const NAMES = ['floor', 'floor with history', 'durable floor', 'gateway'] satisfies TargetName[]

const middle = (values: readonly number[]) => sorted(values)[Math.floor(values.length / 2)] ?? 0

/** The gateway beside the floors at 200 conversations, one after the other in rounds: a machine that others slow down does it to all of them. */
export async function measureTurns(): Promise<void> {
  await using parts = new AsyncDisposableStack()
  const all = new Map<TargetName, { world: World; target: Target; rounds: Figures[] }>()
  for (const name of NAMES) {
    const telegram = parts.use(await createTelegramEmulator({ keep: 1000 }))
    const world = { telegram, model: parts.use(await createModelEmulator({ keep: 10 })) }
    const target = parts.use(await startTarget(name, world))
    all.set(name, { world, target, rounds: [] })
  }
  const rss = async () => {
    await new Promise((resolve) => setTimeout(resolve, QUIET))
    return usage(all.get('gateway')?.target.child.pid).rss.toFixed(0)
  }
  const idle = await rss()
  for (let round = 1; round <= ROUNDS; round++)
    for (const [name, { world, target, rounds }] of all) {
      const figures = await drive(world, [target], 200, { seconds: SECONDS / 2 })
      show(`${name}, 200`, figures)
      rounds.push(figures)
    }
  const gateway = all.get('gateway')
  if (!gateway) return
  for (const [name, { rounds }] of all) {
    if (name === 'gateway') continue
    const [turns, cpu] = (['turns', 'cpu'] as const).map((what) =>
      middle(rounds.map((figures, round) => (gateway.rounds[round]?.[what] ?? Number.NaN) / figures[what])),
    )
    console.log(`gateway/${name}, middle of ${ROUNDS} rounds: turns/s ${turns?.toFixed(2)}, CPU per turn ${cpu?.toFixed(2)}`)
  }
  console.log(`ready after ${gateway.target.ready.toFixed(0)} ms, RSS idle ${idle} MB, quiet after load ${await rss()} MB`)
}
