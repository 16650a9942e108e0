/** How a model behaves, as data: every provider runs the same cases. */
import assert from 'node:assert/strict'
import { type Model, ModelError, type ModelEvent, type ModelFailure, type ModelRequest } from '@posthouse/contract'
import type { ModelCall, ModelEmulator, ModelWire, PlayedModelFailure } from '../emulators/model/index.ts'

/** Milliseconds; what a case needs else than the defaults, which are far longer than a test. */
export interface ModelLimits {
  readonly firstToken?: number
  readonly idle?: number
  readonly total?: number
}

/** What a case is run on. Made anew for each case. */
export interface ModelHarness {
  /** The model under test, asking `test-model` of the emulator with the key `test-key` (or `key`). */
  create(options?: { readonly limits?: ModelLimits; readonly key?: string; readonly vision?: boolean; readonly model?: string }): Model
  /** The server behind it; absent for models without a wire. */
  readonly wire?: { readonly name: ModelWire; readonly emulator: ModelEmulator }
}

export interface ModelCase {
  readonly name: string
  /** Whether it needs a wire. */
  readonly wire: boolean
  run(harness: ModelHarness): Promise<void>
}

type Wire = NonNullable<ModelHarness['wire']>

const PROMPT = 300
const KEY = 'sk-secret-0123456789abcdef'

const ask = (text: string): ModelRequest => ({ messages: [{ role: 'user', content: [{ type: 'text', text }] }] })
const never = () => new AbortController().signal

async function collect(events: AsyncIterable<ModelEvent>): Promise<ModelEvent[]> {
  const result: ModelEvent[] = []
  for await (const event of events) result.push(event)
  return result
}

function textOf(events: readonly ModelEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('')
}

/** Reads until the model throws; answers the error and what came before. */
async function failing(events: AsyncIterable<ModelEvent>): Promise<{ readonly error: ModelError; readonly before: readonly ModelEvent[] }> {
  const before: ModelEvent[] = []
  try {
    for await (const event of events) before.push(event)
  } catch (error) {
    assert.ok(error instanceof ModelError, `a ModelError was expected, ${String(error)} came`)
    return { error, before }
  }
  return assert.fail(`an error was expected, ${JSON.stringify(before.at(-1))} came`)
}

function wired(name: string, run: (harness: ModelHarness & { readonly wire: Wire }) => Promise<void>): ModelCase {
  return {
    name,
    wire: true,
    run: async (harness) => {
      assert.ok(harness.wire, 'this case needs a wire')
      await run({ ...harness, wire: harness.wire })
    },
  }
}

/** A failure that is played, and the kind that it must become. */
export interface ModelFault {
  readonly name: string
  readonly failure: PlayedModelFailure
  readonly kinds: readonly ModelFailure[]
  readonly limits?: ModelLimits
  /** Text that must have come before. */
  readonly partial?: boolean
}

const status = (code: number, kinds: readonly ModelFailure[], more: Partial<PlayedModelFailure> = {}): ModelFault => ({
  name: `status ${code}${more.code ? ` ${more.code}` : ''}`,
  failure: { kind: 'status', status: code, ...more },
  kinds,
})

/** The failures of row F37 of the fault matrix, and what providers refuse. */
export const modelFaults: readonly ModelFault[] = [
  status(400, ['invalid']),
  status(400, ['too-long'], { message: 'prompt is too long: 210000 tokens > 200000 maximum (maximum context length)' }),
  status(401, ['auth']),
  status(402, ['quota']),
  status(403, ['auth']),
  status(404, ['not-found']),
  status(413, ['too-long']),
  status(429, ['rate-limited']),
  status(429, ['quota'], { code: 'insufficient_quota' }),
  status(500, ['overloaded']),
  status(503, ['overloaded']),
  status(529, ['overloaded']),
  { name: 'no answer', failure: { kind: 'no-answer' }, kinds: ['timeout'], limits: { firstToken: 60 } },
  { name: 'no first token', failure: { kind: 'no-first-token' }, kinds: ['timeout'], limits: { firstToken: 60 } },
  { name: 'a stall', failure: { kind: 'stall', after: 2 }, kinds: ['timeout'], limits: { idle: 150 }, partial: true },
  {
    name: 'an answer that takes too long',
    failure: { kind: 'stall', after: 2 },
    kinds: ['timeout'],
    limits: { total: 400 },
    partial: true,
  },
  { name: 'a refused connection', failure: { kind: 'refuse' }, kinds: ['connection'] },
  { name: 'a reset', failure: { kind: 'reset', after: 2 }, kinds: ['connection'], partial: true },
  { name: 'a clean end without a reason', failure: { kind: 'early-end', after: 2 }, kinds: ['connection', 'malformed'], partial: true },
  { name: 'cut JSON', failure: { kind: 'truncated-json', after: 2 }, kinds: ['connection', 'malformed'], partial: true },
  { name: 'an error within the stream', failure: { kind: 'error-event', after: 2 }, kinds: ['overloaded'], partial: true },
  { name: 'a web page', failure: { kind: 'web-page' }, kinds: ['malformed'] },
]

