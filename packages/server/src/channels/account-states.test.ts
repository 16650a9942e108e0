import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../base/clock.ts'
import type { KnownNode } from '../ports/node.ts'
import { type AccountStatus, accountsOf, keepAccountsKnown } from './account-states.ts'

const account = (state: AccountStatus['state'], lastReceived?: number): AccountStatus => ({
  id: 'desk',
  channel: 'telegram',
  state,
  problem: undefined,
  lastReceived,
})

const alive = (name: string, id: string): KnownNode => ({ id, name, version: '1', startedAt: 0, seenAt: 0, draining: false, alive: true })

/** A node whose looks happen when the test says so; `away`: its database takes nothing. */
function start(name: string, id: string) {
  const rows = new Map<string, string>()
  const world = { now: 0, away: false, writes: 0, status: [account('starting')] as readonly AccountStatus[] }
  let tick = () => {}
  const state = {
    get: async (place: string, key: string) => rows.get(`${place} ${key}`),
    async set(place: string, key: string, value: string) {
      if (world.away) throw new Error('away')
      world.writes++
      rows.set(`${place} ${key}`, value)
    },
    swap: async () => true,
  }
  const clock = {
    elapsed: () => world.now,
    every(_: number, task: () => void) {
      tick = task
      return { [Symbol.dispose]() {} }
    },
  } as unknown as Clock
  keepAccountsKnown({ state, node: { id }, name, clock, status: () => world.status })
  const look = async (ms: number) => {
    world.now += ms
    tick()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { world, state, look }
}

test('a change is written down at once, a sign of life now and then', async () => {
  const { world, state, look } = start('a', '1')
  await look(1000)
  world.status = [account('connected', 5)]
  await look(1000)
  assert.equal(world.writes, 2)
  world.status = [account('connected', 6)]
  for (let seconds = 0; seconds < 29; seconds++) await look(1000)
  assert.equal(world.writes, 2)
  await look(1000)
  assert.equal(world.writes, 3)
  const [found] = await accountsOf(state, [alive('a', '1')])
  assert.deepEqual([found?.id, found?.node, found?.state, found?.lastReceived], ['desk', 'a', 'connected', 6])
})

test('what could not be written is written with the next look', async () => {
  const { world, state, look } = start('a', '1')
  world.away = true
  await look(1000)
  world.away = false
  await look(1000)
  assert.equal((await accountsOf(state, [alive('a', '1')])).length, 1)
})

test('a node that is gone, and what its earlier incarnation found, count for nothing', async () => {
  const { state, look } = start('a', '1')
  await look(1000)
  assert.deepEqual(await accountsOf(state, [alive('a', '2'), alive('b', '3')]), [])
  assert.deepEqual(await accountsOf(state, [{ ...alive('a', '1'), alive: false }]), [])
})
