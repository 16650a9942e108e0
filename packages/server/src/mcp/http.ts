/** A server at an address. Its requests go through the guard of all addresses; sizes and times are bounded for each. */
import type { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { FetchError, isPosthouseError } from '@posthouse/contract'
import { backoff } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import type { GuardedFetch } from '../ports/guards.ts'
import type { McpServer } from '../ports/mcp.ts'
import { McpFault } from './fault.ts'
import type { Sdk } from './sdk.ts'

/** Bytes of one answer. */
const MOST_ANSWER = 4 * 1024 * 1024
/** Of a stream on which the server tells news: bytes, and milliseconds until it is opened anew. */
const MOST_NEWS = 256 * 1024
const NEWS_TIME = 3_600_000
/** How often in a row it is tried to open a broken stream again; the list is looked at now and then in any case. */
const MOST_REOPENED = 3
/** A stream that was open this long is opened with the shortest pause again. */
const STEADY = 60_000
const PAUSE = { first: 1000, most: 300_000 }

export interface HttpParts {
  readonly fetch: GuardedFetch
  readonly clock: Clock
  /** Milliseconds for one request. */
  readonly timeout: number
}

export function createHttpTransport(
  { StreamableHTTPClientTransport: Transport }: Sdk,
  { url, headers }: Extract<McpServer['reach'], { kind: 'http' }>,
  parts: HttpParts,
): StreamableHTTPClientTransport {
  let reopened = 0
  let last = Number.NEGATIVE_INFINITY
  return new Transport(new URL(url), {
    requestInit: { headers: { ...headers } },
    fetch: (address, init) => guarded(String(address), init ?? {}, parts),
    // The guard follows what may be followed.
    redirectPolicy: 'follow',
    reconnectionOptions: {
      initialReconnectionDelay: 1000,
      maxReconnectionDelay: 30_000,
      reconnectionDelayGrowFactor: 2,
      maxRetries: MOST_REOPENED,
    },
    reconnectionScheduler(reopen) {
      const now = parts.clock.elapsed()
      reopened = now - last > STEADY ? 1 : reopened + 1
      last = now
      const timer = parts.clock.after(backoff(reopened, PAUSE), reopen)
      return () => timer[Symbol.dispose]()
    },
  })
}

/** One request, as the library asks for it. */
async function guarded(url: string, init: RequestInit, { fetch, timeout }: HttpParts): Promise<Response> {
  const headers = Object.fromEntries(new Headers(init.headers))
  const method = init.method ?? 'GET'
  // News come on a stream that stays open: asked for with GET, or since 2026 as a method of its own.
  const news = method === 'GET' || headers['mcp-method'] === 'subscriptions/listen'
  const gone = new AbortController()
  const limit = news ? NEWS_TIME : timeout
  const response = await fetch(url, {
    method: method as 'GET' | 'POST' | 'DELETE',
    headers,
    ...(typeof init.body === 'string' ? { body: init.body } : {}),
    signal: init.signal ? AbortSignal.any([init.signal, gone.signal]) : gone.signal,
    timeout: limit,
    headersTimeout: timeout,
    bodyTimeout: limit,
    maxBytes: news ? MOST_NEWS : MOST_ANSWER,
  }).catch((error: unknown) => {
    throw faultOf(error)
  })
  const { status, headers: told } = response
  if (!/^text\/event-stream\b/i.test(told['content-type'] ?? '')) {
    const text = await response.text().catch((error: unknown) => {
      throw faultOf(error)
    })
    return new Response(status === 204 || status === 205 || status === 304 ? null : text, { status, headers: told })
  }
  const pieces = response.body[Symbol.asyncIterator]()
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(stream) {
      try {
        const { value, done } = await pieces.next()
        if (done) stream.close()
        else stream.enqueue(new Uint8Array(value))
      } catch (error) {
        stream.error(faultOf(error))
      }
    },
    async cancel() {
      gone.abort()
      await pieces.return?.()
    },
  })
  return new Response(body, { status, headers: told })
}

/** The request did not reach the server. */
export class Unsent extends McpFault {}

function faultOf(error: unknown): unknown {
  if (isPosthouseError(error)) {
    if (error.code === 'too-large') return new McpFault('mcp-flood', `an answer of more than ${MOST_ANSWER} bytes`)
    const remedy = error.code === 'address-refused' ? '; the owner may open it in security.private_addresses' : ''
    return new Unsent('mcp-unreachable', `${error.detail ?? error.code}${remedy}`)
  }
  if (!(error instanceof FetchError)) return error
  if (error.kind === 'connect') return new Unsent('mcp-unreachable', error.message)
  return new McpFault(error.kind === 'timeout' ? 'mcp-silent' : 'mcp-ended', error.message)
}
