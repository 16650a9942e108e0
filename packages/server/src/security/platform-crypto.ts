/** AES and HMAC as platforms demand them (Feishu, DingTalk, WeCom). Nothing that we keep is sealed by this. */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import { type EnvelopeKey, type PlatformCrypto, PosthouseError } from '@posthouse/contract'

const CIPHER = 'aes-256-cbc'

export const platformCrypto: PlatformCrypto = {
  decrypt(bytes, { key, iv, block = 16 }) {
    try {
      const decipher = createDecipheriv(CIPHER, key, iv).setAutoPadding(false)
      const padded = Buffer.concat([decipher.update(bytes), decipher.final()])
      const padding = padded.at(-1) ?? 0
      const filled = padded.subarray(-padding)
      if (padding < 1 || padding > block || padding > padded.length || !filled.every((byte) => byte === padding)) throw new Error('padding')
      return padded.subarray(0, padded.length - padding)
    } catch {
      // One answer to all that is wrong with it: the way in which it failed would help to guess the content.
      throw new PosthouseError('invalid', 'what came sealed cannot be opened with the configured key')
    }
  },
  encrypt(bytes, { key, iv, block = 16 }: EnvelopeKey) {
    const padding = block - (bytes.length % block)
    const cipher = createCipheriv(CIPHER, key, iv).setAutoPadding(false)
    return Buffer.concat([cipher.update(bytes), cipher.update(Buffer.alloc(padding, padding)), cipher.final()])
  },
  hmac: (algorithm, secret, text) => createHmac(algorithm, secret).update(text).digest(),
}
