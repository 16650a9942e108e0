/**
 * A WebSocket that comes back by itself: capped, jittered back-off, a watchdog for silent sockets, and an honest word about sign-in.
 * Everything from outside (socket, clock, timers, chance) is handed in, so that tests need no waiting.
 */
import type { ClientFrame, ServerFrame } from '@posthouse/contract/http'

/** `open` only after the server's welcome. `signed-out`: stands still until {@link Connection.wake}. */
export type ConnectionStatus = 'connecting' | 'open' | 'waiting' | 'signed-out' | 'closed'

export interface Socket {
  send(text: string): void
  close(code?: number): void
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number }) => void) | null
  onerror: ((event: unknown) => void) | null
}

export interface ConnectionOptions {
  readonly openSocket: () => Socket
  readonly onFrame: (frame: ServerFrame) => void
  readonly onStatus: (status: ConnectionStatus) => void
  /** Asked when a socket closes before its welcome: whether we are still signed in; 'unknown' when the server does not answer. */
  readonly probe: () => Promise<'signed-in' | 'signed-out' | 'unknown'>
  readonly now: () => number
  readonly after: (milliseconds: number, action: () => void) => () => void
  /** In [0, 1). */
  readonly random: () => number
}

export interface Connection {
  start(): void
  /** False when there is no open connection: nothing was sent. */
  send(frame: ClientFrame): boolean
  /** The page woke, the network changed or somebody signed in: make sure, soon, that the connection lives. */
  wake(): void
  close(): void
  status(): ConnectionStatus
}

const FIRST_DELAY = 500
const LONGEST_DELAY = 15_000
const WELCOME_WITHIN = 10_000
/** On top of the heartbeat, before a silent socket is given up. */
const GRACE = 10_000
/** A socket that is probed after waking has so long to say anything: a new one costs less than a reader who waits. */
const ANSWER_WITHIN = 800
const DEFAULT_HEARTBEAT = 30_000
/** Close codes with which a server says: not signed in (any more). */
const SIGNED_OUT_CODES = [4401, 1008]

/** Full jitter above a floor: half fixed, half chance. `attempt` counts from 0. */
export function backoffDelay(attempt: number, random: number): number {
  const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.min(attempt, 10))
  return Math.round(ceiling / 2 + (ceiling / 2) * random)
}

function parseFrame(data: unknown): ServerFrame | undefined {
  if (typeof data !== 'string') return undefined
  try {
    const frame: unknown = JSON.parse(data)
    return typeof frame === 'object' && frame !== null && 'type' in frame ? (frame as ServerFrame) : undefined
  } catch {
    return undefined
  }
}

export function createConnection(options: ConnectionOptions): Connection {
  const { now, after } = options
  let status: ConnectionStatus = 'closed'
  let socket: Socket | undefined
  let attempt = 0
  let heartbeat = DEFAULT_HEARTBEAT
  let lastFrame = 0
  let cancelTimer = () => {}

  function become(next: ConnectionStatus) {
    if (status === next) return
    status = next
    options.onStatus(next)
  }

  function schedule(milliseconds: number, action: () => void) {
    cancelTimer()
    cancelTimer = after(milliseconds, action)
  }

  function abandon() {
    const old = socket
    socket = undefined
    if (!old) return
    old.onmessage = old.onclose = old.onerror = null
    try {
      old.close()
    } catch {
      // It never was open.
    }
  }

  function connect() {
    cancelTimer()
    abandon()
    become('connecting')
    let fresh: Socket
    try {
      fresh = options.openSocket()
    } catch {
      return retryLater()
    }
    socket = fresh
    fresh.onmessage = (event) => receive(fresh, parseFrame(event.data))
    fresh.onclose = (event) => lose(fresh, event.code)
    fresh.onerror = () => {}
    schedule(WELCOME_WITHIN, () => lose(fresh, 0))
  }

  function receive(from: Socket, frame: ServerFrame | undefined) {
    if (from !== socket || !frame) return
    lastFrame = now()
    if (frame.type === 'welcome') {
      attempt = 0
      heartbeat = frame.heartbeat > 0 ? frame.heartbeat : DEFAULT_HEARTBEAT
      become('open')
      watch()
    }
    options.onFrame(frame)
  }

  /** Pings when it is quiet; gives up a socket on which nothing came for a heartbeat and some grace. */
  function watch() {
    const quiet = now() - lastFrame
    if (quiet >= heartbeat + GRACE) return lose(socket, 0)
    if (quiet >= heartbeat / 2) transmit({ type: 'ping' })
    schedule(Math.max(250, Math.min(heartbeat / 2, heartbeat + GRACE - quiet)), watch)
  }

  function transmit(frame: ClientFrame): boolean {
    if (status !== 'open' || !socket) return false
    try {
      socket.send(JSON.stringify(frame))
      return true
    } catch {
      return false
    }
  }

  function lose(which: Socket | undefined, code: number) {
    if (which !== socket || status === 'closed') return
    const welcomed = status === 'open'
    abandon()
    cancelTimer()
    if (welcomed && !SIGNED_OUT_CODES.includes(code)) return retryLater()
    // The browser hides why a handshake failed: ask over HTTP.
    become('waiting')
    options.probe().then(
      (answer) => {
        if (status !== 'waiting' || socket) return
        if (answer === 'signed-out') become('signed-out')
        else retryLater()
      },
      () => {
        if (status === 'waiting' && !socket) retryLater()
      },
    )
  }

  function retryLater() {
    become('waiting')
    schedule(backoffDelay(attempt, options.random()), connect)
    attempt += 1
  }

  return {
    start: connect,
    send: transmit,
    wake() {
      if (status === 'closed') return
      if (status === 'waiting' || status === 'signed-out') {
        attempt = 0
        return connect()
      }
      if (status !== 'open' || !socket) return
      // Nothing since before our last ping was due: timers stood still, the page has slept.
      if (now() - lastFrame > heartbeat / 2 + ANSWER_WITHIN) return connect()
      const probed = socket
      const asked = lastFrame
      if (!transmit({ type: 'ping' })) return connect()
      schedule(ANSWER_WITHIN, () => (lastFrame > asked ? watch() : socket === probed && connect()))
    },
    close() {
      cancelTimer()
      abandon()
      become('closed')
    },
    status: () => status,
  }
}
