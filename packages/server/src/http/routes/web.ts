/** The pages: the web's build, served as it is. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fastifyStatic } from '@fastify/static'
import type { Routes } from './routes.ts'

export function webRoutes(routes: Routes, folder: string | undefined): void {
  const config = { policy: 'open' as const, rateLimit: { max: 6000, timeWindow: 60_000 } }
  if (!folder || !existsSync(join(folder, 'index.html'))) {
    routes.get('/', { config, schema: { hide: true } }, async (_request, reply) =>
      reply
        .type('text/plain; charset=utf-8')
        .send('The web chat is not built. Run `npm start`, which builds it.\n网页聊天尚未构建，请运行 npm start。\n'),
    )
    return
  }
  routes.register(fastifyStatic, { root: folder, serve: false, cacheControl: false })
  routes.get<{ Params: { '*': string } }>('/*', { config, schema: { hide: true } }, (request, reply) => {
    const path = request.params['*'] || 'index.html'
    // Built files carry a digest in their names; the page and the worker must be fresh.
    reply.header('cache-control', path.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache')
    return reply.sendFile(path)
  })
}
