/** The OpenAI-compatible door, through the official client. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import OpenAI from 'openai'
import { type Gateway, refusal, startGateway } from './gateway.ts'

let gateway: Gateway
let client: OpenAI
const clientFor = (apiKey: string) => new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 })
before(async () => {
  gateway = await startGateway()
  client = clientFor(gateway.admin.token)
})
after(() => gateway[Symbol.asyncDispose]())

const user = (content: string) => [{ role: 'user' as const, content }]
const tools = [
  {
    type: 'function' as const,
    function: { name: 'weather', description: 'The weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
  },
]

describe('the official client', () => {
  it('lists models', async () => {
    const { data } = await client.models.list()
    assert.deepEqual(
      data.map(({ id }) => id),
      ['main'],
    )
  })

  it('gets a whole answer with its usage', async () => {
    const { choices, usage, model, id } = await client.chat.completions.create({
      model: 'posthouse',
      messages: [{ role: 'system', content: 'Be brief.' }, ...user('hello')],
      max_tokens: 100,
      temperature: 0.5,
    })
    assert.equal(choices[0]?.message.content, 'You said: hello')
    assert.equal(choices[0]?.finish_reason, 'stop')
    assert.equal(model, 'main')
    assert.match(id, /^chatcmpl-/)
    assert.ok(usage && usage.total_tokens === usage.prompt_tokens + usage.completion_tokens && usage.completion_tokens > 0)
    const call = gateway.model.calls.find(({ question }) => question?.text === 'hello')
    assert.equal(call?.question?.system, 'Be brief.')
    assert.equal(call?.question?.body.temperature, 0.5)
  })

  it('gets an answer as it grows, and its usage at the end', async () => {
    gateway.model.setPace({ chunks: 8, interval: 2 })
    const stream = await client.chat.completions.create({
      model: 'main',
      messages: user('stream this please'),
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of stream) chunks.push(chunk)
    assert.equal(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join(''), 'You said: stream this please')
    assert.ok(chunks.length > 5)
    assert.equal(chunks[0]?.choices[0]?.delta.role, 'assistant')
    assert.ok((chunks.at(-1)?.usage?.completion_tokens ?? 0) > 0)
    assert.equal(chunks.at(-2)?.choices[0]?.finish_reason, 'stop')
    assert.equal(new Set(chunks.map(({ id }) => id)).size, 1)
    gateway.model.setPace({})
  })

  it('gets tool calls, whole and streamed, and gives back their results', async () => {
    gateway.model.reply(({ messages }) =>
      messages.at(-1)?.role === 'tool'
        ? `It is ${messages.at(-1)?.text}.`
        : { toolCalls: [{ id: 'call_1', name: 'weather', arguments: { city: '北京' } }] },
    )
    const first = await client.chat.completions.create({ model: 'main', messages: user('weather?'), tools })
    const said = first.choices[0]?.message
    assert.equal(first.choices[0]?.finish_reason, 'tool_calls')
    const [call] = said?.tool_calls ?? []
    assert.ok(call?.type === 'function')
    assert.deepEqual([call.id, call.function.name, JSON.parse(call.function.arguments)], ['call_1', 'weather', { city: '北京' }])
    const second = await client.chat.completions.create({
      model: 'main',
      tools,
      messages: [
        ...user('weather?'),
        said as OpenAI.ChatCompletionMessageParam,
        { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
      ],
    })
    assert.equal(second.choices[0]?.message.content, 'It is sunny.')
    const streamed = client.chat.completions.stream({ model: 'main', messages: user('weather?'), tools })
    const whole = await streamed.finalChatCompletion()
    const [late] = whole.choices[0]?.message.tool_calls ?? []
    assert.deepEqual(late?.type === 'function' && JSON.parse(late.function.arguments), { city: '北京' })
    gateway.model.reply(({ text }) => `You said: ${text}`)
  })

  it('gets errors as its own classes', async () => {
    const ask = (with_ = client, change: object = {}) =>
      with_.chat.completions.create({ model: 'main', messages: user('error?'), ...change } as OpenAI.ChatCompletionCreateParamsNonStreaming)
    await assert.rejects(ask(clientFor('nonsense')), OpenAI.AuthenticationError)
    const metrics = await gateway.token(gateway.admin.id, ['metrics'])
    await assert.rejects(ask(clientFor(metrics.token)), OpenAI.PermissionDeniedError)
    await assert.rejects(ask(client, { model: 'gpt-unknown' }), OpenAI.NotFoundError)
    await assert.rejects(ask(client, { messages: [] }), OpenAI.BadRequestError)
    await assert.rejects(ask(client, { temperature: 9 }), OpenAI.BadRequestError)
  })

  it('gets a failure in mid-stream as an error, not as an end', async () => {
    gateway.model.setPace({ chunks: 10, interval: 2 })
    gateway.model.failNext({ kind: 'error-event', after: 3, times: 5 })
    const stream = await client.chat.completions.create({ model: 'main', messages: user('breaks in the middle'), stream: true })
    await assert.rejects(async () => {
      for await (const _chunk of stream);
    }, OpenAI.APIError)
    gateway.model.heal()
    gateway.model.setPace({})
  })

  it('hangs up, and the provider is hung up on', async () => {
    gateway.model.setPace({ chunks: 500, interval: 20 })
    const long = `long ${'word '.repeat(500)}`
    const stream = await client.chat.completions.create({ model: 'main', messages: user(long), stream: true })
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
    const left = Date.now()
    const call = await gateway.model.waitForCall(({ question, ended }) => question?.text === long && ended !== undefined)
    assert.equal(call.ended?.how, 'client-closed')
    assert.ok((call.ended?.at ?? 0) - left < 300)
    const abort = new AbortController()
    const whole = client.chat.completions.create({ model: 'main', messages: user(`whole ${long}`) }, { signal: abort.signal })
    await gateway.model.waitForCall(({ question }) => question?.text === `whole ${long}`)
    abort.abort()
    await assert.rejects(whole)
    const second = await gateway.model.waitForCall(({ question, ended }) => question?.text === `whole ${long}` && ended !== undefined)
    assert.equal(second.ended?.how, 'client-closed')
    gateway.model.setPace({})
  })

  it('is told how long to wait when the provider asks for it', async () => {
    gateway.model.failNext({ kind: 'status', status: 429, message: 'slow down', retryAfter: 7, times: 5 })
    const limited = client.chat.completions.create({ model: 'main', messages: user('too fast') })
    await assert.rejects(limited, (error) => error instanceof OpenAI.RateLimitError && Number(error.headers?.get('retry-after')) > 0)
    gateway.model.heal()
  })
})

describe('what the client would not send', () => {
  const send = (json: unknown) => gateway.call('/v1/chat/completions', { token: gateway.admin.token, json })
  const deep = (depth: number) => JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)

  it('is refused', async () => {
    const cases: readonly [string, unknown][] = [
      ['no messages', { model: 'main' }],
      ['several answers', { model: 'main', messages: user('x'), n: 2 }],
      [
        'a picture from the net',
        { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://127.0.0.1/a.png' } }] }] },
      ],
      ['only the system', { messages: [{ role: 'system', content: 'x' }] }],
      ['too deep parameters', { messages: user('x'), tools: [{ type: 'function', function: { name: 'f', parameters: deep(10_000) } }] }],
      ['an unknown role', { messages: [{ role: 'root', content: 'x' }] }],
    ]
    for (const [name, json] of cases) assert.equal(refusal(await send(json), 'invalid'), '', name)
  })
})
