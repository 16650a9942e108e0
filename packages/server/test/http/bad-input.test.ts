/** What nobody should send: each is refused with its class and code, nothing crashes, nothing admitted is lost. */
import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Caller, type Gateway, openSocket, password, raw, refusal, startGateway } from './gateway.ts'

let gateway: Gateway
let eve: Caller
let cookie: string
/** Lines of the log that were looked at. */
let read = 0
before(async () => {
  gateway = await startGateway()
  eve = await gateway.person('Eve')
  const login = await gateway.call('/api/login', { json: { name: 'Ann', password } })
  cookie = String(login.headers.get('set-cookie')).split(';')[0] ?? ''
})
after(() => gateway[Symbol.asyncDispose]())
// Whatever was sent: the process lives, answers, and has logged no error of its own.
afterEach(async () => {
  assert.equal((await gateway.call('/healthz')).status, 200)
  const fresh = gateway.posthouse.log.slice(read)
  read += fresh.length
  assert.deepEqual(
    fresh.filter((line) => /"level":"(error|fatal)"/.test(line)),
    [],
  )
})

describe('A: who is asking', () => {
  const part = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
  const now = () => Math.floor(Date.now() / 1000)
  const head = { alg: 'HS256', typ: 'at+jwt' }
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString()

  it('is known by a token of ours and by nothing else', async () => {
    const { id } = await gateway.token(gateway.admin.id)
    const secret = await gateway.withStore(async (_store, key) => key.derive('tokens'))
    const claims = { scope: 'chat', iss: 'posthouse', aud: 'posthouse-api', sub: gateway.admin.id, jti: id, iat: now(), exp: now() + 600 }
    const signed = (header: unknown, payload: unknown, key: string | Buffer = secret) => {
      const text = `${part(header)}.${part(payload)}`
      return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`
    }
    const without = (name: keyof typeof claims) => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name))
    const bySomebody = (header: object) => {
      const text = `${part(header)}.${part(claims)}`
      return `${text}.${sign('sha256', Buffer.from(text), rsa.privateKey).toString('base64url')}`
    }
    const jwk = rsa.publicKey.export({ format: 'jwk' })
    const good = signed(head, claims)
    assert.equal((await gateway.call('/api/me', { token: good })).status, 200, 'the forge works')
    const deleted = await gateway.token(gateway.admin.id)
    using database = new DatabaseSync(join(gateway.posthouse.folder, 'data/posthouse.db'), { timeout: 5000 })
    database.prepare('DELETE FROM access_tokens WHERE id = ?').run(deleted.id)

    const cases: readonly [string, string][] = [
      ['alg none', `${part({ ...head, alg: 'none' })}.${part(claims)}.`],
      ['alg none with a signature', signed({ ...head, alg: 'none' }, claims)],
      ['alg None', signed({ ...head, alg: 'None' }, claims)],
      ['alg nOnE', `${part({ ...head, alg: 'nOnE' })}.${part(claims)}.x`],
      ['another HMAC', signed({ ...head, alg: 'HS512' }, claims)],
      ['HS256 with a public key', signed(head, claims, pem)],
      ['RS256 of their own', bySomebody({ ...head, alg: 'RS256' })],
      ['embedded jwk', bySomebody({ ...head, alg: 'RS256', jwk })],
      ['jku and x5u', bySomebody({ ...head, alg: 'RS256', jku: 'http://127.0.0.1:1/jwks', x5u: 'http://127.0.0.1:1/x5u' })],
      ['kid as a path', signed({ ...head, kid: '../../../../dev/null' }, claims, '')],
      ['kid as SQL', signed({ ...head, kid: "x' UNION SELECT 'key' --" }, claims, 'key')],
      ['kid as URL', signed({ ...head, kid: 'http://127.0.0.1:1/key' }, claims, 'x')],
      ['unknown critical header', signed({ ...head, crit: ['x'], x: 1 }, claims)],
      ['expired', signed(head, { ...claims, exp: now() - 1 })],
      ['not yet valid', signed(head, { ...claims, nbf: now() + 600 })],
      ['no expiry', signed(head, without('exp'))],
      ['expiry as text', signed(head, { ...claims, exp: String(now() + 600) })],
      ['wrong audience', signed(head, { ...claims, aud: 'other-api' })],
      ['no audience', signed(head, without('aud'))],
      ['wrong issuer', signed(head, { ...claims, iss: 'somebody' })],
      ['another kind of token', signed({ ...head, typ: 'refresh+jwt' }, claims)],
      ['no kind', signed({ alg: 'HS256' }, claims)],
      ['no id', signed(head, without('jti'))],
      ['unknown id', signed(head, { ...claims, jti: randomUUID() })],
      ['id as object', signed(head, { ...claims, jti: { $ne: null } })],
      ['duplicate claims', signed(head, `{"exp":1,${JSON.stringify(claims).slice(1, -1)},"exp":1}`)],
      ['deleted token', deleted.token],
      ['100 KB', `${'a'.repeat(33_000)}.${'b'.repeat(33_000)}.${'c'.repeat(33_000)}`],
      ['4 KB and one', signed(head, { ...claims, x: 'x'.repeat(4100) })],
      ['no JSON', signed(head, 'nonsense')],
      ['two parts', good.split('.').slice(0, 2).join('.')],
      ['four parts', `${good}.x`],
      ['changed signature', `${good.slice(0, -2)}${good.endsWith('AA') ? 'BB' : 'AA'}`],
      ['more claims under the same signature', good.replace(/\.[^.]+\./, `.${part({ ...claims, scope: 'chat admin' })}.`)],
    ]
    for (const [name, token] of cases) {
      // Headers of this size do not even reach the check of the token.
      const answer = await gateway.call('/api/me', { token }).catch(() => undefined)
      if (name === '100 KB') assert.ok(answer === undefined || answer.status === 431, `${answer?.status}`)
      else assert.ok(answer?.status === 401 && refusal(answer, 'unauthorized') === '', `${name}: ${answer?.status} ${answer?.text}`)
    }
    // What a token claims about itself does not count.
    const admin = signed(head, { ...claims, scope: 'chat admin metrics', role: 'admin' })
    assert.equal(refusal(await gateway.call('/api/admin/status', { token: admin }), 'forbidden'), '')
    assert.equal((await gateway.call('/api/me', { token: good })).status, 200, 'the good one is still good')
  })

  it('is not known by headers of other kinds', async () => {
    for (const authorization of ['', 'Bearer', 'Bearer ', `bearer${eve.token}`, `Basic ${eve.token}`, `Bearer ${eve.token} x`, eve.token]) {
      const answer = await gateway.call('/api/me', { headers: { authorization } })
      assert.equal(refusal(answer, 'unauthorized'), '', authorization)
    }
    const both = await gateway.call('/api/me', { cookie, headers: { authorization: 'Bearer a.b.c' } })
    assert.equal(both.status, 401, 'a bad token is not made good by a cookie')
    for (const wrong of [
      `${cookie}x`,
      cookie.slice(0, -1),
      'posthouse_login=',
      `posthouse_login=${'x'.repeat(5000)}`,
      'posthouse_login=%00%ff',
    ]) {
      assert.equal(refusal(await gateway.call('/api/me', { cookie: wrong }), 'unauthorized'), '', wrong.slice(0, 50))
    }
  })

  it('ends with the account', async () => {
    await gateway.person('Gone')
    const login = await gateway.call('/api/login', { json: { name: 'Gone', password } })
    const theirs = String(login.headers.get('set-cookie')).split(';')[0] ?? ''
    assert.equal((await gateway.call('/api/me', { cookie: theirs })).status, 200)
    using database = new DatabaseSync(join(gateway.posthouse.folder, 'data/posthouse.db'), { timeout: 5000 })
    database.prepare("DELETE FROM users WHERE name = 'Gone'").run()
    assert.equal(refusal(await gateway.call('/api/me', { cookie: theirs }), 'unauthorized'), '')
  })
})

describe('B: the web and its sockets', () => {
  it('a socket is opened by our own page only', async () => {
    const { port } = new URL(gateway.url)
    const origins: readonly (string | undefined)[] = [
      'null',
      undefined,
      'http://127.0.0.1.evil.example',
      `http://127.0.0.1.evil.example:${port}`,
      `http://evil-127.0.0.1:${port}`,
      'http://127.0.0.1:1',
      'http://127.0.0.1',
      `http://user@evil.example:${port}`,
      'nonsense',
    ]
    for (const origin of origins) {
      const headers = { cookie, ...(origin === undefined ? {} : { origin }) }
      await assert.rejects(openSocket(gateway.url, headers), { status: 403 }, String(origin))
    }
    using own = await openSocket(gateway.url, { cookie, origin: gateway.url })
    await own.wait('welcome')
    await assert.rejects(openSocket(`${gateway.url}`, { origin: gateway.url }), { status: 401 })
    const inQuery = await gateway
      .call(`/ws?token=${eve.token}`, { headers: { connection: 'Upgrade', upgrade: 'websocket' } })
      .catch(() => undefined)
    assert.ok(inQuery === undefined || inQuery.status === 401)
  })

  it('frames of the wrong kind are refused, and the socket lives', async () => {
    using socket = await gateway.socket(eve)
    const conversation = randomUUID()
    const id = randomUUID()
    const bad: readonly unknown[] = [
      'nonsense',
      '',
      '[]',
      'null',
      { type: 'shout' },
      { type: '__proto__' },
      {},
      { type: 'subscribe', conversation_id: 'x', after: 0 },
      { type: 'subscribe', conversation_id: conversation, after: -1 },
      { type: 'subscribe', conversation_id: conversation, after: '0' },
      { type: 'subscribe', conversation_id: { $ne: null }, after: 0 },
      { type: 'stop', conversation_id: null },
      { type: 'send', id: 'x', conversation_id: conversation, text: 'x' },
    ]
    for (const frame of bad) socket.send(frame as object)
    socket.raw.send(Buffer.from([0, 1, 2]))
    const named: readonly [string, object][] = [
      ['too-large', { type: 'send', id, conversation_id: conversation, text: 'x'.repeat(100_001) }],
      ['invalid', { type: 'send', id, conversation_id: conversation, text: '   ' }],
      ['invalid', { type: 'send', id, conversation_id: conversation, text: 7 }],
      ['invalid', { type: 'send', id, conversation_id: conversation, text: 'x', files: ['../../etc/passwd'] }],
      ['invalid', { type: 'send', id, conversation_id: conversation, text: 'x', files: [randomUUID()] }],
    ]
    for (const [, frame] of named) socket.send(frame)
    socket.send({ type: 'ping' })
    await socket.wait('pong')
    assert.equal(socket.frames.filter((frame) => frame.type === 'error' && frame.code === 'invalid').length, bad.length + 1)
    assert.deepEqual(
      socket.frames.flatMap((frame) => (frame.type === 'refused' && frame.id === id ? [frame.code] : [])),
      named.map(([code]) => code),
    )
    assert.equal(socket.closed, undefined)
  })

  it('frames about the conversation of somebody else are refused like those about none', async () => {
    const { token } = gateway.admin
    const id = (await gateway.call('/api/v1/chat', { token, json: { query: 'of Ann' } })).body.conversation_id as string
    using socket = await gateway.socket(eve)
    const frames: readonly object[] = [
      { type: 'subscribe', conversation_id: id, after: 0 },
      { type: 'stop', conversation_id: id },
      { type: 'send', id: randomUUID(), conversation_id: id, text: 'x' },
      { type: 'send', id: randomUUID(), conversation_id: id, text: 'x', replaces: id },
    ]
    for (const frame of frames) socket.send(frame)
    socket.send({ type: 'ping' })
    await socket.wait('pong')
    const codes = socket.frames.flatMap((frame) => (frame.type === 'refused' || frame.type === 'error' ? [frame.code] : []))
    assert.deepEqual(
      codes,
      frames.map(() => 'not-found'),
    )
    assert.ok(!socket.frames.some((frame) => frame.type === 'synced' || frame.type === 'message'))
  })

  it('speaks Chinese to who reads Chinese', async () => {
    using socket = await gateway.socket(eve, { 'accept-language': 'zh-CN,zh;q=0.9,en;q=0.8' })
    socket.send({ type: 'shout' })
    assert.match((await socket.wait('error')).message, /请求无效/)
  })

  it('a frame of 10 MB, ten thousand fragments, a compressed bomb and a flood close the socket', async () => {
    using big = await gateway.socket(eve)
    big.send('x'.repeat(10 * 1024 * 1024))
    // The line may break while we still write.
    assert.ok([1009, 1006].includes((await big.waitClosed()).code))
    using pieces = await gateway.socket(eve)
    for (let index = 0; index < 10_000; index++) pieces.raw.send('x', { fin: false })
    assert.ok([1008, 1006].includes((await pieces.waitClosed()).code))
    const key = Buffer.from(randomUUID().slice(0, 16)).toString('base64')
    const bomb = await raw(
      gateway.url,
      Buffer.concat([
        Buffer.from(
          `GET /ws HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\nsec-websocket-extensions: permessage-deflate\r\nauthorization: Bearer ${eve.token}\r\n\r\n`,
        ),
        // FIN and RSV1 (compressed), masked with zeros.
        Buffer.from([0xc1, 0x80 | 5, 0, 0, 0, 0, 1, 2, 3, 4, 5]),
      ]),
    )
    assert.ok(bomb.closed && bomb.text.startsWith('HTTP/1.1 101'), bomb.text.slice(0, 100))
    assert.doesNotMatch(bomb.text, /permessage-deflate/i)
    using flood = await gateway.socket(eve)
    for (let index = 0; index < 1000; index++) flood.send({ type: 'ping' })
    assert.equal((await flood.waitClosed()).code, 1008)
  })

  it('what changes something comes from our own page', async () => {
    const foreign = { origin: 'http://evil.example' }
    const attempts: readonly [string, Parameters<Gateway['call']>[1]][] = [
      ['a form', { body: 'query=x', headers: { ...foreign, 'content-type': 'application/x-www-form-urlencoded' } }],
      ['plain text', { body: '{"query":"x"}', headers: { ...foreign, 'content-type': 'text/plain' } }],
      ['JSON', { json: { query: 'x' }, headers: foreign }],
      ['no origin', { json: { query: 'x' } }],
      ['from nowhere', { json: { query: 'x' }, headers: { origin: 'null' } }],
      ['said to be ours', { json: { query: 'x' }, headers: { ...foreign, 'x-forwarded-host': 'evil.example' } }],
    ]
    for (const [name, asking] of attempts) {
      const answer = await gateway.call('/api/v1/chat', { ...asking, method: 'POST', cookie })
      assert.equal(answer.status, 403, `${name}: ${answer.text}`)
      assert.equal(refusal(answer, 'forbidden'), '', name)
    }
    const own = await gateway.call('/api/v1/chat', { json: { query: 'own page' }, cookie, headers: { origin: gateway.url } })
    assert.equal(own.status, 200)
    assert.equal(own.headers.get('access-control-allow-origin'), null)
  })

  it('requests that are smuggled, split or spoofed are refused', async () => {
    const ask = `authorization: Bearer ${eve.token}\r\ncontent-type: application/json\r\n`
    const cases: readonly [string, RegExp, string][] = [
      [
        'two lengths',
        /^HTTP\/1.1 400 /,
        `POST /api/v1/chat HTTP/1.1\r\nhost: 127.0.0.1\r\n${ask}content-length: 13\r\ncontent-length: 14\r\n\r\n{"query":"x"}`,
      ],
      [
        'length and chunked',
        /^HTTP\/1.1 400 /,
        `POST /api/v1/chat HTTP/1.1\r\nhost: 127.0.0.1\r\n${ask}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`,
      ],
      [
        'strange encoding',
        /^HTTP\/1.1 (400|501) /,
        `POST /api/v1/chat HTTP/1.1\r\nhost: 127.0.0.1\r\n${ask}transfer-encoding: xchunked\r\n\r\n`,
      ],
      [
        'broken chunks',
        /^HTTP\/1.1 400 /,
        `POST /api/v1/chat HTTP/1.1\r\nhost: 127.0.0.1\r\n${ask}transfer-encoding: chunked\r\n\r\nZZ\r\nxx\r\n0\r\n\r\n`,
      ],
      ['foreign host', /^HTTP\/1.1 403 [\s\S]*"forbidden"/, `GET /api/me HTTP/1.1\r\nhost: evil.example\r\n${ask}\r\n`],
      ['host like ours', /^HTTP\/1.1 403 /, `GET / HTTP/1.1\r\nhost: 127.0.0.1.evil.example\r\n\r\n`],
      ['no host', /^HTTP\/1.1 400 /, `GET /api/me HTTP/1.1\r\n${ask}\r\n`],
      ['two hosts', /^HTTP\/1.1 (400|403|401) /, `GET /api/me HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n\r\n`],
      ['line feed in a header', /^HTTP\/1.1 400 /, `GET /api/me HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\nb\r\n\r\n`],
      ['NUL in a header', /^HTTP\/1.1 400 /, `GET /api/me HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\0b\r\n\r\n`],
      [
        'oversize cookie',
        /^HTTP\/1.1 431 /,
        `GET /api/me HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: posthouse_login=${'x'.repeat(20_000)}\r\n\r\n`,
      ],
      ['thousands of headers', /^HTTP\/1.1 431 /, `GET /api/me HTTP/1.1\r\nhost: 127.0.0.1\r\n${'x: y\r\n'.repeat(5000)}\r\n`],
      ['unknown method', /^HTTP\/1.1 400 /, `BREW /pot HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`],
      ['no HTTP', /^HTTP\/1.1 400 /, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n'],
      ['garbage behind a request', /^HTTP\/1.1 (200|400) /, 'GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGARBAGE\r\n\r\n'],
      ['long target', /^HTTP\/1.1 (414|431|404|400) /, `GET /${'a'.repeat(15_000)} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`],
      [
        'other protocol offered',
        /^HTTP\/1.1 200 /,
        'GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n',
      ],
      [
        'socket elsewhere',
        /^HTTP\/1.1 200 /,
        'GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      ],
      [
        'socket without a key',
        /^HTTP\/1.1 400 /,
        `GET /ws HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${eve.token}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n`,
      ],
      ['absolute target', /^HTTP\/1.1 (200|404|400) /, 'GET http://evil.example/healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'],
      ['tunnel', /^(HTTP\/1.1 4|$)/, 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'],
      ['trace', /^HTTP\/1.1 404 /, `TRACE /api/me HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: ${cookie}\r\n\r\n`],
    ]
    for (const [name, expected, bytes] of cases) {
      const { text } = await raw(gateway.url, bytes, { quiet: 300 })
      assert.match(text, expected, name)
      if (name === 'two lengths' || name === 'length and chunked') assert.equal(text.match(/HTTP\/1.1/g)?.length, 1, `${name}: one answer`)
      // A request without a host, or a socket without a key, is refused by the protocol's own layer, which knows no bodies.
      if (text.startsWith('HTTP/1.1 4') && !['no host', 'socket without a key'].includes(name))
        assert.match(text, /"error":\{"code":"/, `${name}: ${text}`)
    }
  })
})

describe('bodies, types and paths', () => {
  const chat = (body: string, type = 'application/json', headers: Record<string, string> = {}) =>
    gateway.call('/api/v1/chat', { method: 'POST', token: eve.token, body, headers: { 'content-type': type, ...headers } })

  it('are refused when they are not what they must be', async () => {
    const deep = (depth: number, open: string, close: string) => `{"query":"x","user":${open.repeat(depth)}1${close.repeat(depth)}}`
    const cases: readonly [string, string, Promise<Awaited<ReturnType<typeof chat>>>][] = [
      ['10k deep arrays', 'invalid', chat(deep(10_000, '[', ']'))],
      ['10k deep objects', 'invalid', chat(deep(10_000, '{"a":', '}'))],
      ['400k deep, unclosed', 'invalid', chat('['.repeat(400_000))],
      ['1 MB and one', 'too-large', chat(`{"query":"${'x'.repeat(1024 * 1024 + 1 - 12)}"}`)],
      ['a line of 1 MB', 'invalid', chat(JSON.stringify({ query: 'x'.repeat(1024 * 1024 - 100) }))],
      ['a table of 50,000 rows', 'invalid', chat(JSON.stringify({ query: `|a|b|\n|-|-|\n${'|1|2|\n'.repeat(50_000)}` }))],
      ['more text than allowed', 'invalid', chat(JSON.stringify({ query: 'x'.repeat(100_001) }))],
      ['empty', 'invalid', chat('')],
      ['no JSON', 'invalid', chat('{"query":')],
      ['an array', 'invalid', chat('[]')],
      ['null', 'invalid', chat('null')],
      ['a number for text', 'invalid', chat('{"query":7}')],
      ['empty text', 'invalid', chat('{"query":""}')],
      ['blank text', 'invalid', chat('{"query":"  \\n "}')],
      ['no UUID', 'invalid', chat('{"query":"x","conversation_id":"../x"}')],
      ['a path as user', 'invalid', chat('{"query":"x","user":"a/b"}')],
      ['control characters as user', 'invalid', chat('{"query":"x","user":"a\\r\\nb"}')],
      ['__proto__', 'invalid', chat('{"query":"x","__proto__":{"admin":true}}')],
      ['constructor.prototype', 'invalid', chat('{"query":"x","constructor":{"prototype":{"admin":true}}}')],
      ['__proto__ by escapes', 'invalid', chat('{"query":"x","\\u005f_proto__":{"admin":true}}')],
      ['a form', 'unsupported', chat('query=x', 'application/x-www-form-urlencoded')],
      ['plain text', 'unsupported', chat('{"query":"x"}', 'text/plain')],
      ['XML', 'unsupported', chat('<query>x</query>', 'application/xml')],
      ['a strange type', 'unsupported', chat('{"query":"x"}', 'application/json/x;=')],
      ['a form with files', 'unsupported', chat('--XX--', 'multipart/form-data; boundary=XX')],
      ['compressed', 'unsupported', chat('{"query":"x"}', 'application/gzip')],
    ]
    for (const [name, code, asking] of cases) {
      const answer = await asking
      // A form is only read where files are taken; elsewhere its body is nothing.
      assert.equal(refusal(answer, name === 'a form with files' ? ['unsupported', 'invalid'] : code), '', name)
    }
    assert.ok(!gateway.model.calls.some(({ question }) => question?.text === 'x' || question?.text.startsWith('xx')))
  })

  it('unknown routes and methods are not there', async () => {
    const cases: readonly [string, string][] = [
      ['GET', '/nothing'],
      ['POST', '/healthz'],
      ['DELETE', '/api/v1/chat'],
      ['PROPFIND', '/'],
      ['OPTIONS', '/api/v1/chat'],
      ['GET', '/api'],
      ['GET', '/API/ME'],
      ['GET', '/api/me/'],
      ['GET', '//api/me'],
      ['GET', '/api/admin/../me'.replace('..', '%2e%2e')],
      ['GET', '/.env'],
      ['GET', '/posthouse.yaml'],
      ['GET', '/data/posthouse.db'],
    ]
    for (const [method, path] of cases) {
      const answer = await gateway.call(path, { method })
      assert.ok([400, 401, 404].includes(answer.status), `${method} ${path}: ${answer.status}`)
      assert.equal(refusal(answer, ['not-found', 'invalid', 'unauthorized']), '', `${method} ${path}`)
    }
  })

  it('percent-encoding does not lead anywhere', async () => {
    const tricks = [
      '..%2f..%2fposthouse.key',
      '%2e%2e%2f',
      '..%5c..%5c',
      '%252e%252e%252f',
      '%00',
      '%ff',
      '%',
      '%zz',
      '%c0%ae%c0%ae/',
      '....//',
      '%u002e',
      ';a=b',
      `${'%2f'.repeat(60)}`,
    ]
    for (const trick of tricks) {
      for (const path of [
        `/${trick}`,
        `/api/v1/files/${trick}`,
        `/api/v1/conversations/${trick}`,
        `/assets/${trick}`,
        `/api/admin/dead/${trick}/retry`,
      ]) {
        const line = `${path.includes('dead') ? 'POST' : 'GET'} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${eve.token}\r\nconnection: close\r\n\r\n`
        const { text } = await raw(gateway.url, line)
        assert.match(text, /^HTTP\/1.1 4\d\d [\s\S]*\{"error":\{"code":"(not-found|invalid|forbidden)"/, `${path}: ${text.slice(0, 300)}`)
        assert.doesNotMatch(text, /posthouse-key|root:/)
      }
    }
  })

  it('a name of a prototype is no key of anything', async () => {
    for (const id of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      assert.equal(refusal(await gateway.call(`/api/v1/history?conversation_id=${id}`, { token: eve.token }), 'invalid'), '')
      assert.equal(
        refusal(
          await gateway
            .call(`/v1/chat/completions`, { token: eve.token, json: { model: id, messages: [{ role: 'user', content: 'x' }] } })
            .then((answer) => ({ ...answer, body: { error: { ...answer.body.error, id: '' } } })),
          'model_not_found',
        ),
        '',
      )
    }
    const twice = await gateway.call(`/api/v1/history?limit=1&limit=2&conversation_id[]=x&__proto__[x]=1`, { token: eve.token })
    assert.equal(refusal(twice, 'invalid'), '')
    for (const limit of ['0', '-1', '201', '1e9', 'x', '9'.repeat(400)]) {
      assert.equal(
        refusal(await gateway.call(`/api/v1/history?conversation_id=${randomUUID()}&limit=${limit}`, { token: eve.token }), 'invalid'),
        '',
        limit,
      )
    }
  })
})

describe('C: markup', () => {
  const cases: readonly [string, string][] = [
    ['script', '<script>alert(1)</script>'],
    ['img onerror', '<img src=x onerror=alert(1)>'],
    ['svg onload', '<svg/onload=alert(1)>'],
    ['javascript link', '[x](javascript:alert(1)) [y](JaVa\tScRiPt:alert(1)) [z](data:text/html,<script>alert(1)</script>)'],
    ['iframe', '<iframe srcdoc="<script>alert(1)</script>"></iframe>'],
    ['style', '<p style="x:expression(alert(1))">x</p>'],
    ['nested foreign content', '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">'],
    ['mermaid', '```mermaid\ngraph TD; A-->B; click A callback "x"\n```'],
    ['KaTeX', '$$\\href{javascript:alert(1)}{x}\\includegraphics{http://127.0.0.1/x.png}$$'],
    ['KaTeX expansion', `$$${'\\def\\a{\\a\\a}'.repeat(100)}\\a$$`],
    ['HTML in a name', '"><img src=x onerror=alert(1)>.txt'],
    ['right to left', 'safe\u202Egnp.exe\u2066\u2069'],
    ['one long line', 'x'.repeat(99_000)],
    ['nested quotes', `${'>'.repeat(10_000)} x`],
    ['a table without end', `|a|b|\n|-|-|\n${'|1|2|\n'.repeat(16_000)}`],
    ['a picture from elsewhere', '![x](http://127.0.0.1:1/track.png?secret=1)'],
  ]

  for (const [name, text] of cases) {
    it(`${name} is kept as it was written, and comes back as data`, async () => {
      const { token } = gateway.admin
      const answer = await gateway.call('/api/v1/chat', { token, json: { query: text } })
      assert.equal(answer.status, 200, answer.text.slice(0, 300))
      // The model's own words are markup of strangers, too.
      assert.equal(answer.body.answer, `You said: ${text}`)
      const id = answer.body.conversation_id as string
      const history = await gateway.call(`/api/v1/history?conversation_id=${id}`, { token })
      assert.deepEqual(
        history.body.messages.map((message: { text: string }) => message.text),
        [text, `You said: ${text}`],
      )
      for (const { headers } of [answer, history]) {
        assert.match(String(headers.get('content-type')), /^application\/json/)
        assert.equal(headers.get('x-content-type-options'), 'nosniff')
        assert.match(String(headers.get('content-security-policy')), /default-src 'self'.*script-src 'self';/)
      }
      const title = text.trim().slice(0, 200)
      const renamed = await gateway.call(`/api/v1/conversations/${id}`, { method: 'PATCH', token, json: { title } })
      assert.equal(renamed.body.title, title.trim())
      const socket = await gateway.socket(gateway.admin)
      const conversation = randomUUID()
      socket.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text })
      const { message } = await socket.wait('accepted')
      assert.equal(message.text, text)
      const list = await gateway.call('/api/v1/conversations', { token })
      const shown = list.body.conversations.find((entry: { id: string }) => entry.id === conversation)
      assert.ok(text.trim().startsWith(shown.title.replace(/…$/, '')), shown.title)
      socket[Symbol.dispose]()
    })
  }

  it('in what is refused comes back as data, too', async () => {
    const answer = await gateway.call('/v1/chat/completions', {
      token: gateway.admin.token,
      json: { model: '<script>alert(1)</script>', messages: [{ role: 'user', content: 'x' }] },
    })
    assert.equal(answer.status, 404)
    assert.match(String(answer.headers.get('content-type')), /^application\/json/)
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
  })
})
