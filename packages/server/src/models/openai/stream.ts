/**
 * Chat completion chunks -> model events. Made for OpenAI and for those who speak its format a little differently:
 * DeepSeek, Qwen, Ollama, vLLM, llama.cpp, OpenRouter.
 *
 * @see https://platform.openai.com/docs/api-reference/chat-streaming
 */
import { ModelError, type ModelEvent, type ModelMessage, type Usage } from '@posthouse/contract'
import { createCallCollector } from '../wire/calls.ts'
import { refusalOf, toModelError } from '../wire/failure.ts'
import { addText, type Decoder } from '../wire/stream.ts'

interface Delta {
  readonly content?: string | null
  readonly reasoning_content?: string | null
  readonly reasoning?: string | null
  readonly refusal?: string | null
  readonly tool_calls?: readonly CallPart[] | null
}

interface CallPart {
  readonly index?: number
  readonly id?: string | null
  readonly function?: { readonly name?: string | null; readonly arguments?: unknown }
}

interface Chunk {
  readonly choices?: readonly {
    readonly index?: number
    readonly delta?: Delta
    readonly message?: Delta
    readonly finish_reason?: string | null
  }[]
  readonly usage?: Counts | null
  readonly error?: unknown
  readonly object?: string
}

interface Counts {
  readonly prompt_tokens?: number
  readonly completion_tokens?: number
  readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null
  readonly prompt_cache_hit_tokens?: number
}

type EndReason = Extract<ModelEvent, { type: 'end' }>['reason']

const reasons: Readonly<Record<string, EndReason>> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool-calls',
  function_call: 'tool-calls',
  content_filter: 'refused',
}

/** Reasons that say "the answer broke off". */
const broken = new Set(['error', 'insufficient_system_resource', 'abort'])

export function createDecoder(messages: readonly ModelMessage[], redact: (text: string) => string): Decoder {
  const calls = createCallCollector(messages)
  let reason: EndReason | undefined
  let refused = false
  let closed = false
  let seen = false
  let usage: Usage | undefined

  const readDelta = (delta: Delta, out: ModelEvent[]): boolean => {
    const thought = delta.reasoning_content || delta.reasoning
    if (thought) addText(out, 'reasoning', thought)
    if (delta.content) addText(out, 'text', delta.content)
    if (delta.refusal) {
      refused = true
      addText(out, 'text', delta.refusal)
    }
    if (delta.tool_calls) {
      for (const part of delta.tool_calls) {
        // Who sends no index sends each call whole, or goes on with the last one.
        const index = part.index ?? (part.id || calls.size === 0 ? calls.size : calls.size - 1)
        calls.add(index, { id: part.id ?? '', name: part.function?.name ?? '', arguments: argumentsOf(part.function?.arguments) })
      }
      return true
    }
    return Boolean(thought || delta.content || delta.refusal)
  }

  return {
    get state() {
      return closed ? 'closed' : reason ? 'answered' : 'open'
    },
    read(data, out) {
      if (data === '[DONE]') {
        // An end mark without a reason of the end hides that the answer was cut.
        if (!reason) throw new ModelError('malformed', 'the stream was closed without the reason why the answer ends')
        closed = true
        return false
      }
      const chunk = JSON.parse(data) as Chunk
      if (chunk.error || chunk.object === 'error') throw toModelError(refusalOf(chunk), redact)
      seen = true
      if (chunk.usage) usage = usageOf(chunk.usage)
      const choice = chunk.choices?.[0]
      if (!choice || (choice.index ?? 0) !== 0) return false
      const delta = choice.delta ?? choice.message
      const progress = delta ? readDelta(delta, out) : false
      if (choice.finish_reason) {
        if (broken.has(choice.finish_reason))
          throw new ModelError('overloaded', `the provider ended the answer with ${choice.finish_reason}`)
        reason = reasons[choice.finish_reason] ?? 'stop'
      }
      return progress
    },
    finish(out) {
      if (!reason) {
        throw seen
          ? new ModelError('connection', 'the stream ended before the answer was complete')
          : new ModelError('malformed', 'the answer holds no chat completion; check base_url')
      }
      calls.emit(out)
      if (usage) out.push({ type: 'usage', usage })
      out.push({ type: 'end', reason: refused ? 'refused' : calls.size > 0 && reason === 'stop' ? 'tool-calls' : reason })
    },
  }
}

function argumentsOf(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined || value === null ? '' : JSON.stringify(value)
}

function usageOf(counts: Counts): Usage {
  const cachedTokens = counts.prompt_tokens_details?.cached_tokens ?? counts.prompt_cache_hit_tokens
  return {
    inputTokens: counts.prompt_tokens ?? 0,
    outputTokens: counts.completion_tokens ?? 0,
    ...(cachedTokens === undefined ? {} : { cachedTokens }),
  }
}
