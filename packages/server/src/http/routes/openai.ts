/** The OpenAI-compatible door: any client of that wire format may use the models behind the router. */
import {
  type ErrorCode,
  errorTable,
  isPosthouseError,
  type ModelError,
  type ModelFailure,
  priorities,
  type ToolCall,
} from '@posthouse/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RouterEvent } from '../../ports/models.ts'
import { errorBody } from '../errors.ts'
import { hangUp, openEventStream } from '../event-stream.ts'
import type { Gateway } from '../gateway.ts'
import { type Body, body, toRequest } from './openai-request.ts'
import type { Routes } from './routes.ts'

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
    { config, bodyLimit: LIMIT, attachValidation: true, schema: { summary: 'Chat completions (OpenAI-compatible)', body } },
    async (request, reply) => {
      if (request.validationError) return await refuseField(request, reply)
      const { model: wanted, stream } = request.body
      const known = gateway.models.endpoints.some((endpoint) => endpoint.id === wanted)
      if (wanted && !known && wanted !== 'posthouse')
        return await failed(reply, 404, 'model_not_found', `there is no model "${wanted}"; use "posthouse" or one of /v1/models`)
      const primary = known && wanted ? wanted : await gateway.currentModel()
      const gone = hangUp(reply)
      const { service_tier: tier } = request.body
      const flex = tier === 'flex'
      const about = {
        id: `chatcmpl-${gateway.newId()}`,
        created: Math.floor(gateway.clock.now() / 1000),
        ...(tier ? { service_tier: flex ? 'flex' : 'default' } : {}),
      }
      try {
        const asked = await toRequest(request.body, gateway.guards.fetch, gone)
        const events = gateway.models.stream(asked, { primary, priority: flex ? priorities.background : priorities.interactive }, gone)
        if (stream) await streamed(reply, events, about, primary, request.body)
        else return await reply.send(await whole(events, about, primary))
      } catch (error) {
        if (isPosthouseError(error)) return await refuse(request, reply, error)
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

/** A body that does not fit. Clients of this format show the message alone: it names the field. */
async function refuseField(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const [problem] = (request.validationError as unknown as { validation?: { instancePath: string; message?: string }[] }).validation ?? []
  const param = problem?.instancePath.slice(1).replaceAll('/', '.') || null
  return await refuse(request, reply, { code: 'invalid', detail: `${param ?? 'body'}: ${problem?.message ?? 'not valid'}`.slice(0, 500) })
}

async function refuse(
  request: FastifyRequest,
  reply: FastifyReply,
  { code, detail }: { readonly code: ErrorCode; readonly detail: string | undefined },
): Promise<FastifyReply> {
  const { error } = errorBody(code, request, detail)
  const param = /^[\w.]+(?=: )/.exec(detail ?? '')?.[0] ?? null
  const message = detail ? `${detail}. ${error.message}` : error.message
  return await reply.code(errorTable[code].status).send({ error: { ...error, message, type: 'invalid_request_error', param } })
}

interface About {
  readonly id: string
  readonly created: number
  readonly service_tier?: string
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
