import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isPosthouseError } from '@posthouse/contract'
import type { Blobs } from '../ports/blobs.ts'
import { createQuota } from './quota.ts'

const KB = 1024

/** Blobs that keep only sizes, by owner. */
function setUp(quota: { all: number; each: number }) {
  const kept: { owner: string; size: number }[] = []
  const blobs: Blobs = {
    async put(_id, bytes, limit, owner = '') {
      let size = 0
      for await (const chunk of bytes) {
        size += chunk.length
        if (size > limit) throw new Error('limit')
      }
      kept.push({ owner, size })
      return size
    },
    get: async function* () {},
    remove: async () => {},
    ids: async function* () {},
  }
  const sum = (wanted: (owner: string) => boolean) => kept.reduce((total, { owner, size }) => total + (wanted(owner) ? size : 0), 0)
  const used = async (owner: string) => ({ all: sum(() => true), own: sum((name) => name === owner) })
  const guarded = createQuota(blobs, { used }, quota)
  let held = 0
  /** Waits until so many puts stand at their gates. */
  const standing = async (wanted: number) => {
    while (held < wanted) await new Promise(setImmediate)
  }
  const put = (owner: string, size: number, gate?: Promise<void>) =>
    guarded
      .put(
        'id',
        (async function* () {
          for (let left = size; left > 0; left -= KB) yield Buffer.alloc(Math.min(KB, left))
          if (gate) held++
          await gate
        })(),
        100 * KB,
        owner,
      )
      .then(
        () => 'kept',
        (error: unknown) => (isPosthouseError(error) ? `${error.code}: ${error.detail}` : String(error)),
      )
  return { put, standing, kept, total: () => sum(() => true) }
}

describe('the quota of files', () => {
  it('lets each have so much, and all together so much, to the byte', async () => {
    const { put, kept } = setUp({ all: 20 * KB, each: 8 * KB })
    assert.equal(await put('ann', 8 * KB), 'kept')
    assert.match(await put('ann', 1), /^no-room: .*your files.*你的/)
    assert.equal(await put('bob', 8 * KB), 'kept')
    assert.match(await put('eve', 4 * KB + 1), /^no-room: .*here.*总/)
    assert.equal(await put('eve', 4 * KB), 'kept')
    assert.equal(kept.length, 3)
    kept.splice(0, 1)
    assert.equal(await put('ann', 8 * KB), 'kept', 'what was deleted is free again')
  })

  it('counts what is under way, and gives it back when it ends or fails', async () => {
    const { put, standing, total } = setUp({ all: 10 * KB, each: 10 * KB })
    const gate = Promise.withResolvers<void>()
    const many = ['a', 'b', 'c'].map((owner) => put(owner, 3 * KB, gate.promise))
    await standing(3)
    assert.match(await put('d', 3 * KB), /no-room/, 'nothing of them has a row yet')
    gate.resolve()
    assert.deepEqual(await Promise.all(many), ['kept', 'kept', 'kept'])
    assert.equal(total(), 9 * KB)
    assert.equal(await put('d', KB), 'kept')
    const one = setUp({ all: 10 * KB, each: 10 * KB })
    for (let count = 0; count < 5; count++) assert.match(await one.put('ann', 11 * KB), /no-room/)
    assert.equal(await one.put('ann', 10 * KB), 'kept')
  })
})
