import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../base/clock.ts'
import { type Lease, StaleLease } from '../ports/leases.ts'
import type { NodeStore } from '../ports/node.ts'
import { createLeases } from './leases.ts'
import { joinNodes } from './node.ts'

const settled = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** A clock that is moved by hand: with its timers, or past them, as a process that sleeps is. */
function movedClock() {
  let now = 0
  const waiting = new Set<{ readonly at: number; readonly wake: () => void }>()
  const clock = {
    now: () => now,
    elapsed: () => now,
    sleep: (ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        const entry = { at: now + ms, wake: resolve }
        waiting.add(entry)
        signal?.addEventListener('abort', () => resolve(), { once: true })
      }),
  } as unknown as Clock
  const fire = async () => {
    for (const entry of waiting) {
      if (entry.at > now) continue
      waiting.delete(entry)
      entry.wake()
    }
    await settled()
  }
  return {
    clock,
    fire,
    /** No timer notices. */
    oversleep: (ms: number) => {
      now += ms
    },
    async pass(ms: number) {
      for (const end = now + ms; now < end; now += 500) await fire()
      await fire()
    },
  }
}

async function start() {
  const time = movedClock()
  const quiet = { debug() {}, info() {}, warn() {}, error() {} }
  const said: string[] = []
  const store = { away: false, dead: false, answers: Promise.resolve() }
  const tell = async (what: string) => {
    if (store.away) throw new Error('away')
    said.push(what)
  }
  const nodes: NodeStore = {
    shared: true,
    join: ({ id }, _ttl, formerly) => tell(`join ${id} after ${formerly.join()}`),
    beat: async (id) => {
      await tell(`beat ${id}`)
      await store.answers
      return !store.dead
    },
    leave: (id) => tell(`leave ${id}`),
    bury: async () => [],
    list: async () => [],
  }
  let ids = 0
  const options = { nodes, name: 'n', version: '1', clock: time.clock, newId: () => `id-${++ids}`, log: quiet, former: 'old' }
  const node = await joinNodes({ ...options, remember: () => {}, met: () => {} })
  const given: Lease[] = []
  const leases = createLeases({
    store: {
      take: async (name, by) => ({ name, node: by, epoch: given.length + 1 }),
      free: async () => true,
      release: async (lease) => void given.push(lease),
      list: async () => [],
    },
    node,
    clock: time.clock,
    log: quiet,
  })
  await settled()
  return { ...time, node, leases, said, store, given }
}

test('a node that could not be told for 25 s is not live, before any timer says so', async () => {
  const { node, said, oversleep, fire } = await start()
  assert.deepEqual([node.live, said[0]], [true, 'join id-1 after old'])
  oversleep(24_999)
  assert.equal(node.live, true)
  oversleep(1)
  assert.deepEqual([node.live, node.ended.aborted], [false, false])
  const { ended } = node
  await fire()
  assert.deepEqual([ended.aborted, node.live, node.id, said.at(-1)], [true, true, 'id-2', 'join id-2 after id-1'])
})

test('a sign of life that comes through after it stopped does not keep it away: it is back a second later', async () => {
  const { node, store, pass } = await start()
  const { promise, resolve } = Promise.withResolvers<void>()
  store.answers = promise
  await pass(40_000)
  assert.deepEqual([node.live, node.id], [false, 'id-1'])
  resolve()
  await settled()
  await pass(1500)
  assert.deepEqual([node.live, node.id], [true, 'id-2'])
})

test('while the database is away it stops in time, and comes back as another when it is there again', async () => {
  const { node, said, store, pass } = await start()
  await pass(30_000)
  assert.deepEqual([node.live, node.id], [true, 'id-1'])
  store.away = true
  const { ended } = node
  await pass(26_000)
  assert.deepEqual([node.live, ended.aborted, node.id], [false, true, 'id-1'])
  store.away = false
  await pass(2000)
  assert.deepEqual([node.live, said.at(-1)], [true, `join ${node.id} after id-1`])
  assert.notEqual(node.id, 'id-1')
})

test('a node that others took for dead hears of it with its next sign of life', async () => {
  const { node, said, store, pass } = await start()
  const { ended } = node
  store.dead = true
  await pass(10_500)
  store.dead = false
  assert.deepEqual([ended.aborted, node.live, node.id, said.at(-1)], [true, true, 'id-2', 'join id-2 after id-1'])
})

test('what is done in the name of a lease ends with the incarnation; who overslept is refused before any timer', async () => {
  const { leases, given, oversleep, fire } = await start()
  const leaving = new AbortController()
  const seen: Lease[] = []
  let demand = () => {}
  const kept = leases.keep('bot', leaving.signal, async (held, signal) => {
    seen.push(held.lease)
    demand = held.demand
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  })
  await settled()
  demand()
  assert.deepEqual(leases.held, seen)
  oversleep(25_000)
  assert.throws(demand, StaleLease)
  await fire()
  oversleep(1000)
  await fire()
  assert.deepEqual(
    seen.map(({ node }) => node),
    ['id-1', 'id-2'],
  )
  leaving.abort()
  await kept
  assert.deepEqual([given.map(({ node }) => node), leases.held], [['id-1', 'id-2'], []])
})
