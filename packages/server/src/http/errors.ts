/** Every failure leaves as an error body with a code, in the language of the caller, without secrets. */
import { type ErrorCode, errorTable, isPosthouseError } from '@posthouse/contract'
import type { ErrorBody } from '@posthouse/contract/http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway } from './server.ts'

interface Failure {
  readonly code: ErrorCode
  readonly detail: string | undefined
  readonly retryAfter: number | undefined
}

export function answerErrors(app: FastifyInstance, { log }: Pick<Gateway, 'log'>): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const failure = classify(error)
    if (failure.code === 'internal') log.error({ err: error, id: request.id, route: request.routeOptions.url }, 'a request failed')
    return sendError(request, reply, failure)
  })
  app.setNotFoundHandler({ preHandler: [] }, (request, reply) =>
    sendError(request, reply, { code: 'not-found', detail: undefined, retryAfter: undefined }),
  )
}

export function sendError(request: FastifyRequest, reply: FastifyReply, { code, detail, retryAfter }: Failure): FastifyReply {
  if (retryAfter !== undefined) reply.header('retry-after', Math.max(1, Math.ceil(retryAfter / 1000)))
  return reply
    .code(errorTable[code].status)
    .type('application/json; charset=utf-8')
    .serializer(JSON.stringify)
    .send(errorBody(code, request, detail))
}

/** The body of an error, in the caller's language. */
export function errorBody(code: ErrorCode, request: Pick<FastifyRequest, 'headers' | 'id'>, detail?: string): ErrorBody {
  const language = /^\s*zh\b/i.test(String(request.headers['accept-language'] ?? '')) ? 'zh' : 'en'
  return { error: { code, message: errorTable[code][language], ...(detail ? { detail } : {}), id: request.id } }
}

/** What an error is to the outside. Only our own errors carry a detail out. */
export function classify(error: unknown): Failure {
  if (isPosthouseError(error)) return { code: error.code, detail: error.detail, retryAfter: error.retryAfter }
  const { statusCode, code, validation, message, retryAfter } = error as FastifyError & { retryAfter?: number }
  if (validation) return { code: 'invalid', detail: message.slice(0, 500), retryAfter: undefined }
  switch (statusCode) {
    case 400:
      return {
        code: 'invalid',
        detail: code?.startsWith('FST_') ? message.slice(0, 200) : 'the body is not valid JSON',
        retryAfter: undefined,
      }
    case 401:
      return { code: 'unauthorized', detail: undefined, retryAfter: undefined }
    case 404:
      return { code: 'not-found', detail: undefined, retryAfter: undefined }
    case 413:
      return { code: 'too-large', detail: undefined, retryAfter: undefined }
    case 415:
    case 406:
      return { code: 'unsupported', detail: undefined, retryAfter: undefined }
    case 429:
      return { code: 'rate-limited', detail: undefined, retryAfter: retryAfter ?? 60_000 }
    default:
      return { code: 'internal', detail: undefined, retryAfter: undefined }
  }
}
