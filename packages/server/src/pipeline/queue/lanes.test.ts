import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { priorities } from '@posthouse/contract'
import { createTaskGroup } from '../../base/lifecycle.ts'
import type { Ticket } from '../../ports/broker.ts'
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

describe('classes', () => {
  const { interactive, normal, background } = priorities

  it('go one behind the other, each in the order of its coming; a lane goes with the most urgent of its tickets', async () => {
    const { running, taken, take, end } = setUp(1)
    take('first')
    for (const [lane, priority] of [
      ['b', background],
      ['n', normal],
      ['late', background],
      ['i', interactive],
      ['late', interactive],
      ['n', background],
    ] as const)
      take(lane, lane, { priority })
    for (const lane of ['first', 'i', 'late', 'n', 'b']) {
      assert.deepEqual([...running.keys()], [lane])
      await end(lane)
    }
    assert.deepEqual(new Set(taken), new Set(['first', 'i', 'late', 'n', 'b']))
  })

  it('leave places to those before them', async () => {
    const { lanes, running, take, end } = setUp(4)
    for (const lane of ['b1', 'b2', 'b3']) take(lane, lane, { priority: background })
    assert.deepEqual([...running.keys()], ['b1', 'b2'])
    take('n1', 'n1', { priority: normal })
    take('n2', 'n2', { priority: normal })
    take('i1')
    take('i2')
    assert.deepEqual([...running.keys()], ['b1', 'b2', 'n1', 'i1'])
    await end('i1')
    assert.deepEqual([...running.keys()], ['b1', 'b2', 'n1', 'i2'])
    await end('i2')
    assert.deepEqual([...running.keys()], ['b1', 'b2', 'n1'])
    await end('b1', true)
    assert.deepEqual([...running.keys()], ['b2', 'n1', 'n2'])
    await end('n1')
    assert.deepEqual([...running.keys()], ['b2', 'n2', 'b3'])
    await end('n2')
    assert.deepEqual([[...running.keys()], lanes.waiting], [['b2', 'b3'], 1])
    await end('b2')
    assert.deepEqual([[...running.keys()], lanes.waiting], [['b3', 'b1'], 0])
  })
})
