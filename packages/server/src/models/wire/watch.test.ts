import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { describe, it } from 'node:test'
import { createWatch } from './watch.ts'

const timeouts = { connect: 1000, firstToken: 30, idle: 30, total: 60_000 }

describe('the limits of a call', () => {
  it('end a provider that says nothing', async () => {
    using watch = createWatch(timeouts, new AbortController().signal)
    await once(watch.signal, 'abort')
    assert.match(watch.explain(undefined).message, /no first token within 30 ms/)
  })

  it('read what came in while the process stood still before they blame the provider', async () => {
    await using server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [socket] = await once(server, 'connection')
    using _closed = {
      [Symbol.dispose]() {
        client.destroy()
        socket.destroy()
      },
    }
    using watch = createWatch(timeouts, new AbortController().signal)
    const read = new Promise<void>((resolve) => client.on('data', () => resolve(watch.progress())))
    socket.write('a token')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    await read
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(watch.signal.aborted, false)
    await once(watch.signal, 'abort')
    assert.match(watch.explain(undefined).message, /no further token/)
  })
})
