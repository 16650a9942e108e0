/** Conversations of the caller, what was said in them, and the models that answer. */
import { PosthouseError } from '@posthouse/contract'
import type { ConversationsResponse, HistoryResponse, ModelsResponse } from '@posthouse/contract/http'
import { z } from 'zod'
import { conversationTopic, userTopic } from '../../ports/live.ts'
import { viewConversation, viewMessage } from '../../ports/views.ts'
import type { Gateway } from '../gateway.ts'
import type { Routes } from './routes.ts'

const page = { before: z.coerce.number().int().positive().optional(), limit: z.coerce.number().int().min(1).max(200).default(50) }
const id = z.object({ id: z.uuid() })

export function conversationRoutes(routes: Routes, gateway: Gateway): void {
  const { store, guards, live } = gateway
  const login = { config: { policy: 'login' as const } }

  /** Loads a conversation of the caller's own. */
  const own = async (principal: Parameters<typeof guards.authorize>[0], conversationId: string) => {
    const conversation = await store.conversations.find(conversationId)
    guards.authorize(principal, 'own', { owner: conversation?.owner })
    if (!conversation) throw new PosthouseError('not-found')
    return conversation
  }

  routes.get(
    '/api/v1/conversations',
    { ...login, schema: { summary: 'Conversations, newest first', querystring: z.object(page) } },
    async (request): Promise<ConversationsResponse> => {
      const { before, limit } = request.query
      const { userId } = guards.authorize(request.principal, 'chat')
      const found = await store.conversations.list(userId, 'web', limit, before)
      const last = found.length === limit ? found.at(-1) : undefined
      return { conversations: found.map(viewConversation), ...(last ? { before: last.updatedAt } : {}) }
    },
  )

  routes.patch(
    '/api/v1/conversations/:id',
    { ...login, bodyLimit: 4096, schema: { summary: 'Rename', params: id, body: z.object({ title: z.string().trim().min(1).max(200) }) } },
    async (request) => {
      const conversation = await own(request.principal, request.params.id)
      await store.conversations.rename(conversation.id, request.body.title)
      const view = viewConversation({ ...conversation, place: { ...conversation.place, title: request.body.title } })
      live.publish(userTopic(conversation.owner ?? ''), { type: 'conversation', conversation: view })
      return view
    },
  )

  routes.delete(
    '/api/v1/conversations/:id',
    { ...login, schema: { summary: 'Delete with everything in it', params: id } },
    async (request, reply) => {
      const conversation = await own(request.principal, request.params.id)
      await gateway.stop(conversation.id)
      const files = await store.conversations.remove(conversation.id)
      for (const file of files) await gateway.blobs.remove(file)
      const frame = { type: 'conversation-deleted', conversation_id: conversation.id } as const
      live.publish(conversationTopic(conversation.id), frame)
      live.publish(userTopic(conversation.owner ?? ''), frame)
      return await reply.code(204).send()
    },
  )

  routes.get(
    '/api/v1/history',
    {
      ...login,
      schema: { summary: 'Messages of a conversation, oldest first', querystring: z.object({ conversation_id: z.uuid(), ...page }) },
    },
    async (request): Promise<HistoryResponse> => {
      const { conversation_id: conversationId, before, limit } = request.query
      const conversation = await own(request.principal, conversationId)
      const messages = await store.conversations.messages(conversation.id, before === undefined ? {} : { before }, limit)
      const earliest = messages.length === limit ? messages[0] : undefined
      return { conversation_id: conversation.id, messages: messages.map(viewMessage), ...(earliest ? { before: earliest.seq } : {}) }
    },
  )

  routes.get(
    '/api/v1/models',
    { ...login, schema: { summary: 'Models and the one in use' } },
    async (): Promise<ModelsResponse> => await gateway.modelsView(),
  )

  routes.put(
    '/api/v1/models/current',
    {
      config: { policy: 'admin' },
      bodyLimit: 4096,
      schema: { summary: 'Switch the model for all', body: z.object({ model: z.string().min(1).max(100) }) },
    },
    async (request): Promise<ModelsResponse> => {
      await gateway.switchModel(request.body.model)
      return await gateway.modelsView()
    },
  )
}
