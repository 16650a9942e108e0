import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { beforeEach, describe, it } from 'node:test'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import type { AccessToken, User, UserStore } from '../ports/users.ts'
import type { MasterKey } from './key.ts'
import { createTokens, hashSecret, newSecret, type Tokens } from './tokens.ts'

const secret = createHash('sha256').update('tokens').digest()
const key: MasterKey = { id: '00000000', derive: () => secret }
const ann: User = { id: 'ann', name: 'Ann', role: 'admin', passwordHash: '', version: 1 }
const HOUR = 3_600_000

let now: number
let stored: Map<string, AccessToken>
let looked: number
let tokens: Tokens
beforeEach(() => {
  now = Date.UTC(2030, 0, 1)
  stored = new Map()
  looked = 0
  const users: Pick<UserStore, 'addToken' | 'token' | 'byId'> = {
    addToken: async (token) => void stored.set(token.id, { ...token, revokedAt: undefined }),
    token: async (id) => {
      looked++
      return stored.get(id)
    },
    byId: async (id) => (id === ann.id ? ann : undefined),
  }
  const clock = {
    now: () => now,
    elapsed: () => now,
    sleep: async () => {},
    after: () => ({ [Symbol.dispose]() {} }),
    every: () => ({ [Symbol.dispose]() {} }),
  }
  let ids = 0
  tokens = createTokens({ users: users as UserStore, key, clock, newId: () => `token-${++ids}` })
})

const create = (change: object = {}) => tokens.create({ name: 'bot', userId: 'ann', scopes: ['chat'], lifetime: HOUR, ...change })

describe('tokens', () => {
  it('speak for their owner with the scopes of our record, until they expire', async () => {
    const { id, token, expiresAt } = await create()
    assert.deepEqual(decodeProtectedHeader(token), { alg: 'HS256', typ: 'at+jwt' })
    assert.deepEqual([decodeJwt(token).jti, decodeJwt(token).aud, decodeJwt(token).iss], [id, 'posthouse-api', 'posthouse'])
    assert.deepEqual(await tokens.verify(token), { userId: 'ann', name: 'Ann', role: 'admin', scopes: ['chat'], by: 'token', id })
    stored.set(id, { ...(stored.get(id) as AccessToken), scopes: ['metrics'] })
    now += 1000
    assert.deepEqual((await tokens.verify(token))?.scopes, ['metrics'])
    now = expiresAt
    assert.equal(await tokens.verify(token), undefined)
  })

  it('are refused at most half a second after they were revoked', async () => {
    const { id, token } = await create()
    assert.ok(await tokens.verify(token))
    stored.set(id, { ...(stored.get(id) as AccessToken), revokedAt: now })
    now += 500
    assert.equal(await tokens.verify(token), undefined)
  })

  it('cost one look-up while they are remembered', async () => {
    const { token } = await create()
    for (let time = 0; time < 10; time++) await tokens.verify(token)
    assert.equal(looked, 1)
  })

  it('are refused in every other form', async () => {
    const { id, token } = await create()
    const seconds = Math.floor(now / 1000)
    const claims = { scope: 'chat', iss: 'posthouse', aud: 'posthouse-api', sub: 'ann', jti: id, iat: seconds, exp: seconds + 600 }
    const sign = (header: object, payload: object, by = secret) =>
      new SignJWT({ ...payload }).setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', ...header }).sign(by)
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const [head = '', body = '', signature = ''] = token.split('.')
    assert.ok(await tokens.verify(await sign({}, claims)), 'the forge works')
    const cases: Readonly<Record<string, string>> = {
      'alg none': `${part({ alg: 'none', typ: 'at+jwt' })}.${body}.`,
      'alg none, signature kept': `${part({ alg: 'none', typ: 'at+jwt' })}.${body}.${signature}`,
      'another secret': await sign({}, claims, createHash('sha256').update('x').digest()),
      HS384: await sign({ alg: 'HS384' }, claims, createHash('sha512').update('x').digest()),
      'another type': await sign({ typ: 'JWT' }, claims),
      'no type': `${part({ alg: 'HS256' })}.${body}.${signature}`,
      'kid, jwk, x5u under the same signature': `${part({ alg: 'HS256', typ: 'at+jwt', kid: 'x', jwk: {}, x5u: 'http://x' })}.${body}.${signature}`,
      expired: await sign({}, { ...claims, exp: seconds }),
      'no expiry': await sign({}, { ...claims, exp: undefined }),
      'not yet': await sign({}, { ...claims, nbf: seconds + 1 }),
      audience: await sign({}, { ...claims, aud: 'x' }),
      issuer: await sign({}, { ...claims, iss: 'x' }),
      'no id': await sign({}, { ...claims, jti: undefined }),
      'no subject': await sign({}, { ...claims, sub: undefined }),
      'id of nobody': await sign({}, { ...claims, jti: 'nobody' }),
      'id of another type': await sign({}, { ...claims, jti: { $ne: 1 } }),
      '100 KB': await sign({}, { ...claims, x: 'x'.repeat(100_000) }),
      'no signature': `${head}.${body}.`,
      empty: '',
      nonsense: 'a.b.c',
    }
    for (const [name, wrong] of Object.entries(cases)) assert.equal(await tokens.verify(wrong), undefined, name)
  })

  it('do not gain by what they claim about themselves', async () => {
    const { id } = await create()
    const seconds = Math.floor(now / 1000)
    const claims = { scope: 'chat admin', role: 'admin', iss: 'posthouse', aud: 'posthouse-api', sub: 'root', jti: id, exp: seconds + 600 }
    const token = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'at+jwt' }).sign(secret)
    const principal = await tokens.verify(token)
    assert.deepEqual([principal?.userId, principal?.scopes], ['ann', ['chat']])
  })
})

describe('secrets', () => {
  it('have 256 bits, and are found by a digest', () => {
    const made = Array.from({ length: 100 }, newSecret)
    assert.equal(new Set(made.map(({ secret }) => secret)).size, 100)
    for (const { secret, hash } of made) {
      assert.match(secret, /^[\w-]{43}$/)
      assert.equal(hashSecret(secret), hash)
      assert.ok(!hash.includes(secret))
    }
  })
})
