import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { createModelEmulator, type ModelEmulator, startModelEmulator } from './index.ts'

const openaiOf = (emulator: ModelEmulator, apiKey = 'test-key') => new OpenAI({ baseURL: `${emulator.url}/v1`, apiKey, maxRetries: 0 })
const anthropicOf = (emulator: ModelEmulator, apiKey = 'test-key') => new Anthropic({ baseURL: emulator.url, apiKey, maxRetries: 0 })

const ask = (content: string) => ({ model: 'test-model', messages: [{ role: 'user' as const, content }] })
const weather = { name: 'weather', arguments: { city: '北京' } }
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='

describe('model emulator, seen by the official OpenAI client', () => {
  it('answers whole, with usage', async () => {
    await using emulator = await createModelEmulator()
    const answer = await openaiOf(emulator).chat.completions.create(ask('hello'))
    assert.equal(answer.choices[0]?.message.content, 'You said: hello')
    assert.equal(answer.choices[0]?.finish_reason, 'stop')
    assert.ok((answer.usage?.total_tokens ?? 0) > 0)
  })

  it('streams, with usage and tool calls that the client puts together', async () => {
    await using emulator = await createModelEmulator({ pace: { interval: 1, chunkSize: 3 } })
    emulator.reply({ text: 'One moment. 👩‍👩‍👧', toolCalls: [weather, { name: 'weather', arguments: { city: 'Paris' } }] })
    const stream = openaiOf(emulator).chat.completions.stream({ ...ask('weather?'), stream_options: { include_usage: true } })
    const answer = await stream.finalChatCompletion()
    assert.equal(answer.choices[0]?.message.content, 'One moment. 👩‍👩‍👧')
    assert.equal(answer.choices[0]?.finish_reason, 'tool_calls')
    assert.deepEqual(
      answer.choices[0]?.message.tool_calls?.map((call) => call.type === 'function' && call.function.arguments),
      ['{"city":"北京"}', '{"city":"Paris"}'],
    )
    assert.ok((answer.usage?.prompt_tokens ?? 0) > 0)
  })

  it('lists models and embeds: alike texts lie closer', async () => {
    await using emulator = await createModelEmulator()
    const client = openaiOf(emulator)
    assert.deepEqual(
      (await client.models.list()).data.map((model) => model.id),
      ['test-model'],
    )
    const input = ['the cat sat on the mat', 'the cat sat on a mat', 'quarterly revenue grew']
    const { data } = await client.embeddings.create({ model: 'test-model', input })
    const [a = [], b = [], c = []] = data.map((item) => item.embedding)
    const near = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, index) => sum + value * (y[index] ?? 0), 0)
    assert.ok(near(a, b) > near(a, c))
  })

  it('refuses what the provider refuses', async () => {
    await using emulator = await createModelEmulator({ contextTokens: 100 })
    const client = openaiOf(emulator)
    const refused = async (body: object, status: number, message: RegExp) => {
      await assert.rejects(
        client.chat.completions.create(body as Parameters<typeof client.chat.completions.create>[0]),
        (error: unknown) => {
          assert.ok(error instanceof OpenAI.APIError)
          assert.equal(error.status, status)
          assert.match(error.message, message)
          return true
        },
      )
    }
    const user = { role: 'user', content: 'hi' }
    const called = {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'x', type: 'function', function: { name: 'f', arguments: '{}' } }],
    }
    await refused({ ...ask('hi'), messages: [] }, 400, /empty array/)
    await refused({ ...ask('hi'), model: 'other' }, 404, /does not exist/)
    await refused({ messages: [user] }, 400, /model parameter/)
    await refused({ ...ask('hi'), messages: [{ role: 'robot', content: 'x' }] }, 400, /Supported values/)
    await refused({ ...ask('hi'), messages: [user, called] }, 400, /must be followed by tool messages/)
    await refused({ ...ask('hi'), messages: [user, { role: 'tool', tool_call_id: 'x', content: '1' }] }, 400, /preceding message/)
    await refused({ ...ask('hi'), max_tokens: 0 }, 400, /max_tokens/)
    await refused({ ...ask('hi'), temperature: 3 }, 400, /temperature/)
    await refused({ ...ask('hi'), tools: [] }, 400, /tools/)
    await refused({ ...ask('hi'), stream_options: { include_usage: true } }, 400, /only allowed when/)
    await refused({ ...ask('hi'), typo: 1 }, 400, /Unrecognized/)
    await refused({ ...ask('x'.repeat(1000)) }, 400, /maximum context length/)
    const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/jpeg;base64,aGVsbG8=' } }] }
    await refused({ ...ask('hi'), messages: [image] }, 400, /unsupported image/)
    await assert.rejects(openaiOf(emulator, 'wrong').chat.completions.create(ask('hi')), OpenAI.AuthenticationError)
    assert.ok(emulator.calls.every((call) => call.ended?.how === 'refused'))
  })

  it('plays failures in their order, and the client knows them', async () => {
    await using emulator = await createModelEmulator()
    const client = openaiOf(emulator)
    emulator.failNext({ kind: 'status', status: 429, retryAfter: 3 })
    emulator.failNext({ kind: 'refuse' })
    await assert.rejects(client.chat.completions.create(ask('1')), (error: unknown) => {
      assert.ok(error instanceof OpenAI.RateLimitError)
      assert.equal(error.headers.get('retry-after'), '3')
      return true
    })
    await assert.rejects(client.chat.completions.create(ask('2')), OpenAI.APIConnectionError)
    assert.equal((await client.chat.completions.create(ask('3'))).choices[0]?.message.content, 'You said: 3')
    assert.deepEqual(
      emulator.calls.map((call) => call.ended?.how),
      ['refused', 'failed', 'complete'],
    )
  })
})

