/** Handing over: a person answers in a conversation of any account, and gives it back. */
import { PosthouseError } from '@posthouse/contract'
import { z } from 'zod'
import { namedId } from '../../base/ids.ts'
import type { Conversation, PersonsWords } from '../../ports/store.ts'
import { viewMessage } from '../../ports/views.ts'
import type { Gateway } from '../gateway.ts'
import { idempotencyKeyOf } from '../idempotency-key.ts'
import type { Routes } from './routes.ts'

const id = z.object({ id: z.uuid() })
const limit = z.coerce.number().int().min(1).max(200).default(50)
const which = z
  .object({ account: z.string().min(1).max(200).optional(), room: z.string().min(1).max(1000).optional(), limit })
  .refine(({ account, room }) => (account === undefined) === (room === undefined), { message: 'account and room belong together' })
/** As long as what people may send. */
const TEXT = 100_000
const words = z.object({ text: z.string().trim().min(1).max(TEXT) })

export function handoverRoutes(routes: Routes, gateway: Gateway): void {
  const { store, guards } = gateway
  const admin = { config: { policy: 'admin' as const } }

  routes.get(
    '/api/admin/conversations',
    { ...admin, schema: { summary: 'Conversations that persons answer; or all of a room (account, room)', querystring: which } },
    async ({ query: { account, room, limit: most } }) => {
      const found = account && room ? await store.handovers.inRoom(account, room, most) : await store.handovers.list(most)
      return { conversations: found.map(viewHeld) }
    },
  )

  routes.post(
    '/api/admin/conversations/:id/take',
    { ...admin, bodyLimit: 4096, schema: { summary: 'Answer here yourself: the assistant is silent from now on', params: id } },
    async (request) => await take(request.principal, request.params.id, undefined),
  )

  routes.post(
    '/api/admin/conversations/:id/messages',
    {
      ...admin,
      bodyLimit: 8 * TEXT,
      schema: { summary: 'Say something as a person, once for each Idempotency-Key; takes the conversation over', params: id, body: words },
    },
    async (request) => {
      const { id: conversation } = request.params
      const key = idempotencyKeyOf(request.headers)
      const words = { id: key === undefined ? gateway.newId() : namedId(`${conversation} ${key}`), text: request.body.text }
      return await take(request.principal, conversation, words)
    },
  )

  routes.get(
    '/api/admin/conversations/:id/messages',
    {
      ...admin,
      schema: {
        summary: 'What was said in a conversation that was taken over, newest last',
        params: id,
        querystring: z.object({ before: z.coerce.number().int().positive().optional(), limit }),
      },
    },
    async ({ params, query: { before, limit: most } }) => {
      const conversation = await find(params.id)
      // People were told that a person is there; else what they say is between them and the assistant.
      if (!conversation.held) throw new PosthouseError('forbidden', 'take the conversation over first')
      const found = await store.conversations.messages(conversation.id, before === undefined ? {} : { before }, most)
      return { messages: found.map(viewMessage) }
    },
  )

  routes.post(
    '/api/admin/conversations/:id/return',
    { ...admin, bodyLimit: 4096, schema: { summary: 'Let the assistant answer again', params: id } },
    async (request, reply) => {
      const { id: conversation } = await find(request.params.id)
      if (!(await store.handovers.giveBack(conversation))) throw new PosthouseError('invalid', 'the assistant answers there already')
      return await reply.code(204).send()
    },
  )

  async function take(principal: Parameters<typeof guards.authorize>[0], conversationId: string, words: PersonsWords | undefined) {
    const { name } = guards.authorize(principal, 'administer')
    const said = await gateway.takeOver(conversationId, name, words)
    if (!said) throw new PosthouseError('not-found')
    return { ...viewHeld(await find(conversationId)), messages: said.map(viewMessage) }
  }

  async function find(conversationId: string): Promise<Conversation> {
    const found = await store.conversations.find(conversationId)
    if (!found) throw new PosthouseError('not-found')
    return found
  }
}

function viewHeld({ id: conversation, account, place, updatedAt, held }: Conversation) {
  return {
    id: conversation,
    account,
    room: place.room,
    thread: place.thread ?? null,
    is_group: place.type === 'group',
    updated_at: updatedAt,
    held: held ? { by: held.by, since_last_word: held.at } : null,
  }
}
