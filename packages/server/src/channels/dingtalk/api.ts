/**
 * The open platform over the gateway's own HTTP client: one call, one request. There are two interfaces, an older one that refuses with a
 * number in 200 and a newer one that refuses with a word in 4xx; one token opens both.
 * https://open.dingtalk.com/document/orgapp/obtain-the-access_token-of-an-internal-app
 */
import { randomUUID } from 'node:crypto'
import {
  type Fetch,
  FetchError,
  type FetchOptions,
  type FetchResponse,
  type Fields,
  type OutboundFile,
  parseObject,
} from '@posthouse/contract'

export type Answer = Fields

export interface Api {
  /**
   * A call of the newer interface.
   * @throws ApiError when the platform (or something in its place) refuses. @throws FetchError when no whole answer came.
   */
  call(method: FetchOptions['method'], path: string, body: object, options: CallOptions): Promise<Answer>
  /** Posts to an address that came with a message, which is a secret itself. @throws ApiError @throws FetchError */
  answerAt(url: string, body: object, options: CallOptions): Promise<Answer>
  /** Answers the `media_id`. What is uploaded is seen by nobody until a message refers to it. @throws ApiError @throws FetchError */
  upload(type: 'image' | 'file', file: OutboundFile, options: CallOptions): Promise<string>
  /** Fetches a file from an address that the platform gave out. @throws ApiError @throws FetchError */
  download(url: string, options: CallOptions): Promise<FetchResponse>
  /** Asks for a place to connect to, which is good for one connection within 90 seconds. @throws ApiError @throws FetchError */
  endpoint(topics: readonly string[], options: CallOptions): Promise<string>
  /** Whether our credentials work. @throws ApiError @throws FetchError */
  check(options: CallOptions): Promise<void>
}

export interface CallOptions {
  readonly signal?: AbortSignal
}

/** A refusal. `code`: the platform's word, its number written out, or empty when the answer is none of the platform's. */
export class ApiError extends Error {
  readonly code: string
  readonly status: number
  /** Milliseconds. */
  readonly retryAfter: number | undefined
  constructor(code: string, status: number, words: string, retryAfter?: number) {
    super(`${code || status} ${words}`)
    this.name = 'ApiError'
    this.code = code
    this.status = status
    this.retryAfter = retryAfter
  }
}

const TIMEOUT = 15_000
const UPLOAD_TIMEOUT = 120_000
const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8', accept: 'application/json' }
/** Milliseconds ahead of its end. */
const RENEW_BEFORE = 5 * 60_000

/** The token is missing, unknown or over, in either interface. */
export const BAD_TOKEN: readonly string[] = ['InvalidAuthentication', '40001', '40014', '42001']

export interface Roots {
  readonly base_url: string
  readonly old_base_url: string
}

export interface App {
  readonly client_id: string
  readonly client_secret: string
}

const rootOf = (url: string) => url.replace(/\/+$/, '')