describe('model emulator, seen by the official Anthropic client', () => {
  it('answers whole and streams, with usage', async () => {
    await using emulator = await createModelEmulator({ pace: { interval: 1, chunkSize: 3 } })
    const client = anthropicOf(emulator)
    const whole = await client.messages.create({ ...ask('hello'), max_tokens: 100 })
    assert.deepEqual(whole.content[0]?.type === 'text' && whole.content[0].text, 'You said: hello')
    const streamed = await client.messages.stream({ ...ask('hello'), max_tokens: 100 }).finalMessage()
    assert.deepEqual(streamed.content[0]?.type === 'text' && streamed.content[0].text, 'You said: hello')
    assert.equal(streamed.stop_reason, 'end_turn')
    assert.ok(streamed.usage.input_tokens > 0 && streamed.usage.output_tokens > 0)
  })

  it('streams tool calls and thinking that the client puts together', async () => {
    await using emulator = await createModelEmulator()
    emulator.reply({ reasoning: 'hm', text: 'one moment', toolCalls: [weather] })
    const message = await anthropicOf(emulator)
      .messages.stream({ ...ask('weather?'), max_tokens: 100 })
      .finalMessage()
    assert.deepEqual(
      message.content.map((block) => block.type),
      ['thinking', 'text', 'tool_use'],
    )
    assert.deepEqual(message.content[2]?.type === 'tool_use' && message.content[2].input, { city: '北京' })
    assert.equal(message.stop_reason, 'tool_use')
  })

  it('refuses what the provider refuses', async () => {
    await using emulator = await createModelEmulator()
    const client = anthropicOf(emulator)
    const good = { ...ask('hi'), max_tokens: 10 }
    const refused = async (body: object, status: number, message: RegExp) => {
      await assert.rejects(client.messages.create(body as Parameters<typeof client.messages.create>[0]), (error: unknown) => {
        assert.ok(error instanceof Anthropic.APIError)
        assert.equal(error.status, status)
        assert.match(error.message, message)
        return true
      })
    }
    const user = { role: 'user', content: 'hi' }
    const use = { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'f', input: {} }] }
    const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: '1' }] }
    await refused({ ...good, messages: [] }, 400, /at least one message/)
    await refused({ ...good, max_tokens: undefined }, 400, /max_tokens: Field required/)
    await refused({ ...good, model: 'other' }, 404, /model: other/)
    await refused({ ...good, messages: [{ role: 'assistant', content: 'hi' }, user] }, 400, /first message/)
    await refused({ ...good, messages: [{ role: 'system', content: 'hi' }] }, 400, /'user' or 'assistant'/)
    await refused({ ...good, messages: [{ role: 'user', content: ' ' }] }, 400, /non-whitespace/)
    await refused({ ...good, messages: [user, { role: 'assistant', content: 'so ' }] }, 400, /trailing whitespace/)
    await refused({ ...good, messages: [user, use, user] }, 400, /without `tool_result`/)
    await refused({ ...good, messages: [user, use, result, use, result] }, 400, /must be unique/)
    await refused({ ...good, messages: [user, result] }, 400, /unexpected `tool_use_id`/)
    await refused({ ...good, temperature: 1.5 }, 400, /temperature/)
    const image = (data: string) => ({
      role: 'user',
      content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data } }],
    })
    await refused({ ...good, messages: [image('aGVsbG8=')] }, 400, /Could not process image/)
    await client.messages.create({ ...good, messages: [image(pixel)] } as Parameters<typeof client.messages.create>[0])
    await assert.rejects(anthropicOf(emulator, 'wrong').messages.create(good), Anthropic.AuthenticationError)
  })

  it('throws an overload within the stream', async () => {
    await using emulator = await createModelEmulator()
    emulator.failNext({ kind: 'error-event', after: 1 })
    await assert.rejects(
      anthropicOf(emulator)
        .messages.stream({ ...ask('hello'), max_tokens: 10 })
        .finalMessage(),
      /[Oo]verloaded/,
    )
  })
})

