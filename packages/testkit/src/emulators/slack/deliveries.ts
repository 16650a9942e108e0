/**
 * How Slack tells an app what happened: over any one of its open sockets, or by calls to its address; again until it is acknowledged.
 * https://docs.slack.dev/apis/events-api, https://docs.slack.dev/apis/events-api/using-socket-mode
 */
import { createHmac, randomUUID } from 'node:crypto'
import type { WebSocket } from 'ws'
import { createWebhookCalls, type WebhookCalls } from '../webhook-calls.ts'

/** One thing that the app is told. */
export interface SlackDelivery {
  readonly id: string
  readonly type: 'events_api' | 'slash_commands' | 'interactive'
  readonly payload: object
  /** Deliveries of one room wait for each other, where calls are made. */
  readonly room: string
}

export interface DeliveriesOptions {
  /** Milliseconds within which it must be acknowledged. Default 3000. */
  readonly ackDeadline: number
  /** Milliseconds before what was not acknowledged comes again; doubles each time. */
  readonly retryDelay: number
  readonly maxRetryDelay: number
  /** How often it is called at most; Slack's own figure is 4. Default: for ever. */
  readonly attempts?: number
  readonly signingSecret: string
  readonly app: string
}

export interface Deliveries extends AsyncDisposable {
  deliver(delivery: SlackDelivery): void
  /** What was not acknowledged yet. */
  readonly pending: number
  /** Payloads that acknowledgements carried, by the id of the delivery. */
  readonly answers: ReadonlyMap<string, unknown>
  /** Takes an opened socket and greets it. */
  attach(socket: WebSocket): void
  /** Calls this address instead. @throws when it does not answer the question that Slack asks first. */
  callAt(url: string): Promise<void>
  /** Asks every socket to be replaced, and closes it after a while. */
  refresh(grace: number): void
  /** Tells every socket why, and closes it. */
  disconnect(reason: string): void
  readonly sockets: number
  readonly calls: WebhookCalls['attempts']
}

const MOST_SOCKETS = 10

/** Not acknowledged yet: in hand of a socket (`over`), or to be told when the timer fires or a socket opens. */
interface Waiting {
  readonly delivery: SlackDelivery
  tries: number
  envelope: string | undefined
  over: WebSocket | undefined
  timer: NodeJS.Timeout | undefined
}

