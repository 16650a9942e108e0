import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPosthouseError, keepIdentity, trackWork } from './index.ts'

function createState() {
  const kept = new Map<string, string>()
  const writes: string[] = []
  return {
    writes,
    get: async (key: string) => kept.get(key),
    set: async (key: string, value: string) => {
      writes.push(value)
      kept.set(key, value)
    },
    swap: async () => false,
  }
}

const isUnavailable = (error: unknown) => isPosthouseError(error) && error.code === 'unavailable' && (error.retryAfter ?? 0) > 0
const never = new AbortController().signal

test('who we are is asked once for all starts, and again under other credentials', async () => {
  const state = createState()
  let asked = 0
  const start = (of: string) => keepIdentity(state, of, async () => ({ id: `${of} ${++asked}` }), trackWork())
  const first = await start('app')
  assert.equal(first.known, undefined)
  assert.deepEqual(await first.ask(never), { id: 'app 1' })
  const second = await start('app')
  assert.deepEqual([second.known, second.demand()], [{ id: 'app 1' }, { id: 'app 1' }])
  assert.equal((await start('another app')).known, undefined)
  await state.set('identity', 'no JSON')
  assert.equal((await start('app')).known, undefined)
  assert.equal(asked, 1)
})

test('what is known is written down when it changes', async () => {
  const state = createState()
  const identity = await keepIdentity(state, 'app', async () => 'us', trackWork())
  for (let time = 0; time < 3; time++) await identity.ask(never)
  assert.equal(state.writes.length, 1)
})

test('a call is refused while nobody knows, and never held; it is asked beside, one question at a time, until closing', async () => {
  const underWay = trackWork()
  const answers = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  const signals: AbortSignal[] = []
  const ask = (signal: AbortSignal) => answers[signals.push(signal) - 1]?.promise ?? Promise.reject(new Error('too often'))
  const identity = await keepIdentity(createState(), 'app', ask, underWay)
  for (let time = 0; time < 2; time++) assert.throws(() => identity.demand(), isUnavailable)
  assert.equal(signals.length, 1)
  answers[0]?.reject(new Error('the platform is down'))
  // Its turn: the failure is told to nobody but who listens.
  for (let turn = 0; signals.length === 1 && turn < 10; turn++) {
    assert.throws(() => identity.demand(), isUnavailable)
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  assert.equal(signals.length, 2, 'it is asked again')
  answers[1]?.resolve('us')
  await underWay[Symbol.asyncDispose]()
  assert.equal(identity.demand(), 'us')
  assert.equal(signals[0]?.aborted, true, 'closing ends the question')
})
