/** The chat API: a question in, an answer out, whole or as it grows. */
import { PosthouseError } from '@posthouse/contract'
import type { ChatRequest, ChatResponse } from '@posthouse/contract/http'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { Principal } from '../../ports/guards.ts'
import { type AnswerEvent, followAnswer } from '../answer.ts'
import { classify, errorBody } from '../errors.ts'
import { openEventStream } from '../event-stream.ts'
import type { Gateway } from '../server.ts'
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
}) satisfies z.ZodType<ChatRequest>

export function chatRoutes(routes: Routes, gateway: Gateway, timeout: number): void {
  const { guards, store, newId } = gateway
  const config = { policy: 'login' as const }

  const ask = async (asked: ChatRequest, key: unknown, principal: Principal) => {
    const owner = asked.user ? `${principal.userId}/${asked.user}` : principal.userId
    const conversationId = asked.conversation_id ?? newId()
    if (asked.conversation_id) {
      const found = await store.conversations.find(conversationId)
      if (found && (found.owner !== owner || found.account !== 'api')) throw new PosthouseError('not-found')
    }
    // A caller that repeats a request names it, and gets the one answer.
    const clientId = typeof key === 'string' && key.length <= 128 ? key : newId()
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
    })
  }

  routes.post(
    '/api/v1/chat',
    { config, schema: { summary: 'Ask, and wait for the answer', body } },
    async (request): Promise<ChatResponse> => {
      const { messageId, conversationId } = await ask(
        request.body,
        request.headers['idempotency-key'],
        guards.authorize(request.principal, 'chat'),
      )
      for await (const event of followAnswer(gateway, conversationId, messageId, AbortSignal.timeout(timeout))) {
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
      const asked = seen ? await again(principal, seen.messageId) : await ask(request.body, request.headers['idempotency-key'], principal)
      await streamAnswer(reply, asked, seen)
    },
  )

  /** A caller that lost the line: the question was admitted, only the answer is wanted. */
  const again = async (principal: Principal, messageId: string) => {
    const message = await store.conversations.message(messageId)
    const conversation = message && (await store.conversations.find(message.conversationId))
    guards.authorize(principal, 'own', { owner: conversation?.owner })
    return { messageId, conversationId: conversation?.id ?? '' }
  }

  const streamAnswer = async (reply: FastifyReply, asked: { messageId: string; conversationId: string }, seen: EventId | undefined) => {
    const stream = openEventStream(reply)
    const id = (turn: string, offset: number) => `${asked.messageId}.${turn}.${offset}`
    let turn = seen?.turn ?? ''
    let offset = seen?.offset ?? 0
    try {
      if (!seen) stream.send('start', { conversation_id: asked.conversationId, message_id: asked.messageId }, id('', 0))
      for await (const event of followAnswer(
        gateway,
        asked.conversationId,
        asked.messageId,
        AbortSignal.any([stream.closed, AbortSignal.timeout(timeout)]),
      )) {
        if (event.type === 'draft') {
          if (event.turn !== turn) {
            // The answer begins anew (a restart): what was shown of another try is void.
            if (offset > 0)
              stream.send(
                'start',
                { conversation_id: asked.conversationId, message_id: asked.messageId, restarted: true },
                id(event.turn, 0),
              )
            turn = event.turn
            offset = 0
          }
          if (event.text.length <= offset) continue
          const text = event.text.slice(offset)
          offset = event.text.length
          stream.send('delta', { text }, id(turn, offset))
        } else {
          stream.send('end', viewAnswer(event), id(turn, offset))
          return
        }
      }
      if (!stream.closed.aborted) throw new PosthouseError('timeout')
    } catch (error) {
      const { code, detail } = classify(error)
      stream.send('error', errorBody(code, reply.request, detail).error)
    } finally {
      stream.end()
    }
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
  readonly turn: string
  readonly offset: number
}

function parseEventId(header: string | string[] | undefined): EventId | undefined {
  const match = /^([0-9a-f-]{36})\.([0-9a-f-]{0,36})\.(\d{1,9})$/.exec(String(header ?? ''))
  return match ? { messageId: match[1] ?? '', turn: match[2] ?? '', offset: Number(match[3]) } : undefined
}
