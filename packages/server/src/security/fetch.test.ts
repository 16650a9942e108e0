import assert from 'node:assert/strict'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, createServer as createLine } from 'node:net'
import { after, describe, it } from 'node:test'
import { FetchError } from '@posthouse/contract'
import { createFetch } from './fetch.ts'

const client = createFetch({ connectTimeout: 300 })
const servers: Server[] = []
after(async () => {
  await client[Symbol.asyncDispose]()
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const failsAs = (kind: FetchError['kind']) => (error: unknown) => error instanceof FetchError && error.kind === kind
const MB = 1024 * 1024

describe('fetch', () => {
  it('sends and reads', async () => {
    const url = await serve((request, response) => {
      const chunks: Buffer[] = []
      request
        .on('data', (chunk) => chunks.push(chunk))
        .on('end', () => {
          response.writeHead(201, { 'X-A': ['1', '2'], 'content-type': 'application/json' })
          response.end(
            JSON.stringify({
              method: request.method,
              url: request.url,
              header: request.headers['x-b'],
              body: Buffer.concat(chunks).toString(),
            }),
          )
        })
    })
    const answer = await client.fetch(`${url}/a?b=c#d`, {
      method: 'POST',
      headers: { 'x-b': 'é'.normalize('NFKD').slice(0, 1) },
      body: '你好',
    })
    assert.equal(answer.status, 201)
    assert.equal(answer.headers['x-a'], '1, 2')
    assert.deepEqual(await answer.json(), { method: 'POST', url: '/a?b=c', header: 'e', body: '你好' })
  })

  it('does not follow a redirect', async () => {
    const url = await serve((_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end())
    const answer = await client.fetch(url)
    assert.deepEqual([answer.status, answer.headers.location], [302, 'http://127.0.0.1:1/'])
    await answer.text()
  })

  it('fails as "connect" when the other side surely got nothing', async () => {
    await assert.rejects(client.fetch('http://127.0.0.1:1/'), failsAs('connect'))
    await assert.rejects(client.fetch('nonsense'), failsAs('connect'))
    await assert.rejects(client.fetch('http://name.invalid/'), failsAs('connect'))
    // A line that takes the connection and never says a word of TLS.
    const mute = createLine(() => {})
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    await assert.rejects(client.fetch(`https://127.0.0.1:${(mute.address() as AddressInfo).port}/`), failsAs('connect'))
    mute.close()
  })

  it('fails as "timeout" when no answer, or no more of it, comes', async () => {
    const silent = await serve(() => {})
    await assert.rejects(client.fetch(silent, { headersTimeout: 50 }), failsAs('timeout'))
    const halting = await serve((_request, response) => void response.writeHead(200).write('begin'))
    const answer = await client.fetch(halting, { bodyTimeout: 50 })
    await assert.rejects(answer.text(), failsAs('timeout'))
  })

  it('fails as "broken" when the line breaks behind the request', async () => {
    const dropping = await serve((request) => request.socket.destroy())
    await assert.rejects(client.fetch(dropping), failsAs('broken'))
    const cutting = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('begin')
      setImmediate(() => response.destroy())
    })
    await assert.rejects(async () => (await client.fetch(cutting)).text(), failsAs('broken'))
  })

  it('fails as "aborted" by our signal, before and in the middle of the answer', async () => {
    const silent = await serve(() => {})
    const abort = new AbortController()
    const asked = client.fetch(silent, { signal: abort.signal })
    abort.abort()
    await assert.rejects(asked, failsAs('aborted'))
    await assert.rejects(client.fetch(silent, { signal: AbortSignal.abort() }), failsAs('aborted'))
    const halting = await serve((_request, response) => void response.writeHead(200).write('begin'))
    const later = new AbortController()
    const answer = await client.fetch(halting, { signal: later.signal })
    await assert.rejects(async () => {
      for await (const _chunk of answer.body) later.abort()
    }, failsAs('aborted'))
  })

  it('reads at most 10 MB as text, whether the length is told or not', async () => {
    for (const told of [true, false]) {
      let sent = 0
      const url = await serve((_request, response) => {
        response.writeHead(200, told ? { 'content-length': 100 * MB } : {})
        const pump = () => {
          for (let goes = true; goes && sent < 100 * MB; sent += MB) goes = response.write(Buffer.alloc(MB))
        }
        response.on('drain', pump)
        pump()
      })
      const answer = await client.fetch(url)
      await assert.rejects(answer.text(), /longer than/)
      assert.ok(sent < 40 * MB, `${sent} bytes`)
    }
  })

  it('closes the connection of who leaves the body', async () => {
    let closed: (() => void) | undefined
    const gone = new Promise<void>((resolve) => {
      closed = resolve
    })
    const url = await serve((_request, response) => {
      response.on('close', () => closed?.())
      response.writeHead(200).write('begin')
    })
    const answer = await client.fetch(url)
    for await (const _chunk of answer.body) break
    await gone
  })

  it('leaves the socket alone while its reader does not read', async () => {
    let sent = 0
    const url = await serve((_request, response) => {
      const pump = () => {
        for (let goes = true; goes && sent < 200 * MB; sent += MB) goes = response.write(Buffer.alloc(MB))
      }
      response.on('drain', pump)
      pump()
    })
    const answer = await client.fetch(url)
    const body = answer.body[Symbol.asyncIterator]()
    await body.next()
    // Until nothing more goes out: what fits into the buffers of both sides.
    for (let before = -1; before !== sent; await new Promise((resolve) => setTimeout(resolve, 100))) before = sent
    assert.ok(sent < 40 * MB, `${sent} bytes`)
    await body.return?.()
  })

  it('does not send what was given up before there was a connection', async () => {
    let asked = 0
    const url = await serve((_request, response) => {
      asked++
      response.end()
    })
    const abort = new AbortController()
    const given = client.fetch(`${url}/given-up`, { method: 'POST', body: 'x', signal: abort.signal })
    abort.abort()
    await assert.rejects(given, failsAs('aborted'))
    await (await client.fetch(`${url}/wanted`)).text()
    assert.equal(asked, 1)
  })

  it('never tells the address in its words', async () => {
    await assert.rejects(
      client.fetch('http://127.0.0.1:1/bot123:secret/getMe?key=secret'),
      (error: Error) => !error.message.includes('secret'),
    )
    await assert.rejects(client.fetch('bot123:secret nonsense'), (error: Error) => !error.message.includes('secret'))
  })
})
