/** The one check of a platform's proof: over raw bytes, in constant time. Without a secret nothing passes. */
import { createHash, createHmac, createPublicKey, hash, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import type { SignedPart, WebhookVerification, Where } from '@posthouse/contract'
import type { WebhookCall } from '../ports/guards.ts'

type Kind<K extends WebhookVerification['kind']> = Extract<WebhookVerification, { kind: K }>
type Signed = Kind<'hmac' | 'digest'> | Kind<'ed25519'>
type Head = Omit<WebhookCall, 'body'>

/** Whether the call may still be the platform's own, as far as all but its body tells: to be asked before one byte of that is read. */
export function mayBePlatform(verification: WebhookVerification, head: Head, now: number): boolean {
  if (!isOfMethod(verification, head)) return false
  if (verification.kind === 'token') return isToken(verification, head)
  if (verification.kind === 'field') return verification.secret !== ''
  if (verification.kind === 'loopback') return isFromHere(head)
  return isInTime(verification, head, now) && signatureIn(verification, head) !== undefined
}

/** Whether the call is the platform's own. `now`: epoch milliseconds. */
export function verifyWebhook(verification: WebhookVerification, call: WebhookCall, now: number): boolean {
  if (!isOfMethod(verification, call)) return false
  if (verification.kind === 'token') return isToken(verification, call)
  if (verification.kind === 'loopback') return isFromHere(call)
  // Whoever knows the secret may write it beside other strings of that name; nobody else can.
  if (verification.kind === 'field') return stringsOf(call.body, verification.name).some((given) => isSecret(given, verification))
  const signature = signatureIn(verification, call)
  const message = messageOf(verification, call)
  if (!signature || !message || !isInTime(verification, call, now)) return false
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

function isOfMethod({ method }: WebhookVerification, head: Head): boolean {
  return method === undefined || method === head.method
}

/** What a proxy passes on comes from anywhere, though the proxy runs here. */
const PASSED_ON = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip']

function isFromHere({ peer, headers }: Head): boolean {
  if (PASSED_ON.some((name) => headers[name] !== undefined)) return false
  return peer !== undefined && /^(?:127(?:\.\d{1,3}){3}|::1|::ffff:127(?:\.\d{1,3}){3})$/.test(peer)
}

// ---- Tokens -----------------------------------------------------------------------------------------------------------

type Token = Kind<'token' | 'field'>

function isToken(verification: Kind<'token'>, head: Head): boolean {
  const { prefix = '' } = verification
  const given = valueAt(verification.at, head)
  return given?.startsWith(prefix) === true && isSecret(given.slice(prefix.length), verification)
}

function isSecret(given: string | undefined, verification: Token): boolean {
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
function signatureIn(verification: Signed, head: Head): Buffer | undefined {
  const { at, encoding, prefix = '' } = verification
  const given = valueAt(at, head)
  if (given === undefined || !given.startsWith(prefix)) return undefined
  const text = given.slice(prefix.length)
  const bytes = verification.kind === 'ed25519' ? ED25519 : LENGTHS[verification.algorithm]
  if (text.length !== (encoding === 'hex' ? bytes * 2 : Math.ceil(bytes / 3) * 4)) return undefined
  const signature = Buffer.from(text, encoding)
  const written = signature.toString(encoding)
  return signature.length === bytes && (encoding === 'hex' ? written === text.toLowerCase() : written === text) ? signature : undefined
}

function isInTime({ time }: Signed, head: Head, now: number): boolean {
  if (!time) return true
  const given = valueAt(time.at, head)
  if (given === undefined || !/^\d{1,15}$/.test(given)) return false
  return Math.abs(now - Number(given) * (time.unit === 's' ? 1000 : 1)) <= time.window
}

/** What was signed; undefined when a part of it is missing. */
function messageOf(verification: Signed, call: WebhookCall): Buffer | undefined {
  const parts: Uint8Array[] = []
  for (const part of verification.signed ?? (['body'] satisfies SignedPart[])) {
    const bytes = partOf(part, verification, call)
    if (bytes === undefined) return undefined
    parts.push(bytes)
  }
  return Buffer.concat(verification.sorted ? parts.toSorted(Buffer.compare) : parts)
}

function partOf(part: SignedPart, verification: Signed, call: WebhookCall): Uint8Array | undefined {
  if (part === 'body') return call.body
  if (part === 'secret') return verification.kind === 'ed25519' ? undefined : Buffer.from(verification.secret, verification.secretEncoding)
  const text = 'text' in part ? part.text : 'field' in part ? fieldOf(call.body, part.field) : valueAt(part, call)
  return text === undefined ? undefined : Buffer.from(text)
}

function valueAt(where: Where, { headers, query = {} }: Head): string | undefined {
  if ('cookie' in where) return cookieOf(headers.cookie, where.cookie)
  const [from, name] = 'header' in where ? ([headers, where.header.toLowerCase()] as const) : ([query, where.query] as const)
  const given = Object.hasOwn(from, name) ? from[name] : undefined
  return typeof given === 'string' ? given : undefined
}

/** The one cookie of that name, of plain characters; undefined when there are two. */
function cookieOf(cookies: unknown, name: string): string | undefined {
  const given = (typeof cookies === 'string' ? cookies : '').split(';').flatMap((each) => {
    const [key = '', value = ''] = each.trim().split('=', 2)
    return key === name ? [value] : []
  })
  return given.length === 1 && /^[\w.-]{1,256}$/.test(given[0] ?? '') ? given[0] : undefined
}

/** The one string of that name; undefined when there are two: which one would be read, nobody knows. */
function fieldOf(body: Uint8Array, name: string): string | undefined {
  const [first, second] = stringsOf(body, name)
  return second === undefined ? first : undefined
}

/** More strings of one name than any platform writes. */
const MOST_STRINGS = 8

/** What stands under that name in a body that is not parsed yet: `"name":"..."` or `<name><![CDATA[...]]></name>`, of plain characters. Some write a slash in JSON as `\/`. */
function stringsOf(body: Uint8Array, name: string): string[] {
  const found = Buffer.from(body).toString('latin1').matchAll(fieldPattern(name)).take(MOST_STRINGS)
  return [...found].map((match) => match[1]?.replaceAll('\\/', '/') ?? match[2] ?? match[3] ?? '')
}

const patterns = new Map<string, RegExp>()
/** Neither a quote nor a backslash. */
const PLAIN = '[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]'

/** An escaped quote stands behind a backslash, so nothing inside of a string looks like a field. */
function fieldPattern(name: string): RegExp {
  const known = patterns.get(name)
  if (known) return known
  const word = name.replace(/[^\w-]/g, '')
  const made = new RegExp(
    `"${word}"[ \\t\\r\\n]{0,64}:[ \\t\\r\\n]{0,64}"(${PLAIN}*(?:\\\\/${PLAIN}*)*)"|<${word}><!\\[CDATA\\[([^\\]<>]*)\\]\\]></${word}>|<${word}>([^\\]<>&]*)</${word}>`,
    'g',
  )
  patterns.set(name, made)
  return made
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
