/**
 * OpenAI's side: what `/v1/chat/completions` refuses and how it streams.
 *
 * @see https://platform.openai.com/docs/api-reference/chat
 */
import type { Question, RefusedRequest, Reply } from './script.ts'
import { argumentText, chunksOf, demand, header, isPicture, isRecord, type Json, slices, type Usage, type Wire } from './wire.ts'

const known = new Set(
  `model messages stream stream_options max_tokens max_completion_tokens temperature top_p n stop presence_penalty frequency_penalty
  logit_bias user seed tools tool_choice parallel_tool_calls response_format logprobs top_logprobs metadata store reasoning_effort
  service_tier modalities audio prediction web_search_options verbosity safety_identifier prompt_cache_key functions function_call`.split(
    /\s+/,
  ),
)

const statuses: Readonly<Record<number, readonly [type: string, code: string | undefined, message: string]>> = {
  400: ['invalid_request_error', undefined, 'The request is not valid.'],
  401: ['invalid_request_error', 'invalid_api_key', 'Incorrect API key provided.'],
  402: ['invalid_request_error', 'insufficient_balance', 'Insufficient Balance'],
  403: ['invalid_request_error', 'unsupported_country_region_territory', 'Country, region, or territory not supported'],
  404: ['invalid_request_error', 'model_not_found', 'The model does not exist or you do not have access to it.'],
  413: ['invalid_request_error', 'request_too_large', 'The request body is too large.'],
  429: ['requests', 'rate_limit_exceeded', 'Rate limit reached for requests per minute.'],
  500: ['server_error', undefined, 'The server had an error while processing your request.'],
  503: ['server_error', undefined, 'The engine is currently overloaded, please try again later.'],
}

export const openaiWire: Wire = {
  name: 'openai',
  keyOf: (headers) => /^Bearer (.+)$/.exec(header(headers, 'authorization') ?? '')?.[1],
  read,
  refusal: ({ message, type, code, param }) => ({ error: { message, type, param: param ?? null, code: code ?? null } }),
  forStatus(status, code, message): RefusedRequest {
    const [type, usual, words] = statuses[status] ?? ['server_error', undefined, 'The server had an error.']
    const given = code ?? usual
    return { status, type, message: message ?? words, ...(given === undefined ? {} : { code: given }) }
  },
  frames(id, question, reply, usage) {
    const end = reply.crlf ? '\r\n\r\n' : '\n\n'
    const start = `data: {"id":"${id}","object":"chat.completion.chunk","created":${seconds()},"model":${JSON.stringify(question.model)},"choices":[`
    const frame = (delta: string, finish = 'null') =>
      `${start}{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}]}${end}`
    const tokens = [
      ...chunksOf(reply.reasoning ?? '', reply).map((text) => frame(`{"reasoning_content":${JSON.stringify(text)}}`)),
      ...chunksOf(reply.text ?? '', reply).map((text) => frame(`{"content":${JSON.stringify(text)}}`)),
      ...callFrames(reply, id).map((part) => frame(`{"tool_calls":[${JSON.stringify(part)}]}`)),
    ]
    const wanted = isRecord(question.body.stream_options) && question.body.stream_options.include_usage === true && reply.usage !== false
    return {
      head: reply.role === false ? '' : frame('{"role":"assistant","content":""}'),
      tokens: reply.comments ? tokens.flatMap((token) => `: keep-alive${end}${token}`) : tokens,
      tail: [
        frame('{}', JSON.stringify(finishOf(reply))),
        wanted ? `${start.slice(0, -'"choices":['.length)}"choices":[],"usage":${JSON.stringify(usageOf(usage))}}${end}` : '',
        reply.done === false ? '' : `data: [DONE]${end}`,
      ].join(''),
      error: ({ code, message }) =>
        `data: ${JSON.stringify({ error: { message: message ?? 'The server had an error.', type: 'server_error', code: code ?? null } })}${end}`,
    }
  },
  whole(id, question, reply, usage) {
    const toolCalls = (reply.toolCalls ?? []).map((call, index) => ({
      id: call.id ?? `${id}-call-${index}`,
      type: 'function',
      function: { name: call.name, arguments: argumentText(call.arguments) },
    }))
    const message = {
      role: 'assistant',
      content: reply.text ?? null,
      refusal: null,
      ...(reply.reasoning ? { reasoning_content: reply.reasoning } : {}),
      ...(toolCalls.length > 0 ? { tool_calls: toolCalls } : {}),
    }
    return {
      id,
      object: 'chat.completion',
      created: seconds(),
      model: question.model,
      choices: [{ index: 0, message, logprobs: null, finish_reason: finishOf(reply) }],
      ...(reply.usage === false ? {} : { usage: usageOf(usage) }),
    }
  },
}

