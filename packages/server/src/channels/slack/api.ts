/** The Web API over the gateway's own HTTP client: one call, one request, no retry. https://docs.slack.dev/apis/web-api */
import { type Fetch, FetchError, type FetchResponse, type OutboundFile } from '@posthouse/contract'

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Milliseconds until the answer begins; default 15 s. */
  readonly timeout?: number
}

/** What Slack answered to a call that it carried out; nothing in it is trusted. */
export type Answer = Readonly<Record<string, unknown>>

export interface Api {
  /** @throws ApiError when Slack (or something in its place) refuses. @throws FetchError when no whole answer came. */
  call(token: string, method: string, args?: Readonly<Record<string, unknown>>, options?: CallOptions): Promise<Answer>
  /** The bytes of a file to the address that files.getUploadURLExternal gave. @throws ApiError @throws FetchError */
  upload(url: string, file: OutboundFile, options?: CallOptions): Promise<void>
  /** A file of Slack's. `token` is for Slack alone. @throws FetchError */
  download(token: string, url: string, options?: CallOptions): Promise<FetchResponse>
  /** Whether an address is Slack's own: only there the token may be shown. */
  isSlack(url: string): boolean
}

/** A refusal. `fromSlack` is false when the answer isn't the Web API's JSON, thus came from something in between. */
export class ApiError extends Error {
  /** Slack's word for it: `channel_not_found`. */
  readonly code: string
  readonly status: number
  readonly fromSlack: boolean
  /** Milliseconds. */
  readonly retryAfter: number | undefined
  constructor(method: string, code: string, details: { status: number; fromSlack: boolean; retryAfter?: number; needed?: string }) {
    super(`${method}: ${code}${details.needed ? ` (needs ${details.needed})` : ''}`)
    this.name = 'ApiError'
    this.code = code
    this.status = details.status
    this.fromSlack = details.fromSlack
    this.retryAfter = details.retryAfter
  }
}

const TIMEOUT = 15_000
const UPLOAD_TIMEOUT = 120_000
/** Every method takes a form; JSON is taken by some only. https://docs.slack.dev/apis/web-api#basics */
const FORM = 'application/x-www-form-urlencoded'

export function createApi(root: string, fetch: Fetch): Api {
  const base = root.replace(/\/+$/, '')
  const { origin } = new URL(base)
  const request = async (url: string, headers: Record<string, string>, body: string | AsyncIterable<Uint8Array>, options: CallOptions) =>
    await fetch(url, {
      method: 'POST',
      headers,
      body,
      headersTimeout: options.timeout ?? TIMEOUT,
      ...(options.signal ? { signal: options.signal } : {}),
    })
  return {
    async call(token, method, args = {}, options = {}) {
      const headers = { 'content-type': FORM, ...(token === '' ? {} : { authorization: `Bearer ${token}` }) }
      return await answerOf(method, await request(`${base}/${method}`, headers, formOf(args), options))
    },
    async upload(url, file, options = {}) {
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(file.size) }
      let status: number
      try {
        const response = await request(url, headers, file.open(), { timeout: UPLOAD_TIMEOUT, ...options })
        await response.text()
        status = response.status
      } catch (error) {
        // The address is a right to write: it is told to nobody.
        throw new FetchError(error instanceof FetchError ? error.kind : 'broken', 'the bytes of a file did not get through to Slack')
      }
      if (status !== 200) throw new ApiError('upload', `http_${status}`, { status, fromSlack: false })
    },
    download: (token, url, options = {}) =>
      fetch(url, { headers: { authorization: `Bearer ${token}` }, ...(options.signal ? { signal: options.signal } : {}) }),
    isSlack: (url) => {
      const parsed = URL.parse(url)
      if (!parsed) return false
      return parsed.origin === origin || (parsed.protocol === 'https:' && /(^|\.)slack(-gov)?\.com$/.test(parsed.hostname))
    },
  }
}

function formOf(args: Readonly<Record<string, unknown>>): string {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(args)) {
    if (value !== undefined) form.set(name, typeof value === 'object' ? JSON.stringify(value) : String(value))
  }
  return form.toString()
}

async function answerOf(method: string, response: FetchResponse): Promise<Answer> {
  const answer = parse(await response.text())
  const { status, headers } = response
  if (answer?.ok === true && status === 200) return answer
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  throw new ApiError(method, typeof answer?.error === 'string' ? answer.error.slice(0, 100) : `http_${status}`, {
    status,
    fromSlack: typeof answer?.error === 'string',
    ...(Number.isFinite(seconds) ? { retryAfter: seconds * 1000 } : {}),
    ...(typeof answer?.needed === 'string' ? { needed: answer.needed.slice(0, 200) } : {}),
  })
}

function parse(text: string): Answer | undefined {
  try {
    const answer: unknown = JSON.parse(text)
    return typeof answer === 'object' && answer !== null ? (answer as Answer) : undefined
  } catch {
    return undefined
  }
}
