/** Tool calls that grow part by part. */
import { ModelError, type ModelEvent, type ModelMessage } from '@posthouse/contract'

/** Characters of the arguments of all calls in one answer, and how many calls an answer may hold. */
const ARGUMENTS_LIMIT = 256 * 1024
const CALLS_LIMIT = 128

interface Growing {
  id: string
  name: string
  readonly parts: string[]
}

export interface CallCollector {
  readonly size: number
  /** Adds to the call at `index`, which begins with its first part. Throws {@link ModelError} `malformed` beyond the limits. */
  add(index: number, part: { readonly id?: string; readonly name?: string; readonly arguments?: string }): void
  /** Puts the calls into `out`, each with an id that is unique in the conversation. */
  emit(out: ModelEvent[]): void
}

/** `messages`: the conversation so far, whose call ids are taken. */
export function createCallCollector(messages: readonly ModelMessage[]): CallCollector {
  const calls = new Map<number, Growing>()
  let size = 0
  return {
    get size() {
      return calls.size
    },
    add(index, part) {
      let call = calls.get(index)
      if (!call) {
        if (calls.size >= CALLS_LIMIT) throw new ModelError('malformed', `the answer has more than ${CALLS_LIMIT} tool calls`)
        call = { id: '', name: '', parts: [] }
        calls.set(index, call)
      }
      call.id ||= part.id ?? ''
      call.name ||= part.name ?? ''
      if (!part.arguments) return
      size += part.arguments.length
      if (size > ARGUMENTS_LIMIT)
        throw new ModelError('malformed', `the arguments of the tool calls are longer than ${ARGUMENTS_LIMIT} characters`)
      call.parts.push(part.arguments)
    },
    emit(out) {
      if (calls.size === 0) return
      const taken = new Set(
        messages.flatMap((message) => (message.role === 'assistant' ? (message.toolCalls ?? []).map((call) => call.id) : [])),
      )
      for (const [, { id, name, parts }] of [...calls].sort(([a], [b]) => a - b)) {
        if (!name) throw new ModelError('malformed', 'a tool call has no name')
        const unique = uniqueId(id || 'call', taken)
        taken.add(unique)
        out.push({ type: 'tool-call', call: { id: unique, name, arguments: parts.join('').trim() || '{}' } })
      }
    },
  }
}

function uniqueId(id: string, taken: ReadonlySet<string>): string {
  if (!taken.has(id)) return id
  for (let n = 2; ; n += 1) {
    if (!taken.has(`${id}_${n}`)) return `${id}_${n}`
  }
}
