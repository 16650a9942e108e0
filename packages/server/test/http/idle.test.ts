/** Whether every request has its answer: what a node that ends waits for. However a request ends, it is counted out again. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import type { WebhookVerification } from '@posthouse/contract'
import { type HttpServer, startHttp } from '../../src/http/index.ts'
import { raw } from './gateway.ts'
import { emptyGateway, httpOptions } from './routes.ts'

const verification: readonly WebhookVerification[] = [{ kind: 'token', at: { header: 'x-secret' }, secret: 's' }]
let held = Promise.withResolvers<void>()
let arrived = Promise.withResolvers<void>()
let server: HttpServer
before(async () => {
  const handle = async () => {
    arrived.resolve()
    await held.promise
    return { status: 200 }
  }
  server = await startHttp({ ...emptyGateway, webhook: () => ({ verification, handle }) }, httpOptions)
})
after(() => server[Symbol.asyncDispose]())

/** Far longer than a test may take: one that is not counted out never ends. */
const EVER = 600_000
const post = (signal?: AbortSignal) =>
  fetch(`${server.url}/api/webhook/a`, { method: 'POST', headers: { 'x-secret': 's' }, body: '{}', ...(signal ? { signal } : {}) })
const hold = () => {
  held = Promise.withResolvers()
  arrived = Promise.withResolvers()
}

describe('idle', { timeout: 60_000 }, () => {
  it('waits for the one that has no answer yet, but not for ever', async () => {
    hold()
    const asked = post()
    await arrived.promise
    let idle = false
    const waiting = server.idle(EVER).then(() => {
      idle = true
    })
    await server.idle(120)
    assert.equal(idle, false)
    held.resolve()
    assert.equal((await asked).status, 200)
    await waiting
  })

  it('is not held by what was refused, malformed or left', async () => {
    const { hostname, port } = new URL(server.url)
    const lines = [
      'GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET /%zz HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET /%00 HTTP/1.1\r\nhost: x\r\n\r\n',
      'NONSENSE\r\n\r\n',
      'POST /api/webhook/a HTTP/1.1\r\nhost: x\r\n\r\n',
      'POST /api/webhook/a HTTP/1.1\r\nhost: x\r\nx-secret: s\r\ncontent-length: 9999999\r\n\r\n',
      'GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
      'GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n',
      'OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n',
    ]
    for (const line of lines) await raw(server.url, line, { quiet: 100 })
    // Its caller leaves in the middle of the body.
    const line = connect(Number(port), hostname)
    await once(line, 'connect')
    line.write('POST /api/webhook/a HTTP/1.1\r\nhost: x\r\nx-secret: s\r\ncontent-length: 100\r\n\r\n{')
    await new Promise((resolve) => setTimeout(resolve, 50))
    line.destroy()
    // Its caller leaves while it waits for the answer.
    hold()
    const leaving = new AbortController()
    const asked = post(leaving.signal).catch(() => undefined)
    await arrived.promise
    leaving.abort()
    await asked
    held.resolve()
    await server.idle(EVER)
  })
})