const faults = modelFaults.map(({ name, failure, kinds, limits, partial }) =>
  wired(`${name} is an error of kind ${kinds.join(' or ')}`, async ({ create, wire }) => {
    wire.emulator.setPace({ firstToken: 1, interval: 2, chunkSize: 4 })
    wire.emulator.failNext(failure)
    const model = create(limits ? { limits } : {})
    const { error, before } = await failing(model.stream(ask('a question that is echoed back in several chunks'), never()))
    assert.ok(kinds.includes(error.kind), `${error.kind}: ${error.message}`)
    assert.equal(textOf(before) !== '', partial ?? false, 'text before the failure')
    assert.ok(before.every((event) => event.type === 'text'))
    if (failure.message) assert.match(error.message, /prompt is too long/, "the provider's words are kept")
    if (failure.status) assert.equal(error.status, failure.status)
    await wire.emulator.waitForCall((call) => call.ended !== undefined)
    assert.equal(textOf(await collect(model.stream(ask('again'), never()))), 'You said: again', 'the next call works')
  }),
)

/** Where a call may be when it is cancelled. */
const phases: readonly { readonly name: string; readonly failure?: PlayedModelFailure; reached(call: ModelCall): boolean }[] = [
  { name: 'before the headers', failure: { kind: 'no-answer' }, reached: (call) => call.failure !== undefined },
  { name: 'before the first token', failure: { kind: 'no-first-token' }, reached: (call) => call.failure !== undefined },
  { name: 'in mid-stream', reached: (call) => call.chunks > 2 },
  { name: 'during a stall', failure: { kind: 'stall', after: 3 }, reached: (call) => call.chunks > 2 },
]

const cancels = phases.map(({ name, failure, reached }) =>
  wired(`a cancel ${name} closes the connection at once`, async ({ create, wire }) => {
    wire.emulator.setPace({ firstToken: 5, interval: 5, chunks: 1000 })
    wire.emulator.reply('word '.repeat(1000))
    if (failure) wire.emulator.failNext(failure)
    const cancel = new AbortController()
    const outcome = failing(create().stream(ask('go'), cancel.signal))
    await wire.emulator.waitForCall(reached)
    const at = Date.now()
    cancel.abort()
    const { error } = await outcome
    assert.equal(error.kind, 'cancelled')
    const call = await wire.emulator.waitForCall((line) => line.ended !== undefined)
    assert.equal(call.ended?.how, 'client-closed')
    assert.ok((call.ended?.at ?? 0) - at < PROMPT, 'the provider saw it in time')
  }),
)

