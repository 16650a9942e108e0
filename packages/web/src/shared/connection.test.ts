import type { ClientFrame, ServerFrame } from '@posthouse/contract/http'
import { beforeEach, describe, expect, it } from 'vitest'
import { backoffDelay, type Connection, type ConnectionStatus, createConnection, type Socket } from './connection.ts'

class FakeSocket implements Socket {
  sent: ClientFrame[] = []
  closed = false
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  onerror: Socket['onerror'] = null
  send(text: string) {
    this.sent.push(JSON.parse(text) as ClientFrame)
  }
  close() {
    this.closed = true
  }
  say(frame: ServerFrame) {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }
  drop(code = 1006) {
    this.onclose?.({ code })
  }
}

const welcome: ServerFrame = { type: 'welcome', user: { id: 'u', name: 'Lin', role: 'user' }, version: '1', heartbeat: 30_000 }

let sockets: FakeSocket[]
let statuses: ConnectionStatus[]
let timers: { at: number; action: () => void }[]
let now: number
let answer: 'signed-in' | 'signed-out' | 'unknown'
let connection: Connection

const latest = () => sockets.at(-1) as FakeSocket

/** Lets time pass, with every timer on its way at its own time. */
function pass(milliseconds: number) {
  const end = now + milliseconds
  for (;;) {
    const next = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0]
    if (!next) break
    timers = timers.filter((timer) => timer !== next)
    now = next.at
    next.action()
  }
  now = end
}
const settled = () => new Promise((resolve) => setImmediate(resolve))

beforeEach(() => {
  sockets = []
  statuses = []
  timers = []
  now = 1000
  answer = 'signed-in'
  connection = createConnection({
    openSocket: () => {
      const socket = new FakeSocket()
      sockets.push(socket)
      return socket
    },
    onFrame: () => {},
    onStatus: (status) => statuses.push(status),
    probe: async () => answer,
    now: () => now,
    after: (milliseconds, action) => {
      const timer = { at: now + milliseconds, action }
      timers.push(timer)
      return () => {
        timers = timers.filter((one) => one !== timer)
      }
    },
    random: () => 0.5,
  })
  connection.start()
})

it('is open only after the welcome, and sends nothing before', () => {
  expect(connection.send({ type: 'ping' })).toBe(false)
  latest().say(welcome)
  expect(connection.status()).toBe('open')
  expect(connection.send({ type: 'ping' })).toBe(true)
})

it('comes back by itself after a loss, with growing and capped delays', async () => {
  latest().say(welcome)
  latest().drop()
  expect(statuses).toEqual(['connecting', 'open', 'waiting'])
  for (let attempt = 0; attempt < 12; attempt++) {
    const before = sockets.length
    pass(backoffDelay(attempt, 0.5) - 1)
    expect(sockets).toHaveLength(before)
    pass(1)
    expect(sockets).toHaveLength(before + 1)
    latest().drop()
    await settled()
  }
  expect(backoffDelay(50, 1)).toBeLessThanOrEqual(15_000)
  expect(backoffDelay(0, 0)).toBeGreaterThan(0)
})

it('starts with short delays again after a welcome', async () => {
  for (let attempt = 0; attempt < 6; attempt++) {
    latest().drop()
    await settled()
    pass(15_000)
  }
  latest().say(welcome)
  latest().drop()
  const before = sockets.length
  pass(500)
  expect(sockets).toHaveLength(before + 1)
})

describe('a silent socket', () => {
  it('is pinged, and given up when nothing comes for a heartbeat and ten seconds', () => {
    latest().say(welcome)
    const first = latest()
    pass(39_999)
    expect(first.sent.filter(({ type }) => type === 'ping').length).toBeGreaterThanOrEqual(1)
    expect(first.closed).toBe(false)
    pass(2)
    expect(first.closed).toBe(true)
    expect(connection.status()).toBe('waiting')
  })

  it('lives as long as pongs come', () => {
    latest().say(welcome)
    for (let round = 0; round < 20; round++) {
      pass(15_000)
      latest().say({ type: 'pong' })
    }
    expect(sockets).toHaveLength(1)
    expect(connection.status()).toBe('open')
  })

  it('without a welcome is given up too', async () => {
    pass(10_000)
    await settled()
    expect(sockets[0]?.closed).toBe(true)
    pass(500)
    expect(sockets).toHaveLength(2)
  })
})

describe('a page that wakes', () => {
  it('connects at once instead of waiting', async () => {
    latest().drop()
    await settled()
    connection.wake()
    expect(sockets).toHaveLength(2)
  })

  it('probes a socket that may have died in its sleep', () => {
    latest().say(welcome)
    connection.wake()
    expect(latest().sent).toEqual([{ type: 'ping' }])
    pass(799)
    expect(sockets).toHaveLength(1)
    pass(1)
    expect(sockets).toHaveLength(2)
    expect(sockets[0]?.closed).toBe(true)
  })

  it('keeps a socket that answers', () => {
    latest().say(welcome)
    connection.wake()
    pass(100)
    latest().say({ type: 'pong' })
    pass(3000)
    expect(sockets).toHaveLength(1)
  })

  it.each([17_000, 3_600_000])('after a sleep of %d ms takes a new one without asking', (slept) => {
    latest().say(welcome)
    now += slept
    connection.wake()
    expect(sockets).toHaveLength(2)
  })
})

describe('an expired sign-in', () => {
  it('is told apart from a server that is away', async () => {
    answer = 'signed-out'
    latest().drop()
    await settled()
    expect(connection.status()).toBe('signed-out')
    pass(120_000)
    expect(sockets).toHaveLength(1)
    connection.wake()
    latest().say(welcome)
    expect(connection.status()).toBe('open')
  })

  it('may be said by a close code', async () => {
    latest().say(welcome)
    answer = 'signed-out'
    latest().drop(4401)
    await settled()
    expect(connection.status()).toBe('signed-out')
  })

  it('is not assumed when nobody answers', async () => {
    answer = 'unknown'
    latest().drop()
    await settled()
    expect(connection.status()).toBe('waiting')
  })
})

it('ignores what an abandoned socket still says, and what is no frame', () => {
  latest().say(welcome)
  const old = latest()
  old.drop()
  pass(500)
  old.say(welcome)
  expect(connection.status()).toBe('connecting')
  latest().onmessage?.({ data: 'no json' })
  latest().onmessage?.({ data: new Uint8Array() })
  latest().say(welcome)
  expect(connection.status()).toBe('open')
})

it('stays closed when it was closed', () => {
  connection.close()
  connection.wake()
  pass(60_000)
  expect(sockets).toHaveLength(1)
})
