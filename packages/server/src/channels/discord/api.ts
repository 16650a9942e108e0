/**
 * Discord's HTTP API over the gateway's own client: one call, one request, no retry. What Discord told of its limits is kept, so that a call
 * which it would refuse is not made: too many refusals (401, 403, 429) lock an address out. https://docs.discord.com/developers/topics/rate-limits
 */
import { randomUUID } from 'node:crypto'
import { type Fetch, FetchError, type FetchResponse, type OutboundFile } from '@posthouse/contract'

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Milliseconds until the answer begins. */
  readonly timeout?: number
  /** Asks whether we are known again, also after refusals. */
  readonly knock?: boolean
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface Api {
  /** @throws ApiError when Discord (or something in its place) refuses. @throws FetchError when no whole answer came. */
  call<T = unknown>(method: Method, path: string, body?: object, options?: CallOptions): Promise<T>
  /** The same with a file. `connect` is thrown also when the upload ended before all of it was sent. */
  upload<T = unknown>(method: Method, path: string, body: object, file: OutboundFile, options?: CallOptions): Promise<T>
  /** What is under an address that Discord gave us; without our token. @throws FetchError */
  download(url: string, options?: CallOptions): Promise<FetchResponse>
}

/** A refusal. `code` is Discord's own, 0 for most that have none; undefined when the answer came from something in between. */
export class ApiError extends Error {
  readonly status: number
  readonly code: number | undefined
  /** Milliseconds. */
  readonly retryAfter: number | undefined
  constructor(status: number, message: string, code?: number, retryAfter?: number) {
    super(`${status} ${message}`)
    this.name = 'ApiError'
    this.status = status
    this.code = code
    this.retryAfter = retryAfter
  }
}

const TIMEOUT = 30_000
const UPLOAD_TIMEOUT = 120_000
/** https://docs.discord.com/developers/reference#user-agent: others are turned away. */
const USER_AGENT = 'DiscordBot (posthouse, 1)'
const MOST_BUCKETS = 2000
/** After so many refusals of our token in a row we only knock, for a while. */
const REFUSALS = 3
const LOCKED_FOR = 30_000

