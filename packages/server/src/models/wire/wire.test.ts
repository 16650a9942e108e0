import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ModelEvent, ModelMessage } from '@posthouse/contract'
import { createCallCollector } from './calls.ts'
import { createRedactor, redactorFor } from './redact.ts'
import { checkWire, endpoint, timeoutsOf, wireFields } from './settings.ts'

describe('redact', () => {
  it('hides known secrets and what looks like one', () => {
    const redact = createRedactor(['my-own-token', undefined, 'abc'])
    assert.equal(redact('token my-own-token is bad'), 'token [redacted] is bad')
    assert.equal(redact('Incorrect API key provided: sk-abcd***********wxyz.'), 'Incorrect API key provided: [redacted]')
    assert.equal(redact('Authorization: Bearer eyJhbGciOi.J9'), 'Authorization: Bearer [redacted]')
    assert.equal(redact('GET https://x.example/v1?api_key=12345&model=m'), 'GET https://x.example/v1?api_key=[redacted]&model=m')
    assert.equal(redact('an ordinary sentence about keys'), 'an ordinary sentence about keys')
  })
})

describe('what a provider quotes', () => {
  const said =
    'My neighbour Ann lives at 12 Long Lane, and her temperature is 38.5 degrees. 我的邻居安住在长巷十二号，体温三十八度五，请问应该怎么办才好？'
  const hide = redactorFor((text) => text, {
    system: 'You know the name of the house: Green Gables by the sea.',
    messages: [
      { role: 'user', content: [{ type: 'text', text: said }] },
      { role: 'assistant', text: '', toolCalls: [{ id: 'a', name: 'f', arguments: '{"address":"12 Long Lane, Avonlea, PEI"}' }] },
      { role: 'tool', callId: 'a', text: 'the result of the tool was not for everybody' },
    ],
  })

  it('of the conversation is taken out, wherever it begins', () => {
    const quotations = [
      said,
      said.slice(3, 40),
      said.slice(5, 29),
      said.slice(-30),
      'Green Gables by the sea.',
      '"12 Long Lane, Avonlea, PEI"',
      'tool was not for everybody',
    ]
    for (const quoted of quotations) {
      for (const before of ['', 'x', 'Invalid prompt: ', 'The words "']) {
        const hidden = hide(`${before}${quoted}" are not allowed`)
        for (let at = 0; at + 16 <= quoted.length; at++) assert.ok(!hidden.includes(quoted.slice(at, at + 16)), hidden)
        assert.ok(hidden.startsWith(before.slice(0, -2)) && hidden.includes('not allowed'), hidden)
      }
    }
  })

  it('of its own stays, also where both use a word', () => {
    const words = "Unsupported value: 'temperature' does not support 38.5 with this model. Only the default (1) value is supported."
    assert.equal(hide(words), words)
    assert.equal(hide('busy'), 'busy')
  })
})

describe('settings', () => {
  it('finds the address whatever end it was written with', () => {
    const ends = /\/(chat\/completions)$/
    for (const base of ['http://x/v1', 'http://x/v1/', 'http://x/v1/chat/completions', 'http://x/v1/chat/completions/']) {
      assert.equal(endpoint(base, '/chat/completions', ends), 'http://x/v1/chat/completions', base)
    }
    assert.equal(endpoint('http://x/a/v1?region=cn', '/m', ends), 'http://x/a/v1/m?region=cn')
  })

  it('names what is wrong', () => {
    const fieldsOf = (settings: Parameters<typeof checkWire>[0]) => checkWire(settings).map(({ field }) => field)
    assert.deepEqual(fieldsOf({ model: 'm', base_url: 'https://x/v1', api_key: 'sk-1\n' }), [])
    assert.deepEqual(fieldsOf({ model: 'm', base_url: 'x/v1', api_key: 'my key' }), ['base_url', 'api_key'])
    assert.deepEqual(fieldsOf({ model: 'm', base_url: 'ftp://x/v1', api_key: '密钥' }), ['base_url', 'api_key'])
  })

  it('has the limits that its fields describe', () => {
    const { connect_timeout, first_token_timeout, idle_timeout, total_timeout } = wireFields
    assert.deepEqual(timeoutsOf({ model: 'm' }), {
      connect: connect_timeout.default,
      firstToken: first_token_timeout.default,
      idle: idle_timeout.default,
      total: total_timeout.default,
    })
  })
})

describe('tool calls', () => {
  const emit = (messages: readonly ModelMessage[], add: (calls: ReturnType<typeof createCallCollector>) => void) => {
    const calls = createCallCollector(messages)
    add(calls)
    const out: ModelEvent[] = []
    calls.emit(out)
    return out.flatMap((event) => (event.type === 'tool-call' ? [event.call] : []))
  }

  it('are put together by index, in the order of the index', () => {
    const calls = emit([], (list) => {
      list.add(1, { id: 'b', name: 'second', arguments: '{"x"' })
      list.add(0, { id: 'a', name: 'first' })
      list.add(1, { arguments: ':1}' })
    })
    assert.deepEqual(calls, [
      { id: 'a', name: 'first', arguments: '{}' },
      { id: 'b', name: 'second', arguments: '{"x":1}' },
    ])
  })

  it('get ids that nobody has, also when a rewritten one is taken', () => {
    const before: ModelMessage = { role: 'assistant', text: '', toolCalls: [{ id: 'x', name: 'f', arguments: '{}' }] }
    const calls = emit([before], (list) => {
      for (const [index, id] of ['x', 'x_2', 'x', '', ''].entries()) list.add(index, { id, name: 'f' })
    })
    assert.deepEqual(
      calls.map(({ id }) => id),
      ['x_2', 'x_2_2', 'x_3', 'call', 'call_2'],
    )
  })

  it('are bounded in number and size, and need a name', () => {
    const malformed = { name: 'ModelError', kind: 'malformed' }
    assert.throws(() => emit([], (list) => list.add(0, { arguments: 'x'.repeat(262_145) })), malformed)
    assert.throws(() => emit([], (list) => Array.from({ length: 129 }, (_, index) => list.add(index, { name: 'f' }))), malformed)
    assert.throws(() => emit([], (list) => list.add(0, { id: 'a' })), malformed)
  })
})
