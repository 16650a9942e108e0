import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FetchError, ModelError, type ModelEvent, type ModelRequest } from '@posthouse/contract'
import { createModelEmulator, type ModelEmulator } from '@posthouse/testkit'
import { createFetch } from '../../security/fetch.ts'
import { openai } from './index.ts'
import { createDecoder } from './stream.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }
const never = new AbortController().signal
const request: ModelRequest = { messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }], maxTokens: 50, temperature: 0.5 }

async function collect(events: AsyncIterable<ModelEvent>): Promise<ModelEvent[]> {
  const result: ModelEvent[] = []
  for await (const event of events) result.push(event)
  return result
}

function decode(chunks: readonly (object | string)[]): readonly ModelEvent[] {
  const decoder = createDecoder([], (text) => text)
  const out: ModelEvent[] = []
  for (const chunk of chunks) decoder.read(typeof chunk === 'string' ? chunk : JSON.stringify(chunk), out)
  decoder.finish(out)
  return out
}

const delta = (value: object, finish: string | null = null) => ({ choices: [{ index: 0, delta: value, finish_reason: finish }] })

describe('openai stream', () => {
  it('reads the reasoning of either spelling', () => {
    const events = decode([delta({ reasoning_content: 'a' }), delta({ reasoning: 'b' }), delta({ content: 'c' }, 'stop')])
    assert.deepEqual(events, [
      { type: 'reasoning', text: 'ab' },
      { type: 'text', text: 'c' },
      { type: 'end', reason: 'stop' },
    ])
  })

  it('reads calls without index, with arguments as an object, and ended by stop', () => {
    const part = (id: string) => ({ id, function: { name: 'f', arguments: { n: 1 } } })
    const events = decode([delta({ tool_calls: [part('a'), part('b')] }), delta({ tool_calls: [{ function: { arguments: '' } }] }, 'stop')])
    assert.deepEqual(
      events.map((event) => (event.type === 'tool-call' ? event.call.arguments : event.type)),
      ['{"n":1}', '{"n":1}', 'end'],
    )
    assert.deepEqual(events.at(-1), { type: 'end', reason: 'tool-calls' })
  })

  it('reads a refusal, an answer in one piece, and the cache figure of DeepSeek', () => {
    assert.deepEqual(decode([delta({ refusal: 'No.' }), delta({}, 'stop')]).at(-1), { type: 'end', reason: 'refused' })
    const whole = {
      choices: [{ message: { content: 'whole' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 9, completion_tokens: 1, prompt_cache_hit_tokens: 4 },
    }
    assert.deepEqual(decode([whole]), [
      { type: 'text', text: 'whole' },
      { type: 'usage', usage: { inputTokens: 9, outputTokens: 1, cachedTokens: 4 } },
      { type: 'end', reason: 'stop' },
    ])
  })

  it('never takes a cut for an end', () => {
    const kinds = (chunks: readonly (object | string)[]) => {
      try {
        decode(chunks)
      } catch (error) {
        return error instanceof ModelError ? error.kind : String(error)
      }
      return 'no error'
    }
    assert.equal(kinds([delta({ content: 'a' })]), 'connection')
    assert.equal(kinds([delta({ content: 'a' }), '[DONE]']), 'malformed')
    assert.equal(kinds([]), 'malformed')
    assert.equal(kinds([delta({ content: 'a' }, 'insufficient_system_resource')]), 'overloaded')
    assert.equal(kinds([{ error: { message: 'slow down', type: 'rate_limit_error' } }]), 'rate-limited')
  })
})

/** One pixel. */
const PIXEL = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')

describe('openai', () => {
  const setUp = (emulator: ModelEmulator, fetch: Parameters<typeof openai.create>[1]['fetch'], settings: object = {}) =>
    openai.create({ base_url: `${emulator.url}/v1`, api_key: 'test-key', model: 'test-model', ...settings }, { id: 'm', log, fetch })

  it('learns once what a server refuses', async () => {
    await using emulator = await createModelEmulator({ refuse: ['stream_options', 'max_tokens', 'temperature'] })
    await using client = createFetch()
    const model = setUp(emulator, client.fetch)
    for (const _ of [1, 2]) {
      const events = await collect(model.stream(request, never))
      assert.deepEqual(events.at(-1), { type: 'end', reason: 'stop' })
    }
    assert.deepEqual(
      emulator.calls.map((call) => call.ended?.status),
      [400, 400, 400, 200, 200],
    )
    const { body } = emulator.calls.at(-1)?.question ?? {}
    assert.equal(body?.max_completion_tokens, 50)
    assert.ok(body && !('temperature' in body) && !('stream_options' in body))
  })

  it('writes a picture anew for a model that cannot see it', async () => {
    await using emulator = await createModelEmulator()
    await using client = createFetch()
    const picture = { type: 'image', mime: 'image/png', data: PIXEL } as const
    const shown = { messages: [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, picture] }] } as const
    const bodies: string[] = []
    for (const vision of [true, false, true]) {
      await collect(setUp(emulator, client.fetch, { vision }).stream(shown, never))
      bodies.push(JSON.stringify(emulator.calls.at(-1)?.question?.body))
    }
    assert.deepEqual(
      bodies.map((body) => body.includes('image_url')),
      [true, false, true],
    )
  })

  it('learns once that a model knows no tools, and takes no complaint about one tool for it', async () => {
    await using emulator = await createModelEmulator()
    await using client = createFetch()
    const model = setUp(emulator, client.fetch)
    const tools = [{ name: 'look', description: '', parameters: { type: 'object', properties: {} } }]
    const refuseWith = (status: number, message: string) => emulator.failNext({ kind: 'status', status, message })
    refuseWith(400, "Invalid schema for function 'look': 'oneOf' is not supported in tool parameters.")
    await assert.rejects(collect(model.stream({ ...request, tools }, never)))
    assert.equal((await collect(model.stream({ ...request, tools }, never))).at(-1)?.type, 'end')
    assert.deepEqual(emulator.calls.at(-1)?.question?.tools, ['look'])
    refuseWith(400, 'registry.ollama.ai/library/gemma:2b does not support tools')
    for (const _ of [1, 2]) await collect(model.stream({ ...request, tools }, never))
    assert.deepEqual(
      emulator.calls.slice(2).map(({ question, ended }) => [question?.tools, ended?.status]),
      [
        [['look'], 400],
        [[], 200],
        [[], 200],
      ],
    )
    for (const [status, message] of [
      [404, 'No endpoints found that support tool use.'],
      [400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'],
    ] as const) {
      const other = setUp(emulator, client.fetch)
      refuseWith(status, message)
      assert.equal((await collect(other.stream({ ...request, tools }, never))).at(-1)?.type, 'end')
    }
  })

  const answering =
    (...chunks: readonly (object | Error | Promise<never>)[]): Parameters<typeof openai.create>[1]['fetch'] =>
    async (_url, options) => ({
      status: 200,
      headers: {},
      text: () => Promise.resolve(''),
      json: () => Promise.resolve(undefined),
      body: (async function* () {
        const aborted = new Promise<never>((_, reject) =>
          options?.signal?.addEventListener('abort', () => reject(new FetchError('aborted', 'aborted'))),
        )
        aborted.catch(() => {})
        for (const chunk of chunks) {
          if (chunk instanceof Error) throw chunk
          if (chunk instanceof Promise) await Promise.race([chunk, aborted])
          yield Buffer.from(chunk === done ? 'data: [DONE]\n\n' : `data: ${JSON.stringify(chunk)}\n\n`)
        }
      })(),
    })
  const done = {}

  it('keeps an answer whose connection breaks, or never closes, behind its end', async () => {
    const broken = answering(delta({ content: 'whole' }, 'stop'), new FetchError('broken', 'reset'))
    const open = answering(delta({ content: 'whole' }, 'stop'), done, new Promise<never>(() => {}))
    for (const fetch of [broken, open]) {
      const model = openai.create({ model: 'm' }, { id: 'm', log, fetch })
      assert.deepEqual(await collect(model.stream(request, never)), [
        { type: 'text', text: 'whole' },
        { type: 'end', reason: 'stop' },
      ])
    }
  })

  it('keeps the connection for the next call', async () => {
    await using emulator = await createModelEmulator()
    await using client = createFetch()
    const ports = new Set<number | undefined>()
    emulator.reply('hi')
    const model = setUp(emulator, client.fetch)
    await model.warmUp?.(never)
    for (let n = 0; n < 8; n += 1) {
      await collect(model.stream(request, never))
      ports.add(emulator.calls.at(-1)?.port)
    }
    // Two, because the client frees a connection a moment after the last byte was read.
    assert.ok(ports.size <= 2, `${ports.size} connections for 8 calls`)
  })

  it('takes an answer that a server without streaming gives whole', async () => {
    await using emulator = await createModelEmulator()
    await using client = createFetch()
    const whole: typeof client.fetch = (url, options) =>
      client.fetch(url, { ...options, body: String(options?.body).replace(/"stream":true,"stream_options":\{.*?\}/, '"stream":false') })
    assert.deepEqual((await collect(setUp(emulator, whole).stream(request, never)))[0], { type: 'text', text: 'You said: hello' })
  })

  it('embeds in batches, in order, and refuses an answer with holes', async () => {
    await using emulator = await createModelEmulator()
    await using client = createFetch()
    const model = setUp(emulator, client.fetch, { embedding_batch: 2 })
    const texts = ['one', 'two', 'three', 'four', 'five']
    const vectors = await model.embed?.(texts, never)
    assert.equal(vectors?.length, 5)
    assert.equal(emulator.calls.length, 3)
    const [five] = (await model.embed?.(['five'], never)) ?? []
    assert.deepEqual(vectors?.[4], five)
    const holes: typeof client.fetch = async (url, options) => {
      const response = await client.fetch(url, options)
      const text = await response.text()
      return { ...response, text: async () => text.replace(/"index":1/, '"index":0') }
    }
    await assert.rejects(setUp(emulator, holes).embed?.(['a', 'b'], never) ?? Promise.resolve(), { kind: 'malformed' })
    emulator.failNext({ kind: 'status', status: 429, retryAfter: 2 })
    await assert.rejects(model.embed?.(['a'], never) ?? Promise.resolve(), { kind: 'rate-limited', retryAfter: 2000 })
    await assert.rejects(model.embed?.(['a'], AbortSignal.abort()) ?? Promise.resolve(), { kind: 'cancelled' })
  })

  it('says what is wrong when nobody listens there', async () => {
    await using client = createFetch()
    const model = openai.create({ base_url: 'http://127.0.0.1:1/v1', model: 'm' }, { id: 'm', log, fetch: client.fetch })
    await assert.rejects(collect(model.stream(request, never)), { kind: 'connection', message: /ECONNREFUSED/ })
    await model.warmUp?.(never)
  })
})
