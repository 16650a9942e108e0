import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Model, ModelError, type ModelEvent, type ModelFailure, type ModelRequest, modelFailures } from '@posthouse/contract'
import { createPlaces } from '../../base/places.ts'
import { type CallRecord, createModelRouter, type RouterEvent, type RouterOptions } from './index.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }
const never = new AbortController().signal
const question: ModelRequest = { messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }] }

/** A clock that stands until it is moved; tasks run in the order in which they were set. */
function createManualClock() {
  let time = 1000
  let set: { at: number; task: () => void }[] = []
  return {
    now: () => time,
    elapsed: () => time,
    after(ms: number, task: () => void) {
      const entry = { at: time + ms, task }
      set.push(entry)
      return {
        [Symbol.dispose]() {
          set = set.filter((other) => other !== entry)
        },
      }
    },
    move(ms: number) {
      time += ms
      const due = set.filter(({ at }) => at <= time)
      set = set.filter(({ at }) => at > time)
      for (const { task } of due) task()
    },
  }
}

type Step = ModelEvent | ModelError | Promise<void> | 'hang' | string

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(new ModelError('cancelled', 'cancelled'))
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

/** A model that plays one list of steps per call, the last list for ever. */
function fake(id: string, ...scripts: readonly (readonly Step[])[]) {
  const requests: ModelRequest[] = []
  let closed = 0
  const model: Model = {
    id,
    vision: false,
    async *stream(request, signal) {
      const script = scripts[Math.min(requests.length, scripts.length - 1)] ?? []
      requests.push(request)
      try {
        for (const step of script) {
          if (step === 'hang') await aborted(signal)
          else if (step instanceof Promise) await step
          else if (step instanceof ModelError) throw step
          else yield typeof step === 'string' ? { type: 'text', text: step } : step
        }
      } finally {
        closed += 1
      }
    },
  }
  return {
    model,
    requests,
    get closed() {
      return closed
    },
  }
}

const end: ModelEvent = { type: 'end', reason: 'stop' }
const call: ModelEvent = { type: 'tool-call', call: { id: 'c', name: 'n', arguments: '{}' } }
const fails = (kind: ModelFailure, options: { retryAfter?: number; status?: number } = {}) =>
  new ModelError(kind, `it said ${kind}`, options)

function setUp(models: readonly ReturnType<typeof fake>[], options: Partial<RouterOptions> = {}) {
  const clock = createManualClock()
  const records: CallRecord[] = []
  const router = createModelRouter({
    models: models.map(({ model }) => ({ model, maxConcurrency: 1, maxWaiting: 2 })),
    fallback: models.map(({ model }) => model.id),
    clock,
    log,
    places: createPlaces,
    observe: (record) => records.push(record),
    breaker: { threshold: 2, coolDown: 100, maxCoolDown: 1000 },
    ...options,
  })
  const stream = (signal = never, primary = models[0]?.model.id ?? 'none') => router.stream(question, { primary, priority: 0 }, signal)
  return { clock, records, router, stream }
}

async function collect(events: AsyncIterable<RouterEvent>): Promise<RouterEvent[]> {
  const result: RouterEvent[] = []
  for await (const event of events) result.push(event)
  return result
}

const textOf = (events: readonly RouterEvent[]) => events.map((event) => (event.type === 'text' ? event.text : '')).join('')
const usedBy = (events: readonly RouterEvent[]) => events.flatMap((event) => (event.type === 'using' ? [event.model] : []))

async function failing(events: AsyncIterable<RouterEvent>): Promise<ModelError> {
  try {
    await collect(events)
  } catch (error) {
    assert.ok(error instanceof ModelError)
    return error
  }
  return assert.fail('an error was expected')
}

