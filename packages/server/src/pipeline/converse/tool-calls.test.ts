import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Logger, ModelMessage, ModelRequest, Tool, ToolCall } from '@posthouse/contract'
import { systemClock } from '../../base/clock.ts'
import type { Models, RouterEvent } from '../../ports/models.ts'
import type { NewToolCall, Store, StoredToolCall, Turn } from '../../ports/store.ts'
import { createTools } from '../../tools/index.ts'
import { answer } from './answer.ts'
import { LeftInDoubt, type TurnParts, type TurnWork } from './work.ts'

const log: Logger = { debug() {}, info() {}, warn() {}, error() {} }

interface Scene {
  readonly requests: readonly ModelRequest[]
  /** What happened, in order. */
  readonly ledger: readonly string[]
  readonly stop: AbortController
  run(): ReturnType<typeof answer>
}

type Said = { readonly text?: string; readonly calls?: readonly ToolCall[]; readonly reason?: 'stop' | 'length' | 'tool-calls' }
const call = (args: string, name = 'book', id = 'c1'): ToolCall => ({ id, name, arguments: args })

/** A turn with a model that says what `script` says, and two tools that write down their runs. */
function scene(
  script: (request: ModelRequest, step: number) => Said,
  options: { earlier?: readonly StoredToolCall[]; attempts?: number; onRun?: (stop: AbortController) => void } = {},
): Scene {
  const requests: ModelRequest[] = []
  const ledger: string[] = []
  const stop = new AbortController()
  const models: Models = {
    endpoints: [],
    async *stream(request): AsyncGenerator<RouterEvent> {
      requests.push(request)
      const said = script(request, requests.length)
      if (said.text) yield { type: 'text', text: said.text }
      for (const one of said.calls ?? []) yield { type: 'tool-call', call: one }
      yield { type: 'usage', usage: { inputTokens: 10, outputTokens: 1 } }
      yield { type: 'end', reason: said.reason ?? (said.calls ? 'tool-calls' : 'stop') }
    },
  }
  const tool = (name: string, idempotent: boolean): Tool => ({
    name,
    description: '',
    parameters: { type: 'object', properties: { what: { type: 'string' } } },
    idempotent,
    run: async ({ what }) => {
      ledger.push(`run ${name} ${what}`)
      options.onRun?.(stop)
      return `${name}: ${what}`
    },
  })
  const store = {
    settings: { get: async () => undefined },
    conversations: { context: async () => [] },
    toolCalls: {
      async takeOver(_turn: Turn, repeatable: (name: string) => boolean, lost: string) {
        ledger.push('recall')
        return (options.earlier ?? []).map((one) =>
          one.state === 'intended' && !repeatable(one.name) ? { ...one, state: 'unknown', result: lost } : one,
        )
      },
      intend: async (_turn: Turn, { name, arguments: args }: NewToolCall) => void ledger.push(`intend ${name} ${args}`),
      settle: async (_turn: Turn, _id: string, state: string) => void ledger.push(state),
    },
  } as unknown as Store
  let ids = 0
  const parts = {
    store,
    models,
    tools: createTools([tool('book', false), tool('look', true)], { clock: systemClock, log }),
    accounts: { find: () => undefined },
    live: { publish() {} },
    assistant: { instructions: 'Be brief.', contextTokens: 1000 },
    defaultModel: 'main',
    clock: systemClock,
    newId: () => `id-${++ids}`,
    log,
  } as unknown as TurnParts
  const question = {
    id: 'm1',
    seq: 1,
    role: 'user',
    body: { parts: [{ type: 'text', text: 'Book a train.' }] },
    status: 'complete',
    attempts: options.attempts ?? 1,
  }
  const turn = {
    id: 'turn',
    conversation: { id: 'lane', account: 'bot', place: { room: 'r', type: 'direct' } },
    messages: [question],
  } as unknown as Turn
  const work: TurnWork = {
    turn,
    account: undefined,
    language: 'en',
    parts,
    names: async () => new Map(),
    signal: stop.signal,
    draft: { text: '' },
    timing: { model: 0, firstToken: undefined },
  }
  return { requests, ledger, stop, run: () => answer(work) }
}