describe('model emulator', () => {
  it('writes down who left when', async () => {
    await using emulator = await createModelEmulator({ pace: { interval: 3, chunks: 500 }, reply: 'x'.repeat(2000) })
    const stream = await openaiOf(emulator).chat.completions.create({ ...ask('go'), stream: true })
    for await (const _chunk of stream) break
    const call = await emulator.waitForCall((line) => line.ended !== undefined)
    assert.equal(call.ended?.how, 'client-closed')
    assert.ok(call.chunks < 500)
    await emulator.waitForCall(() => emulator.active === 0)
  })

  it('goes on with a cut answer when it is asked to', async () => {
    await using emulator = await createModelEmulator()
    const messages = [
      { role: 'user' as const, content: 'a long question' },
      { role: 'assistant' as const, content: 'You said: a lo' },
      { role: 'user' as const, content: 'Continue exactly where it stopped.' },
    ]
    const answer = await openaiOf(emulator).chat.completions.create({ model: 'test-model', messages })
    assert.equal(answer.choices[0]?.message.content, 'ng question')
  })

  it('fails only the model that a failure names, as often as it says', async () => {
    await using emulator = await createModelEmulator({ models: ['a', 'b'] })
    emulator.failNext({ kind: 'status', status: 500, model: 'a', times: 2 })
    const client = openaiOf(emulator)
    await client.chat.completions.create({ ...ask('hi'), model: 'b' })
    for (const _ of [1, 2]) await assert.rejects(client.chat.completions.create({ ...ask('hi'), model: 'a' }), OpenAI.InternalServerError)
    await client.chat.completions.create({ ...ask('hi'), model: 'a' })
  })

  it('forgets the bodies of old calls, not the calls', async () => {
    await using emulator = await createModelEmulator({ keep: 1 })
    for (const text of ['one', 'two', 'three']) await openaiOf(emulator).chat.completions.create(ask(text))
    assert.deepEqual(
      emulator.calls.map((call) => [call.question?.text, Object.keys(call.question?.body ?? {}).length > 0]),
      [
        ['one', false],
        ['two', false],
        ['three', true],
      ],
    )
  })

  it('tells what it saw when a call does not come', async () => {
    await using emulator = await createModelEmulator()
    await assert.rejects(
      emulator.waitForCall(() => false, 1),
      /no such call within 1 ms; the last of 0 calls/,
    )
  })

  it('for people: takes any key and any model', async () => {
    await using emulator = await startModelEmulator({ pace: {} })
    await openaiOf(emulator, 'whatever').chat.completions.create({ ...ask('hi'), model: 'gpt-x' })
  })
})
