/** Coming in: the one-time set-up link, then name and password. */
import { PosthouseError } from '@posthouse/contract'
import type { LoginRequest, MeResponse, SetupRequest, SetupStatus } from '@posthouse/contract/http'
import { z } from 'zod'
import type { Principal } from '../../ports/guards.ts'
import type { Gateway } from '../gateway.ts'
import { beginLogin, endLogin } from '../identity.ts'
import type { Routes } from './routes.ts'

const name = z
  .string()
  .trim()
  .min(1)
  .max(64)
  .regex(/^[^\p{Cc}]+$/u)
/** Guessing is slow: few tries for one address, and, from however many addresses, for one name. */
const tries = { max: 10, timeWindow: 60_000 }
const triesForName = { max: 30, timeWindow: 15 * 60_000 }

export function entryRoutes(routes: Routes, gateway: Gateway, publicUrl: string | undefined): void {
  const { guards, store, newId } = gateway
  const password = z.string().min(guards.passwordRule.least).max(guards.passwordRule.most)
  const open = { policy: 'open' as const, rateLimit: tries }
  const tooOften = routes.createRateLimit({
    ...triesForName,
    keyGenerator: (request) => `name:${guards.hashSecret((request.body as LoginRequest).name.toLowerCase())}`,
  })

  routes.get(
    '/api/setup',
    { config: { policy: 'open', rateLimit: { max: 120, timeWindow: 60_000 } }, schema: { summary: 'Is there an account yet' } },
    async (): Promise<SetupStatus> => {
      return { needed: (await store.users.count()) === 0 }
    },
  )

  routes.post(
    '/api/setup',
    {
      config: open,
      bodyLimit: 4096,
      schema: {
        summary: 'Make the first account',
        body: z.object({ token: z.string().min(1).max(100), name, password }) satisfies z.ZodType<SetupRequest>,
      },
    },
    async (request, reply) => {
      const user = {
        id: newId(),
        name: request.body.name,
        role: 'admin' as const,
        passwordHash: await guards.hashPassword(request.body.password),
      }
      if (!(await store.users.setUp(guards.hashSecret(request.body.token), user))) throw new PosthouseError('gone')
      await beginLogin(reply, user.id, gateway, publicUrl)
      return await reply.send({ id: user.id, name: user.name, role: user.role } satisfies MeResponse)
    },
  )

  routes.post(
    '/api/login',
    {
      config: open,
      bodyLimit: 4096,
      schema: {
        summary: 'Sign in',
        body: z.object({ name, password: z.string().min(1).max(guards.passwordRule.most) }) satisfies z.ZodType<LoginRequest>,
      },
    },
    async (request, reply) => {
      // Known or not: that a name is limited says nothing about it.
      const limit = await tooOften(request)
      if (!limit.isAllowed && limit.isExceeded) throw new PosthouseError('rate-limited', undefined, { retryAfter: limit.ttl })
      const user = await store.users.byName(request.body.name)
      if (!(await guards.checkPassword(request.body.password, user?.passwordHash)) || !user)
        throw new PosthouseError('unauthorized', 'name or password is wrong')
      await beginLogin(reply, user.id, gateway, publicUrl)
      return await reply.send({ id: user.id, name: user.name, role: user.role } satisfies MeResponse)
    },
  )

  routes.post('/api/logout', { config: { policy: 'login' }, schema: { summary: 'Sign out' } }, async (_request, reply) => {
    await endLogin(reply, gateway)
    return await reply.code(204).send()
  })

  routes.get('/api/me', { config: { policy: 'login' }, schema: { summary: 'Who am I' } }, async (request) =>
    viewPrincipal(guards.authorize(request.principal, 'chat')),
  )
}

export function viewPrincipal({ userId, name: shown, role }: Principal): MeResponse {
  return { id: userId, name: shown, role }
}
