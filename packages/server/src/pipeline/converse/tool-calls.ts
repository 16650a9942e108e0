/**
 * The tools that a model asks for. The intent is written down before a tool runs, what came of it after (P5). What an earlier turn for the
 * same messages left is taken from there: a result is used again; what nobody knows the outcome of is not repeated unless the tool is
 * idempotent, and both the model and the person are told.
 */
import { ModelError, type ModelMessage, type ToolCall } from '@posthouse/contract'
import { persist } from '../../base/persist.ts'
import type { StoredToolCall } from '../../ports/store.ts'
import type { CheckedCall } from '../../ports/tools.ts'
import { noticeText } from './notices.ts'
import type { Interruption, TurnWork } from './work.ts'

/** Calls of one answer that are carried out, and milliseconds for all tools of a turn. */
const MOST_CALLS = 8
const MOST_TIME = 120_000

const UNKNOWN =
  'Error: a call of this tool was interrupted, and nobody knows whether it took effect. It was not run again, and no call of this tool is run in this answer. Say so; the person has to check.'

export interface ToolDesk {
  /** Finds what an earlier turn left, if this message was in one: the person is told of it also when the model asks for nothing. */
  begin(): Promise<void>
  /** Carries out what an answer asks for; answers the answer and the results as the model is shown them. */
  carryOut(answer: { readonly text: string; readonly calls: readonly ToolCall[] }, step: number): Promise<readonly ModelMessage[]>
  /** What the person is told of calls without a known outcome. */
  notices(): readonly string[]
}

/** A call of an earlier turn; `used` once this turn has taken it for its own, `shown` once the model heard of it. */
interface Earlier {
  readonly call: StoredToolCall
  used: boolean
  shown: boolean
}

export function openToolDesk(work: TurnWork): ToolDesk {
  const { turn, parts, signal, language } = work
  const { tools, clock, log, store, newId } = parts
  /** Tools with a call of unknown outcome. */
  const uncertain = new Set<string>()
  const ids = new Set<string>()
  let earlier: readonly Earlier[] | undefined
  let spent = 0
  const write = <T>(task: () => Promise<T>) => persist(task, { clock, log, signal })

  async function recall(): Promise<readonly Earlier[]> {
    if (earlier) return earlier
    const found = await write(() => store.toolCalls.takeOver(turn, tools.isIdempotent, UNKNOWN))
    for (const { name, state } of found) if (state === 'unknown') uncertain.add(name)
    earlier = found.map((call) => ({ call, used: false, shown: false }))
    return earlier
  }

  /** What the model is told of one call. */
  async function outcomeOf(call: ToolCall, step: number, place: number): Promise<string> {
    if (signal.aborted) throw interrupted()
    const checked = place < MOST_CALLS ? tools.check(call) : `at most ${MOST_CALLS} calls at a time`
    if (typeof checked === 'string') return `Error: ${checked}`
    const known = await recall()
    const same = (one: Earlier) => !one.used && one.call.name === call.name && one.call.arguments === checked.arguments
    const before = known.find((one) => same(one) && one.call.step === step) ?? known.find(same)
    if (before) before.used = true
    if (before?.call.result !== undefined && before.call.state !== 'unknown') return before.call.result
    if (!checked.idempotent) {
      if (uncertain.has(call.name)) return UNKNOWN
      const reworded = known.find((one) => !one.used && !one.shown && one.call.name === call.name && one.call.state === 'done')
      if (reworded) {
        reworded.shown = true
        return `Not run: before an interruption, this tool was called already for the same question, with ${reworded.call.arguments}. The result was:\n${reworded.call.result}\nCall it again only for something else.`
      }
    }
    if (spent > MOST_TIME) return `Error: the tools of this answer took longer than ${MOST_TIME / 1000} s; no other is run`
    const again = before?.call.state === 'intended' ? before.call.id : undefined
    const id = again ?? newId()
    if (again === undefined) {
      const intent = { id, step, callId: call.id, name: call.name, arguments: checked.arguments }
      await write(() => store.toolCalls.intend(turn, intent))
    }
    return await run(call.name, id, checked)
  }

  async function run(name: string, id: string, checked: CheckedCall): Promise<string> {
    if (signal.aborted) throw interrupted()
    const began = clock.elapsed()
    const outcome = await checked.run(id, signal)
    const took = clock.elapsed() - began
    spent += took
    work.timing.model += took
    const harmless = outcome.state === 'unknown' && checked.idempotent
    // The next process runs it again: the intent stays.
    if (harmless && signal.aborted && (signal.reason as Interruption) === 'shutdown') throw interrupted()
    const state = harmless ? 'failed' : outcome.state
    const text = state === 'unknown' ? UNKNOWN : outcome.text
    if (state === 'unknown') uncertain.add(name)
    log.info({ turn: turn.id, tool: name, state, took: Math.round(took) }, 'a tool was called')
    await write(() => store.toolCalls.settle(turn, id, state, text))
    if (signal.aborted) throw interrupted()
    return text
  }

  return {
    async begin() {
      if (turn.messages.some(({ attempts, releasedAt }) => attempts > 1 || releasedAt !== undefined)) await recall()
    },
    async carryOut({ text, calls }, step) {
      const toolCalls: ToolCall[] = []
      const results: ModelMessage[] = []
      for (const [place, call] of calls.entries()) {
        const id = uniqueId(call.id || 'call', ids)
        const result = await outcomeOf({ ...call, id }, step, place)
        toolCalls.push(presentable({ ...call, id }))
        results.push({ role: 'tool', callId: id, text: result })
      }
      return [{ role: 'assistant', text, toolCalls }, ...results]
    },
    notices: () => [...uncertain].map((name) => noticeText('toolUnknown', language, name)),
  }
}

