/** Who is asking: a bearer token or the login cookie; then the route's policy decides. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Principal } from '../ports/guards.ts'
import type { Gateway } from './server.ts'

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | undefined
  }
}

const COOKIE = 'posthouse_login'
const LOGIN_LIFETIME = 30 * 86_400_000

export function identify(app: FastifyInstance, gateway: Gateway): void {
  app.decorateRequest('principal', undefined)
  app.addHook('onRequest', async (request) => {
    const { policy } = request.routeOptions.config
    if (policy === 'open' || policy === 'webhook' || policy === undefined) return
    request.principal = await principalOf(request, gateway)
    const action = policy === 'admin' ? 'administer' : policy === 'metrics' ? 'observe' : 'chat'
    gateway.guards.authorize(request.principal, action)
  })
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
export async function beginLogin(reply: FastifyReply, userId: string, { guards, store, clock }: Gateway): Promise<void> {
  const { secret, hash } = guards.newSecret()
  await store.users.addLogin(hash, userId, clock.now() + LOGIN_LIFETIME)
  reply.setCookie(COOKIE, secret, {
    path: '/',
    httpOnly: true,
    sameSite: 'strict',
    secure: reply.request.protocol === 'https',
    maxAge: LOGIN_LIFETIME / 1000,
  })
}

export async function endLogin(reply: FastifyReply, { store }: Gateway): Promise<void> {
  const { principal } = reply.request
  if (principal?.by === 'login') await store.users.removeLogin(principal.id)
  reply.clearCookie(COOKIE, { path: '/' })
}
