/**
 * Tells etcd where this node is, for as long as it lives: a key bound to a lease, over etcd's JSON gateway. Others read it; nothing of ours depends on
 * it. https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
 */
import { type Fetch, FetchError, type Logger } from '@posthouse/contract'
import { backoff } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import { causeOf, type Outside, type OutsideProblem } from '../ports/outside.ts'

/** What others find. */
export interface Announcement {
  readonly id: string
  readonly name: string
  readonly url: string
  readonly version: string
  /** Epoch milliseconds. */
  readonly started: number
}

export interface DiscoveryOptions {
  /** Of etcd, with user and password where it wants them. */
  readonly endpoint: string
  /** Stands before the node's id in the key. */
  readonly prefix: string
  readonly fetch: Fetch
}

/** Seconds after which etcd forgets a node that says nothing more. */
const LIFETIME = 30
const RENEW = 10_000
const AGAIN = { first: 500, most: 10_000 }
const PATIENCE = 5000
const FAREWELL = 2000

/** Answers at once, whether etcd is there or not. Disposing it takes the key away. */
export function announce(
  announcement: Announcement,
  { clock, log, ...options }: DiscoveryOptions & { readonly clock: Clock; readonly log: Logger },
): Outside & AsyncDisposable {
  const client = createClient(options)
  const key = `${options.prefix}${announcement.id}`
  const ending = new AbortController()
  let lease: string | undefined
  let problem: OutsideProblem | undefined = 'unreachable'

  const renew = async () => {
    if (lease !== undefined && (await client.keepAlive(lease))) return
    lease = await client.grant()
    await client.put(key, JSON.stringify(announcement), lease)
    log.info({ key }, 'this node is announced in etcd')
  }
  const keep = async () => {
    for (let failures = 0; !ending.signal.aborted; ) {
      try {
        await renew()
        problem = undefined
        failures = 0
      } catch (error) {
        if (failures++ === 0)
          log.warn({ err: error, cause: causeOf('discovery', error)?.en }, 'this node could not be announced in etcd; it is tried again')
        problem = error instanceof FetchError ? 'unreachable' : 'refused'
      }
      await clock.sleep(failures > 0 ? backoff(failures, AGAIN) : RENEW, ending.signal)
    }
  }
  const kept = keep()
  return {
    get problem() {
      return problem
    },
    async [Symbol.asyncDispose]() {
      ending.abort()
      await kept
      // Without this word etcd forgets us by itself, later.
      if (lease !== undefined) await client.revoke(lease, AbortSignal.timeout(FAREWELL)).catch(() => undefined)
    },
  }
}

/** Nodes that are announced now. @throws when etcd does not answer, or does not let us read. */
export async function findNodes(options: DiscoveryOptions): Promise<readonly Announcement[]> {
  return (await createClient(options).list(options.prefix)).map((value) => JSON.parse(value) as Announcement)
}

const encode = (text: string) => Buffer.from(text).toString('base64')

function createClient({ endpoint, fetch }: DiscoveryOptions) {
  const { origin, pathname, username, password } = new URL(endpoint)
  let token: string | undefined

  const post = async (path: string, body: object, signal?: AbortSignal): Promise<Record<string, unknown>> => {
    const response = await fetch(`${origin}${pathname.replace(/\/$/, '')}/v3/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token ? { authorization: token } : {}) },
      body: JSON.stringify(body),
      connectTimeout: PATIENCE,
      headersTimeout: PATIENCE,
      bodyTimeout: PATIENCE,
      ...(signal ? { signal } : {}),
    })
    const text = await response.text()
    if (response.status === 200) return JSON.parse(text) as Record<string, unknown>
    // Of its words only the number: they may quote what was sent.
    throw new Refused(response.status, text)
  }
  const signIn = async () => {
    token = String((await post('auth/authenticate', { name: decodeURIComponent(username), password: decodeURIComponent(password) })).token)
  }
  /** A token lives for some minutes only. */
  const call: typeof post = async (path, body, signal) => {
    if (username !== '' && token === undefined) await signIn()
    try {
      return await post(path, body, signal)
    } catch (error) {
      if (!(error instanceof Refused) || token === undefined || !error.isUnknownToken) throw error
      token = undefined
      await signIn()
      return await post(path, body, signal)
    }
  }
  return {
    grant: async () => String((await call('lease/grant', { TTL: LIFETIME })).ID),
    /** Whether the lease still lived. */
    async keepAlive(lease: string) {
      const { result } = await call('lease/keepalive', { ID: lease })
      return Number((result as { TTL?: string } | undefined)?.TTL ?? 0) > 0
    },
    put: (key: string, value: string, lease: string) => call('kv/put', { key: encode(key), value: encode(value), lease }),
    revoke: (lease: string, signal: AbortSignal) => call('lease/revoke', { ID: lease }, signal),
    async list(prefix: string) {
      const end = Buffer.from(prefix)
      end[end.length - 1] = (end.at(-1) ?? 0) + 1
      const { kvs } = await call('kv/range', { key: encode(prefix), range_end: end.toString('base64') })
      return ((kvs as { value: string }[] | undefined) ?? []).map(({ value }) => Buffer.from(value, 'base64').toString())
    },
  }
}

/** etcd answered, and said no. */
class Refused extends Error {
  override readonly name = 'Refused'
  readonly isUnknownToken: boolean
  constructor(status: number, text: string) {
    super(`etcd answered ${status}`)
    this.isUnknownToken = status === 401 || /invalid auth token/.test(text)
  }
}
