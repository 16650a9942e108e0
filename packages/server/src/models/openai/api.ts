/** Requests of the chat completions format, and the forms in which a provider may want them instead. */
import { type ModelContent, ModelError, type ModelMessage, type ModelRequest } from '@posthouse/contract'
import { endpoint, type WireSettings } from '../wire/settings.ts'

export interface OpenAiSettings extends WireSettings {
  readonly organization?: string
  /** Texts per embeddings request. */
  readonly embedding_batch?: number
}

export const DEFAULT_URL = 'https://api.openai.com/v1'

export function urlOf(settings: OpenAiSettings, path: string): string {
  return endpoint(settings.base_url ?? DEFAULT_URL, path, /\/(chat\/completions|embeddings|models)$/)
}

export function headersOf(settings: OpenAiSettings): Readonly<Record<string, string>> {
  const key = settings.api_key?.trim()
  return {
    'content-type': 'application/json',
    accept: 'text/event-stream, application/json',
    ...(key ? { authorization: `Bearer ${key}` } : {}),
    ...(settings.organization ? { 'openai-organization': settings.organization } : {}),
    ...lower(settings.headers ?? {}),
  }
}

function lower(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

/** What this endpoint refuses; learned from its refusals and kept as long as the model. */
export interface Dialect {
  streamOptions: boolean
  /** Reasoning models of OpenAI refuse `max_tokens` and ask for `max_completion_tokens`, older servers know only the first. */
  limit: 'max_tokens' | 'max_completion_tokens'
  temperature: boolean
  tools: boolean
}

export const firstDialect = (): Dialect => ({ streamOptions: true, limit: 'max_tokens', temperature: true, tools: true })

/** As Ollama, vLLM, OpenRouter and OpenAI say it: of the model as a whole, not of one tool's schema. */
const NO_TOOLS =
  /not support (tools?|tool (use|calls|calling)|function calling)\b|\btools?( use| calls| calling)?'? (is|are) not supported|endpoints found that support tool use|enable-auto-tool-choice/i

/** Takes from a refusal what must be put another way; answers whether asking again makes sense. */
export function learn(dialect: Dialect, error: ModelError): boolean {
  // Small models, and servers without a parser for calls: an answer is worth more than tools.
  if (dialect.tools && (error.kind === 'invalid' || error.kind === 'not-found') && NO_TOOLS.test(error.message)) {
    dialect.tools = false
    return true
  }
  if (error.kind !== 'invalid') return false
  const { message } = error
  if (dialect.streamOptions && /stream_options|include_usage/.test(message)) {
    dialect.streamOptions = false
    return true
  }
  if (dialect.limit === 'max_tokens' && /max_completion_tokens/.test(message)) {
    dialect.limit = 'max_completion_tokens'
    return true
  }
  if (dialect.temperature && /temperature/.test(message) && /support/i.test(message)) {
    dialect.temperature = false
    return true
  }
  return false
}

/** An endpoint without tools may answer as it likes or with none; what was demanded it cannot do. */
function withoutToolWishes({ toolChoice, parallelToolCalls: _, ...request }: ModelRequest): ModelRequest {
  if (toolChoice !== undefined && toolChoice !== 'none') throw new ModelError('invalid', 'tool_choice: this endpoint has no tools')
  return request
}

/** What has the same form here; undefined leaves it out. */
function wishesOf(request: ModelRequest) {
  const { toolChoice, responseFormat } = request
  return {
    top_p: request.topP,
    presence_penalty: request.presencePenalty,
    frequency_penalty: request.frequencyPenalty,
    seed: request.seed,
    reasoning_effort: request.reasoningEffort,
    stop: request.stop,
    response_format:
      responseFormat?.type === 'schema'
        ? { type: 'json_schema', json_schema: { name: responseFormat.name, schema: responseFormat.schema, strict: responseFormat.strict } }
        : responseFormat && { type: 'json_object' },
    tool_choice: typeof toolChoice === 'object' ? { type: 'function', function: { name: toolChoice.name } } : toolChoice,
    parallel_tool_calls: request.parallelToolCalls,
  }
}

export function chatBody(settings: OpenAiSettings, request: ModelRequest, dialect: Dialect): string {
  const maxTokens = request.maxTokens ?? settings.max_tokens
  const temperature = dialect.temperature ? (request.temperature ?? settings.temperature) : undefined
  const rest = JSON.stringify({
    model: settings.model,
    stream: true,
    ...(dialect.streamOptions ? { stream_options: { include_usage: true } } : {}),
    ...(maxTokens === undefined ? {} : { [dialect.limit]: maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...wishesOf(dialect.tools ? request : withoutToolWishes(request)),
    ...(dialect.tools && request.tools?.length
      ? {
          tools: request.tools.map(({ name, description, parameters }) => ({
            type: 'function',
            function: { name, description, parameters },
          })),
        }
      : {}),
  })
  let messages = request.system ? JSON.stringify({ role: 'system', content: request.system }) : ''
  for (const message of request.messages) {
    messages += messages === '' ? '' : ','
    messages += write(message, settings.vision ?? false)
  }
  return `${rest.slice(0, -1)},"messages":[${messages}]}`
}

/** What was written of messages that hold text alone: a conversation shows the same ones with every question. */
const written = new WeakMap<ModelMessage, string>()

function write(message: ModelMessage, vision: boolean): string {
  const known = written.get(message)
  if (known !== undefined) return known
  const json = JSON.stringify(toWire(message, vision))
  if (message.role !== 'user' || message.content.every((part) => part.type === 'text')) written.set(message, json)
  return json
}

function toWire(message: ModelMessage, vision: boolean): unknown {
  switch (message.role) {
    case 'user':
      return { role: 'user', content: contentOf(message.content, vision) }
    case 'tool':
      return { role: 'tool', tool_call_id: message.callId, content: message.text }
    case 'assistant':
      return {
        role: 'assistant',
        content: message.text || (message.toolCalls?.length ? null : ''),
        ...(message.toolCalls?.length
          ? {
              tool_calls: message.toolCalls.map(({ id, name, arguments: text }) => ({
                id,
                type: 'function',
                function: { name, arguments: text },
              })),
            }
          : {}),
      }
  }
}

/** Text alone goes as a string: some servers know nothing else. A picture that the model can't see is named, not dropped. */
function contentOf(content: readonly ModelContent[], vision: boolean): unknown {
  if (!vision || content.every((part) => part.type === 'text')) {
    return content.map((part) => (part.type === 'text' ? part.text : `[${part.mime}: this model cannot see pictures]`)).join('\n')
  }
  return content.map((part) =>
    part.type === 'text'
      ? { type: 'text', text: part.text }
      : { type: 'image_url', image_url: { url: `data:${part.mime};base64,${Buffer.from(part.data).toString('base64')}` } },
  )
}
