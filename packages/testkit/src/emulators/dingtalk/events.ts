/**
 * How the platform hands over what happened: by one of the app's open connections, or by a call. Robot messages are handed over once
 * ("fire and forget"), events until they are acknowledged. https://open-dingtalk.github.io/developerpedia/docs/learn/stream/protocol
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { WebSocket } from 'ws'
import { createWebhookCalls, type WebhookAttempt, type WebhookEvent } from '../webhook-calls.ts'
import { newId } from './store.ts'

export interface Subscription {
  readonly client_id: string
  readonly client_secret: string
  readonly token: string
  /** 43 characters. */
  readonly aes_key: string
  /** How often a robot message is handed over at most. The platform's own: once. */
  readonly attempts: number
  /** Milliseconds before what was not acknowledged comes again. */
  readonly retryDelay: number
  readonly maxRetryDelay: number
  readonly deadline: number
  /** Milliseconds between the notice that a connection ends and its end. The platform's own: ten seconds. */
  readonly notice: number
}

export const ROBOT = '/v1.0/im/bot/messages/get'
export const CARD = '/v1.0/card/instances/callback'

export interface Wish {
  readonly type: string
  readonly topic: string
}

export interface Events extends AsyncDisposable {
  /** Hands it over, by a call to `route` if there is one; answers its id. */
  emit(room: string, topic: typeof ROBOT | typeof CARD, data: object, route?: CardRoute): string
  emitEvent(eventType: string, data: object): string
  again(id: string): void
  /** Robot messages come by this webhook (or by the connections) from now on. */
  point(url: string | undefined): void
  /** Events come by this one. @throws Error when it does not answer the platform's question */
  pointEvents(url: string): Promise<void>
  join(socket: WebSocket, wishes: readonly Wish[]): void
  /** Tells every open connection that it will end, and ends it a while later. */
  dismiss(): void
  /** Ends them without a word. */
  cut(): void
  readonly connections: number
  readonly pending: number
  readonly attempts: readonly WebhookAttempt[]
  /** Answers to the platform's own pings. */
  readonly pongs: number
}

/** The headers with which the platform signs a call of the robot. `at`: epoch milliseconds. https://open.dingtalk.com/document/orgapp/receive-message */
export function signRobot(secret: string, at = Date.now()): Record<string, string> {
  return { timestamp: String(at), sign: createHmac('sha256', secret).update(`${at}\n${secret}`).digest('base64') }
}

export interface CardRoute {
  readonly url: string
  readonly secret: string
}

/** Those of a pressed button. https://open.dingtalk.com/document/development/event-callback-card */
export function signCard(secret: string, at = Date.now()): Record<string, string> {
  const signature = createHmac('sha256', secret).update(String(at)).digest('base64')
  return { 'x-ddpaas-signature-timestamp': String(at), 'x-ddpaas-signature': signature }
}

type Keys = Pick<Subscription, 'token' | 'aes_key'>

/** https://open.dingtalk.com/document/orgapp/configure-event-subcription: random, length, text and owner, padded to 32 bytes. */
export function seal({ aes_key }: Pick<Keys, 'aes_key'>, text: string, owner: string): string {
  const key = Buffer.from(`${aes_key}=`, 'base64')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(text))
  const plain = Buffer.concat([randomBytes(16), length, Buffer.from(text), Buffer.from(owner)])
  const padding = 32 - (plain.length % 32)
  const cipher = createCipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  return Buffer.concat([cipher.update(Buffer.concat([plain, Buffer.alloc(padding, padding)])), cipher.final()]).toString('base64')
}

export function unseal({ aes_key }: Pick<Keys, 'aes_key'>, sealed: string): { text: string; owner: string } {
  const key = Buffer.from(`${aes_key}=`, 'base64')
  const cipher = createDecipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  const padded = Buffer.concat([cipher.update(Buffer.from(sealed, 'base64')), cipher.final()])
  const plain = padded.subarray(0, padded.length - (padded.at(-1) ?? 0))
  const end = 20 + plain.readUInt32BE(16)
  return { text: plain.toString('utf8', 20, end), owner: plain.toString('utf8', end) }
}

