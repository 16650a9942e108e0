/**
 * How the platform hands over what happened: by one of the app's long connections, or by a call of its webhook; until it is acknowledged.
 * https://open.feishu.cn/document/server-docs/event-subscription-guide/overview
 */
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { WebSocket } from 'ws'
import { createWebhookCalls, type WebhookAttempt, type WebhookEvent } from '../webhook-calls.ts'
import { decodeFrame, encodeFrame, type Frame } from './frames.ts'
import { newId } from './store.ts'

export interface Subscription {
  readonly app_id: string
  readonly verification_token: string
  readonly encrypt_key: string | undefined
  /** Milliseconds before what was not acknowledged comes again; doubles each time. The platform's own: 15 s, 5 min, 1 h, 6 h. */
  readonly retryDelay: number
  readonly maxRetryDelay: number
  readonly deadline: number
  /** Bytes of one frame's payload; what is longer comes in parts. */
  readonly partSize: number
  /** What a client is told: seconds. */
  readonly pingInterval: number
}

export interface Events extends AsyncDisposable {
  /** Hands it over; answers its id. `v1`: in the platform's older form. */
  emit(room: string, type: string, event: object, form?: 'v1'): string
  again(eventId: string): void
  /** From now on by this webhook (or by the long connections). @throws Error when it does not answer the platform's question */
  point(url: string | undefined): Promise<void>
  /** A client connected. */
  join(socket: WebSocket, service: number): void
  readonly connections: number
  readonly pending: number
  readonly attempts: readonly WebhookAttempt[]
  readonly pings: number
}

/** How the platform seals: AES-256-CBC by the SHA-256 of the key, the vector in front. */
export function seal(key: string, text: string): string {
  const iv = randomBytes(16)
  const cipher = createCipheriv('aes-256-cbc', createHash('sha256').update(key).digest(), iv)
  return Buffer.concat([iv, cipher.update(text), cipher.final()]).toString('base64')
}

/** The headers with which the platform signs a body. `at`: epoch seconds. */
export function sign(key: string, body: string, at = Math.floor(Date.now() / 1000)): Record<string, string> {
  const nonce = randomBytes(8).toString('hex')
  const signature = createHash('sha256').update(`${at}${nonce}${key}${body}`).digest('hex')
  return { 'x-lark-request-timestamp': String(at), 'x-lark-request-nonce': nonce, 'x-lark-signature': signature }
}