export function createApi(base: string, token: string, fetch: Fetch, now: () => number = Date.now): Api {
  const root = base.replace(/\/+$/, '')
  /** Until when a route takes no calls, by its name and channel. */
  const exhausted = new Map<string, number>()
  let allExhausted = 0
  let refusals = 0
  let locked = 0

  const hold = (key: string, { knock }: CallOptions) => {
    const at = now()
    if (locked > at && !knock) throw new ApiError(401, 'not called: Discord refused the token several times in a row', 0)
    const until = Math.max(allExhausted, exhausted.get(key) ?? 0)
    if (until > at) throw new ApiError(429, 'not called: the limit of this route is used up', 0, until - at)
  }

  const note = (key: string, { status, headers }: FetchResponse, retryAfter: number | undefined) => {
    const at = now()
    // What no token of ours proves says nothing of it.
    if (!/ \/(interactions|webhooks)\//.test(key)) refusals = status === 401 ? refusals + 1 : 0
    locked = refusals >= REFUSALS ? at + LOCKED_FOR : 0
    if (exhausted.size > MOST_BUCKETS) for (const [known, until] of exhausted) if (until <= at) exhausted.delete(known)
    const rest = Number(headers['x-ratelimit-reset-after'])
    if (headers['x-ratelimit-remaining'] === '0' && rest > 0) exhausted.set(key, at + rest * 1000)
    if (status === 429 && retryAfter !== undefined) {
      if (headers['x-ratelimit-global'] === 'true') allExhausted = at + retryAfter
      else exhausted.set(key, at + retryAfter)
    }
  }

  const request = async (
    method: Method,
    path: string,
    headers: Record<string, string>,
    body: string | AsyncIterable<Uint8Array> | undefined,
    options: CallOptions,
    wait: number,
  ) => {
    const key = bucketOf(method, path)
    hold(key, options)
    try {
      const response = await fetch(`${root}${path}`, {
        method,
        headers: { 'user-agent': USER_AGENT, ...(isOpen(path) ? {} : { authorization: `Bot ${token}` }), ...headers },
        ...(body === undefined ? {} : { body }),
        headersTimeout: options.timeout ?? wait,
        ...(options.signal ? { signal: options.signal } : {}),
      })
      const text = await response.text()
      const answer = response.status === 204 ? undefined : parse(text)
      const seconds = Number(
        (answer as { retry_after?: unknown } | undefined)?.retry_after ?? response.headers['retry-after'] ?? Number.NaN,
      )
      const retryAfter = Number.isFinite(seconds) && seconds >= 0 ? Math.ceil(seconds * 1000) : undefined
      note(key, response, retryAfter)
      if (response.status >= 200 && response.status < 300 && (response.status === 204 || answer !== undefined)) return answer
      throw refusalOf(response.status, answer, retryAfter)
    } catch (error) {
      throw redacted(error, token)
    }
  }

  return {
    call: (method, path, body, options = {}) =>
      request(
        method,
        path,
        body ? { 'content-type': 'application/json' } : {},
        body && JSON.stringify(body),
        options,
        TIMEOUT,
      ) as Promise<never>,
    async upload(method, path, body, file, options = {}) {
      const progress = { complete: false }
      const boundary = `posthouse-${randomUUID()}`
      const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
      try {
        return (await request(method, path, headers, multipart(boundary, body, file, progress), options, UPLOAD_TIMEOUT)) as never
      } catch (error) {
        if (error instanceof FetchError && !progress.complete) throw new FetchError('connect', `upload not finished: ${error.message}`)
        throw error
      }
    },
    download: (url, options = {}) =>
      fetch(url, { headers: { 'user-agent': USER_AGENT }, ...(options.signal ? { signal: options.signal } : {}) }),
  }
}

/** What an interaction's token proves needs no other. */
function isOpen(path: string): boolean {
  return /^\/(interactions|webhooks)\//.test(path)
}

/** Limits are counted for each channel, or each interaction, and for all messages in it alike. */
function bucketOf(method: Method, path: string): string {
  return `${method} ${path.replace(/\?.*$/, '').replace(/(\/messages)\/[\w@]+/, '$1/:')}`
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function refusalOf(status: number, answer: unknown, retryAfter: number | undefined): ApiError {
  const { code, message, errors } = (typeof answer === 'object' && answer !== null ? answer : {}) as {
    code?: unknown
    message?: unknown
    errors?: unknown
  }
  const words = typeof message === 'string' ? message : 'answered with something else than its JSON'
  // Which field it is, not what stood there.
  const fields = typeof errors === 'object' && errors !== null ? ` (${Object.keys(errors).slice(0, 5).join(', ')})` : ''
  return new ApiError(
    status,
    `${words.slice(0, 300)}${fields}`,
    typeof code === 'number' ? code : typeof message === 'string' ? 0 : undefined,
    retryAfter,
  )
}

/** Without its cause, which names the address: that of an interaction is its proof. */
function redacted(error: unknown, token: string): Error {
  const message = (error instanceof Error ? error.message : String(error))
    .replaceAll(token, '<token>')
    .replace(/(\/(?:interactions|webhooks)\/\d+)\/[\w-]+/g, '$1/<token>')
  if (error instanceof ApiError) return new ApiError(error.status, message.replace(/^\d+ /, ''), error.code, error.retryAfter)
  return new FetchError(error instanceof FetchError ? error.kind : 'broken', message)
}

/** https://docs.discord.com/developers/reference#uploading-files */
async function* multipart(boundary: string, body: object, file: OutboundFile, progress: { complete: boolean }): AsyncGenerator<Uint8Array> {
  const head = (disposition: string, type: string) =>
    `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\nContent-Type: ${type}\r\n\r\n`
  const name = safeName(file.name)
  const payload = JSON.stringify({ ...body, attachments: [{ id: 0, filename: name }] })
  const type = /^[\w.+-]+\/[\w.+-]+$/.test(file.mime ?? '') ? (file.mime ?? '') : 'application/octet-stream'
  yield Buffer.from(`${head('name="payload_json"', 'application/json')}${payload}\r\n${head(`name="files[0]"; filename="${name}"`, type)}`)
  yield* file.open()
  progress.complete = true
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

/** A name is untrusted text: no line break or quote may end the header, no slash may make it a path. */
function safeName(name: string): string {
  return (
    name
      .replace(/[\p{Cc}"\\/]/gu, '_')
      .slice(-200)
      .toWellFormed() || 'file'
  )
}
