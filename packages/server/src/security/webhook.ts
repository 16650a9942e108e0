/** The one check of a platform's proof: over raw bytes, in constant time. Without a secret nothing passes. */
import { createHash, createHmac, createPublicKey, hash, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import type { SignedPart, WebhookVerification } from '@posthouse/contract'
import type { WebhookCall } from '../ports/guards.ts'

type Signed = Exclude<WebhookVerification, { kind: 'token' }>
type Headers = WebhookCall['headers']

/** Whether the call may still be the platform's own, as far as its headers tell: to be asked before one byte of the body is read. */
export function mayBePlatform(verification: WebhookVerification, headers: Headers, now: number): boolean {
  if (verification.kind === 'token') return isToken(verification, headers)
  return isInTime(verification, headers, now) && signatureIn(verification, headers) !== undefined
}

/** Whether the call is the platform's own. `now`: epoch milliseconds. */
export function verifyWebhook(verification: WebhookVerification, { headers, body }: WebhookCall, now: number): boolean {
  if (verification.kind === 'token') return isToken(verification, headers)
  const signature = signatureIn(verification, headers)
  const message = messageOf(verification, headers, body)
  if (!signature || !message || !isInTime(verification, headers, now)) return false
  if (verification.kind === 'ed25519') {
    const key = keyOf(verification.publicKey)
    return key !== undefined && verify(null, message, key, signature)
  }
  const { algorithm, secretEncoding = 'utf8' } = verification
  const key = Buffer.from(verification.secret, secretEncoding)
  if (key.length === 0) return false
  const wanted =
    verification.kind === 'hmac' ? createHmac(algorithm, key).update(message).digest() : createHash(algorithm).update(message).digest()
  return wanted.length === signature.length && timingSafeEqual(wanted, signature)
}

// ---- Tokens -----------------------------------------------------------------------------------------------------------

type Token = Extract<WebhookVerification, { kind: 'token' }>

function isToken(verification: Token, headers: Headers): boolean {
  const given = headerOf(headers, verification.header)
  if (given === undefined || verification.secret === '') return false
  return timingSafeEqual(digest(given), digestOf(verification))
}

/** Digests are compared, so that neither content nor length shows in the time. */
const digest = (text: string) => hash('sha256', text, 'buffer')

const digests = new WeakMap<Token, Buffer>()

function digestOf(verification: Token): Buffer {
  const known = digests.get(verification)
  if (known) return known
  const made = digest(verification.secret)
  digests.set(verification, made)
  return made
}

// ---- Signatures -------------------------------------------------------------------------------------------------------

const LENGTHS = { sha1: 20, sha256: 32, sha512: 64 }
const ED25519 = 64

/** The bytes of the signature: of the right length, written in the one right way. */
function signatureIn(verification: Signed, headers: Headers): Buffer | undefined {
  const { header, encoding, prefix = '' } = verification
  const given = headerOf(headers, header)
  if (given === undefined || !given.startsWith(prefix)) return undefined
  const text = given.slice(prefix.length)
  const bytes = verification.kind === 'ed25519' ? ED25519 : LENGTHS[verification.algorithm]
  if (text.length !== (encoding === 'hex' ? bytes * 2 : Math.ceil(bytes / 3) * 4)) return undefined
  const signature = Buffer.from(text, encoding)
  const written = signature.toString(encoding)
  return signature.length === bytes && (encoding === 'hex' ? written === text.toLowerCase() : written === text) ? signature : undefined
}

function isInTime({ time }: Signed, headers: Headers, now: number): boolean {
  if (!time) return true
  const given = headerOf(headers, time.header)
  if (given === undefined || !/^\d{1,15}$/.test(given)) return false
  return Math.abs(now - Number(given) * (time.unit === 's' ? 1000 : 1)) <= time.window
}

/** What was signed; undefined when a header of it is missing. */
function messageOf(verification: Signed, headers: Headers, body: Uint8Array): Buffer | undefined {
  const parts: Uint8Array[] = []
  for (const part of verification.signed ?? (['body'] satisfies SignedPart[])) {
    const bytes = partOf(part, verification, headers, body)
    if (bytes === undefined) return undefined
    parts.push(bytes)
  }
  return Buffer.concat(parts)
}

function partOf(part: SignedPart, verification: Signed, headers: Headers, body: Uint8Array): Uint8Array | undefined {
  if (part === 'body') return body
  if (part === 'secret') return verification.kind === 'ed25519' ? undefined : Buffer.from(verification.secret, verification.secretEncoding)
  const text = 'text' in part ? part.text : headerOf(headers, part.header)
  return text === undefined ? undefined : Buffer.from(text)
}

function headerOf(headers: Headers, name: string): string | undefined {
  const given = Object.hasOwn(headers, name.toLowerCase()) ? headers[name.toLowerCase()] : undefined
  return typeof given === 'string' ? given : undefined
}

/** RFC 8410: what stands before the 32 bytes of a public key. */
const KEY_HEAD = Buffer.from('302a300506032b6570032100', 'hex')
const keys = new Map<string, KeyObject>()
/** More than there are accounts with a key. */
const MOST_KEYS = 1000

function keyOf(publicKey: string): KeyObject | undefined {
  const known = keys.get(publicKey)
  if (known) return known
  if (!/^[0-9a-f]{64}$/i.test(publicKey)) return undefined
  if (keys.size >= MOST_KEYS) keys.clear()
  const key = createPublicKey({ key: Buffer.concat([KEY_HEAD, Buffer.from(publicKey, 'hex')]), format: 'der', type: 'spki' })
  keys.set(publicKey, key)
  return key
}
