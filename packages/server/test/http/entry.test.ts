/** Coming in and going out: set-up link, logins, tokens; and that what is void is void within a second, on open sockets too. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { newSecret } from '../../src/security/index.ts'
import { until } from '../journeys/posthouse.ts'
import { address, type Caller, type Gateway, openSocket, password, refusal, startGateway } from './gateway.ts'

let gateway: Gateway
let bob: Caller
before(async () => {
  gateway = await startGateway()
  bob = await gateway.person('Bob')
})
after(() => gateway[Symbol.asyncDispose]())

async function signIn(name: string, word = password): Promise<string> {
  const answer = await gateway.call('/api/login', { json: { name, password: word } })
  assert.equal(answer.status, 200, answer.text)
  return String(answer.headers.get('set-cookie')).split(';')[0] ?? ''
}
const me = (cookie: string) => gateway.call('/api/me', { cookie })
const socketOf = (cookie: string) => openSocket(gateway.url, { cookie, origin: gateway.url })

describe('the set-up link', () => {
  it('works once, within its time, and only while there is no account', async () => {
    await using fresh = await startGateway()
    const { setupToken } = fresh.posthouse
    const json = { name: 'First', password }
    const account = fresh.admin
    assert.equal(refusal(await fresh.call('/api/setup', { json: { ...json, token: setupToken } }), 'gone'), '', 'there is an account')
    await fresh.withStore(async (store) => {
      assert.equal((await store.users.byId(account.id))?.name, 'Ann')
    })
  })

  it('makes the first account with the right token, and no second one', async () => {
    const { createPosthouse } = await import('../journeys/posthouse.ts')
    const { call } = await import('./gateway.ts')
    await using posthouse = createPosthouse({ server: { trusted_proxies: ['127.0.0.1'] } })
    await posthouse.start()
    const setUp = (token: string, change: object = {}) =>
      call(`${posthouse.url}/api/setup`, { json: { token, name: 'First', password, ...change } })
    assert.deepEqual((await call(`${posthouse.url}/api/setup`)).body, { needed: true })
    assert.equal(refusal(await setUp('wrong'), 'gone'), '')
    assert.equal(refusal(await setUp(posthouse.setupToken, { password: 'short' }), 'invalid'), '')
    assert.equal(refusal(await setUp(posthouse.setupToken, { name: 'a\r\nb' }), 'invalid'), '')
    const both = await Promise.all([setUp(posthouse.setupToken), setUp(posthouse.setupToken, { name: 'Second' })])
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 410])
    const made = both.find(({ status }) => status === 200)
    assert.equal(made?.body.role, 'admin')
    assert.match(String(made?.headers.get('set-cookie')), /^posthouse_login=[\w-]{43}; .*HttpOnly; SameSite=Strict/)
    assert.equal(refusal(await setUp(posthouse.setupToken), 'gone'), '')
    assert.deepEqual((await call(`${posthouse.url}/api/setup`)).body, { needed: false })
    await posthouse.stop()
    const before = posthouse.setupToken
    await posthouse.start()
    assert.equal(posthouse.setupToken, before, 'no new link while there is an account')
  })

  it('is refused when it has expired', async () => {
    const { createPosthouse } = await import('../journeys/posthouse.ts')
    const { call } = await import('./gateway.ts')
    await using posthouse = createPosthouse({})
    await posthouse.start()
    const { secret, hash } = newSecret()
    const { openStore } = await import('../../src/storage/index.ts')
    const security = await import('../../src/security/index.ts')
    const key = security.loadKey(join(posthouse.folder, 'posthouse.key'), true)
    const { systemClock } = await import('../../src/base/clock.ts')
    const { newId } = await import('../../src/base/ids.ts')
    const url = `sqlite:${join(posthouse.folder, 'data/posthouse.db')}`
    await using store = await openStore({ url, sealer: security.createSealer(key), clock: systemClock, newId })
    await store.users.setLink(hash, Date.now() - 1, true)
    const answer = await call(`${posthouse.url}/api/setup`, { json: { token: secret, name: 'Late', password } })
    assert.equal(refusal(answer, 'gone'), '')
  })
})

describe('a login', () => {
  it('ends with sign-out, and its socket with it', async () => {
    const cookie = await signIn('Bob')
    const other = await signIn('Bob')
    assert.equal((await me(cookie)).body.name, 'Bob')
    using socket = await socketOf(cookie)
    using kept = await socketOf(other)
    await socket.wait('welcome')
    const out = await gateway.call('/api/logout', { method: 'POST', cookie, headers: { origin: gateway.url } })
    assert.equal(out.status, 204)
    const left = performance.now()
    assert.equal(refusal(await me(cookie), 'unauthorized'), '')
    assert.equal((await socket.waitClosed()).code, 4401)
    assert.ok(performance.now() - left < 1000)
    assert.equal((await me(other)).status, 200)
    kept.send({ type: 'ping' })
    await kept.wait('pong')
  })

  it('ends when the password changes, everywhere', async () => {
    const carol = await gateway.person('Carol')
    const cookie = await signIn('Carol')
    using socket = await socketOf(cookie)
    const file = join(gateway.posthouse.folder, 'new-password')
    writeFileSync(file, 'another long password\n')
    const changed = await gateway.posthouse.cli('user', 'password', 'Carol', '--password-file', file)
    assert.equal(changed.code, 0, changed.stderr)
    const left = performance.now()
    assert.equal((await socket.waitClosed()).code, 4401)
    assert.ok(performance.now() - left < 1000)
    assert.equal(refusal(await me(cookie), 'unauthorized'), '')
    assert.equal(refusal(await gateway.call('/api/login', { json: { name: 'Carol', password } }), 'unauthorized'), '')
    assert.ok(await signIn('Carol', 'another long password'))
    assert.ok(carol.id)
  })

  it('is refused alike for a wrong password and an unknown name', async () => {
    const wrong = await gateway.call('/api/login', { json: { name: 'Bob', password: 'wrong password' } })
    const unknown = await gateway.call('/api/login', { json: { name: 'Nobody', password: 'wrong password' } })
    assert.equal(refusal(wrong, 'unauthorized'), '')
    assert.deepEqual({ ...wrong.body.error, id: '' }, { ...unknown.body.error, id: '' })
  })

  it('is tried ten times a minute from one address, and thirty times for one name from wherever', async () => {
    const from = address()
    const guess = (name: string, headers: Record<string, string> = {}) =>
      gateway.call('/api/login', { json: { name, password: 'wrong password' }, headers })
    const one = await Promise.all(Array.from({ length: 12 }, (_, index) => guess(`Nobody ${index}`, { 'x-forwarded-for': from })))
    assert.deepEqual(one.map(({ status }) => status).sort(), [...Array(10).fill(401), 429, 429])
    const limited = one.find(({ status }) => status === 429)
    assert.equal(limited && refusal(limited, 'rate-limited'), '')
    assert.ok(Number(limited?.headers.get('retry-after')) > 0)
    const many: number[] = []
    for (let index = 0; index < 32; index++) many.push((await guess(index % 2 ? 'Dave' : 'dAVE')).status)
    assert.deepEqual(many, [...Array(30).fill(401), 429, 429])
    assert.ok(await signIn('Bob'), 'other names are not touched')
  })
})

describe('a token', () => {
  const create = async (...options: string[]) => {
    const made = await gateway.posthouse.cli('token', 'create', '--json', ...options)
    assert.equal(made.code, 0, made.stderr)
    return JSON.parse(made.stdout) as { id: string; token: string }
  }

  it('is made by the command, opens what its scopes say, and is refused within a second when revoked', async () => {
    const { id, token } = await create('--user', 'Bob', '--name', 'test')
    assert.equal((await gateway.call('/api/me', { token })).body.id, bob.id)
    assert.equal(refusal(await gateway.call('/api/admin/status', { token }), 'forbidden'), '')
    assert.equal(refusal(await gateway.call('/metrics', { token }), 'forbidden'), '')
    using socket = await gateway.socket({ token })
    await socket.wait('welcome')
    const revoked = await gateway.posthouse.cli('token', 'revoke', id)
    assert.equal(revoked.code, 0, revoked.stderr)
    const at = performance.now()
    await until(async () => (await gateway.call('/api/me', { token })).status === 401, 'it is refused', 1000)
    assert.equal((await socket.waitClosed()).code, 4401)
    assert.ok(performance.now() - at < 1000, `${performance.now() - at} ms`)
  })

  it('for metrics reads metrics and nothing else', async () => {
    const { token } = await create('--scopes', 'metrics')
    assert.match((await gateway.call('/metrics', { token })).text, /posthouse_admissions_total/)
    assert.equal(refusal(await gateway.call('/api/v1/conversations', { token }), 'forbidden'), '')
  })
})

describe('limits and proxies', () => {
  it('limits each caller, wherever they call from', async () => {
    await using small = await startGateway({ config: { resources: { requests_per_minute: 20 } } })
    const call = (headers: Record<string, string> = {}) => small.call('/api/me', { token: small.admin.token, headers })
    const statuses: number[] = []
    for (let index = 0; index < 22; index++) statuses.push((await call()).status)
    assert.deepEqual(statuses, [...Array(20).fill(200), 429, 429])
    const limited = await call({ 'accept-language': 'zh' })
    assert.equal(refusal(limited, 'rate-limited'), '')
    assert.match(limited.body.error.message, /请求过于频繁/)
    assert.ok(Number(limited.headers.get('retry-after')) > 0)
    assert.equal((await small.call('/healthz')).status, 200)
  })

  it('does not believe X-Forwarded-For of a stranger', async () => {
    await using strict = await startGateway({ config: { server: { trusted_proxies: ['192.0.2.1'] } } })
    const statuses: number[] = []
    for (let index = 0; index < 12; index++) {
      const headers = { 'x-forwarded-for': `10.9.8.${index}`, 'x-real-ip': `10.9.8.${index}`, forwarded: `for=10.9.8.${index}` }
      statuses.push((await strict.call('/api/login', { json: { name: `Nobody ${index}`, password: 'wrong password' }, headers })).status)
    }
    assert.deepEqual(statuses, [...Array(10).fill(401), 429, 429])
  })

  it('limits an address before anybody is looked up, and a whole /64 of IPv6 as one', async () => {
    await using small = await startGateway({ config: { resources: { requests_per_minute: 3 } } })
    const statuses: number[] = []
    for (let index = 0; index < 32; index++) {
      statuses.push((await small.call('/api/me', { token: 'a.b.c', headers: { 'x-forwarded-for': `2001:db8:1:2::${index + 1}` } })).status)
    }
    assert.deepEqual(statuses, [...Array(30).fill(401), 429, 429])
    assert.equal((await small.call('/api/me', { headers: { 'x-forwarded-for': '2001:db8:1:3::1' } })).status, 401)
  })

  it('marks the cookie as secure when we were reached by https, told by a trusted proxy or by our public address', async () => {
    const login = (headers: Record<string, string>) => gateway.call('/api/login', { json: { name: 'Bob', password }, headers })
    assert.doesNotMatch(String((await login({})).headers.get('set-cookie')), /Secure/)
    assert.match(String((await login({ 'x-forwarded-proto': 'https' })).headers.get('set-cookie')), /Secure/)
  })
})
