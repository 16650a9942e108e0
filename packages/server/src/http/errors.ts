/** Every failure leaves as an error body with a code, in the language of the caller, without secrets. */
import type { Socket } from 'node:net'
import { type ErrorCode, errorTable, isPosthouseError } from '@posthouse/contract'
import type { ErrorBody } from '@posthouse/contract/http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway } from './gateway.ts'

interface Failure {
  readonly code: ErrorCode
  readonly detail: string | undefined
  readonly retryAfter: number | undefined
}

export function answerErrors(app: FastifyInstance, { log }: Pick<Gateway, 'log'>): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const failure = classify(error)
    // Who hangs up in the middle of a body gets no answer, and nothing is wrong here.
    const left = request.raw.destroyed && !request.raw.complete
    if (failure.code === 'internal' && !left) {
      log.error({ err: error, id: request.id, route: request.routeOptions.url }, 'a request failed')
    }
    return sendError(request, reply, failure)
  })
  app.setNotFoundHandler((request, reply) => sendError(request, reply, { code: 'not-found', detail: undefined, retryAfter: undefined }))
}

export function sendError(request: FastifyRequest, reply: FastifyReply, { code, detail, retryAfter }: Failure): FastifyReply {
  if (retryAfter !== undefined) reply.header('retry-after', Math.max(1, Math.ceil(retryAfter / 1000)))
  // What was refused before its body was read is not read to its end: the line is closed behind the answer.
  if (!request.raw.complete) reply.header('connection', 'close')
  return reply
    .code(errorTable[code].status)
    .type('application/json; charset=utf-8')
    .serializer(JSON.stringify)
    .send(errorBody(code, request, detail))
}

/** The body of an error, in the caller's language. */
export function errorBody(code: ErrorCode, request: Pick<FastifyRequest, 'headers' | 'id'>, detail?: string): ErrorBody {
  const message = errorTable[code][languageOf(request.headers['accept-language'])]
  return { error: { code, message, ...(detail ? { detail } : {}), id: request.id } }
}

/** Chinese for those who like it better than English (RFC 9110, section 12.5.4), English for everybody else. */
export function languageOf(accepted: string | undefined): 'en' | 'zh' {
  const best = { en: 0, zh: 0 }
  for (const range of (accepted ?? '').slice(0, 500).split(',')) {
    const [, tag, quality = '1'] = /^\s*(en|zh)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+)\s*)?$/i.exec(range) ?? []
    const language = tag?.toLowerCase() as 'en' | 'zh' | undefined
    if (language) best[language] = Math.max(best[language], Number(quality) || 0)
  }
  return best.zh > best.en ? 'zh' : 'en'
}

/** Statuses that the framework and its plugins give to what came in wrong. Multipart gives 406 to what is no form. */
const codes: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  413: 'too-large',
  414: 'too-large',
  415: 'unsupported',
  429: 'rate-limited',
  431: 'too-large',
}

/** What an error is to the outside. Only our own errors carry a detail out. */
export function classify(error: unknown): Failure {
  if (isPosthouseError(error)) return { code: error.code, detail: error.detail, retryAfter: error.retryAfter }
  const { statusCode = 500, code, validation, message, retryAfter } = error as FastifyError & { retryAfter?: number }
  if (validation) return { code: 'invalid', detail: message.slice(0, 500), retryAfter: undefined }
  if (!(statusCode >= 400 && statusCode < 500)) return { code: 'internal', detail: undefined, retryAfter: undefined }
  const known = codes[statusCode]
  if (known) return { code: known, detail: undefined, retryAfter: statusCode === 429 ? (retryAfter ?? 60_000) : undefined }
  return {
    code: 'invalid',
    // Other messages of the framework repeat what was sent.
    detail: code?.startsWith('FST_ERR_CTP_') ? message.slice(0, 200) : 'the request cannot be read',
    retryAfter: undefined,
  }
}

const malformed: Readonly<Record<string, { readonly status: string; readonly code: ErrorCode }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: '408 Request Timeout', code: 'timeout' },
  HPE_HEADER_OVERFLOW: { status: '431 Request Header Fields Too Large', code: 'too-large' },
}

/** What is not even HTTP, or comes too slowly: one answer, and the line is closed. */
export function refuseLine(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  // Behind an answer that has begun there is no place for another one.
  if (!socket.writable || socket.bytesWritten > 0) return void socket.destroy()
  const { status, code } = malformed[error.code ?? ''] ?? { status: '400 Bad Request', code: 'invalid' as const }
  const body = JSON.stringify({ error: { code, message: errorTable[code].en } } satisfies ErrorBody)
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}
