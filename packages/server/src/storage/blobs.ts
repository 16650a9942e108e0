/** Files on disk, sealed in chunks: a chunk that was changed, moved, repeated or cut off does not open. */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
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
          await file.writev(seal(secret, nonce(prefix, counter++, last), id, chunk))
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
      const file = await open(pathOf(id), 'r').catch((error: { code?: string }) => {
        throw error.code === 'ENOENT' ? new PosthouseError('not-found') : error
      })
      try {
        const prefix = Buffer.alloc(PREFIX)
        if ((await fill(file, prefix)) < PREFIX) throw new Error(`file ${id} is cut off`)
        // A whole chunk is only known not to be the last one when something follows it.
        const [chunk, ahead] = [Buffer.allocUnsafe(CHUNK + TAG), Buffer.allocUnsafe(1)]
        let begun = 0
        for (let counter = 0; ; counter++) {
          const size = begun + (await fill(file, chunk.subarray(begun)))
          const last = size < chunk.length || (await fill(file, ahead)) === 0
          yield unseal(secret, nonce(prefix, counter, last), id, chunk.subarray(0, size))
          if (last) return
          begun = ahead.copy(chunk)
        }
      } finally {
        await file.close()
      }
    },
    remove: (id) => rm(pathOf(id), { force: true }),
  }
}

/** Reads until the buffer is full or the file ends; answers how much was read. */
async function fill(file: FileHandle, buffer: Buffer): Promise<number> {
  for (let size = 0; ; ) {
    const { bytesRead } = await file.read(buffer, size, buffer.length - size)
    size += bytesRead
    if (bytesRead === 0 || size === buffer.length) return size
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
