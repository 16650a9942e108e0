/** A webhook whose platform signs the body: what the headers tell is judged before it is read, the signature before it is parsed. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import type { WebhookVerification } from '@posthouse/contract'
import type { HttpServer } from '../../src/http/index.ts'
import { startHttp } from '../../src/http/index.ts'
import { raw } from './gateway.ts'
import { emptyGateway, httpOptions } from './routes.ts'

const secret = 'of the platform'
const verification: WebhookVerification = {
  kind: 'hmac',
  at: { header: 'x-signature' },
  secret,
  algorithm: 'sha256',
  encoding: 'hex',
  signed: [{ header: 'x-time' }, 'body'],
  time: { at: { header: 'x-time' }, unit: 's', window: 300_000 },
}
const handled: string[] = []
let server: HttpServer
before(async () => {
  const webhook = (account: string) =>
    account === 'signed'
      ? {
          verification: [verification],
          handle: async ({ body }: { body: Uint8Array }) => {
            handled.push(Buffer.from(body).toString())
            return { status: 200 }
          },
        }
      : undefined
  server = await startHttp({ ...emptyGateway, webhook }, httpOptions)
})
after(() => server[Symbol.asyncDispose]())

const time = (offset = 0) => String(Math.floor(Date.now() / 1000) + offset)
const sign = (body: string, at: string) => createHmac('sha256', secret).update(at).update(body).digest('hex')
const post = async (body: string, headers: Record<string, string>) =>
  (await fetch(`${server.url}/api/webhook/signed`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } }))
    .status

describe('a signed webhook', () => {
  it('is handed on byte for byte', async () => {
    const body = ' { "text" : "héllo", "n":1.0 }\r\n'
    const at = time()
    assert.equal(await post(body, { 'x-signature': sign(body, at), 'x-time': at }), 200)
    assert.deepEqual(handled.splice(0), [body])
  })

  it('is refused with any other signature, time or body, and nobody sees it', async () => {
    const at = time()
    const good = sign('{}', at)
    const cases: readonly [string, string, Record<string, string>][] = [
      ['no signature', '{}', { 'x-time': at }],
      ['no time', '{}', { 'x-signature': good }],
      ['another body', '{} ', { 'x-signature': good, 'x-time': at }],
      ['a body that is no JSON', '{', { 'x-signature': good, 'x-time': at }],
      ['another time', '{}', { 'x-signature': good, 'x-time': time(1) }],
      ['an old one', '{}', { 'x-signature': sign('{}', time(-301)), 'x-time': time(-301) }],
      ['one from the future', '{}', { 'x-signature': sign('{}', time(400)), 'x-time': time(400) }],
      ['the secret itself', '{}', { 'x-signature': secret, 'x-time': at }],
    ]
    for (const [name, body, headers] of cases) assert.equal(await post(body, headers), 401, name)
    assert.deepEqual(handled, [])
  })

  it('without a fitting header is cut off before its body comes', async () => {
    const { text } = await raw(
      server.url,
      'POST /api/webhook/signed HTTP/1.1\r\nhost: x\r\nx-signature: 00\r\ncontent-length: 100000000\r\n\r\n',
    )
    assert.match(text, /^HTTP\/1.1 401 [\s\S]*connection: close/i)
  })
})
