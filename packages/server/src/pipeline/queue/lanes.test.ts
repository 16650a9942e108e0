import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createTaskGroup } from '../../base/lifecycle.ts'
import { priorities, type Ticket } from '../../ports/broker.ts'
import { createLanes } from './lanes.ts'

const nothing = () => {}
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** Lanes whose turns end when the test says so. */
function setUp(concurrency: number) {
  const running = new Map<string, (more: boolean) => void>()
  const taken: string[] = []
  const run = (lane: string) => new Promise<boolean>((resolve) => running.set(lane, resolve))
  const lanes = createLanes({ run, concurrency, tasks: createTaskGroup(assert.ifError), log })
  const take = (lane: string, name = lane, more: Partial<Ticket> = {}) =>
    lanes.take({ lane, priority: priorities.interactive, ...more }, () => taken.push(name))
  const end = async (lane: string, more = false) => {
    running.get(lane)?.(more)
    running.delete(lane)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { lanes, running, taken, take, end }
}

describe('a ticket is taken', () => {
  it('when its lane runs, and not while it waits', async () => {
    const { running, taken, take, end } = setUp(1)
    take('a')
    take('b')
    take('c', 'c', { priority: priorities.background })
    take('d', 'd', { suspect: true })
    assert.deepEqual([[...running.keys()], taken], [['a'], ['a']])
    for (const lane of ['a', 'd', 'b', 'c']) await end(lane)
    assert.deepEqual(taken, ['a', 'd', 'b', 'c'])
  })

  it('at once when its lane runs already: the lane is looked at again', async () => {
    const { running, taken, take, end } = setUp(1)
    take('a', 'first')
    take('a', 'second')
    assert.deepEqual(taken, ['first', 'second'])
    await end('a')
    assert.deepEqual([...running.keys()], ['a'])
  })

  it('when a newer one of its lane comes, that is kept in its place', async () => {
    const { taken, take, end } = setUp(1)
    take('a')
    take('b', 'older')
    take('b', 'newer')
    assert.deepEqual(taken, ['a', 'older'])
    await end('a')
    assert.deepEqual(taken, ['a', 'older', 'newer'])
  })

  it('never when the sweep found the lane meanwhile and nothing runs it, nor after the end', async () => {
    const { lanes, running, taken, take, end } = setUp(1)
    take('a')
    take('b')
    lanes.take({ lane: 'b', priority: priorities.interactive })
    lanes.stop()
    take('late')
    await end('a')
    assert.deepEqual([[...running.keys()], taken, lanes.waiting], [[], ['a'], 1])
  })
})