export function createDeliveries(options: DeliveriesOptions): Deliveries {
  const { ackDeadline, retryDelay, maxRetryDelay, attempts, signingSecret, app } = options
  const open = new Set<WebSocket>()
  /** In the order in which they are to be told. */
  const waiting = new Map<string, Waiting>()
  const answers = new Map<string, unknown>()
  const calls = createWebhookCalls({ retryDelay, maxRetryDelay, deadline: ackDeadline, ...(attempts ? { attempts } : {}) })
  let address: string | undefined
  let turn = 0

  /** Sends what no socket has in hand. */
  const flush = () => {
    for (const entry of waiting.values()) {
      if (entry.over || entry.timer) continue
      const sockets = [...open]
      const socket = sockets[turn++ % sockets.length]
      if (!socket) return
      entry.envelope = randomUUID()
      entry.over = socket
      entry.timer = setTimeout(() => again(entry), ackDeadline)
      const retry = entry.tries > 0 ? { retry_attempt: entry.tries, retry_reason: 'timeout' } : {}
      entry.tries++
      const { type, payload } = entry.delivery
      socket.send(JSON.stringify({ envelope_id: entry.envelope, type, payload, accepts_response_payload: type !== 'events_api', ...retry }))
    }
  }

  const again = (
    entry: NonNullable<ReturnType<(typeof waiting)['get']>>,
    at = Math.min(retryDelay * 2 ** (entry.tries - 1), maxRetryDelay),
  ) => {
    clearTimeout(entry.timer)
    entry.over = undefined
    entry.timer = setTimeout(() => {
      entry.timer = undefined
      flush()
    }, at)
  }

  const acknowledge = (socket: WebSocket, text: string) => {
    let frame: { envelope_id?: unknown; payload?: unknown }
    try {
      frame = JSON.parse(text) as typeof frame
    } catch {
      socket.close(1002, 'no JSON')
      return
    }
    for (const [id, entry] of waiting) {
      if (entry.envelope !== frame.envelope_id) continue
      clearTimeout(entry.timer)
      if (frame.payload !== undefined) answers.set(id, frame.payload)
      waiting.delete(id)
    }
  }

  const requestOf = (body: string, json: boolean, attempt: number) => {
    const time = String(Math.floor(Date.now() / 1000))
    return {
      url: address ?? '',
      body,
      headers: {
        'content-type': json ? 'application/json' : 'application/x-www-form-urlencoded',
        'x-slack-request-timestamp': time,
        'x-slack-signature': `v0=${createHmac('sha256', signingSecret).update(`v0:${time}:${body}`).digest('hex')}`,
        ...(attempt > 1 ? { 'x-slack-retry-num': String(attempt - 1), 'x-slack-retry-reason': 'http_timeout' } : {}),
      },
    }
  }

  const bodyOf = ({ type, payload }: SlackDelivery): string => {
    if (type === 'events_api') return JSON.stringify(payload)
    if (type === 'interactive') return new URLSearchParams({ payload: JSON.stringify(payload) }).toString()
    return new URLSearchParams(payload as Record<string, string>).toString()
  }

  return {
    answers,
    calls: calls.attempts,
    get pending() {
      return waiting.size + calls.pending
    },
    get sockets() {
      return open.size
    },
    deliver(delivery) {
      if (address === undefined) {
        waiting.set(delivery.id, { delivery, tries: 0, envelope: undefined, over: undefined, timer: undefined })
        flush()
        return
      }
      calls.call({
        room: delivery.room,
        request: (attempt) => requestOf(bodyOf(delivery), delivery.type === 'events_api', attempt),
        isAcknowledged: (status, body) => {
          if (status < 200 || status >= 300) return false
          if (body !== '') answers.set(delivery.id, body)
          return true
        },
      })
    },
    attach(socket) {
      if (open.size >= MOST_SOCKETS) {
        socket.send(JSON.stringify({ type: 'disconnect', reason: 'too_many_websockets', debug_info: {} }))
        socket.close()
        return
      }
      open.add(socket)
      const ping = setInterval(() => socket.ping('Ping from emulated Slack'), 5000).unref()
      socket.on('message', (data: Buffer) => acknowledge(socket, data.toString('utf8')))
      socket.on('close', () => {
        clearInterval(ping)
        open.delete(socket)
        // What it had in hand is told to another one at once.
        for (const entry of waiting.values()) if (entry.over === socket) again(entry, 0)
      })
      const debug = { host: 'emulated', build_number: 1, approximate_connection_time: 18_060 }
      socket.send(JSON.stringify({ type: 'hello', num_connections: open.size, debug_info: debug, connection_info: { app_id: app } }))
      flush()
    },
    async callAt(url) {
      address = url
      const challenge = randomUUID()
      const { headers, body } = requestOf(JSON.stringify({ token: 'emulated', challenge, type: 'url_verification' }), true, 1)
      const response = await fetch(url, { method: 'POST', headers, body })
      const text = await response.text()
      if (response.status !== 200 || !text.includes(challenge))
        throw new Error(`${url} did not answer the challenge: ${response.status} ${text}`)
    },
    refresh(grace) {
      for (const socket of open) {
        socket.send(JSON.stringify({ type: 'disconnect', reason: 'refresh_requested', debug_info: { host: 'emulated' } }))
        setTimeout(() => socket.close(), grace).unref()
      }
    },
    disconnect(reason) {
      for (const socket of open) {
        socket.send(JSON.stringify({ type: 'disconnect', reason, debug_info: { host: 'emulated' } }))
        socket.close()
      }
    },
    async [Symbol.asyncDispose]() {
      for (const { timer } of waiting.values()) clearTimeout(timer)
      waiting.clear()
      await calls[Symbol.asyncDispose]()
    },
  }
}
