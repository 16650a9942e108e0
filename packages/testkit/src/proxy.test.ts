import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, it } from 'node:test'
import { createFaultProxy, type FaultProxy } from './proxy.ts'

const BODY = 'x'.repeat(10_000)

/** A server that answers ten thousand bytes, and the proxy before it. */
async function inFront(play: (proxy: FaultProxy, served: () => number) => Promise<void>): Promise<void> {
  let served = 0
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      served++
      response.end(BODY)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  await using proxy = await createFaultProxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  try {
    await play(proxy, () => served)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

/** The raw bytes that come back, and how the connection ended; `silent` when nothing ended it. */
function ask(proxy: FaultProxy, patience = 300): Promise<{ bytes: number; ended: 'closed' | 'reset' | 'silent' }> {
  return new Promise((resolve) => {
    let bytes = 0
    let timer: NodeJS.Timeout
    const socket = connect(proxy.port, proxy.host, () => socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'))
    const end = (ended: 'closed' | 'reset' | 'silent') => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ bytes, ended })
    }
    const wait = () => {
      clearTimeout(timer)
      timer = setTimeout(() => end('silent'), patience)
    }
    socket.on('data', (data) => {
      bytes += data.length
      wait()
    })
    socket.on('end', () => end('closed'))
    socket.on('error', () => end('reset'))
    wait()
  })
}

describe('the fault proxy', () => {
  it('passes everything on when nothing is wrong', () =>
    inFront(async (proxy) => {
      assert.equal(await (await fetch(proxy.url)).text(), BODY)
      assert.equal(await (await fetch(proxy.url, { method: 'POST', body: BODY })).text(), BODY)
      assert.equal(proxy.hit, 0)
    }))

  it('drops the reply of what was carried out, once', () =>
    inFront(async (proxy, served) => {
      proxy.next({ dropReply: true })
      assert.deepEqual(await ask(proxy), { bytes: 0, ended: 'reset' })
      assert.equal(served(), 1)
      assert.equal((await ask(proxy)).ended, 'closed')
      assert.deepEqual([served(), proxy.hit], [2, 1])
    }))

  it('resets after so many bytes', () =>
    inFront(async (proxy) => {
      proxy.set({ resetAfter: 500 })
      const { bytes, ended } = await ask(proxy)
      assert.equal(ended, 'reset')
      assert.ok(bytes <= 500, `${bytes} bytes`)
      proxy.set({})
      assert.equal((await ask(proxy)).ended, 'closed')
    }))

  it('stalls after so many bytes and tells nobody', () =>
    inFront(async (proxy) => {
      proxy.set({ stallAfter: 500 })
      assert.deepEqual(await ask(proxy), { bytes: 500, ended: 'silent' })
      assert.equal(proxy.hit, 1)
    }))

  it('slows both directions down', () =>
    inFront(async (proxy) => {
      proxy.set({ latency: 60 })
      const began = performance.now()
      assert.equal((await ask(proxy)).ended, 'closed')
      assert.ok(performance.now() - began >= 119, 'once to the server, once back')
    }))

  it('refuses, and cuts what is open', () =>
    inFront(async (proxy) => {
      proxy.set({ stallAfter: 0 })
      const stalled = ask(proxy, 5000)
      while (proxy.hit === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      proxy.cut()
      assert.deepEqual(await stalled, { bytes: 0, ended: 'reset' })
      assert.equal(proxy.open, 0)
      proxy.set({ refuse: true })
      assert.deepEqual(await ask(proxy), { bytes: 0, ended: 'reset' })
    }))

  it('freezes: what came meanwhile goes through afterwards', () =>
    inFront(async (proxy, served) => {
      proxy.set({ freeze: true })
      const asked = ask(proxy, 5000)
      while (proxy.open === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      assert.deepEqual([await ask(proxy, 100), served()], [{ bytes: 0, ended: 'silent' }, 0])
      proxy.set({})
      assert.equal((await asked).ended, 'closed')
      assert.equal(proxy.made, 2)
    }))

  it('strands what is open, for good; what is opened anew is as ever', () =>
    inFront(async (proxy) => {
      proxy.set({ freeze: true })
      const asked = ask(proxy, 300)
      while (proxy.open === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      proxy.strand()
      proxy.set({})
      assert.equal((await ask(proxy, 5000)).ended, 'closed')
      assert.deepEqual(await asked, { bytes: 0, ended: 'silent' })
    }))

  it('lets what is asked vanish, or pieces of the answer', () =>
    inFront(async (proxy, served) => {
      proxy.set({ mute: true })
      assert.deepEqual([await ask(proxy, 100), served()], [{ bytes: 0, ended: 'silent' }, 0])
      proxy.set({ drop: (piece) => piece.includes('HTTP/1.1 200') })
      const { bytes } = await ask(proxy, 100)
      assert.ok(bytes < BODY.length, `${bytes} bytes`)
      assert.deepEqual([served(), proxy.hit], [1, 1])
    }))
})
