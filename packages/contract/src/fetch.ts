/** HTTP as channels and models see it: the part of the web's `fetch` that they need, so that a lean client can stand behind it. */

export interface FetchOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal
  /** Milliseconds until the connection stands; default 10 s. */
  readonly connectTimeout?: number
  /** Milliseconds until the first byte of the answer; default 30 s. */
  readonly headersTimeout?: number
  /** Milliseconds between two chunks of the answer; default 30 s. */
  readonly bodyTimeout?: number
}

export interface FetchResponse {
  readonly status: number
  /** Lower-case names; repeated headers joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  /** Raw bytes; must be read to the end, or left by breaking the loop, which closes the connection. */
  readonly body: AsyncIterable<Uint8Array>
  /** Reads at most 10 MB. */
  text(): Promise<string>
  json(): Promise<unknown>
}

/**
 * One HTTP request. Redirects are not followed.
 * @throws {FetchError} when no answer came.
 */
export type Fetch = (url: string, options?: FetchOptions) => Promise<FetchResponse>

/** The request got no whole answer. */
export class FetchError extends Error {
  /** `connect`: surely not received by the other side. `timeout` and `broken`: it may have been received. `aborted`: by our signal. */
  readonly kind: 'connect' | 'timeout' | 'broken' | 'aborted'
  /** Of the answer that refused a WebSocket. */
  readonly status: number | undefined
  constructor(kind: FetchError['kind'], message: string, cause?: unknown, status?: number) {
    super(message, { cause })
    this.name = 'FetchError'
    this.kind = kind
    this.status = status
  }
}

/** A call from a platform, before anything of it was parsed. */
export interface WebhookRequest {
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly query: Readonly<Record<string, string | undefined>>
  readonly body: Uint8Array
}

export interface WebhookResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Where a value stands: in a header, in the query of the address, or in a cookie that we gave a browser (what it brings back is bound to it). */
export type Where = { readonly header: string } | { readonly query: string } | { readonly cookie: string }

/**
 * How a platform proves that a call is its own, as data; checked in one place over the raw bytes and in constant time.
 *
 * - `token`: what stands there is the secret. `field`: the string of that name in the JSON body is.
 * - `hmac`: it is a keyed digest of `signed`. `digest`: a plain digest of `signed`, which has the secret among its parts.
 * - `ed25519`: it is a signature.
 */
export type WebhookVerification = {
  /** Calls of another method cannot be proven by it. */
  readonly method?: 'GET' | 'POST'
} & (
  | { readonly kind: 'token'; readonly at: Where; readonly prefix?: string; readonly secret: string }
  | { readonly kind: 'field'; readonly name: string; readonly secret: string }
  /** The caller runs on this very machine, and nothing stands between: for programs of the owner's that cannot sign. */
  | { readonly kind: 'loopback' }
  | (Signature & {
      readonly kind: 'hmac' | 'digest'
      readonly algorithm: 'sha1' | 'sha256' | 'sha512'
      readonly secret: string
      /** How the secret is written; `utf8` unless given. */
      readonly secretEncoding?: 'utf8' | 'hex' | 'base64'
    })
  /** The 32 bytes of the key, written in hexadecimal. */
  | (Signature & { readonly kind: 'ed25519'; readonly publicKey: string })
)

interface Signature {
  readonly at: Where
  readonly encoding: 'hex' | 'base64'
  /** Stands before the signature: `sha256=`. */
  readonly prefix?: string
  /** What is signed, put together in this order; the body alone unless given. */
  readonly signed?: readonly SignedPart[]
  /** The parts are put together in the order of their bytes instead (WeCom, DingTalk). */
  readonly sorted?: boolean
  /** When it was signed: farther than `window` milliseconds from now it is refused. Belongs among `signed`, or proves nothing. */
  readonly time?: { readonly at: Where; readonly unit: 's' | 'ms'; readonly window: number }
}

/** `field`: the string of that name in the body, a JSON object or XML element of plain characters. */
export type SignedPart = 'body' | 'secret' | Where | { readonly text: string } | { readonly field: string }

/**
 * AES-256-CBC and HMAC as platforms wrap what they send and want signed what they take; what we keep ourselves is sealed elsewhere.
 * `block`: what the padding (PKCS #7) fills up to, in bytes; 16 unless given.
 */
export interface PlatformCrypto {
  /** @throws PosthouseError `invalid` when it is nothing that this key made. */
  decrypt(bytes: Uint8Array, key: EnvelopeKey): Uint8Array
  encrypt(bytes: Uint8Array, key: EnvelopeKey): Uint8Array
  hmac(algorithm: 'sha1' | 'sha256', secret: string, text: string): Uint8Array
}

export interface EnvelopeKey {
  /** 32 bytes. */
  readonly key: Uint8Array
  /** 16 bytes. */
  readonly iv: Uint8Array
  readonly block?: 16 | 32
}
