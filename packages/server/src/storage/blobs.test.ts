import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { isPosthouseError } from '@posthouse/contract'
import { newId } from '../base/ids.ts'
import { createBlobs } from './blobs.ts'

const CHUNK = 64 * 1024
const TAG = 16
const PREFIX = 7
const folder = mkdtempSync(join(tmpdir(), 'posthouse-blobs-'))
after(() => rmSync(folder, { recursive: true }))
const blobs = createBlobs(folder, randomBytes(32))
const MOST = 10 * 1024 * 1024

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
async function read(id: string, from = blobs): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of from.get(id)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}
const pathOf = (id: string) => join(folder, id.slice(-2), id)
const files = () => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length

async function keep(size: number): Promise<{ id: string; bytes: Buffer }> {
  const id = newId()
  const bytes = randomBytes(size)
  assert.equal(await blobs.put(id, pieces(bytes, 10_000), MOST), size)
  return { id, bytes }
}

describe('blobs', () => {
  it('come back as they were, of any size and in whatever pieces they came', async () => {
    for (const size of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK + 5]) {
      for (const piece of [1000, CHUNK, 5 * CHUNK]) {
        const id = newId()
        const bytes = randomBytes(size)
        assert.equal(await blobs.put(id, pieces(bytes, piece), MOST), size)
        assert.ok((await read(id)).equals(bytes), `${size} in ${piece}`)
      }
    }
  })

  it('lie sealed on the disk, each with a beginning of its own', async () => {
    const text = Buffer.alloc(CHUNK, 'secret ')
    const [one, two] = [newId(), newId()]
    await blobs.put(one, pieces(text, CHUNK), MOST)
    await blobs.put(two, pieces(text, CHUNK), MOST)
    const [first, second] = [readFileSync(pathOf(one)), readFileSync(pathOf(two))]
    assert.ok(!first.includes('secret'))
    assert.ok(!first.subarray(PREFIX, 100).equals(second.subarray(PREFIX, 100)))
  })

  it('of more than the limit are refused, and nothing stays behind', async () => {
    const before = files()
    const limit = CHUNK + 10
    const tooLarge = (error: unknown) => isPosthouseError(error) && error.code === 'too-large'
    await assert.rejects(blobs.put(newId(), pieces(randomBytes(limit + 1), 1000), limit), tooLarge)
    await assert.rejects(
      blobs.put(
        newId(),
        (async function* () {
          yield randomBytes(10)
          throw new Error('the line broke')
        })(),
        limit,
      ),
      /the line broke/,
    )
    assert.equal(files(), before)
    assert.equal(await blobs.put(newId(), pieces(randomBytes(limit), 1000), limit), limit)
  })

  it('that were cut off, lengthened, reordered, repeated or changed do not open', async () => {
    const { id } = await keep(3 * CHUNK + 100)
    const whole = readFileSync(pathOf(id))
    const sealed = CHUNK + TAG
    const part = (index: number) => whole.subarray(PREFIX + index * sealed, PREFIX + (index + 1) * sealed)
    const prefix = whole.subarray(0, PREFIX)
    const damaged: Record<string, Buffer> = {
      'cut at a chunk': whole.subarray(0, PREFIX + 3 * sealed),
      'cut within a chunk': whole.subarray(0, PREFIX + 2 * sealed + 500),
      'cut to one chunk': whole.subarray(0, PREFIX + sealed),
      'cut to nothing': Buffer.alloc(0),
      'cut within the beginning': whole.subarray(0, 3),
      'only the beginning': prefix,
      'one byte less': whole.subarray(0, -1),
      'one byte more': Buffer.concat([whole, Buffer.of(0)]),
      'chunks exchanged': Buffer.concat([prefix, part(1), part(0), part(2), part(3)]),
      'a chunk left out': Buffer.concat([prefix, part(0), part(2), part(3)]),
      'a chunk twice': Buffer.concat([prefix, part(0), part(0), part(1), part(2), part(3)]),
      'the end in the middle': Buffer.concat([prefix, part(0), part(3)]),
    }
    for (const at of [0, PREFIX, PREFIX + 1, PREFIX + CHUNK, PREFIX + sealed, whole.length - 1]) {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] ?? 0) ^ 1
      damaged[`byte ${at} changed`] = changed
    }
    for (const [name, bytes] of Object.entries(damaged)) {
      writeFileSync(pathOf(id), bytes)
      await assert.rejects(read(id), name)
    }
    writeFileSync(pathOf(id), whole)
    await read(id)
  })

  it('that were put in the place of others, or sealed with another key, do not open', async () => {
    const [one, two] = [await keep(1000), await keep(1000)]
    writeFileSync(pathOf(one.id), readFileSync(pathOf(two.id)))
    await assert.rejects(read(one.id))
    await assert.rejects(read(two.id, createBlobs(folder, randomBytes(32))))
    assert.ok((await read(two.id)).equals(two.bytes))
  })

  it('that are not there are not found, and no name leads out of the folder', async () => {
    const notFound = (error: unknown) => isPosthouseError(error) && error.code === 'not-found'
    const { id } = await keep(10)
    await blobs.remove(id)
    await blobs.remove(id)
    for (const name of [id, newId(), '../../../etc/passwd', `${'../'.repeat(12)}`, '', 'x'.repeat(36), id.toUpperCase()]) {
      await assert.rejects(read(name), notFound, name)
    }
    await assert.rejects(blobs.put('../x', pieces(randomBytes(1), 1), 10), notFound)
  })
})
