/** The platforms' door. Cheap checks first, the proof before the body is read, the answer after the commit (P1). */
import { isPosthouseError, PosthouseError } from '@posthouse/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Gateway } from '../gateway.ts'
import type { Routes } from './routes.ts'

const LIMIT = 1024 * 1024
const params = z.object({ account: z.string().max(64) })

const accountOf = (request: FastifyRequest) => (request.params as z.infer<typeof params>).account

export function webhookRoutes(routes: Routes, gateway: Gateway): void {
  routes.removeAllContentTypeParsers()
  routes.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: LIMIT }, (_request, body, done) => done(null, body))

  const serve = async (request: FastifyRequest, reply: FastifyReply) => {
    const webhook = gateway.webhook(accountOf(request))
    if (!webhook) throw new PosthouseError('not-found')
    const response = await webhook
      .handle({
        method: request.method as 'GET' | 'POST',
        headers: request.headers as Record<string, string | undefined>,
        query: request.query as Record<string, string | undefined>,
        body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
      })
      .catch((error: unknown) => {
        // Not committed: the platform must send it again.
        if (isPosthouseError(error)) throw error
        throw new PosthouseError('internal', undefined, { cause: error })
      })
    return await reply
      .code(response.status)
      .headers(response.headers ?? {})
      .send(response.body ?? '')
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
      if (!gateway.guards.verifyWebhook(webhook.verification, request.headers)) throw new PosthouseError('unauthorized')
    },
    handler: serve,
  })
}
