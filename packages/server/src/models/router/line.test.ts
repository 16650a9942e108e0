import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ModelError, type Priority, priorities } from '@posthouse/contract'
import { createPlaces } from '../../base/places.ts'
import { createLine } from './line.ts'

const { interactive, normal, background } = priorities
const never = new AbortController().signal
const kind = (expected: string) => (error: unknown) => error instanceof ModelError && error.kind === expected

describe('line', () => {
  it('admits each class behind those before it, and each in the order of its coming', async () => {
    const line = createLine(createPlaces(1), createPlaces(20))
    const order: string[] = []
    const first = await line.enter(background, never)
    const wait = async (name: string, priority: Priority) => {
      const leave = await line.enter(priority, never)
      order.push(name)
      leave()
    }
    const all = [wait('b1', background), wait('n1', normal), wait('i1', interactive)]
    all.push(wait('b2', background), wait('n2', normal), wait('i2', interactive))
    assert.equal(line.waiting, 6)
    first()
    await Promise.all(all)
    assert.deepEqual(order, ['i1', 'i2', 'n1', 'n2', 'b1', 'b2'])
    assert.deepEqual([line.active, line.waiting], [0, 0])
  })

  it('keeps half of the places, and half of the line, from background work', async () => {
    const line = createLine(createPlaces(4), createPlaces(4))
    const running = [await line.enter(background, never), await line.enter(background, never)]
    const waits = [line.enter(background, never), line.enter(background, never)]
    await assert.rejects(line.enter(background, never), kind('rate-limited'))
    assert.deepEqual([line.active, line.waiting], [2, 2])
    const leave = await line.enter(interactive, never)
    leave()
    assert.deepEqual([line.active, line.waiting], [2, 2], 'a place that was kept is not given away')
    for (const end of running) end()
    for (const wait of waits) (await wait)()
    assert.deepEqual([line.active, line.waiting], [0, 0])
  })

  it('never runs more than the limit', async () => {
    const line = createLine(createPlaces(3), createPlaces(100))
    let most = 0
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const leave = await line.enter(interactive, never)
        most = Math.max(most, line.active)
        await Promise.resolve()
        leave()
        leave()
      }),
    )
    assert.equal(most, 3)
    assert.equal(line.active, 0)
  })

  it('refuses at once when full', async () => {
    const line = createLine(createPlaces(1), createPlaces(1))
    const leave = await line.enter(interactive, never)
    const waiting = line.enter(interactive, never)
    await assert.rejects(line.enter(interactive, never), kind('rate-limited'))
    leave()
    ;(await waiting)()
  })

  it('lets a call leave the line, and gives its place to nobody', async () => {
    const line = createLine(createPlaces(1), createPlaces(10))
    const leave = await line.enter(interactive, never)
    const cancel = new AbortController()
    const gone = line.enter(interactive, cancel.signal)
    const next = line.enter(interactive, never)
    cancel.abort()
    await assert.rejects(gone, kind('cancelled'))
    await assert.rejects(line.enter(interactive, AbortSignal.abort()), kind('cancelled'))
    leave()
    ;(await next)()
    assert.deepEqual([line.active, line.waiting], [0, 0])
  })
})
