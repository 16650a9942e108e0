/** What a caller of the OpenAI-compatible door may ask for, and how models are asked for it. What is asked for is done, or refused by name. */
import { FetchError, type ModelContent, type ModelMessage, type ModelRequest, PosthouseError } from '@posthouse/contract'
import { fileTypeFromBuffer } from 'file-type'
import { z } from 'zod'
import type { GuardedFetch } from '../../ports/guards.ts'

const contentPart = z.union([
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({
    type: z.literal('image_url'),
    image_url: z.object({
      url: z.string().regex(/^(data:image\/(png|jpeg|gif|webp);base64,|https?:)/i, 'a data: or http(s) URL is expected'),
    }),
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
const anObject = z.record(z.string(), z.unknown())
const penalty = z.number().min(-2).max(2).nullish()
const tool = z.object({
  type: z.literal('function'),
  function: z.object({ name: z.string(), description: z.string().optional(), parameters: anObject.optional() }),
})
const choice = z.union([
  z.enum(['auto', 'none', 'required']),
  z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
])
const format = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') }),
  z.object({
    type: z.literal('json_schema'),
    json_schema: z.object({ name: z.string().regex(/^[\w-]{1,64}$/), schema: anObject, strict: z.boolean().nullish() }),
  }),
])
/** What changes the answer and is not handed on here. Clients that send the default, which asks for nothing, are served. */
const refused = { error: 'not supported here' }

export const body = z.object({
  model: z.string().max(200).optional(),
  messages: z.array(message).min(1).max(2000),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: z.number().int().positive().nullish(),
  max_completion_tokens: z.number().int().positive().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  seed: z.number().int().nullish(),
  reasoning_effort: z.string().min(1).max(20).nullish(),
  // `flex`: whenever there is time. All others are served as fast as it goes.
  service_tier: z.string().max(20).nullish(),
  stop: z.union([z.string().min(1).max(200), z.array(z.string().min(1).max(200)).max(16)]).nullish(),
  // One answer each: more of them would be paid for and never seen.
  n: z.literal(1).nullish(),
  tools: z.array(tool).max(128).optional(),
  tool_choice: choice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: format.nullish(),
  logprobs: z.literal(false, refused).nullish(),
  top_logprobs: z.literal(0, refused).nullish(),
  logit_bias: z.strictObject({}, refused).nullish(),
  modalities: z.tuple([z.literal('text', refused)], refused).nullish(),
  audio: z.null(refused).optional(),
  verbosity: z.literal('medium', refused).nullish(),
  web_search_options: z.null(refused).optional(),
  functions: z.null({ error: 'not supported here; use tools' }).optional(),
  function_call: z.null({ error: 'not supported here; use tool_choice' }).optional(),
})
export type Body = z.infer<typeof body>

/** Pictures that a request may name by their address, and the bytes of each. */
const MOST_PICTURES = 10
const MOST_PICTURE = 8 * 1024 * 1024
const PICTURE_TIME = 15_000
const PICTURES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp'])

/** The request as models take it. Pictures are fetched. @throws PosthouseError with the field's name. */
export async function toRequest(asked: Body, fetch: GuardedFetch, signal: AbortSignal): Promise<ModelRequest> {
  const system: string[] = []
  const messages: ModelMessage[] = []
  let pictures = 0
  const countPicture = () => {
    if (++pictures > MOST_PICTURES) throw new PosthouseError('invalid', `messages: at most ${MOST_PICTURES} pictures by their address`)
  }
  for (const entry of asked.messages) {
    if (entry.role === 'system' || entry.role === 'developer') system.push(textIn(entry.content))
    else if (entry.role === 'user') messages.push({ role: 'user', content: await contentsOf(entry.content, fetch, countPicture, signal) })
    else if (entry.role === 'tool') messages.push({ role: 'tool', callId: entry.tool_call_id, text: textIn(entry.content) })
    else {
      const toolCalls = entry.tool_calls?.map((call) => ({ id: call.id, name: call.function.name, arguments: call.function.arguments }))
      messages.push({ role: 'assistant', text: textIn(entry.content ?? ''), ...(toolCalls ? { toolCalls } : {}) })
    }
  }
  if (messages.length === 0) throw new PosthouseError('invalid', 'messages: at least one that is not of the system')
  return withoutUndefined({
    messages,
    system: system.length > 0 ? system.join('\n\n') : undefined,
    tools: toolsOf(asked),
    toolChoice: choiceOf(asked),
    // What the models do anyhow is not worth a word that some of them do not know.
    parallelToolCalls: asked.parallel_tool_calls === false && asked.tools?.length ? false : undefined,
    maxTokens: asked.max_completion_tokens ?? asked.max_tokens ?? undefined,
    temperature: asked.temperature ?? undefined,
    topP: asked.top_p === 1 ? undefined : (asked.top_p ?? undefined),
    presencePenalty: asked.presence_penalty || undefined,
    frequencyPenalty: asked.frequency_penalty || undefined,
    seed: asked.seed ?? undefined,
    reasoningEffort: asked.reasoning_effort ?? undefined,
    stop: typeof asked.stop === 'string' ? [asked.stop] : asked.stop?.length ? asked.stop : undefined,
    responseFormat: formatOf(asked),
  })
}

/** Fields that may be absent, as such. */
function withoutUndefined(
  fields: { [K in keyof ModelRequest]: ModelRequest[K] | undefined } & { messages: readonly ModelMessage[] },
): ModelRequest {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as unknown as ModelRequest
}

function toolsOf({ tools }: Body): ModelRequest['tools'] | undefined {
  return tools?.length
    ? tools.map(({ function: tool }) => ({
        name: tool.name,
        description: tool.description ?? '',
        parameters: tool.parameters ?? { type: 'object' },
      }))
    : undefined
}

function choiceOf({ tool_choice: wanted, tools = [] }: Body): ModelRequest['toolChoice'] | undefined {
  if (!wanted || wanted === 'auto' || (wanted === 'none' && tools.length === 0)) return undefined
  const name = typeof wanted === 'object' ? wanted.function.name : undefined
  if (tools.length === 0 || (name !== undefined && !tools.some((tool) => tool.function.name === name)))
    throw new PosthouseError('invalid', 'tool_choice: there is no such tool in tools')
  return name === undefined ? (wanted as 'none' | 'required') : { name }
}

function formatOf({ response_format: wanted }: Body): ModelRequest['responseFormat'] | undefined {
  if (!wanted || wanted.type === 'text') return undefined
  if (wanted.type === 'json_object') return { type: 'json' }
  const { name, schema, strict } = wanted.json_schema
  return { type: 'schema', name, schema, ...(typeof strict === 'boolean' ? { strict } : {}) }
}

function textIn(value: z.infer<typeof content>): string {
  return typeof value === 'string' ? value : value.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')
}

async function contentsOf(
  value: z.infer<typeof content>,
  fetch: GuardedFetch,
  countPicture: () => void,
  signal: AbortSignal,
): Promise<ModelContent[]> {
  if (typeof value === 'string') return [{ type: 'text', text: value }]
  const contents: ModelContent[] = []
  for (const part of value) {
    if (part.type === 'text') contents.push({ type: 'text', text: part.text })
    else if (part.image_url.url.startsWith('data:')) contents.push(pictureIn(part.image_url.url))
    else {
      countPicture()
      contents.push(await fetchPicture(part.image_url.url, fetch, signal))
    }
  }
  return contents
}

function pictureIn(url: string): ModelContent {
  const comma = url.indexOf(',')
  return { type: 'image', mime: url.slice('data:'.length, url.indexOf(';')), data: Buffer.from(url.slice(comma + 1), 'base64') }
}

/** A picture from an address that a caller named: through the guard, and a picture by its bytes. */
async function fetchPicture(url: string, fetch: GuardedFetch, signal: AbortSignal): Promise<ModelContent> {
  try {
    const answer = await fetch(url, { signal, maxBytes: MOST_PICTURE, timeout: PICTURE_TIME, headers: { accept: 'image/*' } })
    const chunks: Uint8Array[] = []
    for await (const chunk of answer.body) chunks.push(chunk)
    const data = Buffer.concat(chunks)
    const mime = (await fileTypeFromBuffer(data))?.mime
    if (answer.status === 200 && mime && PICTURES.has(mime)) return { type: 'image', mime, data }
  } catch (error) {
    if (!(error instanceof FetchError)) throw error
  }
  throw new PosthouseError('invalid', 'image_url: no picture came from there')
}
