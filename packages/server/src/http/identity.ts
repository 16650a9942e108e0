/** Who is asking: a bearer token or the login cookie; then the route's policy decides. */
import { PosthouseError } from '@posthouse/contract'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Principal } from '../ports/guards.ts'
import type { Gateway } from './gateway.ts'

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | undefined
  }
}

const COOKIE = 'posthouse_login'
const LOGIN_LIFETIME = 30 * 86_400_000

/** Before the body is read, and behind the limit of the address: who is asking, whether they may, and whether they ask too often. */
export function identify(app: FastifyInstance, gateway: Gateway, requestsPerMinute: number): void {
  app.decorateRequest('principal', undefined)
  const tooOften = app.createRateLimit({
    max: requestsPerMinute,
    timeWindow: 60_000,
    keyGenerator: (request) => `caller:${request.principal?.userId ?? ''}`,
  })
  app.addHook('preParsing', async (request) => {
    const { policy } = request.routeOptions.config
    if (policy === 'open' || policy === 'link' || policy === undefined) return
    request.principal = await principalOf(request, gateway)
    const action = policy === 'admin' ? 'administer' : policy === 'metrics' ? 'observe' : 'chat'
    gateway.guards.authorize(request.principal, action)
    const limit = await tooOften(request)
    if (!limit.isAllowed && limit.isExceeded) throw new PosthouseError('rate-limited', undefined, { retryAfter: limit.ttl })
  })
}

/** Calls `end` when the caller's login or token becomes void while something is still open for them. */
export function endWithCredential(request: FastifyRequest, gateway: Gateway, app: FastifyInstance, end: () => void): Disposable {
  const { principal } = request
  if (!principal) return { [Symbol.dispose]() {} }
  return app.posthouse.watch.add(`${principal.by}:${principal.id}`, async () => (await principalOf(request, gateway)) !== undefined, end)
}

/** Whom the request speaks for; undefined when nobody. */
export async function principalOf(request: FastifyRequest, { guards, store }: Gateway): Promise<Principal | undefined> {
  const bearer = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (request.headers.authorization !== undefined) return bearer ? await guards.verifyToken(bearer) : undefined
  const secret = request.cookies[COOKIE]
  if (!secret || secret.length > 100) return undefined
  const id = guards.hashSecret(secret)
  const user = await store.users.login(id)
  return user && { userId: user.id, name: user.name, role: user.role, scopes: guards.scopesOf(user.role), by: 'login', id }
}

/** Signs somebody in: the secret goes into a cookie that no script can read. */
export async function beginLogin(
  reply: FastifyReply,
  userId: string,
  { guards, store, clock }: Gateway,
  publicUrl: string | undefined,
): Promise<void> {
  const { secret, hash } = guards.newSecret()
  await store.users.addLogin(hash, userId, clock.now() + LOGIN_LIFETIME)
  reply.setCookie(COOKIE, secret, {
    path: '/',
    httpOnly: true,
    sameSite: 'strict',
    secure: isEncrypted(reply.request, publicUrl),
    maxAge: LOGIN_LIFETIME / 1000,
  })
}

/** A proxy that we do not trust does not tell how it was reached; our public address does. */
function isEncrypted({ protocol, headers }: FastifyRequest, publicUrl: string | undefined): boolean {
  if (protocol === 'https') return true
  const url = publicUrl === undefined ? undefined : new URL(publicUrl)
  return url?.protocol === 'https:' && url.host === headers.host
}

export async function endLogin(reply: FastifyReply, { store }: Gateway): Promise<void> {
  const { principal } = reply.request
  if (principal?.by === 'login') await store.users.removeLogin(principal.id)
  reply.clearCookie(COOKIE, { path: '/' })
}
