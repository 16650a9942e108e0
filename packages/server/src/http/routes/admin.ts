/** Administration: what waits for an operator, and how everything does. */
import { PosthouseError } from '@posthouse/contract'
import { z } from 'zod'
import type { Gateway } from '../gateway.ts'
import type { Routes } from './routes.ts'

const id = z.object({ id: z.uuid() })
const page = z.object({ limit: z.coerce.number().int().min(1).max(500).default(100) })

export function adminRoutes(routes: Routes, gateway: Gateway): void {
  const { store } = gateway
  const admin = { config: { policy: 'admin' as const } }

  routes.get('/api/admin/status', { ...admin, schema: { summary: 'Channels, models, queues' } }, async () => await gateway.status())

  routes.get(
    '/api/admin/dead',
    {
      ...admin,
      schema: {
        summary: 'Dead letters, newest first',
        querystring: page,
      },
    },
    async (request) => ({ total: await store.dead.count(), dead: await store.dead.list(request.query.limit) }),
  )

  routes.get(
    '/api/admin/maybe-duplicates',
    { ...admin, schema: { summary: 'Answers that may have arrived twice, newest first', querystring: page } },
    async (request) => ({
      total: await store.outbox.maybeDuplicates(),
      messages: await store.outbox.listMaybeDuplicates(request.query.limit),
    }),
  )

  for (const action of ['retry', 'drop'] as const) {
    routes.post(
      `/api/admin/dead/:id/${action}`,
      { ...admin, schema: { summary: `${action} a dead letter`, params: id } },
      async (request, reply) => {
        if (!(await store.dead[action](request.params.id))) throw new PosthouseError('not-found')
        return await reply.code(204).send()
      },
    )
  }
}
