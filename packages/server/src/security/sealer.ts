/** The one place that encrypts content: AES-256-GCM, bound to its place in the database (P12). */
import { createCipheriv, createDecipheriv, createSecretKey, randomFillSync } from 'node:crypto'
import type { Sealer } from '../ports/sealer.ts'
import type { MasterKey } from './key.ts'

// version (1) | key id (4) | nonce (12) | ciphertext | tag (16)
const VERSION = 1
const HEAD = 5
const NONCE = 12
const TAG = 16

/** Seals with the key for content. Format and key id travel with every value, so that keys can be rotated. */
export function createSealer(master: MasterKey): Sealer {
  const key = createSecretKey(master.derive('content'))
  const keyId = Buffer.from(master.id, 'hex')
  const nextNonce = noncePool()
  const aad = (at: string) => Buffer.from(`${at}|${master.id}`)
  return {
    seal(plain, at) {
      const bytes = typeof plain === 'string' ? Buffer.from(plain) : plain
      const sealed = Buffer.allocUnsafe(HEAD + NONCE + bytes.length + TAG)
      sealed[0] = VERSION
      keyId.copy(sealed, 1)
      const nonce = nextNonce()
      nonce.copy(sealed, HEAD)
      const cipher = createCipheriv('aes-256-gcm', key, nonce)
      cipher.setAAD(aad(at))
      cipher.update(bytes).copy(sealed, HEAD + NONCE)
      cipher.final()
      cipher.getAuthTag().copy(sealed, sealed.length - TAG)
      return sealed
    },
    open(sealed, at) {
      const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength)
      if (bytes.length < HEAD + NONCE + TAG || bytes[0] !== VERSION) throw new Error(`${at} is not a sealed value`)
      if (!bytes.subarray(1, HEAD).equals(keyId)) {
        throw new Error(`${at} was sealed with key ${bytes.subarray(1, HEAD).toString('hex')}, this is key ${master.id}`)
      }
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(HEAD, HEAD + NONCE))
      decipher.setAAD(aad(at))
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG))
      const plain = decipher.update(bytes.subarray(HEAD + NONCE, bytes.length - TAG))
      decipher.final()
      return plain
    },
  }
}

/** Random nonces, fetched from the system many at a time. Each is handed out once. */
function noncePool(): () => Buffer {
  const pool = Buffer.allocUnsafe(NONCE * 256)
  let next = pool.length
  return () => {
    if (next === pool.length) {
      randomFillSync(pool)
      next = 0
    }
    next += NONCE
    return pool.subarray(next - NONCE, next)
  }
}
