import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ModelEvent, ModelMessage } from '@posthouse/contract'
import { createModelEmulator } from '@posthouse/testkit'
import { createFetch } from '../../security/fetch.ts'
import { messagesBody, urlOf } from './api.ts'
import { anthropic } from './index.ts'
import { createDecoder } from './stream.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }
const never = new AbortController().signal
const user = (text: string): ModelMessage => ({ role: 'user', content: [{ type: 'text', text }] })
const bodyOf = (messages: readonly ModelMessage[], more: object = {}) => JSON.parse(messagesBody({ model: 'm' }, { messages, ...more }))

describe('anthropic request', () => {
  it('finds the address whatever end it was written with', () => {
    for (const base of ['https://x', 'https://x/', 'https://x/v1', 'https://x/v1/messages']) {
      assert.equal(urlOf({ model: 'm', base_url: base }, '/v1/messages'), 'https://x/v1/messages')
    }
    assert.equal(urlOf({ model: 'm', base_url: 'https://x/anthropic' }, '/v1/messages'), 'https://x/anthropic/v1/messages')
  })

  it('joins messages of one role, begins with the user and drops empty text', () => {
    const { messages, max_tokens } = bodyOf([
      { role: 'assistant', text: 'left over' },
      user('a'),
      user('  '),
      user('b'),
      { role: 'assistant', text: '' },
      { role: 'assistant', text: 'so far  ' },
    ])
    assert.deepEqual(
      messages.map(({ role, content }: { role: string; content: { text: string }[] }) => [role, ...content.map(({ text }) => text)]),
      [
        ['user', '(earlier messages are left out)'],
        ['assistant', 'left over'],
        ['user', 'a', 'b'],
        ['assistant', 'so far'],
      ],
    )
    assert.equal(max_tokens, 4096)
  })

  it('makes foreign call ids fit, the same on both sides, and never two alike', () => {
    const { messages } = bodyOf([
      user('a'),
      {
        role: 'assistant',
        text: '',
        toolCalls: ['f:0', 'f.0'].map((id) => ({ id, name: 'f', arguments: id === 'f:0' ? '{"a":1}' : 'not json' })),
      },
      { role: 'tool', callId: 'f.0', text: 'two' },
      { role: 'tool', callId: 'f:0', text: 'one' },
    ])
    const [one, two] = messages[1].content
    assert.deepEqual([one.id, two.id], ['f_0', 'f_0_2'])
    assert.deepEqual([one.input, two.input], [{ a: 1 }, { invalid_arguments: 'not json' }])
    assert.deepEqual(
      messages[2].content.map((block: { tool_use_id: string }) => block.tool_use_id),
      ['f_0_2', 'f_0'],
    )
  })

  it('keeps the temperature on the scale', () => {
    assert.equal(bodyOf([user('a')], { temperature: 1.7 }).temperature, 1)
  })

  it('is accepted by a strict server, also to go on with a cut answer', async () => {
    await using emulator = await createModelEmulator()
    await using client = createFetch()
    const model = anthropic.create(
      { base_url: emulator.url, api_key: 'test-key', model: 'test-model' },
      { id: 'm', log, fetch: client.fetch },
    )
    const events: ModelEvent[] = []
    const messages: readonly ModelMessage[] = [
      { role: 'assistant', text: 'x', toolCalls: [{ id: 'weird id!', name: 'f', arguments: '[]' }] },
      { role: 'tool', callId: 'weird id!', text: '' },
      user('go'),
      { role: 'assistant', text: 'You said: ' },
    ]
    for await (const event of model.stream({ messages, tools: [{ name: 'f', description: '', parameters: { type: 'object' } }] }, never))
      events.push(event)
    assert.deepEqual(events.at(-1), { type: 'end', reason: 'stop' })
  })
})

describe('anthropic stream', () => {
  const decode = (...events: readonly object[]) => {
    const decoder = createDecoder([], (text) => text)
    const out: ModelEvent[] = []
    for (const event of events) decoder.read(JSON.stringify(event), out)
    decoder.finish(out)
    return out
  }
  const start = {
    type: 'message_start',
    message: { usage: { input_tokens: 10, cache_read_input_tokens: 30, cache_creation_input_tokens: 5, output_tokens: 1 } },
  }
  const stop = (reason: string) => [
    { type: 'message_delta', delta: { stop_reason: reason }, usage: { output_tokens: 8 } },
    { type: 'message_stop' },
  ]

  it('counts what was read from and written to the cache as input', () => {
    assert.deepEqual(decode(start, ...stop('end_turn'))[0], {
      type: 'usage',
      usage: { inputTokens: 45, outputTokens: 8, cachedTokens: 30 },
    })
  })

  it('ignores what it does not know', () => {
    assert.deepEqual(decode(start, { type: 'ping' }, { type: 'new_thing', data: 1 }, ...stop('max_tokens')).at(-1), {
      type: 'end',
      reason: 'length',
    })
  })

  it('never takes a cut for an end', () => {
    assert.throws(() => decode(start), { kind: 'connection' })
    assert.throws(() => decode(), { kind: 'malformed' })
    assert.throws(() => decode(start, { type: 'message_stop' }), { kind: 'malformed' })
    assert.throws(() => decode(start, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }), {
      kind: 'overloaded',
    })
  })
})