const textOf = (ended: Awaited<ReturnType<typeof answer>>) => {
  const [part] = ended.messages[0]?.parts ?? []
  return part?.type === 'text' ? part.text : ''
}
const resultsIn = (request: ModelRequest | undefined) =>
  (request?.messages ?? []).flatMap((message) => (message.role === 'tool' ? [message.text] : []))
const callsIn = (request: ModelRequest | undefined) =>
  (request?.messages ?? []).flatMap((message: ModelMessage) => (message.role === 'assistant' ? (message.toolCalls ?? []) : []))
const stored = (change: Partial<StoredToolCall>): StoredToolCall => ({
  id: 'old',
  step: 1,
  callId: 'c1',
  name: 'book',
  arguments: '{"what":"train"}',
  state: 'intended',
  result: undefined,
  ...change,
})
const once = (said: Said) => (_: ModelRequest, step: number) => (step === 1 ? said : { text: 'Done.' })
const booking = once({ text: 'One moment.', calls: [call('{ "what": "train" }')] })

describe('tools in a turn', () => {
  it('P5: intent, run, result; then the model is asked again; all it says is one answer', async () => {
    const played = scene(booking)
    const ended = await played.run()
    assert.deepEqual(played.ledger, ['recall', 'intend book {"what":"train"}', 'run book train', 'done'])
    assert.deepEqual([ended.outcome, textOf(ended)], ['replied', 'One moment.\n\nDone.'])
    assert.deepEqual(ended.messages[0]?.usage, { inputTokens: 20, outputTokens: 2 })
    assert.deepEqual(resultsIn(played.requests[1]), ['book: train'])
    assert.deepEqual(
      played.requests[0]?.tools?.map(({ name }) => name),
      ['book', 'look'],
    )
  })

  it('a turn without tools touches no journal', async () => {
    const played = scene(() => ({ text: 'Hello.' }))
    assert.equal(textOf(await played.run()), 'Hello.')
    assert.deepEqual(played.ledger, [])
  })

  it('what cannot be run is answered with a reason, and leaves a history that every provider takes', async () => {
    const calls = [call('{}', 'cook it'), call('{"what":', 'book', 'c2'), call('{"what":1}', 'book', 'c3')]
    const played = scene(once({ calls }))
    await played.run()
    assert.deepEqual(
      played.ledger.filter((line) => line.startsWith('run')),
      [],
    )
    const [unknown, broken, wrong] = resultsIn(played.requests[1])
    assert.match(unknown ?? '', /no tool of this name/)
    assert.match(broken ?? '', /not valid JSON/)
    assert.match(wrong ?? '', /must be a string/)
    assert.deepEqual(
      callsIn(played.requests[1]).map(({ name, arguments: text }) => [name, text]),
      [
        ['cook_it', '{}'],
        ['book', '{}'],
        ['book', '{"what":1}'],
      ],
    )
  })

  it('repeated ids are made different, within an answer and between them', async () => {
    const calls = [call('{"what":"a"}'), call('{"what":"b"}')]
    const played = scene((_, step) => (step <= 2 ? { calls } : { text: 'Done.' }))
    await played.run()
    const ids = callsIn(played.requests[2]).map(({ id }) => id)
    assert.equal(new Set(ids).size, 4)
    assert.deepEqual(
      played.requests[2]?.messages.flatMap((message) => (message.role === 'tool' ? [message.callId] : [])),
      ids,
    )
  })

  it('P9: ends after 8 steps with an answer, asked for without tools', async () => {
    const played = scene((request) => (request.tools ? { calls: [call('{"what":"more"}', 'look')] } : { text: 'Enough.' }))
    assert.equal(textOf(await played.run()), 'Enough.')
    assert.equal(played.requests.length, 9)
    assert.equal(played.ledger.filter((line) => line.startsWith('run')).length, 8)
    const last = played.requests.at(-1)
    assert.ok(last?.messages.every((message) => message.role !== 'tool' && (message.role !== 'assistant' || !message.toolCalls)))
    assert.match(JSON.stringify(last?.messages), /look: more/)
  })

  it('P9: at most 8 calls of one answer are run', async () => {
    const calls = Array.from({ length: 20 }, (_, n) => call(`{"what":"${n}"}`, 'look', `c${n}`))
    const played = scene(once({ calls }))
    await played.run()
    assert.equal(played.ledger.filter((line) => line.startsWith('run')).length, 8)
    assert.equal(resultsIn(played.requests[1]).length, 20)
  })

  it('calls of an answer that was cut are not run', async () => {
    const played = scene(() => ({ text: 'I would', calls: [call('{"what":"train"}')], reason: 'length' }))
    assert.match(textOf(await played.run()), /length limit/)
    assert.deepEqual(played.ledger, [])
  })

  it('P5: a result of an earlier turn is used again', async () => {
    for (const step of [1, 3]) {
      const played = scene(booking, { attempts: 2, earlier: [stored({ state: 'done', result: 'seat 7', step })] })
      await played.run()
      assert.deepEqual(played.ledger, ['recall'])
      assert.deepEqual(resultsIn(played.requests[1]), ['seat 7'])
    }
  })

  it('P5: an interrupted call is never repeated, in whatever words; the person is told, also when the model does not ask', async () => {
    const again: readonly ((request: ModelRequest, step: number) => Said)[] = [
      booking,
      (_, step) => (step <= 3 ? { calls: [call(`{"what":"train ${step}"}`)] } : { text: 'Done.' }),
      () => ({ text: 'Done.' }),
    ]
    for (const script of again) {
      const played = scene(script, { attempts: 2, earlier: [stored({})] })
      assert.match(textOf(await played.run()), /Done\.\n\n_\(The tool `book` was interrupted/)
      assert.deepEqual(played.ledger, ['recall'])
    }
  })

  it('P5: an interrupted call of an idempotent tool is run again, under its first intent', async () => {
    const played = scene(once({ calls: [call('{"what":"train"}', 'look')] }), { attempts: 2, earlier: [stored({ name: 'look' })] })
    assert.equal(textOf(await played.run()), 'Done.')
    assert.deepEqual(played.ledger, ['recall', 'run look train', 'done'])
  })

  it('P5: what was done in other words is shown once before it is done again', async () => {
    const played = scene((_, step) => (step <= 2 ? { calls: [call('{"what":"a train"}')] } : { text: 'Done.' }), {
      attempts: 2,
      earlier: [stored({ state: 'done', result: 'seat 7' })],
    })
    await played.run()
    assert.match(resultsIn(played.requests[1])[0] ?? '', /^Not run.*"train".*\nseat 7/s)
    assert.deepEqual(played.ledger, ['recall', 'intend book {"what":"a train"}', 'run book a train', 'done'])
  })

  it('stop in a tool: the text so far, and a word about the call', async () => {
    const played = scene(booking, { onRun: (stop) => stop.abort('stop') })
    const ended = await played.run()
    assert.equal(ended.outcome, 'stopped')
    assert.match(textOf(ended), /^One moment\./)
    assert.equal(played.requests.length, 1)
  })

  it('a process that ends in a call: what may be repeated stays intended, of the rest nobody knows', async () => {
    for (const [name, expected] of [
      ['look', ['recall', 'intend look {"what":"x"}', 'run look x']],
      ['book', ['recall', 'intend book {"what":"x"}', 'run book x', 'unknown']],
    ] as const) {
      const played = scene(once({ calls: [call('{"what":"x"}', name)] }), {
        onRun: (stop) => {
          stop.abort('shutdown')
          throw new Error('interrupted')
        },
      })
      await assert.rejects(played.run(), (error) => error instanceof LeftInDoubt === (name === 'book'))
      assert.deepEqual(played.ledger, expected)
    }
  })
})
