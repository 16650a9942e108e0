/** No route without a policy and a rate limit: a gateway with one that has none does not start. */
import { isIP, isIPv6 } from 'node:net'
import { PosthouseError } from '@posthouse/contract'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/**
 * `open`: anybody. `login`: a signed-in person or a token with the scope `chat`. `admin`, `metrics`: that scope. `webhook`: the
 * platform's own proof. `link`: the signature in the address.
 */
export type Policy = 'open' | 'login' | 'admin' | 'metrics' | 'webhook' | 'link'

declare module 'fastify' {
  interface FastifyContextConfig {
    policy?: Policy
  }
}

const UNSAFE = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/** `strayLimit`: requests of one address in a minute for what is not there. */
export function enforcePolicy(app: FastifyInstance, hosts: ReadonlySet<string> | undefined, strayLimit: number): void {
  const limits = { max: strayLimit, timeWindow: 60_000, keyGenerator: (request: FastifyRequest) => `stray:${addressKey(request.ip)}` }
  let tooOften: ReturnType<typeof app.createRateLimit> | undefined
  app.addHook('onRoute', (route) => {
    const name = `${String(route.method)} ${route.url}`
    if (!route.config?.policy) throw new Error(`route ${name} has no policy`)
    if ((route.config.rateLimit as unknown) === false) throw new Error(`route ${name} has no rate limit`)
  })
  app.addHook('onRequest', async (request) => {
    if (request.is404) {
      // No route: nothing of it is read, and guessing is bounded, too.
      tooOften ??= app.createRateLimit(limits)
      const limit = await tooOften(request)
      if (!limit.isAllowed && limit.isExceeded) throw new PosthouseError('rate-limited', undefined, { retryAfter: limit.ttl })
      throw new PosthouseError('not-found')
    }
    const { policy } = request.routeOptions.config
    if (app.posthouse.draining && policy !== 'open') throw new PosthouseError('unavailable', 'shutting down', { retryAfter: 2000 })
    if (policy !== 'webhook' && !isOurHost(request.headers.host ?? '', hosts))
      throw new PosthouseError('forbidden', 'this host name is not ours; set server.public_url')
    // A cookie goes along by itself: what changes something must come from our own page.
    const cookied = request.headers.cookie !== undefined && request.headers.authorization === undefined
    if (cookied && UNSAFE.has(request.method) && !isOwnOrigin(request))
      throw new PosthouseError('forbidden', 'this request comes from another site')
  })
}

/** Whether the request comes from a page of ours. Browsers send Origin with everything that changes something. */
export function isOwnOrigin(request: FastifyRequest): boolean {
  const { origin, host } = request.headers
  if (origin === undefined) return request.headers['sec-fetch-site'] === 'same-origin'
  if (!URL.canParse(origin)) return false
  return new URL(origin).host === host
}

/** Host names under which we answer; undefined (all) when we listen beyond this machine without a public address. */
export function allowedHosts({ host, publicUrl }: { host: string; publicUrl: string | undefined }): ReadonlySet<string> | undefined {
  const loopback = ['127.0.0.1', 'localhost', '::1']
  if (!loopback.includes(host) && publicUrl === undefined) return undefined
  return new Set([...loopback, host, ...(publicUrl ? [hostName(new URL(publicUrl).host)] : [])])
}

/** An address as such is nobody's name: only names can be made to point at us by others. */
function isOurHost(host: string, hosts: ReadonlySet<string> | undefined): boolean {
  const name = hostName(host)
  return hosts === undefined || hosts.has(name) || isIP(name) !== 0
}

function hostName(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
}

/** Whom an address stands for in limits: one person has a whole /64 of IPv6. */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped) return mapped
  if (!isIPv6(address)) return address
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const behind = tail === '' ? [] : tail.split(':')
    while (groups.length + behind.length < 8) groups.push('0')
    groups.push(...behind)
  }
  return `${groups.slice(0, 4).join(':')}::/64`
}
