/** What a request may ask for that not every provider has a word for. */
import { ModelError, type ModelRequest } from '@posthouse/contract'

/** The names that callers know them by. */
const names = {
  topP: 'top_p',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  seed: 'seed',
  reasoningEffort: 'reasoning_effort',
  stop: 'stop',
  toolChoice: 'tool_choice',
  parallelToolCalls: 'parallel_tool_calls',
  responseFormat: 'response_format',
} as const satisfies Partial<Record<keyof ModelRequest, string>>

/** @throws ModelError `invalid` when the request asks for one of these: better refused than left out in silence. */
export function refuseWishes(request: ModelRequest, provider: string, wishes: readonly (keyof typeof names)[]): void {
  const asked = wishes.find((wish) => request[wish] !== undefined)
  if (asked) throw new ModelError('invalid', `${names[asked]}: not supported by ${provider} endpoints`)
}
