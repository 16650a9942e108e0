/** The OpenAI-compatible door: any client of that wire format may use the models behind the router. */
import {
  type ModelContent,
  type ModelError,
  type ModelFailure,
  type ModelMessage,
  type ModelRequest,
  PosthouseError,
  type ToolCall,
} from '@posthouse/contract'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { RouterEvent } from '../../ports/models.ts'
import { hangUp, openEventStream } from '../event-stream.ts'
import type { Gateway } from '../gateway.ts'
import type { Routes } from './routes.ts'

const contentPart = z.union([
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({
    type: z.literal('image_url'),
    image_url: z.object({ url: z.string().regex(/^data:image\/(png|jpeg|gif|webp);base64,/, 'only data: URLs') }),
  }),
])
const content = z.union([z.string(), z.array(contentPart).max(100)])
const toolCall = z.object({ id: z.string(), type: z.literal('function'), function: z.object({ name: z.string(), arguments: z.string() }) })
const message = z.union([
  z.object({ role: z.literal('system'), content }),
  z.object({ role: z.literal('developer'), content }),
  z.object({ role: z.literal('user'), content }),
  z.object({ role: z.literal('assistant'), content: content.nullish(), tool_calls: z.array(toolCall).optional() }),
  z.object({ role: z.literal('tool'), tool_call_id: z.string(), content }),
])
const body = z.object({
  model: z.string().max(200).optional(),
  messages: z.array(message).min(1).max(2000),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: z.number().int().positive().nullish(),
  max_completion_tokens: z.number().int().positive().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  // One answer each: more of them would be paid for and never seen.
  n: z.literal(1).nullish(),
  tools: z
    .array(
      z.object({
        type: z.literal('function'),
        function: z.object({
          name: z.string(),
          description: z.string().optional(),
          parameters: z.record(z.string(), z.unknown()).optional(),
        }),
      }),
    )
    .max(128)
    .optional(),
})
type Body = z.infer<typeof body>

const LIMIT = 20 * 1024 * 1024
const statusOf: Partial<Record<ModelFailure, number>> = {
  'rate-limited': 429,
  timeout: 504,
  invalid: 400,
  'too-long': 400,
  'not-found': 404,
}

export function openAiRoutes(routes: Routes, gateway: Gateway): void {
  const config = { policy: 'login' as const }

  routes.get('/v1/models', { config, schema: { summary: 'Models (OpenAI-compatible)' } }, async () => ({
    object: 'list',
    data: gateway.models.endpoints.map((endpoint) => ({ id: endpoint.id, object: 'model', created: 0, owned_by: endpoint.provider })),
  }))

  routes.post(
    '/v1/chat/completions',
    { config, bodyLimit: LIMIT, schema: { summary: 'Chat completions (OpenAI-compatible)', body } },
    async (request, reply) => {
      const { model: wanted, stream } = request.body
      const known = gateway.models.endpoints.some((endpoint) => endpoint.id === wanted)
      if (wanted && !known && wanted !== 'posthouse')
        return await failed(reply, 404, 'model_not_found', `there is no model "${wanted}"; use "posthouse" or one of /v1/models`)
      const primary = known && wanted ? wanted : await gateway.currentModel()
      const gone = hangUp(reply)
      const events = gateway.models.stream(toRequest(request.body), { primary, priority: 'interactive' }, gone)
      const about = { id: `chatcmpl-${gateway.newId()}`, created: Math.floor(gateway.clock.now() / 1000) }
      try {
        if (stream) await streamed(reply, events, about, primary, request.body)
        else return await reply.send(await whole(events, about, primary))
      } catch (error) {
        if (!(error instanceof Error) || error.name !== 'ModelError') throw error
        const { kind, message: detail, retryAfter } = error as ModelError
        if (kind === 'cancelled') return reply
        if (retryAfter !== undefined) reply.header('retry-after', Math.ceil(retryAfter / 1000))
        return await failed(reply, statusOf[kind] ?? 502, kind, detail)
      }
    },
  )
}

async function failed(reply: FastifyReply, status: number, code: string, text: string): Promise<FastifyReply> {
  return await reply
    .code(status)
    .send({ error: { message: text, type: status < 500 ? 'invalid_request_error' : 'server_error', code, param: null } })
}

interface About {
  readonly id: string
  readonly created: number
}

interface Finished {
  text: string
  calls: ToolCall[]
  model: string
  usage: { inputTokens: number; outputTokens: number }
  reason: string
}

const reasons = { stop: 'stop', length: 'length', 'tool-calls': 'tool_calls', refused: 'content_filter' } as const

function collect(into: Finished, event: RouterEvent): void {
  if (event.type === 'text') into.text += event.text
  else if (event.type === 'tool-call') into.calls.push(event.call)
  else if (event.type === 'using') into.model = event.model
  else if (event.type === 'usage') into.usage = event.usage
  else if (event.type === 'end') into.reason = reasons[event.reason]
}

