/** Files sealed in chunks: a chunk that was changed, moved, repeated or cut off does not open. */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { PosthouseError } from '@posthouse/contract'
import { timeOf } from '../base/ids.ts'
import type { Blobs } from '../ports/blobs.ts'
import type { FilePlace } from './places/place.ts'

// File: random prefix of the nonces (7), then chunks of ciphertext and tag. Nonce: prefix | counter (4) | last (1).
const PREFIX = 7
const CHUNK = 64 * 1024
const TAG = 16
const ID = /^[0-9a-f-]{36}$/

/** Keeps blobs at `place`. `key`: 32 bytes, used for nothing else. */
export function createBlobs(place: FilePlace, key: Buffer): Blobs {
  const secret = createSecretKey(key)
  const known = (id: string) => {
    if (!ID.test(id)) throw new PosthouseError('not-found')
    return id
  }
  return {
    async put(id, bytes, limit) {
      let size = 0
      async function* sealed(): AsyncGenerator<readonly Uint8Array[]> {
        const prefix = randomBytes(PREFIX)
        yield [prefix]
        let counter = 0
        for await (const { chunk, last } of chunked(bytes)) {
          size += chunk.length
          if (size > limit) throw new PosthouseError('too-large', `a file may have ${limit} bytes`)
          yield seal(secret, nonce(prefix, counter++, last), id, chunk)
        }
      }
      await place.write(known(id), sealed())
      return size
    },
    async *get(id) {
      await using file = await place.open(known(id))
      if (!file) throw new PosthouseError('not-found')
      const prefix = Buffer.alloc(PREFIX)
      if ((await file.fill(prefix)) < PREFIX) throw new Error(`file ${id} is cut off`)
      // A whole chunk is only known not to be the last one when something follows it.
      const [chunk, ahead] = [Buffer.allocUnsafe(CHUNK + TAG), Buffer.allocUnsafe(1)]
      let begun = 0
      for (let counter = 0; ; counter++) {
        const size = begun + (await file.fill(chunk.subarray(begun)))
        const last = size < chunk.length || (await file.fill(ahead)) === 0
        yield unseal(secret, nonce(prefix, counter, last), id, chunk.subarray(0, size))
        if (last) return
        begun = ahead.copy(chunk)
      }
    },
    remove: (id) => place.remove(known(id)),
    async *ids(from, until) {
      for await (const batch of place.ids()) {
        const wanted = batch.filter((id) => ID.test(id) && timeOf(id) >= from && timeOf(id) < until)
        if (wanted.length > 0) yield wanted
      }
    },
  }
}

function nonce(prefix: Uint8Array, counter: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.set(prefix)
  bytes.writeUInt32BE(counter, PREFIX)
  bytes[11] = last ? 1 : 0
  return bytes
}

/** The sealed chunk and its tag. */
function seal(key: KeyObject, iv: Buffer, id: string, chunk: Uint8Array): [Buffer, Buffer] {
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(id))
  const sealed = cipher.update(chunk)
  cipher.final()
  return [sealed, cipher.getAuthTag()]
}

function unseal(key: KeyObject, iv: Buffer, id: string, sealed: Buffer): Buffer {
  if (sealed.length < TAG) throw new Error(`file ${id} is cut off`)
  const decipher = createDecipheriv('aes-256-gcm', key, iv)
  decipher.setAAD(Buffer.from(id))
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG))
  const plain = decipher.update(sealed.subarray(0, sealed.length - TAG))
  decipher.final()
  return plain
}

/** Regroups bytes into chunks of one size, in one buffer that is used again; always ends with a last one, which may be short or empty. */
async function* chunked(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<{ chunk: Buffer; last: boolean }> {
  const buffer = Buffer.allocUnsafe(CHUNK)
  let size = 0
  for await (const piece of bytes) {
    for (let at = 0; at < piece.length; ) {
      // Full, and something follows: it was not the last one.
      if (size === CHUNK) {
        yield { chunk: buffer, last: false }
        size = 0
      }
      const part = piece.subarray(at, at + CHUNK - size)
      buffer.set(part, size)
      size += part.length
      at += part.length
    }
  }
  yield { chunk: buffer.subarray(0, size), last: true }
}
