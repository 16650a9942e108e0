/**
 * Anthropic's side: what `/v1/messages` refuses and how it streams.
 *
 * @see https://docs.anthropic.com/en/api/messages
 */
import type { Question, RefusedRequest, Reply } from './script.ts'
import { argumentText, chunksOf, demand, header, isPicture, isRecord, type Json, slices, type Usage, type Wire } from './wire.ts'

const known = new Set(
  `model messages max_tokens system stream temperature top_p top_k stop_sequences tools tool_choice metadata thinking service_tier
  container context_management mcp_servers output_config cache_control inference_geo`.split(/\s+/),
)

const statuses: Readonly<Record<number, readonly [type: string, message: string]>> = {
  400: ['invalid_request_error', 'The request is not valid.'],
  401: ['authentication_error', 'invalid x-api-key'],
  402: ['billing_error', 'There is an issue with your billing or payment information.'],
  403: ['permission_error', 'Your API key does not have permission to use the specified resource.'],
  404: ['not_found_error', 'model not found'],
  413: ['request_too_large', 'Request exceeds the maximum size'],
  429: ['rate_limit_error', 'This request would exceed your rate limit.'],
  500: ['api_error', 'Internal server error'],
  529: ['overloaded_error', 'Overloaded'],
}

export const anthropicWire: Wire = {
  name: 'anthropic',
  keyOf: (headers) => header(headers, 'x-api-key') ?? /^Bearer (.+)$/.exec(header(headers, 'authorization') ?? '')?.[1],
  read,
  refusal: ({ message, type }) => ({ type: 'error', error: { type, message } }),
  forStatus(status, code, message): RefusedRequest {
    const [type, words] = statuses[status] ?? ['api_error', 'Internal server error']
    return { status, type: code ?? type, message: message ?? words }
  },
  frames(id, question, reply, usage) {
    const end = reply.crlf ? '\r\n' : '\n'
    const frame = (type: string, data: Json) => `event: ${type}${end}data: ${JSON.stringify({ type, ...data })}${end}${end}`
    const message = {
      id,
      type: 'message',
      role: 'assistant',
      content: [],
      model: question.model,
      stop_reason: null,
      stop_sequence: null,
      usage: { ...inputOf(usage), output_tokens: 1 },
    }
    const tokens = blocksOf(id, reply).flatMap(({ start, deltas }, index) => [
      ...deltas.map((delta, n) => {
        const opening = n === 0 ? frame('content_block_start', { index, content_block: start }) : ''
        const closing = n === deltas.length - 1 ? frame('content_block_stop', { index }) : ''
        return `${opening}${frame('content_block_delta', { index, delta })}${closing}`
      }),
    ])
    return {
      head: `${frame('message_start', { message: reply.usage === false ? { ...message, usage: {} } : message })}${frame('ping', {})}`,
      tokens: reply.comments ? tokens.map((token) => `: keep-alive${end}${end}${token}`) : tokens,
      tail: [
        frame('message_delta', {
          delta: { stop_reason: finishOf(reply), stop_sequence: null },
          usage: reply.usage === false ? {} : { output_tokens: usage.output },
        }),
        reply.done === false ? '' : frame('message_stop', {}),
      ].join(''),
      error: ({ code, message: words }) => frame('error', { error: { type: code ?? 'overloaded_error', message: words ?? 'Overloaded' } }),
    }
  },
  whole: (id, question, reply, usage) => ({
    id,
    type: 'message',
    role: 'assistant',
    model: question.model,
    content: [
      ...(reply.reasoning ? [{ type: 'thinking', thinking: reply.reasoning, signature: 'sig' }] : []),
      ...(reply.text ? [{ type: 'text', text: reply.text }] : []),
      ...(reply.toolCalls ?? []).map((call, index) => ({
        type: 'tool_use',
        id: call.id ?? `toolu_${id}_${index}`,
        name: call.name,
        input: typeof call.arguments === 'string' ? (JSON.parse(call.arguments) as unknown) : call.arguments,
      })),
    ],
    stop_reason: finishOf(reply),
    stop_sequence: null,
    usage: { ...inputOf(usage), output_tokens: usage.output },
  }),
}

function finishOf(reply: Reply): string {
  const names = { stop: 'end_turn', length: 'max_tokens', 'tool-calls': 'tool_use', refused: 'refusal' } as const
  return names[reply.finish ?? (reply.toolCalls?.length ? 'tool-calls' : 'stop')]
}

/** Cached tokens are counted beside, not within, `input_tokens`. */
function inputOf({ input, cached }: Usage): Json {
  return { input_tokens: input - cached, cache_creation_input_tokens: 0, cache_read_input_tokens: cached }
}

function blocksOf(id: string, reply: Reply): readonly { readonly start: Json; readonly deltas: readonly Json[] }[] {
  const block = (start: Json, deltas: readonly Json[]) => (deltas.length > 0 ? [{ start, deltas }] : [])
  return [
    ...block(
      { type: 'thinking', thinking: '', signature: '' },
      chunksOf(reply.reasoning ?? '', reply).map((thinking) => ({ type: 'thinking_delta', thinking })),
    ),
    ...block(
      { type: 'text', text: '' },
      chunksOf(reply.text ?? '', reply).map((text) => ({ type: 'text_delta', text })),
    ),
    ...(reply.toolCalls ?? []).flatMap((call, index) =>
      block({ type: 'tool_use', id: call.id ?? `toolu_${id}_${index}`, name: call.name, input: {} }, [
        { type: 'input_json_delta', partial_json: '' },
        ...slices(argumentText(call.arguments), 4096).map((text) => ({ type: 'input_json_delta', partial_json: text })),
      ]),
    ),
  ]
}