describe('router', () => {
  it('asks the primary and says so', async () => {
    const { stream } = setUp([fake('a', ['hi', end]), fake('b', ['no', end])])
    assert.deepEqual(await collect(stream()), [{ type: 'using', model: 'a', fallback: false }, { type: 'text', text: 'hi' }, end])
  })

  for (const kind of modelFailures) {
    const passed = !['invalid', 'too-long', 'cancelled'].includes(kind)
    it(`${passed ? 'asks the next after' : 'throws'} ${kind}`, async () => {
      const a = fake('a', [fails(kind)])
      const b = fake('b', ['fine', end])
      const { stream } = setUp([a, b])
      if (passed) assert.deepEqual(usedBy(await collect(stream())), ['b'])
      else assert.equal((await failing(stream())).kind, kind)
      assert.equal(b.requests.length, passed ? 1 : 0)
    })
  }

  it('asks each endpoint once, the primary first', async () => {
    const models = ['a', 'b', 'c'].map((id) => fake(id, [fails('timeout')]))
    const { stream, records } = setUp(models)
    await failing(stream(never, 'b'))
    assert.deepEqual(
      records.map(({ endpoint, fallback }) => [endpoint, fallback]),
      [
        ['b', false],
        ['a', true],
        ['c', true],
      ],
    )
  })

  it('passes over a primary that does not exist', async () => {
    const { stream } = setUp([fake('a', ['fine', end])])
    assert.deepEqual(usedBy(await collect(stream(never, 'gone'))), ['a'])
  })

  it('makes one answer out of two models, without the repetition', async () => {
    const a = fake('a', ['The quick brown', ' fox jumps', fails('connection')])
    const b = fake('b', ['fox ju', 'mps over', ' the lazy dog.', end])
    const { stream } = setUp([a, b])
    const events = await collect(stream())
    assert.equal(textOf(events), 'The quick brown fox jumps over the lazy dog.')
    assert.deepEqual(usedBy(events), ['a', 'b'])
    const asked = b.requests[0]?.messages.slice(-2)
    assert.deepEqual(asked?.[0], { role: 'assistant', text: 'The quick brown fox jumps' })
    assert.equal(asked?.[1]?.role, 'user')
  })

  it('goes on over three models, and shows held text at the end', async () => {
    const models = [
      fake('a', ['One, two, three', fails('timeout')]),
      fake('b', [', four', fails('malformed')]),
      fake('c', ['three, four', end]),
    ]
    assert.equal(textOf(await collect(setUp(models).stream())), 'One, two, three, four')
  })

  it('shows at the end what was held back and is new', async () => {
    const models = [fake('a', ['The rain in Spain', fails('timeout')]), fake('b', [' in S', end])]
    assert.equal(textOf(await collect(setUp(models).stream())), 'The rain in Spain in S')
  })

  it('begins anew after nothing but white space or reasoning', async () => {
    const thought: ModelEvent = { type: 'reasoning', text: 'hm' }
    const b = fake('b', ['\n\nHello', end])
    const { stream } = setUp([fake('a', [thought, '\n\n', fails('connection')]), b])
    assert.equal(textOf(await collect(stream())), '\n\nHello')
    assert.equal(b.requests[0]?.messages.length, 1)
  })

  it('gives up when tool calls were given out already', async () => {
    const b = fake('b', ['no', end])
    const error = await failing(setUp([fake('a', [call, fails('connection')]), b]).stream())
    assert.equal(error.kind, 'connection')
    assert.equal(b.requests.length, 0)
  })

  it('takes a stream without an end for malformed', async () => {
    assert.equal((await failing(setUp([fake('a', ['half'])]).stream())).kind, 'malformed')
  })

  it('throws the last real failure, with the story of all', async () => {
    const a = fake('a', [fails('overloaded', { status: 503 })])
    const b = fake('b', [fails('rate-limited', { retryAfter: 9000 })])
    const { stream } = setUp([a, b])
    await failing(stream())
    const error = await failing(stream())
    assert.equal(error.kind, 'overloaded')
    assert.equal(error.status, 503)
    assert.match(error.message, /a: overloaded: it said overloaded; b: rate-limited: not asked/)
    assert.ok(error.cause instanceof AggregateError)
  })

  it('spares an endpoint that keeps failing, then probes it', async () => {
    const a = fake('a', [fails('timeout')], [fails('timeout')], ['back', end])
    const { stream, router, clock } = setUp([a, fake('b', ['fine', end])])
    await collect(stream())
    await collect(stream())
    assert.equal(router.status()[0]?.state, 'open')
    await collect(stream())
    assert.equal(a.requests.length, 2)
    clock.move(100)
    assert.deepEqual(usedBy(await collect(stream())), ['a'])
    assert.equal(router.status()[0]?.state, 'closed')
  })

  it('says how long to wait when nobody may be asked', async () => {
    const { stream, clock } = setUp([fake('a', [fails('auth')])])
    await failing(stream())
    await failing(stream())
    clock.move(40)
    const error = await failing(stream())
    assert.deepEqual([error.kind, error.retryAfter], ['auth', 60])
    assert.match(error.message, /next try in 60 ms; last: it said auth/)
  })

  it('does not count refusals of the request against the endpoint', async () => {
    const { stream, router } = setUp([fake('a', [fails('invalid')])])
    for (let n = 0; n < 5; n += 1) await failing(stream())
    assert.equal(router.status()[0]?.state, 'closed')
  })

  it('lets a rate-limited endpoint rest as long as it asked', async () => {
    const a = fake('a', [fails('rate-limited', { retryAfter: 3000 })], ['rested', end])
    const { stream, router, clock } = setUp([a, fake('b', ['fine', end])])
    assert.deepEqual(usedBy(await collect(stream())), ['b'])
    clock.move(2999)
    assert.deepEqual([router.status()[0]?.state, router.status()[0]?.wait], ['resting', 1])
    assert.deepEqual(usedBy(await collect(stream())), ['b'])
    clock.move(1)
    assert.deepEqual(usedBy(await collect(stream())), ['a'])
  })

  it('refuses when the line is full and nobody else is there', async () => {
    const a = fake('a', ['hang'])
    const { stream, router } = setUp([a])
    const cancel = new AbortController()
    const calls = [1, 2, 3].map(() => failing(stream(cancel.signal)))
    assert.equal((await failing(stream())).kind, 'rate-limited')
    assert.deepEqual([router.status()[0]?.active, router.status()[0]?.waiting], [1, 2])
    cancel.abort()
    for (const error of await Promise.all(calls)) assert.equal(error.kind, 'cancelled')
    assert.deepEqual([router.status()[0]?.active, router.status()[0]?.waiting], [0, 0])
    assert.equal(a.requests.length, 1)
  })

  it('looks again behind the line: who waited for a failing endpoint is spared', async () => {
    const answer = Promise.withResolvers<void>()
    const a = fake('a', [answer.promise, fails('rate-limited', { retryAfter: 500 })])
    const b = fake('b', ['fine', end])
    const { stream, router } = setUp([a, b])
    const both = Promise.all([collect(stream()), collect(stream())])
    assert.equal(router.status()[0]?.waiting, 1)
    answer.resolve()
    for (const events of await both) assert.deepEqual(usedBy(events), ['b'])
    assert.equal(a.requests.length, 1)
    assert.equal(router.status()[0]?.active, 0)
  })

  it('frees the place and closes the model when the reader leaves', async () => {
    const a = fake('a', ['one', 'two', end])
    const { stream, router, records } = setUp([a])
    for await (const event of stream()) if (event.type === 'text') break
    assert.equal(a.closed, 1)
    assert.equal(router.status()[0]?.active, 0)
    assert.equal(records[0]?.outcome, 'cancelled')
  })

  it('bounds the whole answer, waiting included', async () => {
    const { stream, clock, router } = setUp([fake('a', ['some', 'hang']), fake('b', ['no', end])], { totalTimeout: 5000 })
    const outcome = failing(stream())
    const iterator = stream()[Symbol.asyncIterator]()
    const waiting = assert.rejects(iterator.next(), (error: ModelError) => error.kind === 'timeout')
    await Promise.resolve()
    clock.move(5000)
    assert.equal((await outcome).kind, 'timeout')
    await waiting
    assert.equal(router.status()[0]?.active, 0)
  })

  it('writes one record per call, with the figures', async () => {
    const usage: ModelEvent = { type: 'usage', usage: { inputTokens: 3, outputTokens: 4 } }
    const { stream, records } = setUp([fake('a', [fails('timeout')]), fake('b', ['fine', usage, end])])
    await collect(stream())
    assert.deepEqual(records, [
      { endpoint: 'a', outcome: 'timeout', fallback: false, waited: 0, duration: 0 },
      { endpoint: 'b', outcome: 'ok', fallback: true, waited: 0, firstToken: 0, duration: 0, usage: { inputTokens: 3, outputTokens: 4 } },
    ])
  })

  it('warms up what can be warmed, and never throws', async () => {
    let warmed = 0
    const warm: Model = {
      ...fake('a', [end]).model,
      warmUp: async () => {
        warmed += 1
      },
    }
    const cold: Model = { ...fake('b', [end]).model, warmUp: () => Promise.reject(new Error('down')) }
    const { router } = setUp([], { models: [{ model: warm }, { model: cold }] })
    await router.warmUp(never)
    assert.equal(warmed, 1)
  })
})
