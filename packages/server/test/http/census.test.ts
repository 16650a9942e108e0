/** Every route has a policy, a body limit and a rate limit, keeps out whom it must, and shows nobody the things of others. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { address, type Caller, type Gateway, openSocket, raw, refusal, startGateway } from './gateway.ts'
import { biteTest, census, pathOf, type Route, readRoutes } from './routes.ts'

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

describe('the limits of every route', () => {
  it('bite', async () => {
    assert.deepEqual(await biteTest(), [])
  })

  it('are missed where a planted route has none', async () => {
    const found = await biteTest((app) => {
      // Answers before anybody looks at the size.
      app.post('/planted/early', { config: { policy: 'open' }, onRequest: async (_request, reply) => reply.send('x') }, async () => 'x')
      app.register(async (routes) =>
        routes.post(
          '/planted/many',
          { config: { policy: 'open', rateLimit: { max: 20, keyGenerator: () => Math.random() } } },
          async () => 'x',
        ),
      )
    })
    for (const expected of ['POST /planted/many: request 21 is not refused', 'POST /planted/early: 1048577 bytes get 200'])
      assert.ok(found.includes(expected), `${expected}: ${found}`)
  })
})

describe('what is no route', () => {
  it('is refused unread, and only so often', async () => {
    const { app } = await readRoutes(undefined, { requestsPerMinute: 2 })
    const ask = (remoteAddress: string) =>
      app.inject({ method: 'POST', url: '/nowhere', remoteAddress, headers: { host: '127.0.0.1' }, payload: { x: 'x'.repeat(2 ** 21) } })
    for (let count = 0; count < 20; count++) assert.equal((await ask('10.0.0.1')).statusCode, 404)
    const last = await ask('10.0.0.1')
    assert.equal(last.statusCode, 429)
    assert.ok(Number(last.headers['retry-after']) > 0)
    assert.equal((await ask('10.0.0.2')).statusCode, 404)
    await app.close()
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

  it('lets nobody in by another spelling or another method', async () => {
    const spellings: readonly ((path: string) => string)[] = [
      (path) => path,
      (path) => `${path}/`,
      (path) => `/${path}`,
      (path) => `/.${path}`,
      (path) => `/x/..${path}`,
      (path) => `/x/%2e%2e${path}`,
      (path) => path.toUpperCase(),
      (path) => path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
      (path) => path.replace(/(?<=.)\//g, '%2f'),
      (path) => path.replace(/(?<=.)\//g, '\\'),
      (path) => path.replace(/(?<=.)\//g, '//'),
      (path) => `${path};a=b`,
      (path) => `${path}%00`,
      (path) => `${path}?policy=open&token=x`,
      (path) => `${path}#x`,
      (path) => `http://127.0.0.1${path}`,
    ]
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'MKCOL', 'LOCK', 'QUERY', 'get']
    const closed = new Set(routes.filter(({ policy }) => policy !== 'open').map(pathOf))
    assert.ok(closed.size > 15)
    const { hostname, port } = new URL(gateway.url)
    let asked = 0
    for (const path of closed) {
      for (const method of methods) {
        const paths = method === 'GET' || method === 'POST' ? spellings.map((spell) => spell(path)) : [path]
        // One line for all: each answer must be a refusal, whatever went before it.
        const lines = paths.map(
          (target) => `${method} ${target} HTTP/1.1\r\nhost: ${hostname}:${port}\r\nx-forwarded-for: ${address()}\r\n`,
        )
        for (const line of lines) {
          asked++
          const { text } = await raw(gateway.url, `${line}connection: close\r\n\r\n`)
          assert.match(text, /^HTTP\/1\.1 (400|401|403|404|405|414) /, `${line}${text.slice(0, 200)}`)
        }
      }
    }
    assert.ok(asked > 500, `${asked} requests`)
  })

  it('opens no socket but at its one address, to nobody who is nobody', async () => {
    const upgrade = `host: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n`
    const token = `authorization: Bearer ${eve.token}\r\n`
    for (const path of [
      '/ws',
      '/ws?token=x',
      '/ws/',
      '//ws',
      '/WS',
      '/%77s',
      '/ws%00',
      '/ws;x',
      '/api/v1/chat',
      '/api/webhook/telegram',
      '/',
    ]) {
      const { text } = await raw(gateway.url, `GET ${path} HTTP/1.1\r\n${upgrade}\r\n`, { quiet: 150 })
      assert.match(text, path === '/' ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 (400|401|404) /, `${path}: ${text.slice(0, 200)}`)
      if (path.startsWith('/ws?') || path === '/ws') continue
      const known = await raw(gateway.url, `GET ${path} HTTP/1.1\r\n${upgrade}${token}\r\n`, { quiet: 150 })
      assert.doesNotMatch(known.text, /^HTTP\/1\.1 101 /, path)
    }
    for (const method of ['POST', 'HEAD', 'OPTIONS', 'PUT']) {
      const { text } = await raw(gateway.url, `${method} /ws HTTP/1.1\r\n${upgrade}${token}\r\n`, { quiet: 150 })
      assert.doesNotMatch(text, /^HTTP\/1\.1 (101|200) /, `${method}: ${text.slice(0, 100)}`)
    }
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
