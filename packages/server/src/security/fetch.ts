/** The one HTTP client of the gateway, for addresses that its owner configured: pooled, kept alive, with a limit for every wait. */
import { FetchError, type FetchOptions, type FetchResponse, type Fetch as PosthouseFetch } from '@posthouse/contract'
import { Agent, type Dispatcher } from 'undici'

const TEXT_LIMIT = 10 * 1024 * 1024
const DEFAULT_WAIT = 30_000
/** To one origin. Above what the queues let through, so that a call never waits here, unseen and without a limit. */
const MOST_CONNECTIONS = 16_384

export interface FetchClient extends AsyncDisposable {
  readonly fetch: PosthouseFetch
}

/** Makes a client with its own connection pool. Disposing it closes every connection. */
export function createFetch(options: { readonly connectTimeout?: number; readonly connections?: number } = {}): FetchClient {
  // The client ties the connect limit to the pool: one pool for each of the few limits in use.
  const agents = new Map<number, Agent>()
  const agentFor = (timeout: number) => {
    const existing = agents.get(timeout)
    if (existing) return existing
    const agent = new Agent({
      connect: { timeout },
      connections: options.connections ?? MOST_CONNECTIONS,
      keepAliveTimeout: 30_000,
      pipelining: 1,
    })
    agents.set(timeout, agent)
    return agent
  }
  return {
    fetch: (url, request = {}) => send(agentFor(request.connectTimeout ?? options.connectTimeout ?? 10_000), url, request),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()))
    },
  }
}

/** One request through `agent`. @throws {FetchError} */
export async function send(agent: Agent, url: string, options: FetchOptions): Promise<FetchResponse> {
  let target: URL
  try {
    target = new URL(url)
  } catch {
    throw new FetchError('connect', 'not a valid URL')
  }
  try {
    const response = await agent.request({
      origin: target.origin,
      path: target.pathname + target.search,
      method: options.method ?? 'GET',
      headers: options.headers ?? {},
      body: (options.body ?? null) as NonNullable<Dispatcher.DispatchOptions['body']> | null,
      signal: options.signal ?? null,
      headersTimeout: options.headersTimeout ?? DEFAULT_WAIT,
      bodyTimeout: options.bodyTimeout ?? DEFAULT_WAIT,
    })
    return toResponse(response as Dispatcher.ResponseData)
  } catch (error) {
    throw toFetchError(error, options.signal)
  }
}

function toResponse(response: Dispatcher.ResponseData): FetchResponse {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value
  }
  const text = async () => {
    const declared = Number(headers['content-length'] ?? 0)
    if (declared > TEXT_LIMIT) throw tooLong(response)
    if (declared > 0) return await response.body.text().catch((error: unknown) => Promise.reject(toFetchError(error)))
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of guarded(response.body)) {
      size += chunk.length
      if (size > TEXT_LIMIT) throw tooLong(response)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  }
  return {
    status: response.statusCode,
    headers,
    body: guarded(response.body),
    text,
    json: async () => parseJson(await text()),
  }
}

/** @throws {FetchError} in words that do not quote what came. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new FetchError('broken', 'the answer is not valid JSON')
  }
}

function tooLong(response: Dispatcher.ResponseData): FetchError {
  response.body.destroy()
  return new FetchError('broken', `the answer is longer than ${TEXT_LIMIT} bytes`)
}

async function* guarded(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    throw toFetchError(error)
  }
}

/** Codes of failures before a byte of the request can have been taken by the other side. */
const NOT_CONNECTED = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EACCES',
])

function toFetchError(error: unknown, signal?: AbortSignal): FetchError {
  if (error instanceof FetchError) return error
  if (signal?.aborted) return new FetchError('aborted', 'aborted', error)
  const { code, name, message } = error as { code?: string; name?: string; message?: string }
  if (name === 'AbortError' || code === 'UND_ERR_ABORTED') return new FetchError('aborted', 'aborted', error)
  if (code && (NOT_CONNECTED.has(code) || code.startsWith('ERR_TLS') || code.includes('CERT'))) {
    return new FetchError('connect', `no connection: ${code}`, error)
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return new FetchError('timeout', 'no answer in time', error)
  return new FetchError('broken', `the connection broke: ${code ?? message ?? 'unknown'}`, error)
}