export function createEvents(subscription: Subscription): Events {
  const { app_id, verification_token: token, encrypt_key, retryDelay, maxRetryDelay, deadline, partSize } = subscription
  const sockets = new Map<WebSocket, number>()
  const waiting = new Map<string, (answer: { status: number; body: string }) => void>()
  const known = new Map<string, WebhookEvent>()
  const arrivals = new EventTarget()
  // Whatever is said waits for a client, or for its answer.
  setMaxListeners(0, arrivals)
  let url: string | undefined
  let turn = 0
  let pings = 0

  const config = () => ({ PingInterval: subscription.pingInterval, ReconnectCount: -1, ReconnectInterval: 120, ReconnectNonce: 30 })

  /** One of the app's clients, whichever: there is no broadcast. */
  const anySocket = async (signal: AbortSignal): Promise<[WebSocket, number]> => {
    while (sockets.size === 0) {
      await new Promise<void>((resolve, reject) => {
        arrivals.addEventListener('joined', () => resolve(), { once: true, signal })
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        if (signal.aborted) reject(signal.reason as Error)
      })
    }
    return [...sockets][turn++ % sockets.size] as [WebSocket, number]
  }

  const bySocket = async (body: string, signal: AbortSignal) => {
    const [socket, service] = await anySocket(signal)
    const id = newId('')
    const answered = Promise.withResolvers<{ status: number; body: string }>()
    waiting.set(id, answered.resolve)
    const leave = () => answered.reject(new Error('no acknowledgement'))
    signal.addEventListener('abort', leave, { once: true })
    socket.once('close', leave)
    const bytes = Buffer.from(body)
    const sum = Math.max(1, Math.ceil(bytes.length / partSize))
    for (let seq = 0; seq < sum; seq++) {
      const headers = { type: 'event', message_id: id, sum: String(sum), seq: String(seq), trace_id: newId('') }
      const payload = bytes.subarray(seq * partSize, (seq + 1) * partSize)
      socket.send(encodeFrame({ seq: 1n, log: BigInt(turn), service, method: 1, headers, payload }))
    }
    try {
      return await answered.promise
    } finally {
      waiting.delete(id)
      signal.removeEventListener('abort', leave)
      socket.off('close', leave)
    }
  }

  const bySignedCall = async (to: string, text: string, signal: AbortSignal) => {
    const body = encrypt_key ? JSON.stringify({ encrypt: seal(encrypt_key, text) }) : text
    const headers = { 'content-type': 'application/json; charset=utf-8', ...(encrypt_key ? sign(encrypt_key, body) : {}) }
    const response = await fetch(to, { method: 'POST', headers, body, signal, redirect: 'manual' })
    return { status: response.status, body: await response.text() }
  }

  const calls = createWebhookCalls({
    retryDelay,
    maxRetryDelay,
    deadline,
    post: ({ body }, signal) => (url === undefined ? bySocket(String(body), signal) : bySignedCall(url, String(body), signal)),
  })

  const onFrame = (socket: WebSocket, { headers, method, payload, service }: Frame) => {
    if (method === 0 && headers.type === 'ping') {
      pings++
      const pong = { seq: 0n, log: 0n, service, method: 0, headers: { type: 'pong' }, payload: Buffer.from(JSON.stringify(config())) }
      socket.send(encodeFrame(pong))
    } else if (method === 1) {
      const { code, data } = JSON.parse(Buffer.from(payload).toString('utf8')) as { code: number; data?: string }
      waiting.get(headers.message_id ?? '')?.({ status: code, body: Buffer.from(data ?? '', 'base64').toString('utf8') })
    }
  }

  return {
    emit(room, type, event, form) {
      const id = newId('')
      const at = Date.now()
      const envelope =
        form === 'v1'
          ? { uuid: id, token, ts: String(at / 1000), type: 'event_callback', event: { type, app_id, tenant_key: 'tenant', ...event } }
          : {
              schema: '2.0',
              header: { event_id: id, event_type: type, create_time: String(at), token, app_id, tenant_key: 'tenant' },
              event,
            }
      const made: WebhookEvent = { room, request: () => ({ url: '', headers: {}, body: JSON.stringify(envelope) }) }
      known.set(id, made)
      calls.call(made)
      return id
    },
    again(id) {
      const event = known.get(id)
      if (!event) throw new Error(`the event ${id} is not known`)
      calls.call(event)
    },
    async point(to) {
      if (to !== undefined) {
        const challenge = newId('')
        const question = JSON.stringify({ challenge, token, type: 'url_verification' })
        // Without a signature, and answered within a second.
        const body = encrypt_key ? JSON.stringify({ encrypt: seal(encrypt_key, question) }) : question
        const headers = { 'content-type': 'application/json' }
        const response = await fetch(to, { method: 'POST', headers, body, signal: AbortSignal.timeout(1000) })
        const answer = (await response.json().catch(() => undefined)) as { challenge?: string } | undefined
        if (response.status !== 200 || answer?.challenge !== challenge)
          throw new Error(`the address did not answer its challenge (${response.status})`)
      }
      url = to
    },
    join(socket, service) {
      sockets.set(socket, service)
      socket.on('message', (data: Buffer) => {
        try {
          onFrame(socket, decodeFrame(data))
        } catch {
          socket.close(1002, 'a frame that cannot be read')
        }
      })
      socket.on('error', () => {})
      socket.setMaxListeners(0)
      socket.once('close', () => sockets.delete(socket))
      arrivals.dispatchEvent(new Event('joined'))
    },
    get connections() {
      return sockets.size
    },
    get pending() {
      return calls.pending
    },
    attempts: calls.attempts,
    get pings() {
      return pings
    },
    [Symbol.asyncDispose]: () => calls[Symbol.asyncDispose](),
  }
}
