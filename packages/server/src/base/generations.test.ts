import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createGenerations } from './generations.ts'

describe('generations', () => {
  it('keep what was used last, within the limit', () => {
    const kept = createGenerations<number>(100)
    for (let count = 0; count < 1000; count++) {
      kept.set(`key ${count}`, count, 1)
      assert.equal(kept.get('key 0'), 0, 'what is asked for stays')
    }
    const left = Array.from({ length: 1000 }, (_, count) => kept.get(`key ${count}`)).filter((value) => value !== undefined)
    assert.ok(left.length <= 100 && left.length >= 50, String(left.length))
    assert.ok(left.includes(999))
  })

  it('replace, delete, and refuse what is too large', () => {
    const kept = createGenerations<string>(100)
    kept.set('a', 'one', 20)
    kept.set('a', 'two', 20)
    assert.equal(kept.get('a'), 'two')
    kept.set('b', 'b', 30)
    assert.equal(kept.get('b'), undefined)
    kept.set('a', 'three', 30)
    assert.equal(kept.get('a'), undefined, 'the former value is not the value')
    kept.set('c', 'c', 25)
    kept.set('d', 'd', 25)
    kept.delete('c')
    assert.deepEqual([kept.get('c'), kept.get('d')], [undefined, 'd'])
  })

  it('count what is replaced once', () => {
    const kept = createGenerations<number>(100)
    kept.set('stays', 0, 10)
    for (let count = 0; count < 1000; count++) kept.set('same', count, 10)
    assert.equal(kept.get('stays'), 0)
  })
})
