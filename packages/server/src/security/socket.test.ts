import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { FetchError } from '@posthouse/contract'
import { type WebSocket, WebSocketServer } from 'ws'
import { connect } from './socket.ts'

type Served = (socket: WebSocket, request: IncomingMessage) => void

/** A server on loopback; `refuse`: answers the upgrade with this status. */
async function serve(served: Served, refuse?: number) {
  const http = createServer()
  const sockets = new WebSocketServer({ noServer: true })
  http.on('upgrade', (request, line, head) => {
    if (refuse) line.end(`HTTP/1.1 ${refuse} No\r\ncontent-length: 0\r\n\r\n`)
    else sockets.handleUpgrade(request, line, head, (socket) => served(socket, request))
  })
  await once(http.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}/path`,
    [Symbol.asyncDispose]: async () => {
      for (const client of sockets.clients) client.terminate()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

const isFetchError = (kind: FetchError['kind'], status?: number) => (error: unknown) =>
  error instanceof FetchError && error.kind === kind && error.status === status

describe('a socket', () => {
  it('gives every frame once and in order, those that came with its opening too, and ends with its end', async () => {
    await using server = await serve((socket, request) => {
      socket.send(`${request.url} ${request.headers['x-key']}`)
      socket.send(Uint8Array.of(1, 2, 3))
      socket.on('message', (data: Buffer) => {
        for (let n = 0; n < 1000; n++) socket.send(`${data} ${n}`)
        socket.close(4001, 'enough')
      })
    })
    await using socket = await connect(server.url, { headers: { 'x-key': 'k' } })
    const frames: (string | Uint8Array)[] = []
    for await (const frame of socket) {
      frames.push(frame)
      if (frames.length === 2) await socket.send('say')
      // Slower than they come: the line has to wait.
      if (frames.length % 100 === 0) await new Promise(setImmediate)
    }
    assert.deepEqual(frames.slice(0, 2), ['/path k', Uint8Array.of(1, 2, 3)])
    assert.deepEqual(
      frames.slice(2),
      Array.from({ length: 1000 }, (_, n) => `say ${n}`),
    )
    assert.deepEqual(await socket.ended, { code: 4001, reason: 'enough' })
    await assert.rejects(socket.send('late'), isFetchError('broken'))
  })

  it('that does not come to stand says why', async () => {
    await using refusing = await serve(() => {}, 401)
    await assert.rejects(connect(refusing.url), isFetchError('connect', 401))
    await assert.rejects(connect('ws://127.0.0.1:1/'), isFetchError('connect'))
    await assert.rejects(connect('nonsense'), isFetchError('connect'))
    await assert.rejects(connect(refusing.url, { signal: AbortSignal.abort() }), isFetchError('aborted'))
    const silent = createServer().on('upgrade', () => {})
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const url = `ws://127.0.0.1:${(silent.address() as AddressInfo).port}`
    await assert.rejects(connect(url, { connectTimeout: 50 }), isFetchError('connect'))
    const leaving = new AbortController()
    const opening = connect(url, { signal: leaving.signal })
    leaving.abort()
    await assert.rejects(opening, isFetchError('aborted'))
    silent.closeAllConnections()
    silent.close()
  })

  it('whose other side fell silent is taken for dead; one that answers pings is not', async () => {
    const lines: WebSocket[] = []
    await using server = await serve((socket) => void lines.push(socket))
    await using dead = await connect(server.url, { silence: 80 })
    // Reads nothing any more, so no ping is answered.
    lines[0]?.pause()
    assert.equal((await dead.ended).code, 1006)
    await using alive = await connect(server.url, { silence: 80 })
    let pings = 0
    lines[1]?.on('ping', () => pings++)
    const over = alive.ended.then(() => true)
    while (pings < 5) assert.notEqual(await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 5))]), true)
  })

  it('ends when its signal fires, when it is disposed, and on a frame that is too long', async () => {
    await using server = await serve((socket) => void socket.on('message', () => socket.send('x'.repeat(2000))))
    const leaving = new AbortController()
    const left = await connect(server.url, { signal: leaving.signal })
    leaving.abort()
    assert.equal((await left.ended).code, 1000)
    const disposed = await connect(server.url)
    await disposed[Symbol.asyncDispose]()
    assert.equal((await disposed.ended).code, 1000)
    const small = await connect(server.url, { maxFrame: 1000 })
    await small.send('go')
    for await (const frame of small) assert.fail(`got ${frame.length}`)
    assert.notEqual((await small.ended).code, 1000)
  })
})
