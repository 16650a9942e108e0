/** The chat API: a question in, an answer out, whole or as it grows. */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { PosthouseError, priorities, priorityNames } from '@posthouse/contract'
import type { ChatRequest, ChatResponse } from '@posthouse/contract/http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Principal } from '../../ports/guards.ts'
import { type AnswerEvent, followAnswer } from '../answer.ts'
import { classify, errorBody } from '../errors.ts'
import { hangUp, openEventStream } from '../event-stream.ts'
import type { Gateway } from '../gateway.ts'
import { idempotencyKeyOf } from '../idempotency-key.ts'
import { endWithCredential } from '../identity.ts'
import type { Routes } from './routes.ts'

const body = z.object({
  query: z.string().min(1).max(100_000),
  conversation_id: z.uuid().exactOptional(),
  user: z
    .string()
    .min(1)
    .max(128)
    .regex(/^[^/\p{Cc}]+$/u)
    .exactOptional(),
  priority: z.enum(priorityNames).exactOptional(),
  // Files come in through our own door only, never by a name or path that somebody claims.
  files: z.undefined({ error: 'not taken here' }).optional(),
})

export function chatRoutes(routes: Routes, gateway: Gateway, timeout: number): void {
  const { guards, store, newId } = gateway
  const config = { policy: 'login' as const }

  const ask = async (asked: ChatRequest, headers: IncomingHttpHeaders, principal: Principal) => {
    const key = idempotencyKeyOf(headers)
    const { userId } = principal
    let owner = asked.user ? `${userId}/${guards.pseudonym(asked.user)}` : userId
    const conversationId = asked.conversation_id ?? newId()
    if (asked.conversation_id) {
      const found = await store.conversations.find(conversationId)
      // Conversations of earlier versions have the name itself.
      if (asked.user && found?.owner === `${userId}/${asked.user}`) owner = found.owner
      if (found && (found.owner !== owner || found.account !== 'api')) throw new PosthouseError('not-found')
    }
    // A caller that repeats a request names it, and gets the one answer.
    const clientId = key === undefined ? newId() : guards.pseudonym(key)
    const author = { id: owner, name: asked.user ?? principal.name }
    return await gateway.receive({
      account: 'api',
      clientId,
      conversationId,
      owner,
      author,
      text: asked.query,
      files: [],
      replaces: undefined,
      priority: priorities[asked.priority ?? 'interactive'],
    })
  }

  routes.post(
    '/api/v1/chat',
    { config, schema: { summary: 'Ask, and wait for the answer', body } },
    async (request, reply): Promise<ChatResponse> => {
      const gone = hangUp(reply)
      const { messageId, conversationId } = await ask(request.body, request.headers, guards.authorize(request.principal, 'chat'))
      for await (const event of followAnswer(gateway, conversationId, messageId, AbortSignal.any([gone, AbortSignal.timeout(timeout)]))) {
        if (event.type === 'end') return viewAnswer(event)
      }
      throw new PosthouseError('timeout')
    },
  )

  routes.post(
    '/api/v1/chat/stream',
    { config, schema: { summary: 'Ask, and get the answer as it grows (server-sent events)', body } },
    async (request, reply) => {
      const principal = guards.authorize(request.principal, 'chat')
      const seen = parseEventId(request.headers['last-event-id'])
      const asked = seen ? await again(principal, seen.messageId) : await ask(request.body, request.headers, principal)
      await streamAnswer(request, reply, asked, seen)
    },
  )

  /** A caller that lost the line: the question was admitted, only the answer is wanted. */
  const again = async (principal: Principal, messageId: string) => {
    const message = await store.conversations.message(messageId)
    const conversation = message && (await store.conversations.find(message.conversationId))
    guards.authorize(principal, 'own', { owner: conversation?.owner })
    return { messageId, conversationId: conversation?.id ?? '' }
  }

  const streamAnswer = async (request: FastifyRequest, reply: FastifyReply, asked: Asked, seen: EventId | undefined) => {
    const stream = openEventStream(reply)
    const voided = new AbortController()
    using _credential = endWithCredential(request, gateway, routes, () => voided.abort())
    const signal = AbortSignal.any([stream.closed, voided.signal, AbortSignal.timeout(timeout)])
    const start = { conversation_id: asked.conversationId, message_id: asked.messageId }
    let sent = createSent(asked.messageId)
    let turn = ''
    let resumes = seen !== undefined && seen.offset > 0 ? seen : undefined
    try {
      if (!seen) stream.send('start', start, sent.id)
      for await (const event of followAnswer(gateway, asked.conversationId, asked.messageId, signal)) {
        if (event.type === 'end') {
          stream.send('end', viewAnswer(event), sent.id)
          return
        }
        if (resumes ? !sent.resume(event.text, resumes) : event.turn !== turn && !sent.fits(event.text)) {
          // Another try, with other words: what the reader has of the first one is void.
          sent = createSent(asked.messageId)
          stream.send('start', { ...start, restarted: true }, sent.id)
        }
        resumes = undefined
        turn = event.turn
        const text = sent.take(event.text)
        if (text !== '') stream.send('delta', { text }, sent.id)
      }
      if (voided.signal.aborted) throw new PosthouseError('unauthorized')
      if (!stream.closed.aborted) throw new PosthouseError('timeout')
    } catch (error) {
      const { code, detail } = classify(error)
      if (code === 'internal') gateway.log.error({ err: error, id: request.id }, 'an answer could not be streamed')
      stream.send('error', errorBody(code, request, detail).error)
    } finally {
      stream.end()
    }
  }
}

