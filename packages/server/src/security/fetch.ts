/** The one HTTP client of the gateway, for addresses that its owner configured: pooled, kept alive, with a limit for every wait. */
import { FetchError, type FetchOptions, type FetchResponse, type Fetch as PosthouseFetch } from '@posthouse/contract'
import { Agent, type Dispatcher } from 'undici'
import { exchange } from './exchange.ts'

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
    fetch: async (url, request = {}) =>
      await send(agentFor(request.connectTimeout ?? options.connectTimeout ?? 10_000), targetOf(url), request),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()))
    },
  }
}

/** Where a request goes. */
export interface Target {
  readonly origin: string
  readonly path: string
}

/** One request through `agent`. @throws {FetchError} */
export async function send(agent: Agent, target: Target, options: FetchOptions): Promise<FetchResponse> {
  const request = {
    origin: target.origin,
    path: target.path,
    method: options.method ?? 'GET',
    headers: options.headers ?? {},
    body: (options.body ?? null) as NonNullable<Dispatcher.DispatchOptions['body']> | null,
    headersTimeout: options.headersTimeout ?? DEFAULT_WAIT,
    bodyTimeout: options.bodyTimeout ?? DEFAULT_WAIT,
  }
  return await exchange(agent, request, options.signal)
}

/** Addresses that were parsed last: models and platforms are called at the same few again and again. */
const targets = new Map<string, Target>()
const TARGETS = 200

function targetOf(url: string): Target {
  const known = targets.get(url)
  if (known) return known
  if (!URL.canParse(url)) throw new FetchError('connect', 'not a valid URL')
  const { origin, pathname, search } = new URL(url)
  const target = { origin, path: pathname + search }
  if (targets.size >= TARGETS) targets.clear()
  targets.set(url, target)
  return target
}