function seconds(): number {
  return Math.floor(Date.now() / 1000)
}

function finishOf(reply: Reply): string {
  const names = { stop: 'stop', length: 'length', 'tool-calls': 'tool_calls', refused: 'content_filter' } as const
  return names[reply.finish ?? (reply.toolCalls?.length ? 'tool-calls' : 'stop')]
}

function usageOf({ input, output, cached }: Usage): Json {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
  }
}

/** Calls in parts; the parts of several calls alternate, as parallel calls may. */
function callFrames(reply: Reply, id: string): readonly Json[] {
  const parts = (reply.toolCalls ?? []).map((call, index) => [
    { index, id: call.id ?? `${id}-call-${index}`, type: 'function', function: { name: call.name, arguments: '' } },
    ...slices(argumentText(call.arguments), 4096).flatMap((text) => {
      const middle = Math.ceil(text.length / 2)
      return [text.slice(0, middle), text.slice(middle)].map((half) => ({ index, function: { arguments: half } }))
    }),
  ])
  const longest = Math.max(0, ...parts.map((list) => list.length))
  return Array.from({ length: longest }, (_, n) => parts.flatMap((list) => list.slice(n, n + 1))).flat()
}

function read(body: Json): Question {
  for (const name of Object.keys(body)) demand(known.has(name), `Unrecognized request argument supplied: ${name}`)
  demand(typeof body.model === 'string' && body.model !== '', 'you must provide a model parameter', { param: 'model' })
  demand(Array.isArray(body.messages), "Missing required parameter: 'messages'.", { param: 'messages' })
  demand(body.messages.length > 0, "Invalid 'messages': empty array. Expected an array with minimum length 1.", { param: 'messages' })
  for (const name of ['max_tokens', 'max_completion_tokens'] as const) {
    const value = body[name]
    demand(value === undefined || value === null || (Number.isInteger(value) && Number(value) >= 1), `Invalid '${name}'.`, { param: name })
  }
  const { temperature, stream = false } = body
  demand(
    temperature === undefined || temperature === null || (typeof temperature === 'number' && temperature >= 0 && temperature <= 2),
    "Invalid 'temperature': expected a number from 0 to 2.",
    { param: 'temperature' },
  )
  demand(typeof stream === 'boolean', "Invalid type for 'stream'.", { param: 'stream' })
  demand(body.stream_options === undefined || stream, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", {
    param: 'stream_options',
  })
  const tools = readTools(body.tools)
  const messages = readMessages(body.messages)
  return {
    wire: 'openai',
    model: body.model,
    text: messages.findLast(({ role }) => role === 'user')?.text ?? '',
    system: messages
      .filter(({ role }) => role === 'system' || role === 'developer')
      .map(({ text }) => text)
      .join('\n'),
    messages: messages.filter(({ role }) => role !== 'system' && role !== 'developer').map(({ role, text }) => ({ role, text })),
    images: messages.reduce((sum, { images }) => sum + images, 0),
    tools,
    stream,
    body,
  }
}

