/**
 * The open platform over the gateway's own HTTP client: one call, one request; the token of the app is fetched, kept and renewed here.
 * https://open.feishu.cn/document/server-docs/api-call-guide/calling-process/overview
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
   * Answers what stands beside `code` and `msg`.
   * @throws ApiError when the platform (or something in its place) refuses. @throws FetchError when no whole answer came.
   */
  call(method: FetchOptions['method'], path: string, body?: object, options?: CallOptions): Promise<Answer>
  /** A form with a file in `field`. What is uploaded is seen by nobody until a message refers to it. */
  upload(path: string, fields: Readonly<Record<string, string>>, field: string, file: OutboundFile, options: CallOptions): Promise<Answer>
  download(path: string, options: CallOptions): Promise<FetchResponse>
  /** Asks for a place to connect to, which is good for one connection. */
  endpoint(options: CallOptions): Promise<{ readonly url: string; readonly config: Answer }>
}

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Milliseconds until the answer begins. */
  readonly timeout?: number
}

/** A refusal. `code` is the platform's own; 0 when the answer is none of the platform's, thus came from something in between. */
export class ApiError extends Error {
  readonly code: number
  readonly status: number
  /** Milliseconds. */
  readonly retryAfter: number | undefined
  constructor(code: number, status: number, words: string, retryAfter?: number) {
    super(`${code || status} ${words}`)
    this.name = 'ApiError'
    this.code = code
    this.status = status
    this.retryAfter = retryAfter
  }
}

const TIMEOUT = 15_000
const UPLOAD_TIMEOUT = 120_000
const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }
/** Ahead of its end; the platform gives out a new one within its last half hour: authentication-management/access-token/tenant_access_token_internal */
const RENEW_BEFORE = 10 * 60_000

/** The token is missing, unknown or over: server-docs/api-call-guide/generic-error-code */
export const BAD_TOKEN: readonly number[] = [99991661, 99991663, 99991664, 99991668, 99991671]

interface App {
  readonly app_id: string
  readonly app_secret: string
}

export function createApi(root: string, app: App, fetch: Fetch, now: () => number): Api {
  let token: { readonly value: string; readonly until: number } | undefined
  let renewing: Promise<string> | undefined

  const renew = async (): Promise<string> => {
    try {
      const request = { method: 'POST', headers: JSON_TYPE, body: JSON.stringify(app), headersTimeout: TIMEOUT } as const
      const { tenant_access_token: value, expire } = await answerOf(
        await fetch(`${root}/open-apis/auth/v3/tenant_access_token/internal`, request),
      )
      if (typeof value !== 'string' || typeof expire !== 'number') throw new ApiError(0, 200, 'answered without a token')
      token = { value, until: now() + Math.max(expire * 1000 - RENEW_BEFORE, 0) }
      return value
    } catch (error) {
      // What was to be done with the token surely was not.
      throw error instanceof FetchError ? new FetchError('connect', `no token: ${error.message}`) : error
    } finally {
      renewing = undefined
    }
  }
  const tokenFor = async (signal: AbortSignal | undefined): Promise<string> => {
    if (token && now() < token.until) return token.value
    renewing ??= renew()
    const value = await renewing
    if (signal?.aborted) throw new FetchError('aborted', 'stopped before it was sent')
    return value
  }
  /** `make` once, and once more if the token turns out to be over. */
  const authorized = async <T>(signal: AbortSignal | undefined, make: (headers: Record<string, string>) => Promise<T>): Promise<T> => {
    for (let first = true; ; first = false) {
      const value = await tokenFor(signal)
      try {
        return await make({ authorization: `Bearer ${value}` })
      } catch (error) {
        if (!first || !(error instanceof ApiError && BAD_TOKEN.includes(error.code))) throw error
        if (token?.value === value) token = undefined
      }
    }
  }
  const optionsOf = ({ signal, timeout = TIMEOUT }: CallOptions) => ({ headersTimeout: timeout, ...(signal ? { signal } : {}) })

  return {
    call: (method = 'GET', path, body, options = {}) =>
      authorized(options.signal, async (headers) =>
        answerOf(
          await fetch(`${root}/open-apis/${path}`, {
            method,
            headers: { ...headers, ...JSON_TYPE },
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
            ...optionsOf(options),
          }),
        ),
      ),
    upload: (path, fields, field, file, options) =>
      authorized(options.signal, async (headers) => {
        const boundary = `posthouse-${randomUUID()}`
        const type = { 'content-type': `multipart/form-data; boundary=${boundary}` }
        const body = multipart(boundary, fields, field, file)
        const more = optionsOf({ timeout: UPLOAD_TIMEOUT, ...options })
        return answerOf(await fetch(`${root}/open-apis/${path}`, { method: 'POST', headers: { ...headers, ...type }, body, ...more }))
      }),
    download: (path, options) =>
      authorized(options.signal, async (headers) => {
        const response = await fetch(`${root}/open-apis/${path}`, { headers, ...optionsOf(options) })
        // A refusal is JSON, also where bytes were asked for.
        if (response.status !== 200) await answerOf(response)
        return response
      }),
    async endpoint(options) {
      const body = JSON.stringify({ AppID: app.app_id, AppSecret: app.app_secret })
      const headers = { ...JSON_TYPE, locale: 'zh' }
      const { data } = await answerOf(await fetch(`${root}/callback/ws/endpoint`, { method: 'POST', headers, body, ...optionsOf(options) }))
      const { URL: url, ClientConfig: config } = (data ?? {}) as Answer
      if (typeof url !== 'string') throw new ApiError(0, 200, 'answered without an address to connect to')
      return { url, config: (config ?? {}) as Answer }
    },
  }
}

/** @throws ApiError */
async function answerOf(response: FetchResponse): Promise<Answer> {
  const answer = parseObject(await response.text())
  if (answer?.code === 0) return answer
  const seconds = Number(response.headers['x-ogw-ratelimit-reset'] ?? response.headers['retry-after'] ?? Number.NaN)
  const words = typeof answer?.msg === 'string' ? answer.msg.slice(0, 500) : 'answered with something else than JSON'
  throw new ApiError(
    typeof answer?.code === 'number' ? answer.code : 0,
    response.status,
    words,
    Number.isFinite(seconds) ? seconds * 1000 : undefined,
  )
}

async function* multipart(
  boundary: string,
  fields: Readonly<Record<string, string>>,
  field: string,
  file: OutboundFile,
): AsyncGenerator<Uint8Array> {
  const head = (disposition: string, type = '') => `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n${type}\r\n`
  const texts = Object.entries(fields).map(([name, value]) => `${head(`name="${name}"`)}${value}\r\n`)
  const type = 'Content-Type: application/octet-stream\r\n'
  yield Buffer.from(texts.join('') + head(`name="${field}"; filename="${safeName(file.name)}"`, type))
  yield* file.open()
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

/** A name is untrusted text: no line break or quote may end the header, no slash may make it a path. */
export function safeName(name: string): string {
  return name.replace(/[\p{Cc}"\\/]/gu, '_').slice(-200) || 'file'
}
