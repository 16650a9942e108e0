/** The tools that there are: what a model is told of them, which calls may run, and for how long. */
import type { Logger, Tool, ToolCall, ToolDeclaration } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import { orderedJson } from '../base/ordered-json.ts'
import { type CheckedCall, OutcomeUnknown, type ServerTool, type ToolOutcome, type Tools } from '../ports/tools.ts'
import { argumentProblem, schemaProblem, serverArgumentProblem } from './arguments.ts'

/** Characters of arguments, of a result, and of what a tool says of its failure. */
const MOST_ARGUMENTS = 64 * 1024
const MOST_RESULT = 64 * 1024
const MOST_FAILURE = 1000
/** Milliseconds for one call. */
const TIMEOUT = 30_000

export interface ToolParts {
  readonly clock: Clock
  readonly log: Logger
  /** Milliseconds for one call; default 30 s. */
  readonly timeout?: number
}

/**
 * `served`: tools of servers beside us, as they are now; it answers the same list for as long as nothing changes. One with the name of another is left out.
 * @throws when a name of `tools` is wrong or taken, or a schema has a word that the check does not understand.
 */
export function createTools(tools: readonly Tool[], parts: ToolParts, served: () => readonly ServerTool[] = () => NONE): Tools {
  const known = new Map<string, Tool>()
  for (const tool of tools) {
    if (!/^[\w-]{1,64}$/.test(tool.name)) throw new Error(`"${tool.name}" is no name for a tool`)
    if (known.has(tool.name)) throw new Error(`there are two tools with the name "${tool.name}"`)
    const problem = tool.parameters.type === 'object' ? schemaProblem(tool.parameters) : 'parameters.type: must be "object"'
    if (problem) throw new Error(`the tool "${tool.name}" cannot be registered: ${problem}`)
    known.set(tool.name, tool)
  }
  const own = tools.map(declarationOf)
  let of: readonly ServerTool[] = NONE
  let others = new Map<string, ServerTool>()
  let declarations = own
  const look = () => {
    const now = served()
    if (now === of) return
    of = now
    others = new Map(now.filter(({ name }) => !known.has(name)).map((tool) => [tool.name, tool]))
    declarations = [...own, ...[...others.values()].map(declarationOf)]
  }
  return {
    get declarations() {
      look()
      return declarations
    },
    isIdempotent(name) {
      look()
      return (known.get(name) ?? others.get(name))?.idempotent ?? false
    },
    check(call) {
      look()
      const tool = known.get(call.name)
      if (tool) return checkCall(tool, call, argumentProblem, parts)
      const other = others.get(call.name)
      if (other) return checkCall(other, call, serverArgumentProblem, { ...parts, timeout: other.timeout })
      return `there is no tool of this name; there are: ${[...known.keys(), ...others.keys()].join(', ')}`
    },
  }
}

const NONE: readonly ServerTool[] = []
const declarationOf = ({ name, description, parameters }: Tool): ToolDeclaration => ({ name, description, parameters })

function checkCall(tool: Tool, call: ToolCall, problemOf: typeof argumentProblem, parts: ToolParts): CheckedCall | string {
  if (call.arguments.length > MOST_ARGUMENTS) return `the arguments are longer than ${MOST_ARGUMENTS} characters`
  let args: unknown
  try {
    args = JSON.parse(call.arguments.trim() || '{}')
  } catch {
    return 'the arguments are not valid JSON'
  }
  if (typeof args !== 'object' || args === null || Array.isArray(args)) return 'arguments: must be an object'
  const problem = problemOf(tool.parameters, args)
  if (problem) return problem
  return {
    idempotent: tool.idempotent,
    arguments: orderedJson(args),
    run: (callId, signal) => runCall(tool, args as Record<string, unknown>, callId, signal, parts),
  }
}

/** Runs one call. A tool that does not listen to its signal is left behind, never waited for. */
async function runCall(
  tool: Tool,
  args: Readonly<Record<string, unknown>>,
  callId: string,
  outer: AbortSignal,
  { clock, log, timeout = TIMEOUT }: ToolParts,
): Promise<ToolOutcome> {
  const over = new AbortController()
  const timer = new AbortController()
  const signal = AbortSignal.any([outer, over.signal])
  const given = clock.sleep(timeout, AbortSignal.any([outer, timer.signal])).then(() => {
    // The tool ended, or somebody said stop: no time-out.
    if (!timer.signal.aborted && !outer.aborted) over.abort(new Error('the time is over'))
  })
  const ran = (async (): Promise<ToolOutcome> => {
    const text = await tool.run(args, { callId, signal })
    if (typeof text !== 'string') throw new Error('the tool gave no text')
    return { state: 'done', text: cut(text, MOST_RESULT) }
  })().catch((error: unknown): ToolOutcome => {
    // Interrupted on its way: it may have done something by then.
    if (signal.aborted) return interrupted(outer.aborted, timeout)
    if (error instanceof OutcomeUnknown) return { state: 'unknown', text: `Error: ${cut(error.message, MOST_FAILURE)}` }
    // Its message is for the model: it may quote the arguments.
    log.warn({ tool: tool.name, error: error instanceof Error ? error.name : typeof error }, 'a tool failed')
    return { state: 'failed', text: `Error: ${cut(error instanceof Error ? error.message : String(error), MOST_FAILURE)}` }
  })
  const outcome = await Promise.race([ran, given.then(() => interrupted(outer.aborted, timeout))])
  timer.abort('ended')
  return outcome
}

function interrupted(stopped: boolean, timeout: number): ToolOutcome {
  return { state: 'unknown', text: stopped ? 'Error: the call was interrupted' : `Error: the call did not end within ${timeout / 1000} s` }
}

function cut(text: string, most: number): string {
  if (text.length <= most) return text
  return `${text.slice(0, most).toWellFormed()}\n[cut: ${text.length - most} more characters]`
}