function readTools(tools: unknown): readonly string[] {
  if (tools === undefined) return []
  demand(Array.isArray(tools) && tools.length > 0, "Invalid 'tools': empty array. Expected an array with minimum length 1.", {
    param: 'tools',
  })
  return tools.map((tool: unknown, index) => {
    const at = `tools[${index}].function`
    demand(isRecord(tool) && tool.type === 'function' && isRecord(tool.function), `Missing required parameter: '${at}'.`, { param: at })
    const { name, parameters } = tool.function
    demand(typeof name === 'string' && /^[\w-]{1,64}$/.test(name), `Invalid '${at}.name'.`, { param: `${at}.name` })
    demand(parameters === undefined || isRecord(parameters), `Invalid schema for function '${name}'.`, { param: `${at}.parameters` })
    return name
  })
}

interface ReadMessage {
  readonly role: string
  readonly text: string
  readonly images: number
}

function readMessages(messages: readonly unknown[]): readonly ReadMessage[] {
  let pending = new Set<string>()
  const result = messages.map((message, index): ReadMessage => {
    const param = `messages.[${index}]`
    demand(isRecord(message), `Invalid '${param}'.`, { param })
    const { role, content } = message
    demand(
      typeof role === 'string' && ['system', 'developer', 'user', 'assistant', 'tool'].includes(role),
      `Invalid value: '${String(role)}'. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'.`,
      { param: `${param}.role` },
    )
    if (role === 'tool') {
      const id = message.tool_call_id
      demand(
        typeof id === 'string' && pending.delete(id),
        "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
        {
          param: `${param}.role`,
        },
      )
    } else {
      demandAnswered(pending, param)
      pending = readCalls(message.tool_calls, param)
    }
    demand(content !== undefined && (content !== null || pending.size > 0), `Invalid value for 'content': expected a string, got null.`, {
      param: `${param}.content`,
    })
    return { role, ...readContent(content, `${param}.content`) }
  })
  demandAnswered(pending, 'messages')
  return result
}

function demandAnswered(pending: ReadonlySet<string>, param: string): void {
  demand(
    pending.size === 0,
    `An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. Missing: ${[...pending].join(', ')}`,
    { param },
  )
}

function readCalls(calls: unknown, param: string): Set<string> {
  const ids = new Set<string>()
  if (calls === undefined || calls === null) return ids
  demand(Array.isArray(calls) && calls.length > 0, `Invalid '${param}.tool_calls': empty array.`, { param })
  for (const call of calls as readonly unknown[]) {
    demand(isRecord(call) && typeof call.id === 'string' && isRecord(call.function), `Invalid '${param}.tool_calls'.`, { param })
    demand(typeof call.function.name === 'string' && typeof call.function.arguments === 'string', `Invalid '${param}.tool_calls'.`, {
      param,
    })
    demand(!ids.has(call.id), `Duplicate value for 'tool_call_id' of '${call.id}'.`, { param })
    ids.add(call.id)
  }
  return ids
}

function readContent(content: unknown, param: string): { readonly text: string; readonly images: number } {
  if (content === null) return { text: '', images: 0 }
  if (typeof content === 'string') return { text: content, images: 0 }
  demand(Array.isArray(content) && content.length > 0, `Invalid '${param}': expected a string or an array of content parts.`, { param })
  const texts: string[] = []
  let images = 0
  for (const part of content as readonly unknown[]) {
    demand(isRecord(part), `Invalid '${param}'.`, { param })
    if (part.type === 'text') {
      demand(typeof part.text === 'string', `Missing required parameter: '${param}.text'.`, { param })
      texts.push(part.text)
    } else {
      demand(part.type === 'image_url' && isRecord(part.image_url), `Invalid value: '${String(part.type)}'.`, { param })
      const match = /^data:([\w/+.-]+);base64,(.*)$/s.exec(String(part.image_url.url))
      demand(match !== null && isPicture(match[1] ?? '', match[2] ?? ''), 'You uploaded an unsupported image.', {
        param,
        code: 'invalid_image_format',
      })
      images += 1
    }
  }
  return { text: texts.join('\n'), images }
}
