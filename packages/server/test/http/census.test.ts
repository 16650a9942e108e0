/** Every route has a policy, a body limit and a rate limit, keeps out whom it must, and shows nobody the things of others. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Caller, type Gateway, openSocket, refusal, startGateway } from './gateway.ts'
import { census, pathOf, type Route, readRoutes } from './routes.ts'

/** Routes that no program needs to know. */
const hidden = ['GET /', 'GET /api/openapi.json', 'GET /ws']
/** Routes that anybody may call, each with its reason in its file. */
const open = ['GET /', 'GET /api/setup', 'GET /healthz', 'GET /readyz', 'POST /api/login', 'POST /api/setup']

const named = (routes: readonly Route[]) =>
  routes
    .filter(({ method }) => method !== 'HEAD')
    .map(({ method, url }) => `${method} ${url}`)
    .sort()

describe('the census of routes', () => {
  it('finds nothing wrong', async () => {
    const { app, routes } = await readRoutes()
    assert.ok(routes.length > 25, `${routes.length} routes`)
    assert.deepEqual(await census(app, routes), [])
    assert.deepEqual(named(routes.filter(({ policy }) => policy === 'open')), open)
    assert.deepEqual(named(routes.filter((route) => route.hidden)), hidden)
    await app.close()
  })

  it('does not let a gateway start with a route that has no policy or no rate limit', async () => {
    const add = (config: object) => readRoutes((app) => app.register(async (routes) => routes.get('/planted', { config }, async () => 'x')))
    await assert.rejects(add({}), /no policy/)
    await assert.rejects(add({ policy: 'open', rateLimit: false }), /no rate limit/)
  })

  it('finds planted routes that are too open', async () => {
    const planted: readonly [string, Parameters<typeof readRoutes>[0]][] = [
      // Beside the scope in which callers are identified.
      [
        'GET /planted: anonymous gets 200',
        (app) => app.register(async (routes) => routes.get('/planted', { config: { policy: 'login' } }, async () => 'x')),
      ],
      [
        'POST /planted: no body limit',
        (app) =>
          app.register(async (routes) => routes.post('/planted', { config: { policy: 'open' }, bodyLimit: 2 ** 33 }, async () => 'x')),
      ],
      // Before the limiter is there.
      ['GET /planted: no rate limit', (app) => app.get('/planted', { config: { policy: 'open' } }, async () => 'x')],
    ]
    for (const [expected, plant] of planted) {
      const { app, routes } = await readRoutes(plant)
      assert.ok((await census(app, routes)).includes(expected), expected)
      await app.close()
    }
  })
})

