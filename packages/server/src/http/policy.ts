/** No route without a policy: who may call it is part of every route, and a route without one does not start. */
import { PosthouseError } from '@posthouse/contract'
import type { FastifyInstance, FastifyRequest } from 'fastify'

/**
 * `open`: anybody. `login`: a signed-in person or a token with the scope `chat`. `admin`, `metrics`: that scope. `webhook`: the
 * platform's own proof.
 */
export type Policy = 'open' | 'login' | 'admin' | 'metrics' | 'webhook'

declare module 'fastify' {
  interface FastifyContextConfig {
    policy?: Policy
  }
}

const UNSAFE = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

export function enforcePolicy(app: FastifyInstance, hosts: ReadonlySet<string> | undefined): void {
  app.addHook('onRoute', (route) => {
    if (route.method === 'HEAD' || route.method === 'OPTIONS') return
    if (!route.config?.policy) throw new Error(`route ${String(route.method)} ${route.url} has no policy`)
  })
  app.addHook('onRequest', async (request) => {
    if (app.posthouse.draining && request.routeOptions.config.policy !== 'open')
      throw new PosthouseError('unavailable', 'shutting down', { retryAfter: 2000 })
    if (hosts && !hosts.has(hostName(request.headers.host ?? '')))
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
  return new Set([...loopback, host, ...(publicUrl ? [new URL(publicUrl).hostname.replace(/^\[|\]$/g, '')] : [])])
}

function hostName(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
}