export function signEvent({ token }: Pick<Keys, 'token'>, encrypt: string, timestamp: string, nonce: string): string {
  return createHash('sha1').update([token, timestamp, nonce, encrypt].sort().join('')).digest('hex')
}

export function createEvents(subscription: Subscription): Events {
  const { client_id, client_secret, attempts, retryDelay, maxRetryDelay, deadline, notice } = subscription
  const sockets = new Map<WebSocket, readonly Wish[]>()
  const waiting = new Map<string, (answer: { status: number; body: string }) => void>()
  const known = new Map<string, () => void>()
  const arrivals = new EventTarget()
  // Whatever is said waits for a client, or for its answer.
  setMaxListeners(0, arrivals)
  const timers = new Set<NodeJS.Timeout>()
  let robotUrl: string | undefined
  let eventUrl: string | undefined
  let turn = 0
  let pongs = 0

  const takers = (type: string, topic: string) =>
    [...sockets].filter(([, wishes]) => wishes.some((wish) => wish.type === type && wish.topic === topic)).map(([socket]) => socket)

  /** One of the app's clients, whichever: there is no broadcast. */
  const anySocket = async (type: string, topic: string, signal: AbortSignal): Promise<WebSocket> => {
    for (;;) {
      const found = takers(type, topic)
      if (found.length > 0) return found[turn++ % found.length] as WebSocket
      await new Promise<void>((resolve, reject) => {
        arrivals.addEventListener('joined', () => resolve(), { once: true, signal })
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        if (signal.aborted) reject(signal.reason as Error)
      })
    }
  }

  const bySocket = async (type: string, topic: string, more: object, data: string, signal: AbortSignal) => {
    const socket = await anySocket(type, topic, signal)
    const messageId = newId()
    const answered = Promise.withResolvers<{ status: number; body: string }>()
    const leave = () => answered.reject(new Error('no acknowledgement'))
    waiting.set(messageId, answered.resolve)
    signal.addEventListener('abort', leave, { once: true })
    socket.once('close', leave)
    const headers = { appId: 'app', contentType: 'application/json', messageId, time: String(Date.now()), topic, ...more }
    socket.send(JSON.stringify({ specVersion: '1.0', type, headers, data }))
    try {
      return await answered.promise
    } finally {
      waiting.delete(messageId)
      signal.removeEventListener('abort', leave)
      socket.off('close', leave)
    }
  }

  const byCall = async (url: string, headers: Readonly<Record<string, string>>, body: string, signal: AbortSignal) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
      body,
      signal,
      redirect: 'manual',
    })
    return { status: response.status, body: await response.text() }
  }

  /** Answers what stood sealed in the answer. @throws Error when the answer is not sealed and signed as the platform wants it */
  const bySealedCall = async (url: string, text: string, signal: AbortSignal) => {
    const timestamp = String(Date.now())
    const nonce = newId().slice(0, 8)
    const encrypt = seal(subscription, text, client_id)
    const query = new URLSearchParams({ signature: signEvent(subscription, encrypt, timestamp, nonce), timestamp, nonce })
    const { status, body } = await byCall(`${url}?${query}`, {}, JSON.stringify({ encrypt }), signal)
    if (status !== 200) return { status, body }
    const answer = JSON.parse(body) as Record<string, string>
    const { msg_signature, timeStamp = '', nonce: theirs = '', encrypt: sealed = '' } = answer
    if (msg_signature !== signEvent(subscription, sealed, timeStamp, theirs)) throw new Error('the answer is not signed')
    const { text: said, owner } = unseal(subscription, sealed)
    return { status: owner === client_id && said === 'success' ? 200 : 500, body: said }
  }

  const post = async ({ url, headers, body }: ReturnType<WebhookEvent['request']>, signal: AbortSignal) => {
    const [topic = '', eventType = ''] = url.split(' ')
    const data = String(body)
    if (/^https?:/.test(url)) return await byCall(url, headers, data, signal)
    if (topic === 'event') {
      if (eventUrl !== undefined) return await bySealedCall(eventUrl, data, signal)
      const more = { eventType, eventId: newId(), eventCorpId: 'dingcorp', eventBornTime: String(Date.now()), eventUnifiedAppId: 'app' }
      return await bySocket('EVENT', '*', more, data, signal)
    }
    if (topic === ROBOT && robotUrl !== undefined) return await byCall(robotUrl, signRobot(client_secret), data, signal)
    return await bySocket('CALLBACK', topic, {}, data, signal)
  }
  const robot = createWebhookCalls({ retryDelay, maxRetryDelay, deadline, attempts, post })
  const events = createWebhookCalls({ retryDelay, maxRetryDelay, deadline, post })

  const onFrame = (frame: Record<string, unknown>) => {
    const { code, data } = frame
    const { messageId, contentType } = (frame.headers ?? {}) as Record<string, unknown>
    if (typeof code !== 'number' || typeof data !== 'string' || contentType !== 'application/json' || typeof messageId !== 'string')
      throw new Error('an answer that is none')
    const said = JSON.parse(data) as Record<string, unknown> | null
    if (said?.opaque !== undefined) pongs++
    waiting.get(messageId)?.({ status: code, body: data })
  }
  const later = (ms: number, work: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer)
      work()
    }, ms)
    timers.add(timer)
  }

  return {
    emit(room, topic, data, route) {
      const id = newId()
      const headers = route ? signCard(route.secret) : {}
      const event: WebhookEvent = { room, request: () => ({ url: route?.url ?? topic, headers, body: JSON.stringify(data) }) }
      const send = () => robot.call(event)
      known.set(id, send)
      send()
      return id
    },
    emitEvent(eventType, data) {
      const id = newId()
      const event: WebhookEvent = {
        room: id,
        request: () => ({ url: `event ${eventType}`, headers: {}, body: JSON.stringify({ EventType: eventType, ...data }) }),
        // "LATER" asks for a repeat, though it comes with 200.
        isAcknowledged: (status, body) => status === 200 && (body === 'success' || /"status":\s*"SUCCESS"/.test(body)),
      }
      const send = () => events.call(event)
      known.set(id, send)
      send()
      return id
    },
    again(id) {
      const send = known.get(id)
      if (!send) throw new Error(`${id} is not known`)
      send()
    },
    point(url) {
      robotUrl = url
    },
    async pointEvents(url) {
      const { status, body } = await bySealedCall(url, JSON.stringify({ EventType: 'check_url' }), AbortSignal.timeout(1500))
      if (status !== 200) throw new Error(`the address did not answer the platform's question: ${status} ${body}`)
      eventUrl = url
    },
    join(socket, wishes) {
      sockets.set(socket, wishes)
      socket.on('message', (data: Buffer) => {
        try {
          onFrame(JSON.parse(data.toString('utf8')) as Record<string, unknown>)
        } catch {
          socket.close(1002, 'a frame that cannot be read')
        }
      })
      socket.on('error', () => {})
      socket.setMaxListeners(0)
      socket.once('close', () => sockets.delete(socket))
      const headers = { topic: 'ping', contentType: 'application/json', messageId: newId(), time: String(Date.now()) }
      socket.send(JSON.stringify({ specVersion: '1.0', type: 'SYSTEM', headers, data: JSON.stringify({ opaque: newId() }) }))
      arrivals.dispatchEvent(new Event('joined'))
    },
    dismiss() {
      for (const socket of sockets.keys()) {
        const headers = { topic: 'disconnect', contentType: 'application/json', time: String(Date.now()) }
        socket.send(JSON.stringify({ specVersion: '1.0', type: 'SYSTEM', headers, data: '{"reason":"connection is expired"}' }))
        sockets.delete(socket)
        later(notice, () => socket.close(1000, 'connection is expired'))
      }
    },
    cut() {
      for (const socket of sockets.keys()) socket.terminate()
      // Nothing is handed over to what is gone.
      sockets.clear()
    },
    get connections() {
      return sockets.size
    },
    get pending() {
      return robot.pending + events.pending
    },
    get attempts() {
      return [...robot.attempts, ...events.attempts]
    },
    get pongs() {
      return pongs
    },
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearTimeout(timer)
      await robot[Symbol.asyncDispose]()
      await events[Symbol.asyncDispose]()
    },
  }
}