describe('the running gateway', () => {
  let gateway: Gateway
  let eve: Caller
  let routes: readonly Route[]
  before(async () => {
    gateway = await startGateway()
    eve = await gateway.person('Eve')
    const table = await readRoutes()
    routes = table.routes
    await table.app.close()
  })
  after(() => gateway[Symbol.asyncDispose]())

  it('answers 401 to everybody who is nobody', async () => {
    const closed = routes.filter(({ policy }) => policy !== 'open' && policy !== 'webhook')
    for (const route of closed) {
      const { method } = route
      for (const credentials of [{}, { authorization: 'Bearer a.b.c' }, { authorization: 'Basic YTpi' }, { cookie: 'posthouse_login=x' }]) {
        const headers = { ...credentials, origin: gateway.url }
        const answer = await gateway.call(pathOf(route), {
          method,
          headers,
          ...(method === 'GET' || method === 'HEAD' ? {} : { json: {} }),
        })
        assert.equal(answer.status, 401, `${method} ${route.url} ${JSON.stringify(credentials)}: ${answer.text}`)
        if (method !== 'HEAD') assert.equal(refusal(answer, 'unauthorized'), '')
      }
    }
    await assert.rejects(openSocket(gateway.url, {}), { status: 401 })
    await assert.rejects(openSocket(gateway.url, { authorization: 'Bearer a.b.c' }), { status: 401 })
  })

  it('lets only administrators administer', async () => {
    const admin = routes.filter(({ policy, method }) => (policy === 'admin' || policy === 'metrics') && method !== 'HEAD')
    assert.ok(admin.length >= 5)
    for (const route of admin) {
      const { method } = route
      const answer = await gateway.call(pathOf(route), {
        method,
        token: eve.token,
        ...(method === 'GET' ? {} : { json: { model: 'main' } }),
      })
      assert.equal(answer.status, 403, `${method} ${route.url}`)
      assert.equal(refusal(answer, 'forbidden'), '')
    }
    const switched = await gateway.call('/api/v1/models/current', { method: 'PUT', token: gateway.admin.token, json: { model: 'main' } })
    assert.equal(switched.body.current, 'main')
    const unknown = await gateway.call('/api/v1/models/current', { method: 'PUT', token: gateway.admin.token, json: { model: 'nope' } })
    assert.equal(refusal(unknown, 'invalid'), '')
  })

  it('shows nobody the things of others, on every route that takes an id', async () => {
    const { token } = gateway.admin
    const { body } = await gateway.call('/api/v1/chat', { token, json: { query: 'my own' } })
    const conversation = body.conversation_id as string
    const form = new FormData()
    form.append('file', new Blob(['mine']), 'mine.txt')
    const file = (await gateway.call('/api/v1/files', { token, body: form })).body.id as string
    const chat = { json: { query: 'x', conversation_id: conversation } }
    const attempts: Readonly<Record<string, readonly [string, object, object]>> = {
      'GET /api/v1/history': [`/api/v1/history?conversation_id=${conversation}`, {}, {}],
      'PATCH /api/v1/conversations/:id': [`/api/v1/conversations/${conversation}`, { method: 'PATCH', json: { title: 'taken' } }, {}],
      'DELETE /api/v1/conversations/:id': [`/api/v1/conversations/${conversation}`, { method: 'DELETE' }, {}],
      'GET /api/v1/files/:id': [`/api/v1/files/${file}`, {}, {}],
      'POST /api/v1/chat': ['/api/v1/chat', chat, {}],
      'POST /api/v1/chat/stream': ['/api/v1/chat/stream', chat, {}],
    }
    const withId = named(routes.filter(({ url, policy }) => url.includes('/:') && policy === 'login'))
    for (const name of withId) assert.ok(name in attempts, `${name} takes an id: add it here`)
    for (const [name, [path, asking]] of Object.entries(attempts)) {
      const answer = await gateway.call(path, { ...asking, token: eve.token })
      assert.equal(answer.status, 404, `${name}: ${answer.text}`)
      assert.equal(refusal(answer, 'not-found'), '')
      const unknown = await gateway.call(path.replace(conversation, eve.id).replace(file, eve.id), { ...asking, token: eve.token })
      if (path.includes(conversation) || path.includes(file))
        assert.deepEqual({ ...unknown.body.error, id: 0 }, { ...answer.body.error, id: 0 })
    }
    for (const [name, [path, asking]] of Object.entries(attempts)) {
      if (name.startsWith('DELETE') || name.startsWith('POST')) continue
      assert.equal((await gateway.call(path, { ...asking, token })).status, 200, `${name}: its owner may`)
    }
    assert.deepEqual((await gateway.call('/api/v1/conversations', { token: eve.token })).body.conversations, [])
  })

  it('describes every route that is not hidden in its OpenAPI document', async () => {
    const { status, body } = await gateway.call('/api/openapi.json', { token: eve.token })
    assert.equal(status, 200)
    assert.match(body.openapi, /^3\./)
    const described = Object.entries(body.paths as Record<string, Record<string, { summary?: string; requestBody?: unknown }>>).flatMap(
      ([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => {
          assert.ok(operation.summary, `${method} ${path} has no summary`)
          return `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`
        }),
    )
    const expected = named(routes).filter((name) => !hidden.includes(name))
    assert.deepEqual(described.sort(), expected)
    const chat = body.paths['/api/v1/chat'].post.requestBody.content['application/json'].schema
    assert.deepEqual(chat.required, ['query'])
    assert.ok(chat.properties.query.maxLength > 0)
  })
})
