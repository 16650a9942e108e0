import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import type { MasterKey } from './key.ts'
import { createSealer } from './sealer.ts'

const key = (id: string, secret = id): MasterKey => ({
  id,
  derive: (purpose) =>
    createHash('sha256')
      .update(secret + purpose)
      .digest(),
})
const place = 'messages.body|018f'

describe('the sealer', () => {
  const sealer = createSealer(key('0a0b0c0d'))

  it('opens what it sealed: text, bytes, nothing, much', () => {
    for (const plain of ['', 'x', '你好 😀', 'x'.repeat(1_000_000)])
      assert.equal(sealer.open(sealer.seal(plain, place), place).toString(), plain)
    const bytes = Uint8Array.from({ length: 300 }, (_, index) => index)
    assert.deepEqual(new Uint8Array(sealer.open(sealer.seal(bytes, place), place)), bytes)
    // A view into a larger buffer, as databases hand them out.
    const sealed = sealer.seal('view', place)
    const padded = new Uint8Array(sealed.length + 7)
    padded.set(sealed, 3)
    assert.equal(sealer.open(padded.subarray(3, 3 + sealed.length), place).toString(), 'view')
  })

  it('has a format of its own: version, key, nonce, text, tag', () => {
    const sealed = Buffer.from(sealer.seal('hello', place))
    assert.equal(sealed.length, 1 + 4 + 12 + 5 + 16)
    assert.equal(sealed[0], 1)
    assert.equal(sealed.subarray(1, 5).toString('hex'), '0a0b0c0d')
    assert.ok(!sealed.includes('hello'))
  })

  it('never uses a nonce twice', () => {
    const nonces = new Set(Array.from({ length: 2000 }, () => Buffer.from(sealer.seal('x', place)).subarray(5, 17).toString('hex')))
    assert.equal(nonces.size, 2000)
  })

  it('does not open what was moved to another place', () => {
    const sealed = sealer.seal('secret', place)
    for (const other of ['messages.body|018e', 'messages.title|018f', 'messages.body|018f ', ''])
      assert.throws(() => sealer.open(sealed, other))
  })

  it('does not open when any one bit was changed, or bytes are missing or added', () => {
    const sealed = Buffer.from(sealer.seal('secret', place))
    for (let at = 0; at < sealed.length; at++) {
      for (const bit of [1, 128]) {
        const changed = Buffer.from(sealed)
        changed[at] = (changed[at] ?? 0) ^ bit
        assert.throws(() => sealer.open(changed, place), `byte ${at}`)
      }
      assert.throws(() => sealer.open(sealed.subarray(0, at), place), `${at} bytes`)
    }
    assert.throws(() => sealer.open(Buffer.concat([sealed, Buffer.of(0)]), place))
    assert.throws(() => sealer.open(Buffer.alloc(0), place), /is not a sealed value/)
  })

  it('names the key that a value was sealed with, and does not open it with another', () => {
    const sealed = sealer.seal('secret', place)
    assert.throws(() => createSealer(key('11111111')).open(sealed, place), /sealed with key 0a0b0c0d, this is key 11111111/)
    assert.throws(() => createSealer(key('0a0b0c0d', 'another secret')).open(sealed, place), 'the same name is not the same key')
  })
})