const interrupted = () => new ModelError('cancelled', 'the answer was interrupted')

/** An id that no call of this turn has yet. */
function uniqueId(id: string, taken: Set<string>): string {
  let unique = id.slice(0, 200)
  for (let n = 2; taken.has(unique); n++) unique = `${id.slice(0, 200)}_${n}`
  taken.add(unique)
  return unique
}

/** A call that every provider takes in a history, whatever the model wrote. */
function presentable({ id, name, arguments: text }: ToolCall): ToolCall {
  let readable = false
  try {
    const value: unknown = text.length <= 64 * 1024 && JSON.parse(text)
    readable = typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    // Not JSON: the result says so.
  }
  return { id, name: name.replace(/[^\w-]/g, '_').slice(0, 64) || '_', arguments: readable ? text : '{}' }
}

/**
 * Steps so far as plain words, for a request that declares no tools: some providers refuse calls and results there.
 * The results of a step become one message of the user.
 */
export function inWords(exchange: readonly ModelMessage[]): readonly ModelMessage[] {
  const told: ModelMessage[] = []
  let results: string[] = []
  const close = (more: readonly string[]) => {
    const text = [...results, ...more].join('\n\n')
    if (text !== '') told.push({ role: 'user', content: [{ type: 'text', text }] })
    results = []
  }
  for (const message of exchange) {
    if (message.role === 'tool') results.push(`[result of a tool]\n${message.text}`)
    else if (message.role === 'assistant') {
      close([])
      const calls = (message.toolCalls ?? []).map(({ name, arguments: text }) => `[called ${name} with ${text}]`)
      told.push({ role: 'assistant', text: [message.text, ...calls].filter((line) => line !== '').join('\n') })
    }
  }
  close(['[No tool can be called any more. Answer now with what is known.]'])
  return told
}

/** The results cut to `most` characters each. */
export function shortened(exchange: readonly ModelMessage[], most: number): readonly ModelMessage[] {
  return exchange.map((message) =>
    message.role === 'tool' && message.text.length > most
      ? { ...message, text: `${message.text.slice(0, most).toWellFormed()} [cut]` }
      : message,
  )
}