function read(body: Json, headers: Readonly<Record<string, string | string[] | undefined>>): Question {
  demand(header(headers, 'anthropic-version') !== undefined, 'anthropic-version: header is required')
  for (const name of Object.keys(body)) demand(known.has(name), `${name}: Extra inputs are not permitted`)
  demand(typeof body.model === 'string' && body.model !== '', 'model: Field required')
  demand(body.max_tokens !== undefined, 'max_tokens: Field required')
  demand(Number.isInteger(body.max_tokens) && Number(body.max_tokens) >= 1, 'max_tokens: Input should be greater than or equal to 1')
  const { temperature, stream = false, system } = body
  demand(temperature === undefined || (typeof temperature === 'number' && temperature >= 0 && temperature <= 1), 'temperature: range: 0..1')
  demand(typeof stream === 'boolean', 'stream: Input should be a valid boolean')
  demand(Array.isArray(body.messages), 'messages: Field required')
  demand(body.messages.length > 0, 'messages: at least one message is required')
  const messages = readMessages(body.messages)
  return {
    wire: 'anthropic',
    model: body.model,
    text: messages.findLast(({ role, text }) => role === 'user' && text !== '')?.text ?? '',
    system: system === undefined ? '' : textsOf(system, 'system'),
    messages: messages.map(({ role, text }) => ({ role, text })),
    images: messages.reduce((sum, { images }) => sum + images, 0),
    tools: readTools(body.tools),
    stream,
    body,
  }
}

function readTools(tools: unknown): readonly string[] {
  if (tools === undefined) return []
  demand(Array.isArray(tools), 'tools: Input should be a valid list')
  const names = tools.map((tool: unknown, index) => {
    demand(
      isRecord(tool) && typeof tool.name === 'string' && /^[\w-]{1,128}$/.test(tool.name),
      `tools.${index}.name: String should match pattern`,
    )
    demand(isRecord(tool.input_schema) && tool.input_schema.type === 'object', `tools.${index}.input_schema.type: Field required`)
    return tool.name
  })
  demand(new Set(names).size === names.length, 'tools: Tool names must be unique.')
  return names
}

interface ReadMessage {
  readonly role: string
  readonly text: string
  readonly images: number
}

function readMessages(messages: readonly unknown[]): readonly ReadMessage[] {
  const ids = new Set<string>()
  let pending = new Set<string>()
  const result = messages.map((message, index): ReadMessage => {
    const at = `messages.${index}`
    demand(isRecord(message), `${at}: Input should be an object`)
    const { role, content } = message
    demand(role === 'user' || role === 'assistant', `${at}.role: Input should be 'user' or 'assistant'`)
    demand(index > 0 || role === 'user', 'messages: first message must use the "user" role')
    const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : content
    demand(
      Array.isArray(blocks) && blocks.length > 0,
      `${at}: all messages must have non-empty content except for the optional final assistant message`,
    )
    const called = new Set<string>()
    const texts: string[] = []
    const results: string[] = []
    let images = 0
    for (const [n, block] of (blocks as readonly unknown[]).entries()) {
      demand(isRecord(block), `${at}.content.${n}: Input should be an object`)
      if (block.type === 'text') texts.push(readText(block, `${at}.content.${n}`))
      else if (block.type === 'image' && role === 'user') images += readImage(block, `${at}.content.${n}`)
      else if (block.type === 'tool_use' && role === 'assistant') called.add(readUse(block, ids, `${at}.content.${n}`))
      else if (block.type === 'tool_result' && role === 'user') {
        const id = String(block.tool_use_id)
        demand(pending.delete(id), `${at}.content.${n}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${id}.`)
        results.push(block.content === undefined ? '' : textsOf(block.content, `${at}.content.${n}`))
      } else
        demand(
          block.type === 'thinking' || block.type === 'document',
          `${at}.content.${n}: Input tag '${String(block.type)}' is not expected here`,
        )
    }
    demand(
      pending.size === 0,
      `${at}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${[...pending].join(', ')}.`,
    )
    pending = called
    // A message of results alone is what the other format calls a tool's.
    return results.length > 0 && texts.length === 0
      ? { role: 'tool', text: results.join('\n'), images }
      : { role, text: texts.join('\n'), images }
  })
  const last = result.at(-1)
  demand(
    last?.role !== 'assistant' || last.text === last.text.trimEnd(),
    'messages: final assistant content cannot end with trailing whitespace',
  )
  return result
}

function readText(block: Json, at: string): string {
  demand(typeof block.text === 'string', `${at}.text: Field required`)
  demand(block.text.trim() !== '', 'messages: text content blocks must contain non-whitespace text')
  return block.text
}

function readImage(block: Json, at: string): number {
  const { source } = block
  demand(isRecord(source) && source.type === 'base64', `${at}.source: Field required`)
  demand(isPicture(String(source.media_type), String(source.data)), `${at}.image.source.base64.data: Could not process image`)
  return 1
}

function readUse(block: Json, ids: Set<string>, at: string): string {
  const { id, name, input } = block
  demand(typeof id === 'string' && /^[a-zA-Z0-9_-]+$/.test(id), `${at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'`)
  demand(!ids.has(id), 'messages: `tool_use` ids must be unique')
  demand(typeof name === 'string' && isRecord(input), `${at}.tool_use.input: Input should be a valid dictionary`)
  ids.add(id)
  return id
}

function textsOf(content: unknown, at: string): string {
  if (typeof content === 'string') return content
  demand(Array.isArray(content), `${at}: Input should be a valid string`)
  return (content as readonly unknown[]).map((block) => (isRecord(block) && typeof block.text === 'string' ? block.text : '')).join('\n')
}
