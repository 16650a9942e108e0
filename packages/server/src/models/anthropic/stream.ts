/** Events of the messages API -> model events. @see https://docs.anthropic.com/en/api/messages-streaming */
import { ModelError, type ModelEvent, type ModelMessage } from '@posthouse/contract'
import { createCallCollector } from '../wire/calls.ts'
import { refusalOf, toModelError } from '../wire/failure.ts'
import { addText, type Decoder } from '../wire/stream.ts'

interface Counts {
  readonly input_tokens?: number | null
  readonly output_tokens?: number | null
  readonly cache_read_input_tokens?: number | null
  readonly cache_creation_input_tokens?: number | null
}

interface WireEvent {
  readonly type?: string
  readonly index?: number
  readonly message?: { readonly usage?: Counts }
  readonly content_block?: {
    readonly type?: string
    readonly text?: string
    readonly thinking?: string
    readonly id?: string
    readonly name?: string
  }
  readonly delta?: {
    readonly type?: string
    readonly text?: string
    readonly thinking?: string
    readonly partial_json?: string
    readonly stop_reason?: string | null
  }
  readonly usage?: Counts
  readonly error?: unknown
}

type EndReason = Extract<ModelEvent, { type: 'end' }>['reason']

const reasons: Readonly<Record<string, EndReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool-calls',
  refusal: 'refused',
}

export function createDecoder(messages: readonly ModelMessage[], redact: (text: string) => string): Decoder {
  const calls = createCallCollector(messages)
  let counts: Counts = {}
  let reason: EndReason | undefined
  let closed = false
  let seen = false

  const readDelta = (index: number, delta: WireEvent['delta'], out: ModelEvent[]): boolean => {
    if (delta?.type === 'text_delta' && delta.text) addText(out, 'text', delta.text)
    else if (delta?.type === 'thinking_delta' && delta.thinking) addText(out, 'reasoning', delta.thinking)
    else if (delta?.type === 'input_json_delta') calls.add(index, { arguments: delta.partial_json ?? '' })
    else return false
    return true
  }

  const readStart = (index: number, block: WireEvent['content_block'], out: ModelEvent[]): boolean => {
    if (block?.type === 'tool_use') calls.add(index, { id: block.id ?? '', name: block.name ?? '' })
    else if (block?.type === 'text' && block.text) addText(out, 'text', block.text)
    else if (block?.type === 'thinking' && block.thinking) addText(out, 'reasoning', block.thinking)
    else return false
    return true
  }

  return {
    get state() {
      return closed ? 'closed' : reason ? 'answered' : 'open'
    },
    read(data, out) {
      const event = JSON.parse(data) as WireEvent
      switch (event.type) {
        case 'content_block_delta':
          return readDelta(event.index ?? 0, event.delta, out)
        case 'content_block_start':
          return readStart(event.index ?? 0, event.content_block, out)
        case 'message_start':
          seen = true
          counts = { ...event.message?.usage }
          return false
        case 'message_delta':
          counts = { ...counts, ...event.usage }
          if (event.delta?.stop_reason) reason = reasons[event.delta.stop_reason] ?? 'stop'
          return false
        case 'message_stop':
          if (!reason) throw new ModelError('malformed', 'the stream was closed without the reason why the answer ends')
          closed = true
          return false
        case 'error':
          throw toModelError(refusalOf(event), redact)
        default:
          // `ping`, `content_block_stop` and types to come; the documentation asks to ignore what is unknown.
          if (event.error) throw toModelError(refusalOf(event), redact)
          return false
      }
    },
    finish(out) {
      if (!reason) {
        throw seen
          ? new ModelError('connection', 'the stream ended before the answer was complete')
          : new ModelError('malformed', 'the answer holds no message; check base_url')
      }
      calls.emit(out)
      // Tokens read from or written to the cache are not part of `input_tokens` here; elsewhere they are.
      const cachedTokens = counts.cache_read_input_tokens ?? 0
      const inputTokens = (counts.input_tokens ?? 0) + cachedTokens + (counts.cache_creation_input_tokens ?? 0)
      if (inputTokens > 0 || counts.output_tokens) {
        out.push({ type: 'usage', usage: { inputTokens, outputTokens: counts.output_tokens ?? 0, cachedTokens } })
      }
      out.push({ type: 'end', reason })
    },
  }
}
