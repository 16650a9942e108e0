import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { MasterKey } from './key.ts'
import { createLinks } from './links.ts'

const master = (byte: number) =>
  ({ derive: (name: string) => Buffer.concat([Buffer.alloc(32, byte), Buffer.from(name)]) }) as unknown as MasterKey
const id = '01890a5d-ac96-774b-bcce-b302099a8057'

describe('a signed link', () => {
  const links = createLinks(master(1))
  const [, , , file = '', expires = '', signature = ''] = links.make(id, 1000).split('/')

  it('is the same each time, and good until its end', () => {
    assert.equal(links.make(id, 1000), links.make(id, 1000))
    assert.deepEqual([file, expires, signature.length], [id, '1000', 32])
    assert.ok(links.check(id, 1000, signature, 999))
    assert.ok(!links.check(id, 1000, signature, 1000))
  })

  it('is good for nothing else', () => {
    assert.ok(!links.check(id.replace('7', '8'), 1000, signature, 1))
    assert.ok(!links.check(id, 1001, signature, 1))
    for (const other of [
      '',
      signature.slice(1),
      `${signature}A`,
      signature.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
      '世'.repeat(32),
    ])
      assert.ok(!links.check(id, 1000, other, 1), other)
    assert.ok(!createLinks(master(2)).check(id, 1000, signature, 1))
  })
})