/** The cases. Run each on a fresh harness. */
export const modelSuite: readonly ModelCase[] = [
  {
    name: 'text comes in order, `end` comes last and nothing after it',
    wire: false,
    run: async ({ create }) => {
      const events = await collect(create().stream(ask('Say this: 你好 👋 world'), never()))
      assert.match(textOf(events), /你好 👋 world/)
      assert.deepEqual(events.at(-1), { type: 'end', reason: 'stop' })
      assert.equal(events.filter((event) => event.type === 'end').length, 1)
      assert.equal(events.filter((event) => event.type === 'usage').length, 1)
    },
  },
  {
    name: 'a signal that fired already cancels',
    wire: false,
    run: async ({ create }) => {
      const { error, before } = await failing(create().stream(ask('hello'), AbortSignal.abort()))
      assert.equal(error.kind, 'cancelled')
      assert.deepEqual(before, [])
    },
  },
  {
    name: 'a cancel between two events ends the stream',
    wire: false,
    run: async ({ create, wire }) => {
      wire?.emulator.setPace({ interval: 5 })
      const cancel = new AbortController()
      const { error, before } = await failing(
        (async function* () {
          for await (const event of create().stream(ask('write something long, please, at length'), cancel.signal)) {
            cancel.abort()
            yield event
          }
        })(),
      )
      assert.equal(error.kind, 'cancelled')
      assert.ok(!before.some((event) => event.type === 'end'))
    },
  },
  {
    name: 'calls at the same time do not mix',
    wire: false,
    run: async ({ create, wire }) => {
      wire?.emulator.setPace({ interval: 1, chunkSize: 2 })
      const model = create()
      const questions = Array.from({ length: 20 }, (_, n) => `question number ${n} of many`)
      const answers = await Promise.all(questions.map(async (question) => textOf(await collect(model.stream(ask(question), never())))))
      for (const [n, answer] of answers.entries()) assert.ok(answer.includes(questions[n] ?? '?'), answer)
    },
  },
  wired('a small pace loses nothing', async ({ create, wire }) => {
    const text = '# Title\n\n- 一二三 👩‍👩‍👧 é\n'.repeat(40)
    wire.emulator.setPace({ interval: 1, chunkSize: 3 })
    wire.emulator.reply(text)
    assert.equal(textOf(await collect(create().stream(ask('go'), never()))), text)
  }),
  wired('usage counts all input tokens and names the cached ones', async ({ create, wire }) => {
    wire.emulator.reply({ text: 'fine', usage: { input: 100, output: 7, cached: 60 } })
    const events = await collect(create().stream(ask('go'), never()))
    assert.deepEqual(
      events.find((event) => event.type === 'usage'),
      { type: 'usage', usage: { inputTokens: 100, outputTokens: 7, cachedTokens: 60 } },
    )
  }),
  wired('odd habits are no failures: CRLF, comments, no role, no usage, no closing mark', async ({ create, wire }) => {
    wire.emulator.setPace({ interval: 1, chunkSize: 2 })
    wire.emulator.reply({ text: 'all is well', crlf: true, comments: true, role: false, usage: false, done: false })
    const events = await collect(create().stream(ask('go'), never()))
    assert.equal(textOf(events), 'all is well')
    assert.deepEqual(events.at(-1), { type: 'end', reason: 'stop' })
    assert.ok(!events.some((event) => event.type === 'usage'))
  }),
  wired('reasoning is kept apart from the answer', async ({ create, wire }) => {
    wire.emulator.reply({ reasoning: 'let me see', text: 'forty-two' })
    const events = await collect(create().stream(ask('go'), never()))
    assert.equal(events.map((event) => (event.type === 'reasoning' ? event.text : '')).join(''), 'let me see')
    assert.equal(textOf(events), 'forty-two')
  }),
  wired('reasons of the end are told apart', async ({ create, wire }) => {
    for (const reason of ['stop', 'length', 'refused'] as const) {
      wire.emulator.reply({ text: 'x', finish: reason })
      assert.deepEqual((await collect(create().stream(ask('go'), never()))).at(-1), { type: 'end', reason })
    }
  }),
  wired('several tool calls are put together from their parts, and their results go back', async ({ create, wire }) => {
    const tools = [
      { name: 'weather', description: 'the weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
    ]
    wire.emulator.reply({
      text: 'one moment',
      toolCalls: ['北京', 'Paris'].map((city, n) => ({ id: `id-${n}`, name: 'weather', arguments: { city } })),
    })
    const request: ModelRequest = { ...ask('weather?'), tools }
    const model = create()
    const events = await collect(model.stream(request, never()))
    const calls = events.flatMap((event) => (event.type === 'tool-call' ? [event.call] : []))
    assert.deepEqual(calls, [
      { id: 'id-0', name: 'weather', arguments: '{"city":"北京"}' },
      { id: 'id-1', name: 'weather', arguments: '{"city":"Paris"}' },
    ])
    assert.deepEqual(events.at(-1), { type: 'end', reason: 'tool-calls' })
    wire.emulator.reply('sunny')
    const results = calls.map((call) => ({ role: 'tool' as const, callId: call.id, text: 'sun' }))
    const messages: ModelRequest['messages'] = [
      ...request.messages,
      { role: 'assistant', text: 'one moment', toolCalls: calls },
      ...results,
    ]
    assert.equal(textOf(await collect(model.stream({ ...request, messages }, never()))), 'sunny')
    assert.deepEqual(wire.emulator.calls.at(-1)?.question?.tools, ['weather'])
  }),
  wired('ids of tool calls that repeat are rewritten, within an answer and over the conversation', async ({ create, wire }) => {
    const twice = [1, 2].map((n) => ({ id: 'same', name: 'count', arguments: { n } }))
    wire.emulator.reply({ toolCalls: twice })
    const earlier: ModelRequest = {
      messages: [
        ...ask('a').messages,
        { role: 'assistant', text: '', toolCalls: [{ id: 'same', name: 'count', arguments: '{}' }] },
        { role: 'tool', callId: 'same', text: '1' },
      ],
    }
    const events = await collect(create().stream(earlier, never()))
    const ids = events.flatMap((event) => (event.type === 'tool-call' ? [event.call.id] : []))
    assert.equal(ids.length, 2)
    assert.equal(new Set([...ids, 'same']).size, 3, ids.join())
  }),
  wired('arguments of a megabyte are refused', async ({ create, wire }) => {
    wire.emulator.reply({ toolCalls: [{ name: 'eat', arguments: { text: 'x'.repeat(1024 * 1024) } }] })
    assert.equal((await failing(create().stream(ask('go'), never()))).error.kind, 'malformed')
  }),
  wired('pictures reach a model that sees, and are named to one that does not', async ({ create, wire }) => {
    const data = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 0])
    const request: ModelRequest = {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'what is it?' },
            { type: 'image', mime: 'image/png', data },
          ],
        },
      ],
    }
    await collect(create({ vision: true }).stream(request, never()))
    await collect(create({ vision: false }).stream(request, never()))
    assert.deepEqual(
      wire.emulator.calls.map((call) => call.question?.images),
      [1, 0],
    )
    assert.match(wire.emulator.calls[1]?.question?.text ?? '', /image\/png/)
  }),
  wired('instructions, limits and temperature are passed on', async ({ create, wire }) => {
    await collect(create().stream({ ...ask('go'), system: 'Be brief.', maxTokens: 77, temperature: 0.5 }, never()))
    const question = wire.emulator.calls[0]?.question
    assert.equal(question?.system, 'Be brief.')
    assert.equal(question?.body.max_tokens, 77)
    assert.equal(question?.body.temperature, 0.5)
  }),
  wired('a wait that the provider asks for is passed on, as seconds or as a date', async ({ create, wire }) => {
    wire.emulator.failNext({ kind: 'status', status: 429, retryAfter: 7 })
    wire.emulator.failNext({ kind: 'status', status: 429, retryAfter: new Date(Date.now() + 90_000).toUTCString() })
    assert.equal((await failing(create().stream(ask('go'), never()))).error.retryAfter, 7000)
    const { retryAfter = 0 } = (await failing(create().stream(ask('go'), never()))).error
    assert.ok(retryAfter > 80_000 && retryAfter <= 91_000, String(retryAfter))
  }),
  wired('an unknown model is not found', async ({ create }) => {
    assert.equal((await failing(create({ model: 'no-such-model' }).stream(ask('go'), never()))).error.kind, 'not-found')
  }),
  wired('a refused key shows nowhere in the error', async ({ create }) => {
    const { error } = await failing(create({ key: KEY }).stream(ask('go'), never()))
    assert.equal(error.kind, 'auth')
    const words = [error.message, error.stack, String(error.cause), JSON.stringify(error)].join('\n')
    assert.ok(!words.includes(KEY) && !words.includes(KEY.slice(0, 14)), words)
    assert.match(error.message, /\[redacted\]/, 'the provider quoted the key')
  }),
  wired('leaving the loop closes the connection at once', async ({ create, wire }) => {
    wire.emulator.setPace({ interval: 5, chunks: 1000 })
    wire.emulator.reply('word '.repeat(1000))
    for await (const _event of create().stream(ask('go'), never())) break
    const at = Date.now()
    const call = await wire.emulator.waitForCall((line) => line.ended !== undefined)
    assert.equal(call.ended?.how, 'client-closed')
    assert.ok((call.ended?.at ?? 0) - at < PROMPT)
  }),
  wired('a steady answer may take longer than the pause between two tokens', async ({ create, wire }) => {
    wire.emulator.setPace({ interval: 10, chunks: 40 })
    wire.emulator.reply('word '.repeat(40))
    assert.equal(textOf(await collect(create({ limits: { idle: 200 } }).stream(ask('go'), never()))), 'word '.repeat(40))
  }),
  wired('a reader who takes his time is no idle provider', async ({ create, wire }) => {
    wire.emulator.setPace({ interval: 10, chunks: 40 })
    wire.emulator.reply('word '.repeat(40))
    let read = 0
    for await (const event of create({ limits: { idle: 200 } }).stream(ask('go'), never())) {
      if (event.type === 'text') read += 1
      // Held until the provider has sent everything, which takes longer than the limit.
      if (read === 3) await wire.emulator.waitForCall((line) => line.ended !== undefined)
      if (event.type === 'end') assert.equal(event.reason, 'stop')
    }
    assert.ok(read > 1)
  }),
  ...faults,
  ...cancels,
]
