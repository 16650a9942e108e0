/** The table of routes as it is registered, and what a route must have. */
import { createHash } from 'node:crypto'
import type { RouteOptions } from 'fastify'
import { systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import type { Gateway } from '../../src/http/index.ts'
import { createApp, type HttpOptions } from '../../src/http/server.ts'
import * as security from '../../src/security/index.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }

/** A gateway with nothing behind it: enough for what happens before a route's own work. */
export const emptyGateway = {
  version: '0',
  log: quiet,
  clock: systemClock,
  newId,
  guards: {
    authorize: security.authorize,
    mayBePlatform: security.mayBePlatform,
    verifyWebhook: security.verifyWebhook,
    verifyToken: async () => undefined,
    passwordRule: security.passwordRule,
    checkLink: () => false,
    hashSecret: (secret: string) => createHash('sha256').update(secret).digest('hex'),
  },
  webhook: () => undefined,
  live: { deaf: false },
} as unknown as Gateway

export const httpOptions: HttpOptions = {
  host: '127.0.0.1',
  port: 0,
  publicUrl: undefined,
  trustedProxies: [],
  maxFile: 1000,
  timeout: 1000,
  requestsPerMinute: 1000,
  webFolder: undefined,
}

export interface Route {
  readonly method: string
  readonly url: string
  readonly policy: string | undefined
  readonly bodyLimit: number
  readonly hidden: boolean
}

type App = ReturnType<typeof createApp>

let people = 0
/** Everybody is an administrator, and somebody else each time: what stands behind the policy is looked at. */
const openGateway: Gateway = {
  ...emptyGateway,
  guards: {
    ...emptyGateway.guards,
    verifyToken: async () => ({
      userId: String(++people),
      name: 'A',
      role: 'admin',
      scopes: ['chat', 'admin', 'metrics'],
      by: 'token',
      id: 't',
    }),
  },
}

/** Starts the routes with `plant` among them; answers all of them. @throws when a route is refused. */
export async function readRoutes(
  plant: (app: App) => void = () => {},
  options: Partial<HttpOptions> = {},
  gateway: Gateway = emptyGateway,
): Promise<{ readonly app: App; readonly routes: readonly Route[] }> {
  const app = createApp(gateway, { ...httpOptions, ...options })
  const routes: Route[] = []
  app.addHook('onRoute', (route: RouteOptions) => {
    for (const method of [route.method].flat()) {
      routes.push({
        method,
        url: route.url,
        policy: route.config?.policy,
        bodyLimit: route.bodyLimit ?? app.initialConfig.bodyLimit ?? Number.POSITIVE_INFINITY,
        hidden: (route.schema as { hide?: boolean } | undefined)?.hide === true,
      })
    }
  })
  plant(app)
  await app.ready()
  return { app, routes }
}

const MOST_BODY = 64 * 1024 * 1024

/** What is wrong with the routes: each must have a policy, a body limit and a rate limit, and let nobody in whom its policy does not. */
export async function census(app: App, routes: readonly Route[]): Promise<readonly string[]> {
  const found: string[] = []
  for (const route of routes) {
    const name = `${route.method} ${route.url}`
    if (!route.policy) found.push(`${name}: no policy`)
    if (!(route.bodyLimit > 0 && route.bodyLimit <= MOST_BODY)) found.push(`${name}: no body limit`)
    const answer = await app.inject({ method: route.method as 'GET', url: pathOf(route), headers: { host: '127.0.0.1' } })
    if (answer.headers['x-ratelimit-limit'] === undefined) found.push(`${name}: no rate limit`)
    if (route.policy !== 'open' && route.policy !== 'webhook' && answer.statusCode !== 401)
      found.push(`${name}: anonymous gets ${answer.statusCode}`)
    if (route.policy === 'webhook' && answer.statusCode !== 404) found.push(`${name}: an unknown account gets ${answer.statusCode}`)
  }
  return found
}

/** What of the limits does not bite: a body that is one byte too large, and one request too many from one address. */
export async function biteTest(plant: (app: App) => void = () => {}): Promise<readonly string[]> {
  const found: string[] = []
  const { app, routes } = await readRoutes(plant, { requestsPerMinute: 2 }, openGateway)
  let address = 0
  const ask = (route: Route, remoteAddress: string, headers: object = {}) =>
    app.inject({ method: route.method as 'GET', url: pathOf(route), remoteAddress, headers: { host: '127.0.0.1', ...headers } })
  for (const route of routes) {
    const name = `${route.method} ${route.url}`
    const from = `10.0.${Math.floor(++address / 250)}.${(address % 250) + 1}`
    const first = await ask(route, from)
    const limit = Number(first.headers['x-ratelimit-limit'])
    // What everybody may ask for often (health, pages, platforms) is counted, too, but not to its end here.
    for (let count = 1; limit <= 20 && count < limit; count++) await ask(route, from)
    if (limit <= 20 && (await ask(route, from)).statusCode !== 429) found.push(`${name}: request ${limit + 1} is not refused`)
    // Forms are limited while they are read; tests of files and webhooks send them.
    if (!['POST', 'PUT', 'PATCH'].includes(route.method) || route.policy === 'webhook' || route.url === '/api/v1/files') continue
    const large = { authorization: 'Bearer a.b.c', 'content-type': 'application/json', 'content-length': String(route.bodyLimit + 1) }
    const answer = await ask(route, from.replace(/^10/, '11'), large)
    if (answer.statusCode !== 413) found.push(`${name}: ${route.bodyLimit + 1} bytes get ${answer.statusCode}`)
  }
  await app.close()
  return found
}

export const someId = '00000000-0000-4000-8000-000000000000'
export const pathOf = ({ url }: Pick<Route, 'url'>) => url.replace(/:\w+/g, someId).replace('*', 'x')
