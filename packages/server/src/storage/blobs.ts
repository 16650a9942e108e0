/** Files on disk, sealed in chunks: a chunk that was changed, moved, repeated or cut off does not open. */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PosthouseError } from '@posthouse/contract'
import type { Blobs } from '../ports/blobs.ts'

// File: random prefix of the nonces (7), then chunks of ciphertext and tag. Nonce: prefix | counter (4) | last (1).
const PREFIX = 7
const CHUNK = 64 * 1024
const TAG = 16
const ID = /^[0-9a-f-]{36}$/

/** Keeps blobs in `folder`. `key`: 32 bytes, used for nothing else. */
export function createBlobs(folder: string, key: Buffer): Blobs {
  const secret = createSecretKey(key)
  const pathOf = (id: string) => {
    if (!ID.test(id)) throw new PosthouseError('not-found')
    return join(folder, id.slice(-2), id)
  }
  return {
    async put(id, bytes, limit) {
      const path = pathOf(id)
      const part = `${path}.part`
      await mkdir(join(path, '..'), { recursive: true })
      const file = await open(part, 'w', 0o600)
      try {
        const prefix = randomBytes(PREFIX)
        await file.write(prefix)
        let size = 0
        let counter = 0
        for await (const { chunk, last } of chunked(bytes)) {
          size += chunk.length
          if (size > limit) throw new PosthouseError('too-large', `a file may have ${limit} bytes`)
          await file.write(seal(secret, nonce(prefix, counter++, last), id, chunk))
        }
        await file.sync()
        await file.close()
        await rename(part, path)
        return size
      } catch (error) {
        await file.close().catch(() => {})
        await rm(part, { force: true })
        throw error
      }
    },
    async *get(id) {
      const path = pathOf(id)
      let prefix: Buffer | undefined
      let rest: Buffer = Buffer.alloc(0)
      let counter = 0
      try {
        for await (const data of createReadStream(path, { highWaterMark: CHUNK + TAG })) {
          rest = rest.length > 0 ? Buffer.concat([rest, data as Buffer]) : (data as Buffer)
          if (!prefix) {
            prefix = rest.subarray(0, PREFIX)
            rest = rest.subarray(PREFIX)
          }
          // A whole chunk is only known not to be the last one when something follows it.
          while (rest.length > CHUNK + TAG) {
            yield unseal(secret, nonce(prefix, counter++, false), id, rest.subarray(0, CHUNK + TAG))
            rest = rest.subarray(CHUNK + TAG)
          }
        }
      } catch (error) {
        if ((error as { code?: string }).code === 'ENOENT') throw new PosthouseError('not-found')
        throw error
      }
      if (!prefix) throw new Error(`file ${id} is cut off`)
      yield unseal(secret, nonce(prefix, counter, true), id, rest)
    },
    remove: (id) => rm(pathOf(id), { force: true }),
  }
}

function nonce(prefix: Uint8Array, counter: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.set(prefix)
  bytes.writeUInt32BE(counter, PREFIX)
  bytes[11] = last ? 1 : 0
  return bytes
}

function seal(key: KeyObject, iv: Buffer, id: string, chunk: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  cipher.setAAD(Buffer.from(id))
  return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()])
}

function unseal(key: KeyObject, iv: Buffer, id: string, sealed: Buffer): Buffer {
  if (sealed.length < TAG) throw new Error(`file ${id} is cut off`)
  const decipher = createDecipheriv('aes-256-gcm', key, iv)
  decipher.setAAD(Buffer.from(id))
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG))
  return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - TAG)), decipher.final()])
}

/** Regroups bytes into chunks of one size; always ends with a last one, which may be short or empty. */
async function* chunked(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<{ chunk: Buffer; last: boolean }> {
  let held: Buffer[] = []
  let size = 0
  for await (const piece of bytes) {
    held.push(Buffer.from(piece))
    size += piece.length
    if (size <= CHUNK) continue
    let whole = Buffer.concat(held)
    while (whole.length > CHUNK) {
      yield { chunk: whole.subarray(0, CHUNK), last: false }
      whole = whole.subarray(CHUNK)
    }
    held = [whole]
    size = whole.length
  }
  yield { chunk: Buffer.concat(held), last: true }
}
