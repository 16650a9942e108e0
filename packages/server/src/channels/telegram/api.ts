/** The Bot API over the gateway's own HTTP client (docs/decisions/0003): one call, one request, no retry. https://core.telegram.org/bots/api */
import { randomUUID } from 'node:crypto'
import type { ApiMethods, ApiResponse } from '@grammyjs/types'
import { type Fetch, FetchError, type FetchResponse, type OutboundFile } from '@posthouse/contract'

type Methods = ApiMethods<never>
type Args<M extends keyof Methods> = [NonNullable<Parameters<Methods[M]>[0]>] extends [never]
  ? object
  : NonNullable<Parameters<Methods[M]>[0]>

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Milliseconds until the answer begins. */
  readonly timeout?: number
}

export interface Api {
  /** @throws ApiError when Telegram (or something in its place) refuses. @throws FetchError when no whole answer came. */
  call<M extends keyof Methods>(method: M, args: Args<M>, options?: CallOptions): Promise<ReturnType<Methods[M]>>
  /** The same with a file in `field`. `connect` is thrown also when the upload ended before all of it was sent. */
  upload(
    method: keyof Methods,
    field: string,
    file: OutboundFile,
    args: object,
    options?: CallOptions,
  ): Promise<{ message_id: number; chat: { id: number } }>
  /** The bytes behind a `file_path` of getFile. */
  download(path: string, options?: CallOptions): Promise<FetchResponse>
}

/** A refusal. `fromTelegram` is false when the answer isn't the Bot API's JSON, thus came from something in between. */
export class ApiError extends Error {
  readonly code: number
  readonly fromTelegram: boolean
  /** Milliseconds. */
  readonly retryAfter: number | undefined
  readonly migratedTo: string | undefined
  constructor(code: number, description: string, details: { fromTelegram: boolean; retryAfter?: number; migratedTo?: string }) {
    super(`${code} ${description}`)
    this.name = 'ApiError'
    this.code = code
    this.fromTelegram = details.fromTelegram
    this.retryAfter = details.retryAfter
    this.migratedTo = details.migratedTo
  }
}

const TIMEOUT = 30_000
const UPLOAD_TIMEOUT = 120_000
const JSON_HEADERS = { 'content-type': 'application/json' }

/** The token is a part of every address, so no address and no error of the HTTP client leaves this function unredacted. */
export function createApi(root: string, token: string, fetch: Fetch): Api {
  const base = root.replace(/\/+$/, '')
  const redact = (text: string) => text.replaceAll(token, '<token>')
  const request: Fetch = async (url, options) => {
    try {
      return await fetch(url, options)
    } catch (error) {
      throw redacted(error, redact)
    }
  }
  const post = async (
    method: string,
    headers: Record<string, string>,
    body: string | AsyncIterable<Uint8Array>,
    options: CallOptions,
    wait: number,
  ) => {
    const response = await request(`${base}/bot${token}/${method}`, {
      method: 'POST',
      headers,
      body,
      headersTimeout: options.timeout ?? wait,
      ...(options.signal ? { signal: options.signal } : {}),
    })
    try {
      return await resultOf(response, redact)
    } catch (error) {
      throw redacted(error, redact)
    }
  }
  return {
    call: (method, args, options = {}) => post(method, JSON_HEADERS, JSON.stringify(args), options, TIMEOUT) as Promise<never>,
    upload: async (method, field, file, args, options = {}) => {
      const progress = { complete: false }
      const boundary = `posthouse-${randomUUID()}`
      try {
        const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
        return (await post(method, headers, multipart(boundary, field, file, args, progress), options, UPLOAD_TIMEOUT)) as never
      } catch (error) {
        if (error instanceof FetchError && !progress.complete) throw new FetchError('connect', `upload not finished: ${error.message}`)
        throw error
      }
    },
    download: (path, options = {}) =>
      request(
        `${base}/file/bot${token}/${path.split('/').map(encodeURIComponent).join('/')}`,
        options.signal ? { signal: options.signal } : {},
      ),
  }
}

/** Without its cause: that one names the address. */
function redacted(error: unknown, redact: (text: string) => string): Error {
  if (error instanceof ApiError) return error
  const message = redact(error instanceof Error ? error.message : String(error))
  return new FetchError(error instanceof FetchError ? error.kind : 'broken', message)
}

async function resultOf(response: FetchResponse, redact: (text: string) => string): Promise<unknown> {
  const text = await response.text()
  const answer = parse(text)
  if (answer?.ok) return answer.result
  const seconds = answer?.parameters?.retry_after ?? Number(response.headers['retry-after'] ?? Number.NaN)
  const migratedTo = answer?.parameters?.migrate_to_chat_id
  throw new ApiError(answer?.error_code ?? response.status, redact(answer?.description ?? 'answered with something else than JSON'), {
    fromTelegram: answer !== undefined,
    ...(Number.isFinite(seconds) ? { retryAfter: seconds * 1000 } : {}),
    ...(migratedTo === undefined ? {} : { migratedTo: String(migratedTo) }),
  })
}

function parse(text: string): ApiResponse<unknown> | undefined {
  try {
    const answer: unknown = JSON.parse(text)
    return typeof answer === 'object' && answer !== null && typeof (answer as { ok?: unknown }).ok === 'boolean'
      ? (answer as ApiResponse<unknown>)
      : undefined
  } catch {
    return undefined
  }
}

async function* multipart(
  boundary: string,
  field: string,
  file: OutboundFile,
  args: object,
  progress: { complete: boolean },
): AsyncGenerator<Uint8Array> {
  const head = (disposition: string, type = '') => `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n${type}\r\n`
  let fields = ''
  for (const [name, value] of Object.entries(args)) {
    if (value !== undefined) fields += `${head(`name="${name}"`)}${typeof value === 'object' ? JSON.stringify(value) : value}\r\n`
  }
  const type = /^[\w.+-]+\/[\w.+-]+$/.test(file.mime ?? '') ? file.mime : 'application/octet-stream'
  yield Buffer.from(fields + head(`name="${field}"; filename="${safeName(file.name)}"`, `Content-Type: ${type}\r\n`))
  yield* file.open()
  progress.complete = true
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

/** A name is untrusted text: no line break or quote may end the header, no slash may make it a path. */
function safeName(name: string): string {
  return name.replace(/[\p{Cc}"\\/]/gu, '_').slice(-200) || 'file'
}
