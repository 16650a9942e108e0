/** People who ask over an emulated platform, and what came of it, by the ledgers of others. */
import { existsSync, readFileSync } from 'node:fs'
import type { TelegramEmulator } from '@posthouse/testkit'
import { until } from '../journeys/posthouse.ts'
import { type Asked, audit, type Findings } from './auditor.ts'

export interface Asking {
  readonly chat: number
  /** What the model is to do: see `answerOf`. */
  readonly wish?: string
  readonly parts?: number
  readonly more?: Parameters<TelegramEmulator['say']>[0] & object
}

type OnTelegram = ReturnType<TelegramEmulator['say']>

/** A question with what the platform hands over. */
export type Question<S = OnTelegram> = Asked & { readonly said: S }

/** A platform as the crowd needs it. */
export interface Ground<S> {
  say(asking: Asking, text: string): { readonly update: number; readonly said: S }
  posted(chat?: number): readonly { readonly chat: number; readonly text: string }[]
  /** Updates that it was told are taken. */
  readonly confirmed: ReadonlySet<number>
  /** Those that it still hands over. */
  readonly pending: number
  /** Where it hands over again each for itself, what comes first is not what was said first: numbers of messages in the order in which they were worked on. */
  readonly order?: readonly number[]
  /** It hands over once: what was not taken then is lost on its side, and no promise of ours. */
  readonly forgets?: boolean
}

export function onTelegram(telegram: TelegramEmulator): Ground<OnTelegram> {
  return {
    say({ chat, more = {} }, text) {
      const words = more.document || more.photo ? { caption: text } : { text }
      const said = telegram.say({ ...words, chat, from: Math.abs(chat), ...more })
      return { update: said.update_id, said }
    },
    posted: telegram.posted,
    get confirmed() {
      return new Set(telegram.confirmations.map(({ update_id }) => update_id))
    },
    get pending() {
      return telegram.pending
    },
  }
}

/** Findings, and how long it took until the gateway served again, each time, in milliseconds. */
export interface Outcome extends Findings {
  readonly recoveries: readonly number[]
  /** What else the row found to be wrong. */
  readonly broken: readonly string[]
  /** Recoveries that took longer than the bound. Not for tests that run with every commit: machines differ. */
  readonly slow: readonly string[]
  /** What was measured, in words. */
  readonly figures: string
}

export interface Crowd<S = OnTelegram> {
  readonly seed: number
  /** The same numbers for the same seed. */
  random(): number
  readonly asked: readonly Question<S>[]
  ask(asking: Asking): Question<S>
  /** The whole answer to a question is there. */
  isAnswered(asked: Asked): boolean
  /** Waits until every question has its outcome and nothing is left to do, at most `patience` milliseconds. */
  settle(patience?: number): Promise<void>
  /** The end: what came of it all. `broken` is what the row itself found. */
  outcome(broken?: readonly (string | false | undefined)[], figures?: string): Promise<Outcome>
}

export interface CrowdOptions<S> {
  readonly seed: number
  readonly ground: Ground<S>
  /** An administrator's question to a running gateway. */
  readonly admin: <T>(path: string) => Promise<T>
  /** Files in which tools write down their runs. */
  readonly toolLedgers: () => readonly string[]
  /** Milliseconds until the gateway served again, each time; and the bound. */
  readonly recoveries: readonly number[]
  readonly bound: number
  /** How long lost messages are waited for; mutants lose them for sure. */
  readonly patience?: number | undefined
}

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

export function createCrowd<S>({ seed, ground, admin, toolLedgers, recoveries, bound, ...options }: CrowdOptions<S>): Crowd<S> {
  const asked: Question<S>[] = []
  const isAnswered = ({ number, chat, parts: count }: Asked) => {
    const texts = ground
      .posted(chat)
      .map(({ text }) => text)
      .filter((text) => !text.trimEnd().endsWith('…'))
    return Array.from({ length: count }, (_, part) => new RegExp(`\\bm${number}p${part + 1}\\b`)).every((mark) =>
      texts.some((text) => mark.test(text)),
    )
  }
  const judge = async () => {
    const findings = audit(await ledgers())
    return ground.forgets ? { ...findings, asked: findings.admitted } : findings
  }
  /** As they were said, or as the platform got them taken. */
  const inOrder = () => {
    const { order } = ground
    if (!order) return asked
    const places = new Map(order.map((number, place) => [number, place]))
    const place = ({ number }: Asked) => places.get(number) ?? order.length + number
    return asked.toSorted((a, b) => place(a) - place(b))
  }
  const ledgers = async () => {
    const { dead } = await admin<{ dead: { text: string; reason: string }[] }>('/api/admin/dead?limit=500')
    const { messages } = await admin<{ messages: { text: string }[] }>('/api/admin/maybe-duplicates?limit=500')
    return {
      asked: inOrder(),
      confirmed: ground.confirmed,
      posted: ground.posted(),
      toolRuns: toolLedgers()
        .filter((path) => existsSync(path))
        .flatMap((path) => readFileSync(path, 'utf8').split('\n'))
        .filter((line) => line !== '' && !line.startsWith('signal'))
        .map((line) => line.split(' ')[0] ?? ''),
      dead: dead.map(({ text }) => text),
      setAside: dead.filter(({ reason }) => reason === 'quarantined').map(({ text }) => text),
      maybe: messages.map(({ text }) => text),
    }
  }

  return {
    seed,
    random: randomFrom(seed),
    asked,
    ask(asking) {
      const { chat, wish = '', parts: count = 1 } = asking
      const number = asked.length + 1
      const text = `m${number}p1 ${wish}`.trim()
      const question = { number, chat, text, parts: count, ...ground.say(asking, text) }
      asked.push(question)
      return question
    },
    isAnswered,
    async settle(patience = options.patience ?? 30_000) {
      const end = performance.now() + patience
      const left = () => Math.max(1, end - performance.now())
      const quiet = async () => {
        const { queue } = await admin<{ queue: { depth: number; count: number } }>('/api/admin/status')
        return queue.depth + queue.count === 0
      }
      await until(() => ground.pending === 0, 'every update is confirmed', left()).catch(() => {})
      await until(() => asked.every(isAnswered), 'all are answered', Math.min(left(), 1500)).catch(() => {})
      while (performance.now() < end) {
        const { lost, asked: all, admitted } = await judge()
        if (lost.length === 0 && admitted === all && (await quiet())) return
        // Not so often that the gateway refuses to tell.
        await new Promise((resolve) => setTimeout(resolve, 300))
      }
    },
    async outcome(broken = [], figures = '') {
      const findings = await judge()
      const slow = recoveries.filter((took) => took > bound).map((took) => `serving again only after ${Math.round(took)} ms`)
      return { ...findings, recoveries, slow, figures, broken: broken.filter((problem) => typeof problem === 'string') }
    },
  }
}
