/** Is it alive, may it take messages, how does it do. */
import type { Gateway } from '../gateway.ts'
import type { Routes } from './routes.ts'

export function healthRoutes(routes: Routes, gateway: Gateway): void {
  const open = { config: { policy: 'open' as const, rateLimit: { max: 6000, timeWindow: 60_000 } } }
  routes.get('/healthz', { ...open, schema: { summary: 'Is the process alive' } }, async () => ({ status: 'ok', version: gateway.version }))
  routes.get('/readyz', { ...open, schema: { summary: 'May it take messages' } }, async (_request, reply) => {
    const { ready, problems, degraded } = routes.posthouse.retiring
      ? { ready: false, problems: ['shutting down'], degraded: [] }
      : await gateway.readiness()
    return await reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', problems, degraded })
  })
  routes.get('/metrics', { config: { policy: 'metrics' }, schema: { summary: 'Figures for Prometheus' } }, async (_request, reply) => {
    const { type, text } = await gateway.metrics()
    return await reply.type(type).send(text)
  })
  routes.get('/api/openapi.json', { config: { policy: 'login' }, schema: { hide: true } }, async () => routes.swagger())
}
