import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Author, Connection, ModelMessage, Place } from '@posthouse/contract'
import type { StoredMessage, Turn } from '../../ports/store.ts'
import { buildRequest } from './context.ts'
import { createNames } from './names.ts'
import type { TurnParts, TurnWork } from './work.ts'

const group: Place = { room: 'team', type: 'group' }
let seq = 0
const said = (text: string, author: Author): StoredMessage => {
  seq++
  return { id: `m${seq}`, seq, role: 'user', body: { parts: [{ type: 'text', text }], author }, status: 'complete' } as never
}

/** A turn in which `history` came before `asked`; `nameOf` is the channel's. `patience` resolves when a request has waited for as long as it may. */
function createScene(
  { history = [], asked }: { readonly history?: readonly StoredMessage[]; readonly asked: readonly StoredMessage[] },
  { nameOf, place = group }: { readonly nameOf?: Connection['nameOf']; readonly place?: Place },
) {
  const patience = Promise.withResolvers<void>()
  const stop = new AbortController()
  const parts = {
    store: { conversations: { context: async () => history.toReversed() } },
    accounts: { find: () => ({ connection: nameOf ? { nameOf } : {} }) },
    assistant: { instructions: '' },
    clock: {
      now: () => 0,
      sleep: (_ms: number, signal: AbortSignal) =>
        Promise.race([patience.promise, new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))]),
    },
    log: { debug() {} },
  } as unknown as TurnParts
  const turn = { id: 't', conversation: { id: 'c', account: 'bot', place }, messages: asked } as unknown as Turn
  const work = { turn, parts, names: createNames({ turn, parts, signal: stop.signal }) } as unknown as TurnWork
  const request = async () => (await buildRequest(work, [], false, 1000)).messages.map(wordsOf).join('\n')
  return { patience, stop, request }
}

const wordsOf = (message: ModelMessage) =>
  message.role === 'user' ? message.content.map((part) => (part.type === 'text' ? part.text : '')).join('\n') : ''

test('in a group the model is told who speaks, in the history too; each is asked for once', async () => {
  const asked: string[] = []
  const names: Readonly<Record<string, string>> = { ann: 'Ann', bob: 'Bob' }
  const nameOf = async (person: string, place: Place) => {
    asked.push(`${person} in ${place.room}`)
    return names[person]
  }
  const scene = createScene(
    {
      history: [said('tea', { id: 'ann' }), said('coffee', { id: 'bob' }), said('water', { id: 'ann' })],
      asked: [said('milk', { id: 'cem' }), said('juice', { id: 'dan', name: 'Dan' }), said('wine', { id: 'eve', username: 'eve' })],
    },
    { nameOf },
  )
  const whole = 'Ann: tea\nBob: coffee\nAnn: water\nmilk\nDan: juice\neve: wine'
  assert.equal(await scene.request(), whole)
  assert.equal(await scene.request(), whole)
  assert.deepEqual(asked.sort(), ['ann in team', 'bob in team', 'cem in team'])
})

test('a name that comes later is there for the next turn, though the messages are the same', async () => {
  const history = [said('tea', { id: 'ann' })]
  const asked = [said('milk', { id: 'dan', name: 'Dan' })]
  assert.equal(await createScene({ history, asked }, { nameOf: async () => undefined }).request(), 'tea\nDan: milk')
  assert.equal(await createScene({ history, asked }, { nameOf: async () => 'Ann' }).request(), 'Ann: tea\nDan: milk')
})

test('an answer waits for names no longer than it may, and not at all when it is stopped', async () => {
  for (const end of ['patience', 'stop'] as const) {
    let until: AbortSignal | undefined
    const waits = Promise.withResolvers<void>()
    const scene = createScene(
      { asked: [said('milk', { id: 'ann' }), said('tea', { id: 'bob' })] },
      {
        nameOf: async (person, _place, signal) => {
          if (person === 'bob') return 'Bob'
          until = signal
          waits.resolve()
          return await new Promise<string>(() => {})
        },
      },
    )
    const request = scene.request()
    await waits.promise
    if (end === 'patience') scene.patience.resolve()
    else scene.stop.abort()
    assert.equal(await request, 'milk\nBob: tea')
    assert.equal(until?.aborted, true, 'nobody asks on')
    assert.equal(await scene.request(), 'milk\nBob: tea', 'and nobody waits again')
  }
})

test('a channel that fails, has no names, or speaks with one person holds nothing', async () => {
  const asked = () => [said('milk', { id: 'ann' })]
  const broken = async () => {
    throw new Error('no right')
  }
  assert.equal(await createScene({ asked: asked() }, { nameOf: broken }).request(), 'milk')
  assert.equal(await createScene({ asked: asked() }, {}).request(), 'milk')
  const direct: Place = { room: 'ann', type: 'direct' }
  let needless = 0
  const count = async () => String(++needless)
  assert.equal(await createScene({ asked: asked() }, { nameOf: count, place: direct }).request(), 'milk')
  assert.equal(needless, 0)
})
