/** Requests of the messages API. @see https://docs.anthropic.com/en/api/messages */
import type { ModelContent, ModelMessage, ModelRequest } from '@posthouse/contract'
import { endpoint, type WireSettings } from '../wire/settings.ts'
import { refuseWishes } from '../wire/wishes.ts'

export type AnthropicSettings = WireSettings

export const DEFAULT_URL = 'https://api.anthropic.com'
/** The API demands a limit. */
export const DEFAULT_MAX_TOKENS = 4096

export function urlOf(settings: AnthropicSettings, path: string): string {
  return endpoint(settings.base_url ?? DEFAULT_URL, path, /(\/v1)?(\/messages)?$/)
}

export function headersOf(settings: AnthropicSettings): Readonly<Record<string, string>> {
  const key = settings.api_key?.trim()
  return {
    'content-type': 'application/json',
    accept: 'text/event-stream, application/json',
    'anthropic-version': '2023-06-01',
    ...(key ? { 'x-api-key': key } : {}),
    ...Object.fromEntries(Object.entries(settings.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value])),
  }
}

type Block = Readonly<Record<string, unknown>>

interface WireMessage {
  readonly role: 'user' | 'assistant'
  readonly content: Block[]
}

/** @throws ModelError `invalid` for what the API has no word for. */
export function messagesBody(settings: AnthropicSettings, request: ModelRequest): string {
  refuseWishes(request, 'anthropic', ['presencePenalty', 'frequencyPenalty', 'seed', 'reasoningEffort'])
  if (request.responseFormat?.type === 'json') refuseWishes(request, 'anthropic', ['responseFormat'])
  const temperature = request.temperature ?? settings.temperature
  return JSON.stringify({
    model: settings.model,
    max_tokens: request.maxTokens ?? settings.max_tokens ?? DEFAULT_MAX_TOKENS,
    ...(request.system?.trim() ? { system: request.system } : {}),
    messages: toWire(request.messages, settings.vision ?? true),
    stream: true,
    // The scale ends at 1 here, at 2 elsewhere.
    ...(temperature === undefined ? {} : { temperature: Math.min(temperature, 1) }),
    ...(request.topP === undefined ? {} : { top_p: request.topP }),
    ...(request.responseFormat?.type === 'schema'
      ? { output_config: { format: { type: 'json_schema', schema: request.responseFormat.schema } } }
      : {}),
    ...(request.stop?.length ? { stop_sequences: request.stop } : {}),
    ...(request.tools?.length
      ? {
          tools: request.tools.map(({ name, description, parameters }) => ({ name, description, input_schema: parameters })),
          ...choiceOf(request),
        }
      : {}),
  })
}

function choiceOf({ toolChoice, parallelToolCalls }: ModelRequest): object {
  if (toolChoice === undefined && parallelToolCalls !== false) return {}
  if (toolChoice === 'none') return { tool_choice: { type: 'none' } }
  const choice =
    typeof toolChoice === 'object' ? { type: 'tool', name: toolChoice.name } : { type: toolChoice === 'required' ? 'any' : 'auto' }
  return { tool_choice: { ...choice, ...(parallelToolCalls === false ? { disable_parallel_tool_use: true } : {}) } }
}

/** What the API refuses is put right here: two messages of one role in a row, an answer in first place, empty text, foreign call ids. */
function toWire(messages: readonly ModelMessage[], vision: boolean): readonly WireMessage[] {
  const idOf = createIdMap()
  const result: WireMessage[] = []
  for (const message of messages) {
    const role = message.role === 'assistant' ? 'assistant' : 'user'
    const blocks = blocksOf(message, vision, idOf)
    if (blocks.length === 0) continue
    if (result.length === 0 && role === 'assistant')
      result.push({ role: 'user', content: [{ type: 'text', text: '(earlier messages are left out)' }] })
    const last = result.at(-1)
    if (last?.role === role) last.content.push(...blocks)
    else result.push({ role, content: blocks })
  }
  const last = result.at(-1)
  if (last?.role === 'assistant') trimEnd(last)
  return result
}

function blocksOf(message: ModelMessage, vision: boolean, idOf: (id: string) => string): Block[] {
  switch (message.role) {
    case 'user':
      return message.content.flatMap((part) => contentOf(part, vision))
    case 'tool':
      return [{ type: 'tool_result', tool_use_id: idOf(message.callId), content: message.text }]
    case 'assistant':
      return [
        ...textOf(message.text),
        ...(message.toolCalls ?? []).map(({ id, name, arguments: text }) => ({
          type: 'tool_use',
          id: idOf(id),
          name,
          input: inputOf(text),
        })),
      ]
  }
}

function contentOf(part: ModelContent, vision: boolean): Block[] {
  if (part.type === 'text') return textOf(part.text)
  if (!vision) return textOf(`[${part.mime}: this model cannot see pictures]`)
  return [{ type: 'image', source: { type: 'base64', media_type: part.mime, data: Buffer.from(part.data).toString('base64') } }]
}

function textOf(text: string): Block[] {
  return text.trim() ? [{ type: 'text', text }] : []
}

/** A closing answer must not end in white space. */
function trimEnd(message: WireMessage): void {
  const last = message.content.at(-1)
  if (typeof last?.text === 'string') message.content[message.content.length - 1] = { ...last, text: last.text.trimEnd() }
}

/** Arguments must be an object; what a model wrote otherwise stays readable for it. */
function inputOf(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // Falls through: not JSON.
  }
  return { invalid_arguments: text }
}

/** Ids of other providers' calls may hold characters that are refused here; the same id always becomes the same one. */
function createIdMap(): (id: string) => string {
  const known = new Map<string, string>()
  const taken = new Set<string>()
  return (id) => {
    const existing = known.get(id)
    if (existing) return existing
    const safe = id.replace(/[^a-zA-Z0-9_-]/g, '_') || 'call'
    let unique = safe
    for (let n = 2; taken.has(unique); n += 1) unique = `${safe}_${n}`
    known.set(id, unique)
    taken.add(unique)
    return unique
  }
}
