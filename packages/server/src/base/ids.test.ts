import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createIds, newId } from './ids.ts'

const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('ids', () => {
  it('are UUIDv7 that carry their time', () => {
    const before = Date.now()
    const id = newId()
    assert.match(id, form)
    const time = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
    assert.ok(time >= before && time <= Date.now())
  })

  it('rise within one millisecond, beyond the counter, and when the clock goes back', () => {
    let now = 1_800_000_000_000
    const next = createIds(() => now)
    const ids: string[] = []
    for (let count = 0; count < 20_000; count++) {
      if (count === 10_000) now -= 3_600_000
      if (count === 15_000) now += 7_200_000
      ids.push(next())
    }
    assert.deepEqual(ids, ids.toSorted())
    assert.equal(new Set(ids).size, ids.length)
    for (const id of ids) assert.match(id, form)
  })

  it('differ between two sources at the same time', () => {
    const [a, b] = [createIds(() => 1), createIds(() => 1)]
    const all = new Set(Array.from({ length: 1000 }, () => [a(), b()]).flat())
    assert.equal(all.size, 2000)
  })
})