export function createApi(roots: Roots, { client_id, client_secret }: App, fetch: Fetch, now: () => number): Api {
  const root = rootOf(roots.base_url)
  const oldRoot = rootOf(roots.old_base_url)
  let token: { readonly value: string; readonly until: number } | undefined
  let renewing: Promise<string> | undefined

  const renew = async (): Promise<string> => {
    try {
      const body = JSON.stringify({ appKey: client_id, appSecret: client_secret })
      const { accessToken: value, expireIn } = await answerOf(
        await fetch(`${root}/v1.0/oauth2/accessToken`, { method: 'POST', headers: JSON_TYPE, body, headersTimeout: TIMEOUT }),
      )
      if (typeof value !== 'string' || typeof expireIn !== 'number') throw new ApiError('', 200, 'answered without a token')
      token = { value, until: now() + Math.max(expireIn * 1000 - RENEW_BEFORE, 0) }
      return value
    } catch (error) {
      // What was to be done with the token surely was not.
      throw error instanceof FetchError ? new FetchError('connect', `no token: ${error.message}`) : error
    } finally {
      renewing = undefined
    }
  }
  const tokenFor = async (signal: AbortSignal | undefined, anew = false): Promise<string> => {
    if (token && now() < token.until && !anew) return token.value
    renewing ??= renew()
    const value = await renewing
    if (signal?.aborted) throw new FetchError('aborted', 'stopped before it was sent')
    return value
  }
  /** `make` once, and once more if the token turns out to be over. */
  const authorized = async <T>({ signal }: CallOptions, make: (token: string) => Promise<T>): Promise<T> => {
    for (let first = true; ; first = false) {
      const value = await tokenFor(signal)
      try {
        return await make(value)
      } catch (error) {
        if (!first || !(error instanceof ApiError && BAD_TOKEN.includes(error.code))) throw error
        if (token?.value === value) token = undefined
      }
    }
  }
  const optionsOf = ({ signal }: CallOptions, headersTimeout = TIMEOUT) => ({ headersTimeout, ...(signal ? { signal } : {}) })

  return {
    call: (method = 'POST', path, body, options) =>
      authorized(options, async (value) => {
        const headers = { ...JSON_TYPE, 'x-acs-dingtalk-access-token': value }
        return answerOf(await fetch(`${root}/v1.0/${path}`, { method, headers, body: JSON.stringify(body), ...optionsOf(options) }))
      }),
    answerAt: async (url, body, options) =>
      oldAnswerOf(await fetch(url, { method: 'POST', headers: JSON_TYPE, body: JSON.stringify(body), ...optionsOf(options) })),
    upload: (type, file, options) =>
      authorized(options, async (value) => {
        const boundary = `posthouse-${randomUUID()}`
        const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
        const url = `${oldRoot}/media/upload?access_token=${encodeURIComponent(value)}&type=${type}`
        const body = multipart(boundary, type, file)
        const { media_id } = await oldAnswerOf(await fetch(url, { method: 'POST', headers, body, ...optionsOf(options, UPLOAD_TIMEOUT) }))
        if (typeof media_id !== 'string') throw new ApiError('', 200, 'answered without media_id')
        return media_id
      }),
    async download(url, options) {
      // The platform's own addresses are of its store, which is elsewhere; in the clear only from where we are told to ask.
      const isOurs = url.startsWith(`${root}/`) || url.startsWith(`${oldRoot}/`)
      if (!/^https:\/\/[^/?#@]+\//.test(url) && !isOurs) throw new ApiError('', 200, 'answered with an address that is not safe')
      const response = await fetch(url, optionsOf(options))
      if (response.status !== 200) await answerOf(response)
      return response
    },
    async endpoint(topics, options) {
      const subscriptions = topics.map((topic) => ({ type: 'CALLBACK', topic }))
      const body = JSON.stringify({ clientId: client_id, clientSecret: client_secret, subscriptions, ua: 'posthouse' })
      const { endpoint, ticket } = await answerOf(
        await fetch(`${root}/v1.0/gateway/connections/open`, { method: 'POST', headers: JSON_TYPE, body, ...optionsOf(options) }),
      )
      if (typeof endpoint !== 'string' || typeof ticket !== 'string' || !/^wss?:\/\//.test(endpoint))
        throw new ApiError('', 200, 'answered without an address to connect to')
      return `${endpoint}?ticket=${encodeURIComponent(ticket)}`
    },
    check: async ({ signal }) => void (await tokenFor(signal, true)),
  }
}

/** @throws ApiError */
async function answerOf(response: FetchResponse): Promise<Answer> {
  const answer = parseObject(await response.text())
  if (answer && response.status < 300) return answer
  throw refusal(response, typeof answer?.code === 'string' ? answer.code : '', answer?.message)
}

/** @throws ApiError */
async function oldAnswerOf(response: FetchResponse): Promise<Answer> {
  const answer = parseObject(await response.text())
  if (answer?.errcode === 0) return answer
  // 88 has the reason inside.
  const code = answer?.errcode === 88 ? answer.sub_code : answer?.errcode
  throw refusal(response, typeof code === 'number' || typeof code === 'string' ? String(code) : '', answer?.sub_msg ?? answer?.errmsg)
}

function refusal({ status, headers }: FetchResponse, code: string, words: unknown): ApiError {
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  const said = typeof words === 'string' ? words.slice(0, 500) : 'answered with something else than was promised'
  return new ApiError(code.slice(0, 100), status, said, Number.isFinite(seconds) ? seconds * 1000 : undefined)
}

async function* multipart(boundary: string, type: string, file: OutboundFile): AsyncGenerator<Uint8Array> {
  const head = (disposition: string, more = '') => `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n${more}\r\n`
  const kind = 'Content-Type: application/octet-stream\r\n'
  yield Buffer.from(`${head('name="type"')}${type}\r\n${head(`name="media"; filename="${safeName(file.name)}"`, kind)}`)
  yield* file.open()
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

/** A name is untrusted text: no line break or quote may end the header, no slash may make it a path. */
export function safeName(name: string): string {
  return name.replace(/[\p{Cc}"\\/]/gu, '_').slice(-200) || 'file'
}