const viewUsage = ({ inputTokens, outputTokens }: Finished['usage']) => ({
  prompt_tokens: inputTokens,
  completion_tokens: outputTokens,
  total_tokens: inputTokens + outputTokens,
})
const viewCall = (call: ToolCall, index: number) => ({
  index,
  id: call.id,
  type: 'function',
  function: { name: call.name, arguments: call.arguments },
})

async function whole(events: AsyncIterable<RouterEvent>, about: About, primary: string) {
  const done: Finished = { text: '', calls: [], model: primary, usage: { inputTokens: 0, outputTokens: 0 }, reason: 'stop' }
  for await (const event of events) collect(done, event)
  const calls = done.calls.map((call, index) => viewCall(call, index))
  return {
    ...about,
    object: 'chat.completion',
    model: done.model,
    choices: [
      {
        index: 0,
        finish_reason: done.reason,
        logprobs: null,
        message: { role: 'assistant', content: done.text || null, refusal: null, ...(calls.length > 0 ? { tool_calls: calls } : {}) },
      },
    ],
    usage: viewUsage(done.usage),
  }
}

/** The first event decides between a stream and an error with a status. */
async function streamed(
  reply: FastifyReply,
  events: AsyncIterable<RouterEvent>,
  about: About,
  primary: string,
  asked: Body,
): Promise<void> {
  const done: Finished = { text: '', calls: [], model: primary, usage: { inputTokens: 0, outputTokens: 0 }, reason: 'stop' }
  const iterator = events[Symbol.asyncIterator]()
  let next = await iterator.next()
  while (!next.done && next.value.type === 'using') {
    collect(done, next.value)
    next = await iterator.next()
  }
  const stream = openEventStream(reply)
  const chunk = (delta: object, finish: string | null = null) =>
    stream.data(
      JSON.stringify({
        ...about,
        object: 'chat.completion.chunk',
        model: done.model,
        choices: [{ index: 0, delta, finish_reason: finish }],
      }),
    )
  try {
    chunk({ role: 'assistant', content: '' })
    for (; !next.done; next = await iterator.next()) {
      const event = next.value
      collect(done, event)
      if (event.type === 'text') chunk({ content: event.text })
      else if (event.type === 'reasoning') chunk({ reasoning_content: event.text })
      else if (event.type === 'tool-call') chunk({ tool_calls: [viewCall(event.call, done.calls.length - 1)] })
    }
    chunk({}, done.reason)
    if (asked.stream_options?.include_usage) {
      stream.data(
        JSON.stringify({ ...about, object: 'chat.completion.chunk', model: done.model, choices: [], usage: viewUsage(done.usage) }),
      )
    }
    stream.data('[DONE]')
  } catch (error) {
    const detail = error instanceof Error && error.name === 'ModelError' ? error.message : 'the answer broke off'
    stream.data(JSON.stringify({ error: { message: detail, type: 'server_error', code: 'model_failed', param: null } }))
  } finally {
    stream.end()
  }
}

function toRequest(asked: Body): ModelRequest {
  const system: string[] = []
  const messages: ModelMessage[] = []
  for (const entry of asked.messages) {
    if (entry.role === 'system' || entry.role === 'developer') system.push(textIn(entry.content))
    else if (entry.role === 'user') messages.push({ role: 'user', content: contentsOf(entry.content) })
    else if (entry.role === 'tool') messages.push({ role: 'tool', callId: entry.tool_call_id, text: textIn(entry.content) })
    else {
      const toolCalls = entry.tool_calls?.map((call) => ({ id: call.id, name: call.function.name, arguments: call.function.arguments }))
      messages.push({ role: 'assistant', text: textIn(entry.content ?? ''), ...(toolCalls ? { toolCalls } : {}) })
    }
  }
  if (messages.length === 0) throw new PosthouseError('invalid', 'messages: at least one that is not of the system')
  const maxTokens = asked.max_completion_tokens ?? asked.max_tokens
  return {
    messages,
    ...(system.length > 0 ? { system: system.join('\n\n') } : {}),
    ...(maxTokens ? { maxTokens } : {}),
    ...(typeof asked.temperature === 'number' ? { temperature: asked.temperature } : {}),
    ...(asked.tools?.length
      ? {
          tools: asked.tools.map(({ function: tool }) => ({
            name: tool.name,
            description: tool.description ?? '',
            parameters: tool.parameters ?? { type: 'object' },
          })),
        }
      : {}),
  }
}

function textIn(value: z.infer<typeof content>): string {
  return typeof value === 'string' ? value : value.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')
}

function contentsOf(value: z.infer<typeof content>): ModelContent[] {
  if (typeof value === 'string') return [{ type: 'text', text: value }]
  return value.map((part): ModelContent => {
    if (part.type === 'text') return { type: 'text', text: part.text }
    const { url } = part.image_url
    const comma = url.indexOf(',')
    return { type: 'image', mime: url.slice('data:'.length, url.indexOf(';')), data: Buffer.from(url.slice(comma + 1), 'base64') }
  })
}
