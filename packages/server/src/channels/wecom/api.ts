/**
 * The server API over the gateway's own HTTP client: one call, one request; the token of the app is fetched, kept and renewed here.
 * developer.work.weixin.qq.com/document/path/91039
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
  /** @throws ApiError when the platform (or something in its place) refuses. @throws FetchError when no whole answer came. */
  call(method: 'GET' | 'POST', path: string, query: Query, body?: object, signal?: AbortSignal): Promise<Answer>
  /** What is uploaded is seen by nobody until a message refers to it. */
  upload(path: string, query: Query, file: OutboundFile, signal?: AbortSignal): Promise<Answer>
  download(path: string, query: Query, signal?: AbortSignal): Promise<FetchResponse>
  /** Posts to an address that came with a message, which is a secret itself. @throws ApiError @throws FetchError */
  answerAt(url: string, body: object, signal?: AbortSignal): Promise<void>
}

export type Query = Readonly<Record<string, string>>

/** A refusal. `code` is the platform's own; 0 when the answer is none of the platform's, thus came from something in between. */
export class ApiError extends Error {
  readonly code: number
  readonly status: number
  constructor(code: number, status: number, words: string) {
    super(`${code || status} ${words}`)
    this.name = 'ApiError'
    this.code = code
    this.status = status
  }
}

const TIMEOUT = 15_000
const UPLOAD_TIMEOUT = 120_000
/** Ahead of its end, which may come earlier than it was told. */
const RENEW_BEFORE = 5 * 60_000
/** The token is missing, unknown or over: developer.work.weixin.qq.com/document/path/90313 */
export const BAD_TOKEN: readonly number[] = [40014, 42001, 41001]

interface App {
  readonly corp_id: string
  readonly secret: string
}

/** Without an app (a group robot) calls carry no token. */
export function createApi(base: string, app: App | undefined, fetch: Fetch, now: () => number): Api {
  const root = `${base.replace(/\/+$/, '')}/cgi-bin`
  let token: { readonly value: string; readonly until: number } | undefined
  let renewing: Promise<string> | undefined

  const renew = async ({ corp_id, secret }: App): Promise<string> => {
    try {
      const query = new URLSearchParams({ corpid: corp_id, corpsecret: secret })
      const { access_token: value, expires_in } = await answerOf(await fetch(`${root}/gettoken?${query}`, { headersTimeout: TIMEOUT }))
      if (typeof value !== 'string' || typeof expires_in !== 'number') throw new ApiError(0, 200, 'answered without a token')
      token = { value, until: now() + Math.max(expires_in * 1000 - RENEW_BEFORE, 0) }
      return value
    } catch (error) {
      // What was to be done with the token surely was not.
      throw error instanceof FetchError ? new FetchError('connect', `no token: ${error.kind}`) : error
    } finally {
      renewing = undefined
    }
  }
  const tokenOf = async (given: App, signal: AbortSignal | undefined): Promise<string> => {
    if (token && now() < token.until) return token.value
    renewing ??= renew(given)
    const value = await renewing
    if (signal?.aborted) throw new FetchError('aborted', 'stopped before it was sent')
    return value
  }
  /** `make` once, and once more if the token turns out to be over. */
  const authorized = async <T>(query: Query, signal: AbortSignal | undefined, make: (query: string) => Promise<T>): Promise<T> => {
    for (let first = true; ; first = false) {
      const value = app && (await tokenOf(app, signal))
      try {
        return await make(String(new URLSearchParams({ ...(value === undefined ? {} : { access_token: value }), ...query })))
      } catch (error) {
        if (!first || !(error instanceof ApiError && BAD_TOKEN.includes(error.code))) throw error
        if (token?.value === value) token = undefined
      }
    }
  }
  const options = (signal: AbortSignal | undefined, headersTimeout = TIMEOUT): FetchOptions => ({
    headersTimeout,
    ...(signal ? { signal } : {}),
  })

  return {
    call: (method, path, query, body, signal) =>
      authorized(query, signal, async (search) =>
        answerOf(
          await fetch(`${root}/${path}?${search}`, {
            method,
            ...(body === undefined ? {} : { headers: { 'content-type': 'application/json; charset=utf-8' }, body: JSON.stringify(body) }),
            ...options(signal),
          }),
        ),
      ),
    upload: (path, query, file, signal) =>
      authorized(query, signal, async (search) => {
        const boundary = `posthouse-${randomUUID()}`
        const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
        const body = multipart(boundary, file)
        return answerOf(await fetch(`${root}/${path}?${search}`, { method: 'POST', headers, body, ...options(signal, UPLOAD_TIMEOUT) }))
      }),
    answerAt: async (url, body, signal) => {
      const headers = { 'content-type': 'application/json; charset=utf-8' }
      await answerOf(await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), ...options(signal) }))
    },
    download: (path, query, signal) =>
      authorized(query, signal, async (search) => {
        const response = await fetch(`${root}/${path}?${search}`, options(signal))
        // A refusal is JSON and no attachment: developer.work.weixin.qq.com/document/path/90254
        if (response.status !== 200 || response.headers['content-disposition'] === undefined) await answerOf(response)
        return response
      }),
  }
}

/** @throws ApiError */
async function answerOf(response: FetchResponse): Promise<Answer> {
  const answer = parseObject(await response.text())
  // Some answers leave the code out when all is well.
  if (answer && response.status === 200 && (answer.errcode ?? 0) === 0) return answer
  const words = typeof answer?.errmsg === 'string' ? answer.errmsg.slice(0, 500) : 'answered with something else than JSON'
  throw new ApiError(typeof answer?.errcode === 'number' ? answer.errcode : 0, response.status, words)
}

/** The platform reads `filelength` too: developer.work.weixin.qq.com/document/path/90253 */
async function* multipart(boundary: string, file: OutboundFile): AsyncGenerator<Uint8Array> {
  const disposition = `form-data; name="media"; filename="${safeName(file.name)}"; filelength=${file.size}`
  yield Buffer.from(`--${boundary}\r\nContent-Disposition: ${disposition}\r\nContent-Type: application/octet-stream\r\n\r\n`)
  yield* file.open()
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

/** A name is untrusted text: no line break or quote may end the header, no slash may make it a path. */
export function safeName(name: string): string {
  return name.replace(/[\p{Cc}"\\/]/gu, '_').slice(-100) || 'file'
}