interface Asked {
  readonly messageId: string
  readonly conversationId: string
}

/** What the reader of one answer has. Event ids name it by length and digest, so that any node can tell whether its text goes on from there. */
function createSent(messageId: string) {
  let text = ''
  let hash = createHash('sha256')
  // UTF-16 as it stands: half a character has a digest, too.
  const digest = () => hash.copy().digest('base64url').slice(0, 12)
  return {
    get id() {
      return `${messageId}.${text.length}.${digest()}`
    },
    fits: (whole: string) => whole.startsWith(text),
    /** Goes on from what an earlier stream sent; answers false when `whole` does not begin with it. */
    resume(whole: string, seen: EventId): boolean {
      if (whole.length < seen.offset) return false
      const beginning = whole.slice(0, seen.offset)
      hash = createHash('sha256').update(beginning, 'utf16le')
      if (digest() !== seen.digest) {
        hash = createHash('sha256')
        return false
      }
      text = beginning
      return true
    },
    /** What of `whole` is new. A character is not cut in two. */
    take(whole: string): string {
      const end = /[\uD800-\uDBFF]$/.test(whole.slice(-1)) ? whole.length - 1 : whole.length
      if (end <= text.length) return ''
      const more = whole.slice(text.length, end)
      hash.update(more, 'utf16le')
      text = end === whole.length ? whole : whole.slice(0, end)
      return more
    },
  }
}

function viewAnswer({ message }: Extract<AnswerEvent, { type: 'end' }>): ChatResponse {
  if (message.status === 'failed') throw new PosthouseError('model-failed', message.text)
  return {
    answer: message.text,
    conversation_id: message.conversation_id,
    message_id: message.id,
    model: message.model ?? '',
    usage: message.usage ?? { inputTokens: 0, outputTokens: 0 },
  }
}

interface EventId {
  readonly messageId: string
  readonly offset: number
  readonly digest: string
}

/** @throws PosthouseError `invalid`: taken for a new question, a damaged id would ask twice. */
function parseEventId(header: string | string[] | undefined): EventId | undefined {
  if (header === undefined || header === '') return undefined
  const match = /^([0-9a-f-]{36})\.(\d{1,9})\.([\w-]{12})$/.exec(String(header))
  if (!match) throw new PosthouseError('invalid', 'Last-Event-ID: not an id of ours')
  return { messageId: match[1] ?? '', offset: Number(match[2]), digest: match[3] ?? '' }
}
