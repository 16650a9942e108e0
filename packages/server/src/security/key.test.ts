import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { KeyProblem, loadKey } from './key.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'posthouse-key-'))
  path = join(folder, 'keys', 'posthouse.key')
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('the master key', () => {
  it('is made once where there is no data, for its owner only, and is the same from then on', () => {
    const first = loadKey(path, false)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const text = readFileSync(path, 'utf8')
    assert.match(text, /^posthouse-key-1:[A-Za-z0-9+/]{43}=\n$/)
    const second = loadKey(path, true)
    assert.equal(readFileSync(path, 'utf8'), text)
    assert.equal(second.id, first.id)
    assert.deepEqual(second.derive('content'), first.derive('content'))
  })

  it('is never made over data: the start stops with the remedy', () => {
    assert.throws(
      () => loadKey(path, true),
      (error) => error instanceof KeyProblem && error.message.includes(path) && /Put the key file back/.test(error.message),
    )
    assert.ok(!existsSync(path))
  })

  it('is not taken from, nor written over, a file that holds something else', () => {
    loadKey(path, false)
    const good = readFileSync(path, 'utf8').trim()
    for (const wrong of [
      '',
      '\n',
      'nonsense',
      'posthouse-key-1:',
      good.slice(0, -8),
      `${good}AAAA`,
      good.replace('key-1', 'key-2'),
      good.slice(16),
    ]) {
      writeFileSync(path, wrong)
      for (const hasData of [true, false]) assert.throws(() => loadKey(path, hasData), KeyProblem, wrong)
      assert.equal(readFileSync(path, 'utf8'), wrong)
    }
  })

  it('that others could read is closed to them', { skip: process.platform === 'win32' }, () => {
    loadKey(path, false)
    for (const mode of [0o644, 0o640, 0o604, 0o666, 0o777]) {
      chmodSync(path, mode)
      loadKey(path, true)
      assert.equal(statSync(path).mode & 0o777, 0o600, mode.toString(8))
    }
  })

  it('gives each purpose a key of its own, and a name that tells keys apart without telling them', () => {
    const one = loadKey(path, false)
    const other = loadKey(join(folder, 'other.key'), false)
    const keys = [one, other].flatMap((key) =>
      (['content', 'files', 'tokens'] as const).map((purpose) => key.derive(purpose).toString('hex')),
    )
    assert.equal(new Set(keys).size, 6)
    assert.ok(keys.every((key) => key.length === 64))
    assert.match(one.id, /^[0-9a-f]{8}$/)
    assert.notEqual(one.id, other.id)
    assert.ok(!keys.some((key) => key.includes(one.id)))
  })
})
