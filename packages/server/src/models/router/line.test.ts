import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ModelError } from '@posthouse/contract'
import { createLine, type Priority } from './line.ts'

const never = new AbortController().signal
const kind = (expected: string) => (error: unknown) => error instanceof ModelError && error.kind === expected

describe('line', () => {
  it('admits interactive calls before background ones, each in the order of their coming', async () => {
    const line = createLine(1, 10)
    const order: string[] = []
    const first = await line.enter('background', never)
    const wait = async (name: string, priority: Priority) => {
      const leave = await line.enter(priority, never)
      order.push(name)
      leave()
    }
    const all = [wait('b1', 'background'), wait('i1', 'interactive'), wait('b2', 'background'), wait('i2', 'interactive')]
    assert.equal(line.waiting, 4)
    first()
    await Promise.all(all)
    assert.deepEqual(order, ['i1', 'i2', 'b1', 'b2'])
    assert.deepEqual([line.active, line.waiting], [0, 0])
  })

  it('never runs more than the limit', async () => {
    const line = createLine(3, 100)
    let most = 0
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const leave = await line.enter('interactive', never)
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
    const line = createLine(1, 1)
    const leave = await line.enter('interactive', never)
    const waiting = line.enter('interactive', never)
    await assert.rejects(line.enter('interactive', never), kind('rate-limited'))
    leave()
    ;(await waiting)()
  })

  it('lets a call leave the line, and gives its place to nobody', async () => {
    const line = createLine(1, 10)
    const leave = await line.enter('interactive', never)
    const cancel = new AbortController()
    const gone = line.enter('interactive', cancel.signal)
    const next = line.enter('interactive', never)
    cancel.abort()
    await assert.rejects(gone, kind('cancelled'))
    await assert.rejects(line.enter('interactive', AbortSignal.abort()), kind('cancelled'))
    leave()
    ;(await next)()
    assert.deepEqual([line.active, line.waiting], [0, 0])
  })
})
