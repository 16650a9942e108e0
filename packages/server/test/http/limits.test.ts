/** Who sends slowly, or not at all, is let go: the same server with less patience. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import type { HttpServer } from '../../src/http/index.ts'
import { startHttp } from '../../src/http/index.ts'
import { raw } from './gateway.ts'
import { emptyGateway, httpOptions } from './routes.ts'

let server: HttpServer
before(async () => {
  server = await startHttp(emptyGateway, { ...httpOptions, patience: { headers: 200, request: 500, check: 50 } })
})
after(() => server[Symbol.asyncDispose]())

/** Writes the first part, and then one more byte of `drip` every 20 ms until the other side closes; answers what came back. */
function dripped(first: string, drip: string): Promise<{ text: string; took: number }> {
  const { hostname, port } = new URL(server.url)
  const started = performance.now()
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname)
    let text = ''
    let at = 0
    let timer: NodeJS.Timeout | undefined
    socket.on('connect', () => {
      socket.write(first)
      timer = setInterval(() => socket.write(drip[at++ % drip.length] ?? 'x'), 20)
    })
    socket.on('data', (data) => {
      text += data.toString()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearInterval(timer)
      resolve({ text, took: performance.now() - started })
    })
  })
}

describe('patience', () => {
  it('ends with headers that never end', async () => {
    const { text, took } = await dripped('GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ', 'abc')
    assert.match(text, /^HTTP\/1.1 408 [\s\S]*"code":"timeout"/)
    assert.ok(took < 5000, `${took} ms`)
  })

  it('ends with a body that never ends, whether somebody reads it or not', async () => {
    const heads = [
      'POST /api/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n{"name":"',
      'POST /api/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nff0\r\n{"name":"',
    ]
    for (const head of heads) {
      const { text, took } = await dripped(head, 'abc')
      assert.match(text, /^HTTP\/1.1 408 /)
      assert.ok(took < 5000, `${took} ms`)
    }
  })

  it('is not needed for who is refused: the line is closed behind the answer', async () => {
    const { text, took } = await dripped('POST /api/v1/chat HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n', 'abc')
    assert.match(text, /^HTTP\/1.1 401 [\s\S]*connection: close/i)
    assert.ok(took < 450, `${took} ms`)
  })

  it('ends with a line on which nothing comes', async () => {
    const { closed } = await raw(server.url, '', { quiet: 5000 })
    assert.ok(closed)
  })

  it('is kept for who is quick', async () => {
    const answer = await fetch(`${server.url}/healthz`)
    assert.equal(answer.status, 200)
  })
})

describe('a draining server', () => {
  it('turns new work away with 503, and still says how it does', async () => {
    await using leaving = await startHttp(emptyGateway, httpOptions)
    leaving.drain()
    const answer = await fetch(`${leaving.url}/api/v1/chat`, { method: 'POST' })
    assert.equal(answer.status, 503)
    assert.ok(Number(answer.headers.get('retry-after')) > 0)
    assert.equal((await fetch(`${leaving.url}/healthz`)).status, 200)
    const ready = await fetch(`${leaving.url}/readyz`)
    assert.equal(ready.status, 503)
  })

  it('serves while it only says that it will leave, keeps no line open, and then lets nobody in', async () => {
    await using leaving = await startHttp(emptyGateway, httpOptions)
    leaving.retire()
    assert.equal((await fetch(`${leaving.url}/readyz`)).status, 503)
    const answer = await fetch(`${leaving.url}/api/v1/chat`, { method: 'POST' })
    assert.equal(answer.status, 401)
    assert.equal(answer.headers.get('connection'), 'close')
    leaving.shut()
    await new Promise((resolve) => setImmediate(resolve))
    await assert.rejects(fetch(`${leaving.url}/healthz`))
    leaving.drain()
  })
})
