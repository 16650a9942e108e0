/** The OpenAI-compatible door, through the official client. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import OpenAI from 'openai'
import { type Gateway, refusal, startGateway } from './gateway.ts'

let gateway: Gateway
let client: OpenAI
let pictures: Server
/** Pictures that were fetched. */
const asked: string[] = []
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')
const portOf = (server: Server) => (server.address() as AddressInfo).port
/** A model that sees, one of another provider and the demo; pictures come from an address that the owner opened. */
const withSeeing = (url: string) => ({
  security: { private_addresses: ['127.0.0.2'] },
  models: {
    primary: 'main',
    endpoints: {
      main: { api: 'openai', base_url: `${url}/v1`, model: 'test-model' },
      seeing: { api: 'openai', base_url: `${url}/v1`, model: 'test-model', vision: true },
      claude: { api: 'anthropic', base_url: url, model: 'test-model' },
      demo: { api: 'demo', pace: 0 },
    },
  },
})
const clientFor = (apiKey: string) => new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 })
before(async () => {
  pictures = createServer((request, response) => {
    asked.push(String(request.url))
    if (request.url === '/moved.png') response.writeHead(302, { location: `http://127.0.0.1:${portOf(pictures)}/inner.png` }).end()
    else if (request.url === '/page.png') response.end('<!doctype html>')
    else if (request.url === '/gone.png') response.writeHead(404).end(png)
    else if (request.url === '/large.png') response.end(Buffer.concat([png, Buffer.alloc(9 * 1024 * 1024)]))
    else response.end(png)
  })
  await new Promise<void>((resolve) => pictures.listen(0, '127.0.0.2', resolve))
  gateway = await startGateway({ config: withSeeing })
  client = clientFor(gateway.admin.token)
})
after(async () => {
  pictures.close()
  await gateway[Symbol.asyncDispose]()
})

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
      ['main', 'seeing', 'claude', 'demo'],
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

  it('is told in which tier it was served, when it asks for one', async () => {
    const tierFor = async (tier?: 'auto' | 'flex' | 'priority') =>
      (await client.chat.completions.create({ model: 'main', messages: user('tier'), ...(tier ? { service_tier: tier } : {}) }))
        .service_tier
    assert.deepEqual([await tierFor('flex'), await tierFor('auto'), await tierFor('priority')], ['flex', 'default', 'default'])
    assert.equal(await tierFor(), undefined)
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

describe('what an answer is asked to be', () => {
  const schema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false }
  const wishes = {
    top_p: 0.5,
    presence_penalty: 0.1,
    frequency_penalty: -0.1,
    seed: 7,
    reasoning_effort: 'low',
    stop: ['END', '###'],
    tools,
    tool_choice: { type: 'function', function: { name: 'weather' } },
    parallel_tool_calls: false,
    response_format: { type: 'json_schema', json_schema: { name: 'thing', schema, strict: true } },
  } as const
  const send = (model: string, text: string, change: object) =>
    client.chat.completions.create({ model, messages: user(text), ...change } as OpenAI.ChatCompletionCreateParamsNonStreaming)
  const bodyOf = (text: string) => gateway.model.calls.find(({ question }) => question?.text === text)?.question?.body

  it('reaches a model that speaks the same format, word by word', async () => {
    await send('seeing', 'all wishes', wishes)
    const body = bodyOf('all wishes') as Record<string, unknown>
    for (const [name, value] of Object.entries(wishes)) assert.deepEqual(body[name], name === 'tools' ? body.tools : value, name)
    await send('seeing', 'other forms', { stop: 'END', response_format: { type: 'json_object' }, tools, tool_choice: 'required' })
    const { stop, response_format, tool_choice } = bodyOf('other forms') as Record<string, unknown>
    assert.deepEqual([stop, response_format, tool_choice], [['END'], { type: 'json_object' }, 'required'])
  })

  it('reaches another provider in its words, or is refused by name', async () => {
    const { top_p, stop, tool_choice, parallel_tool_calls, response_format } = wishes
    await send('claude', 'in other words', { top_p, stop, tools, tool_choice, parallel_tool_calls, response_format })
    const body = bodyOf('in other words') as Record<string, unknown>
    assert.deepEqual(
      [body.top_p, body.stop_sequences, body.tool_choice, body.output_config],
      [
        0.5,
        ['END', '###'],
        { type: 'tool', name: 'weather', disable_parallel_tool_use: true },
        { format: { type: 'json_schema', schema } },
      ],
    )
    for (const [given, wanted] of [
      ['required', { type: 'any' }],
      ['none', { type: 'none' }],
    ] as const) {
      await send('claude', `choice ${given}`, { tools, tool_choice: given })
      assert.deepEqual((bodyOf(`choice ${given}`) as Record<string, unknown>).tool_choice, wanted)
    }
    for (const name of ['presence_penalty', 'frequency_penalty', 'seed', 'reasoning_effort'] as const)
      await assert.rejects(send('claude', 'refused', { [name]: wishes[name] }), (error) => isRefusal(error, name))
    await assert.rejects(send('claude', 'refused', { response_format: { type: 'json_object' } }), (error) =>
      isRefusal(error, 'response_format'),
    )
    for (const name of ['stop', 'response_format'] as const)
      await assert.rejects(send('demo', 'refused', { [name]: wishes[name] }), (error) => isRefusal(error, name))
    await assert.rejects(send('demo', 'refused', { tools, tool_choice: 'required' }), (error) => isRefusal(error, 'tool_choice'))
    assert.equal(bodyOf('refused'), undefined)
  })

  it('is refused by name where nobody could do it', async () => {
    const refused: Readonly<Record<string, unknown>> = {
      logprobs: true,
      top_logprobs: 3,
      logit_bias: { 50256: -100 },
      modalities: ['text', 'audio'],
      audio: { voice: 'alloy', format: 'mp3' },
      verbosity: 'high',
      web_search_options: {},
      functions: [{ name: 'f' }],
      function_call: 'auto',
      tool_choice: 'required',
      n: 2,
      top_p: 2,
      presence_penalty: 3,
      stop: Array.from({ length: 17 }, String),
      response_format: { type: 'xml' },
    }
    for (const [name, value] of Object.entries(refused))
      await assert.rejects(send('seeing', 'nobody', { [name]: value }), (error) => isRefusal(error, name), name)
    await assert.rejects(send('seeing', 'nobody', { tools, tool_choice: { type: 'function', function: { name: 'other' } } }), (error) =>
      isRefusal(error, 'tool_choice'),
    )
    assert.equal(bodyOf('nobody'), undefined)
  })

  it('is what it would be anyhow: defaults that clients send are served, by every provider', async () => {
    const defaults = {
      n: 1,
      top_p: 1,
      presence_penalty: 0,
      frequency_penalty: 0,
      logprobs: false,
      top_logprobs: null,
      logit_bias: {},
      stop: null,
      seed: null,
      tool_choice: 'auto',
      parallel_tool_calls: true,
      response_format: { type: 'text' },
      modalities: ['text'],
      user: 'somebody',
      metadata: { a: 'b' },
      store: false,
      service_tier: 'auto',
    }
    for (const model of ['seeing', 'claude', 'demo']) {
      const { choices } = await send(model, `defaults ${model}`, defaults)
      assert.ok(choices[0]?.message.content, model)
    }
    const kept = Object.keys(bodyOf('defaults seeing') ?? {}).sort()
    assert.deepEqual(kept, ['messages', 'model', 'stream', 'stream_options'])
  })
})

/** A 400 as the official client shows it: its words, and `param`, name the field. */
function isRefusal(error: unknown, field: string): boolean {
  assert.ok(error instanceof OpenAI.BadRequestError, String(error))
  assert.match(error.message, new RegExp(`\\b${field}\\b`), field)
  // What a provider has no word for is told by the provider's own part.
  if (!/not supported by/.test(error.message)) assert.match(error.param ?? '', new RegExp(`^${field}`))
  return true
}

describe('a picture by its address', () => {
  const picture = (url: string, text = url) => ({
    model: 'seeing',
    messages: [
      {
        role: 'user' as const,
        content: [
          { type: 'text' as const, text },
          { type: 'image_url' as const, image_url: { url } },
        ],
      },
    ],
  })
  const send = (url: string) => gateway.call('/v1/chat/completions', { token: gateway.admin.token, json: picture(url) })

  it('is fetched and shown to the model', async () => {
    const url = `http://127.0.0.2:${portOf(pictures)}/a.png`
    await client.chat.completions.create(picture(url))
    const question = gateway.model.calls.find((call) => call.question?.text.includes(url))?.question
    assert.equal(question?.images, 1)
    assert.ok(JSON.stringify(question?.body).includes(png.toString('base64')))
  })

  it('is refused where it leads inward, is none, or is too large; the model is not asked', async () => {
    const at = (path: string) => `http://127.0.0.2:${portOf(pictures)}/${path}`
    const cases: readonly [string, string][] = [
      ['http://127.0.0.1/a.png', 'address-refused'],
      [`http://[::ffff:127.0.0.1]:${portOf(pictures)}/a.png`, 'address-refused'],
      [`${gateway.url}/metrics`, 'address-refused'],
      ['http://169.254.169.254/latest/meta-data/', 'address-refused'],
      ['http://localhost/a.png', 'address-refused'],
      ['https://user:word@example.com/a.png', 'address-refused'],
      [at('moved.png'), 'address-refused'],
      [at('page.png'), 'invalid'],
      [at('gone.png'), 'invalid'],
      [at('large.png'), 'too-large'],
      ['http://name.invalid/a.png', 'invalid'],
      ['file:///etc/passwd', 'invalid'],
      ['data:text/html;base64,AAAA', 'invalid'],
    ]
    const calls = gateway.model.calls.length
    for (const [url, code] of cases) assert.equal(refusal(await send(url), code), '', url)
    assert.equal(gateway.model.calls.length, calls)
    assert.ok(!asked.includes('/inner.png'))
  })

  it('is one of a few', async () => {
    const part = { type: 'image_url', image_url: { url: `http://127.0.0.2:${portOf(pictures)}/a.png` } }
    const json = { model: 'seeing', messages: [{ role: 'user', content: Array.from({ length: 11 }, () => part) }] }
    const answer = await gateway.call('/v1/chat/completions', { token: gateway.admin.token, json })
    assert.equal(refusal(answer, 'invalid'), '')
    assert.match(answer.body.error.message, /at most 10/)
  })
})

describe('what the client would not send', () => {
  const send = (json: unknown) => gateway.call('/v1/chat/completions', { token: gateway.admin.token, json })
  const deep = (depth: number) => JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)

  it('is refused', async () => {
    const cases: readonly [string, unknown][] = [
      ['no messages', { model: 'main' }],
      ['several answers', { model: 'main', messages: user('x'), n: 2 }],
      ['only the system', { messages: [{ role: 'system', content: 'x' }] }],
      ['too deep parameters', { messages: user('x'), tools: [{ type: 'function', function: { name: 'f', parameters: deep(10_000) } }] }],
      ['an unknown role', { messages: [{ role: 'root', content: 'x' }] }],
    ]
    for (const [name, json] of cases) assert.equal(refusal(await send(json), 'invalid'), '', name)
  })
})
