/** What blobs must be, wherever their bytes lie: data, run for every place. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { isPosthouseError } from '@posthouse/contract'
import { newId } from '../../src/base/ids.ts'
import { createBlobs } from '../../src/storage/blobs.ts'
import type { FilePlace } from '../../src/storage/places/place.ts'

const CHUNK = 64 * 1024
const TAG = 16
const PREFIX = 7
const MOST = 10 * 1024 * 1024

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Blobs at a place, and the sealed bytes as they lie there. */
function at(place: FilePlace) {
  const blobs = createBlobs(place, randomBytes(32))
  return {
    blobs,
    async read(id: string, from = blobs): Promise<Buffer> {
      const chunks: Buffer[] = []
      for await (const chunk of from.get(id)) chunks.push(Buffer.from(chunk))
      return Buffer.concat(chunks)
    },
    async raw(id: string): Promise<Buffer> {
      await using file = await place.open(id)
      const buffer = Buffer.alloc(MOST)
      return buffer.subarray(0, await file?.fill(buffer))
    },
    async put(id: string, bytes: Buffer): Promise<void> {
      await place.remove(id)
      await place.write(
        id,
        (async function* () {
          yield [bytes]
        })(),
      )
    },
    async count(): Promise<number> {
      let count = 0
      for await (const ids of place.ids()) count += ids.length
      return count
    },
    async keep(size: number): Promise<{ id: string; bytes: Buffer }> {
      const id = newId()
      const bytes = randomBytes(size)
      assert.equal(await blobs.put(id, pieces(bytes, 10_000), MOST), size)
      return { id, bytes }
    },
  }
}

export interface BlobBehaviour {
  readonly name: string
  run(place: FilePlace): Promise<void>
}

export const blobBehaviours: readonly BlobBehaviour[] = [
  {
    name: 'come back as they were, of any size and in whatever pieces they came',
    async run(place) {
      const { blobs, read } = at(place)
      for (const size of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK + 5, 9 * CHUNK]) {
        for (const piece of [1000, CHUNK, 5 * CHUNK]) {
          const id = newId()
          const bytes = randomBytes(size)
          assert.equal(await blobs.put(id, pieces(bytes, piece), MOST), size)
          assert.ok((await read(id)).equals(bytes), `${size} in ${piece}`)
        }
      }
    },
  },

  {
    name: 'lie sealed on the disk, each with a beginning of its own',
    async run(place) {
      const { blobs, raw } = at(place)
      const text = Buffer.alloc(CHUNK, 'secret ')
      const [one, two] = [newId(), newId()]
      await blobs.put(one, pieces(text, CHUNK), MOST)
      await blobs.put(two, pieces(text, CHUNK), MOST)
      const [first, second] = [await raw(one), await raw(two)]
      assert.ok(!first.includes('secret'))
      assert.ok(!first.subarray(PREFIX, 100).equals(second.subarray(PREFIX, 100)))
    },
  },

  {
    name: 'of more than the limit are refused, and nothing stays behind',
    async run(place) {
      const { blobs, count } = at(place)
      const before = await count()
      const limit = 6 * CHUNK + 10
      const tooLarge = (error: unknown) => isPosthouseError(error) && error.code === 'too-large'
      await assert.rejects(blobs.put(newId(), pieces(randomBytes(limit + 1), 1000), limit), tooLarge)
      await assert.rejects(
        blobs.put(
          newId(),
          (async function* () {
            yield randomBytes(400_000)
            throw new Error('the line broke')
          })(),
          limit,
        ),
        /the line broke/,
      )
      assert.equal(await count(), before)
      assert.equal(await blobs.put(newId(), pieces(randomBytes(limit), 1000), limit), limit)
    },
  },

  {
    name: 'that were cut off, lengthened, reordered, repeated or changed do not open',
    async run(place) {
      const { read, raw, put, keep } = at(place)
      const { id } = await keep(3 * CHUNK + 100)
      const whole = await raw(id)
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
        await put(id, bytes)
        await assert.rejects(read(id), name)
      }
      await put(id, whole)
      await read(id)
    },
  },

  {
    name: 'that were put in the place of others, or sealed with another key, do not open',
    async run(place) {
      const { read, raw, put, keep } = at(place)
      const [one, two] = [await keep(1000), await keep(1000)]
      await put(one.id, await raw(two.id))
      await assert.rejects(read(one.id))
      await assert.rejects(read(two.id, createBlobs(place, randomBytes(32))))
      assert.ok((await read(two.id)).equals(two.bytes))
    },
  },

  {
    name: 'that are not there are not found, and no name leads out of the folder',
    async run(place) {
      const { blobs, read, keep } = at(place)
      const notFound = (error: unknown) => isPosthouseError(error) && error.code === 'not-found'
      const { id } = await keep(10)
      await blobs.remove(id)
      await blobs.remove(id)
      for (const name of [id, newId(), '../../../etc/passwd', `${'../'.repeat(12)}`, '', 'x'.repeat(36), id.toUpperCase()]) {
        await assert.rejects(read(name), notFound, name)
      }
      await assert.rejects(blobs.put('../x', pieces(randomBytes(1), 1), 10), notFound)
    },
  },
  {
    name: 'are listed by the time in which they were made, also those that were left in the middle',
    async run(place) {
      const { blobs, keep } = at(place)
      const before = Date.now()
      const { id } = await keep(2 * CHUNK)
      const found = async (from: number, until: number) => {
        const ids: string[] = []
        for await (const some of blobs.ids(from, until)) ids.push(...some)
        return ids
      }
      assert.ok((await found(before, Date.now() + 1)).includes(id))
      assert.ok(!(await found(0, before)).includes(id))
      const begun = newId()
      let listed: string[] = []
      await blobs.put(
        begun,
        (async function* () {
          yield randomBytes(400_000)
          listed = await found(before, Number.MAX_SAFE_INTEGER)
        })(),
        MOST,
      )
      assert.ok(listed.includes(begun))
    },
  },
]
