/** The platforms' door. What the headers prove before the body is read, the rest before it is parsed, the answer after the commit (P1). */
import { isPosthouseError, PosthouseError, type WebhookRequest } from '@posthouse/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Webhook } from '../../ports/accounts.ts'
import type { Gateway } from '../gateway.ts'
import type { Routes } from './routes.ts'

const LIMIT = 1024 * 1024
/** Milliseconds between two lines of the log about calls that an account refuses. */
const TELL_EVERY = 60_000
const params = z.object({ account: z.string().max(64) })

const accountOf = (request: FastifyRequest) => (request.params as z.infer<typeof params>).account

export function webhookRoutes(routes: Routes, gateway: Gateway): void {
  const { guards, clock, log } = gateway
  const told = new Map<string, number>()
  routes.removeAllContentTypeParsers()
  routes.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: LIMIT }, (_request, body, done) => done(null, body))

  /** What is refused is otherwise seen by the caller alone. Once in a while: anybody may knock. */
  const refused = (account: string, why: string) => {
    const now = clock.elapsed()
    if (now - (told.get(account) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY) return
    told.set(account, now)
    log.warn({ account }, why)
  }
  const unproven = (account: string) => {
    refused(
      account,
      'a call to the webhook was refused: its proof does not hold; compare the secrets on both sides, and try it with `posthouse channel decode`',
    )
    return new PosthouseError('unauthorized', 'the proof of this call does not hold')
  }

  const callOf = (request: FastifyRequest) => ({
    method: request.method as 'GET' | 'POST',
    headers: request.headers as Record<string, string | undefined>,
    query: request.query as Record<string, string | undefined>,
    body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
    peer: request.socket.remoteAddress,
  })

  const serve = async (request: FastifyRequest, reply: FastifyReply) => {
    const webhook = gateway.webhook(accountOf(request))
    if (!webhook) throw new PosthouseError('not-found')
    const call = callOf(request)
    const proven = webhook.verification.some((verification) => guards.verifyWebhook(verification, call, clock.now()))
    const response = proven ? await handle(webhook, call, accountOf(request)) : webhook.challenge?.(call)
    if (!response) throw unproven(accountOf(request))
    return await reply
      .code(response.status)
      .headers(response.headers ?? {})
      .send(response.body ?? '')
  }

  const handle = async (webhook: Webhook, call: WebhookRequest, account: string) => {
    try {
      return await webhook.handle(call)
    } catch (error) {
      // Not committed: the platform must send it again.
      if (isPosthouseError(error) && error.code === 'invalid')
        refused(account, 'a call to the webhook was refused: it could not be read; see why with `posthouse channel decode`')
      if (isPosthouseError(error)) throw error
      throw new PosthouseError('internal', undefined, { cause: error })
    }
  }

  routes.route({
    method: ['GET', 'POST'],
    url: '/api/webhook/:account',
    bodyLimit: LIMIT,
    config: {
      policy: 'webhook',
      rateLimit: { max: 600_000, timeWindow: 60_000, keyGenerator: (request: FastifyRequest) => `webhook:${accountOf(request)}` },
    },
    schema: { summary: 'Messages from a platform', params },
    // Behind the rate limit, and before one byte of the body is read.
    preParsing: async (request) => {
      const webhook = gateway.webhook(accountOf(request))
      if (!webhook) throw new PosthouseError('not-found')
      if (webhook.challenge) return
      const may = webhook.verification.some((verification) => guards.mayBePlatform(verification, callOf(request), clock.now()))
      if (!may) throw unproven(accountOf(request))
    },
    handler: serve,
  })
}
