/**
 * The one way to an address that a user, a model or a file named. Names are resolved once, every address is judged by its numbers, and the
 * connection goes to exactly what was judged; each redirect is judged anew. Size and time are bounded while the body comes.
 */
import { lookup as systemLookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { FetchError, type FetchOptions, type FetchResponse, PosthouseError } from '@posthouse/contract'
import { Agent } from 'undici'
import type { GuardedFetch } from '../ports/guards.ts'
import { isPublicAddress, isWithin, networks } from './address.ts'
import { parseJson } from './exchange.ts'
import { send } from './fetch.ts'

const MOST_BYTES = 10 * 1024 * 1024
const MOST_TIME = 30_000
const MOST_REDIRECTS = 5
const MOST_URL = 8192
const PORTS = new Set(['', '80', '443'])
const REDIRECTS = new Set([301, 302, 303, 307, 308])
/** What may go along to another origin; every other header may be a credential. */
const HARMLESS = new Set(['accept', 'accept-language', 'content-type', 'user-agent'])

interface Address {
  readonly address: string
  readonly family: number
}

/** `privateAddresses`: networks that the owner opened, on any port. `lookup` answers all addresses of a name; the system's unless given. */
export function createGuardedFetch(options: {
  readonly privateAddresses: readonly string[]
  readonly lookup?: (name: string) => Promise<readonly Address[]>
}): GuardedFetch {
  const opened = networks(options.privateAddresses)
  const lookup = options.lookup ?? ((name: string) => systemLookup(name, { all: true, verbatim: true }))

  /** Where the connection may go. @throws PosthouseError `address-refused`. */
  const judge = async (url: URL, over: Promise<never>): Promise<readonly Address[]> => {
    if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refused('only http and https')
    if (url.username !== '' || url.password !== '') throw refused('no name or password in the address')
    const name = url.hostname.replace(/^\[|\]$/g, '')
    const family = isIP(name)
    const found = family === 0 ? await Promise.race([resolve(name), over]) : [{ address: name, family }]
    if (found.length === 0) throw new FetchError('connect', 'no connection: ENOTFOUND')
    // One that is not allowed spoils all: whoever mixes them has a reason.
    for (const { address } of found) {
      if (isWithin(address, opened)) continue
      if (!isPublicAddress(address)) throw refused('not a public address')
      if (!PORTS.has(url.port)) throw refused('only the ports 80 and 443')
    }
    return found
  }
  const resolve = (name: string) =>
    lookup(name).catch((error: { code?: string }) => {
      throw new FetchError('connect', `no connection: ${error.code ?? 'unknown'}`)
    })

  return async (address, { maxBytes = MOST_BYTES, timeout = MOST_TIME, signal, ...request } = {}) => {
    using limit = startLimit(timeout, signal)
    let url = parse(address)
    let asked: FetchOptions = request
    for (let redirects = 0; ; redirects++) {
      const pinned = await judge(url, limit.over)
      const { response, close } = await ask(url, pinned, { ...asked, signal: limit.signal }).catch((error: unknown) => {
        throw limit.explain(error)
      })
      const { location } = response.headers
      if (!REDIRECTS.has(response.status) || location === undefined) {
        limit.keep()
        return bounded(url, response, maxBytes, limit, close)
      }
      await close()
      if (redirects === MOST_REDIRECTS) throw refused(`more than ${MOST_REDIRECTS} redirects`)
      const next = parse(location, url)
      asked = follow(asked, response.status, next.origin === url.origin)
      url = next
    }
  }
}

function refused(detail: string): PosthouseError {
  return new PosthouseError('address-refused', detail)
}

function parse(text: string, base?: URL): URL {
  if (text.length > MOST_URL || !URL.canParse(text, base?.href)) throw refused('not a web address')
  return new URL(text, base)
}

/** One request over a connection of its own: nothing that was judged for another address is used again. */
async function ask(
  url: URL,
  pinned: readonly Address[],
  request: FetchOptions,
): Promise<{ readonly response: FetchResponse; close(): Promise<void> }> {
  // No second look at the name: whatever asks gets what was judged.
  const lookup: LookupFunction = (_name, { all }, done) => {
    const [first = { address: '', family: 0 }] = pinned
    if (all) done(null, [...pinned])
    else done(null, first.address, first.family)
  }
  const agent = new Agent({ connect: { lookup, timeout: request.connectTimeout ?? 10_000 }, connections: 1, pipelining: 0 })
  try {
    return { response: await send(agent, { origin: url.origin, path: url.pathname + url.search }, request), close: () => agent.destroy() }
  } catch (error) {
    await agent.destroy()
    throw error
  }
}

/** The request as it goes on. What was sent to one origin in confidence is not for another. */
function follow(request: FetchOptions, status: number, sameOrigin: boolean): FetchOptions {
  const { method = 'GET', headers = {}, body, ...rest } = request
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => sameOrigin || HARMLESS.has(name.toLowerCase())))
  if (status === 303 || method === 'GET' || (method === 'POST' && status < 303)) return { ...rest, method: 'GET', headers: kept }
  if (!sameOrigin || (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array)))
    throw refused('this request is not repeated elsewhere')
  return { ...rest, method, headers: kept, ...(body === undefined ? {} : { body }) }
}

/** The answer, with its connection closed behind it, and never more than `most` bytes of it. */
function bounded(
  url: URL,
  response: FetchResponse,
  most: number,
  limit: Limit,
  close: () => Promise<void>,
): FetchResponse & { readonly url: string } {
  async function* read(): AsyncGenerator<Uint8Array> {
    let size = 0
    try {
      if (Number(response.headers['content-length'] ?? 0) > most) throw tooLarge(most)
      for await (const chunk of response.body) {
        size += chunk.length
        if (size > most) throw tooLarge(most)
        yield chunk
      }
    } catch (error) {
      throw limit.explain(error)
    } finally {
      limit.end()
      await close()
    }
  }
  const body = read()
  const text = async () => {
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    return Buffer.concat(chunks).toString('utf8')
  }
  return {
    url: url.href,
    status: response.status,
    headers: response.headers,
    body,
    text,
    json: async () => parseJson(await text()),
  }
}

const tooLarge = (most: number) => new PosthouseError('too-large', `the answer has more than ${most} bytes`)

interface Limit extends Disposable {
  readonly signal: AbortSignal
  /** Rejects when the time is over or the caller leaves. */
  readonly over: Promise<never>
  explain(error: unknown): unknown
  /** It goes on behind the block that made it, until `end`. */
  keep(): void
  end(): void
}

/** One limit of time for names, redirects and body together. */
function startLimit(timeout: number, outer: AbortSignal | undefined): Limit {
  const controller = new AbortController()
  let late = false
  let kept = false
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => {})
  const stop = () => {
    controller.abort()
    over.reject(reason())
  }
  const reason = () => (late ? new FetchError('timeout', `no whole answer within ${timeout} ms`) : new FetchError('aborted', 'aborted'))
  const timer = setTimeout(() => {
    late = true
    stop()
  }, timeout)
  const end = () => {
    clearTimeout(timer)
    outer?.removeEventListener('abort', stop)
  }
  if (outer?.aborted) stop()
  else outer?.addEventListener('abort', stop, { once: true })
  return {
    signal: controller.signal,
    over: over.promise,
    explain: (error) => (controller.signal.aborted ? reason() : error),
    keep() {
      kept = true
    },
    end,
    [Symbol.dispose]() {
      if (!kept) end()
    },
  }
}
