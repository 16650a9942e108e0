import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Clock } from '../base/clock.ts'
import type { Held } from '../ports/leases.ts'
import type { Store } from '../ports/store.ts'
import { keepUp } from './upkeep.ts'

const HOUR = 3_600_000

const settled = () => new Promise((resolve) => setImmediate(resolve))

/** Upkeep with a clock that is moved by hand, and a store that counts what it is asked. */
function scene(failing: string[] = []) {
  let now = 1_000 * HOUR
  let hourly: (() => void) | undefined
  const calls: string[] = []
  const settings = new Map<string, string>()
  const called = async <T>(name: string, answer: T): Promise<T> => {
    calls.push(name)
    if (failing.includes(name)) throw new Error(`${name} fails`)
    return answer
  }
  const clock = {
    now: () => now,
    every: (_ms: number, task: () => void) => {
      hourly = task
      return {
        [Symbol.dispose]() {
          hourly = undefined
        },
      }
    },
  } as unknown as Clock
  let rows = 3
  const store = {
    settings: { get: async (key: string) => settings.get(key), set: async (key: string, value: string) => void settings.set(key, value) },
    files: {
      abandon: () => called('abandon', ['f1']),
      remove: () => called('forget', undefined),
      lost: async (ids: string[]) => ids.slice(0, 1),
    },
    prune: () => called('prune', rows-- > 0 ? 1 : 0),
    analyze: () => called('analyze', undefined),
  } as unknown as Store
  const blobs = {
    remove: (id: string) => called(`bytes of ${id}`, undefined),
    async *ids() {
      yield ['lost', 'known']
    },
  }
  const given: string[] = []
  const leases = {
    async keep(name: string, signal: AbortSignal, work: (held: Held, signal: AbortSignal) => Promise<void>) {
      given.push(`has ${name}`)
      await work({} as Held, signal)
      given.push('gave it back')
    },
    held: [],
  }
  const upkeep = keepUp({ store, blobs, leases, clock, log: { debug() {}, info() {}, warn() {}, error() {} } })
  return {
    upkeep,
    calls,
    given,
    async pass(hours: number) {
      await settled()
      now += hours * HOUR
      calls.length = 0
      hourly?.()
      await settled()
      return [...calls]
    },
  }
}

describe('upkeep', () => {
  it('deletes until nothing is left, takes away what nobody sent and what has no row, and has the planner count once a day', async () => {
    const { pass, upkeep, given } = scene()
    assert.deepEqual(await pass(1), ['prune', 'prune', 'prune', 'prune', 'abandon', 'bytes of f1', 'forget', 'bytes of lost', 'analyze'])
    assert.deepEqual(await pass(1), ['prune', 'abandon', 'bytes of f1', 'forget', 'bytes of lost'])
    assert.ok((await pass(23)).includes('analyze'))
    await upkeep.rest()
    assert.deepEqual(given, ['has upkeep', 'gave it back'])
    assert.deepEqual(await pass(1), [])
  })

  it('goes on an hour later when the database was away', async () => {
    const failing = ['prune']
    const { pass } = scene(failing)
    assert.deepEqual(await pass(1), ['prune'])
    failing.pop()
    assert.ok((await pass(1)).includes('analyze'))
  })
})
