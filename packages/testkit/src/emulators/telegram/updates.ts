/** The queue of updates, and the two ways out of it: long polling and webhook. */
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Update } from '@grammyjs/types'
import { Refusal } from './entities.ts'

/** The Bot API sends these unless asked for more. */
const DEFAULT_UPDATES = ['message', 'edited_message', 'channel_post', 'edited_channel_post', 'callback_query', 'my_chat_member', 'poll']
const KEPT_FOR = 24 * 3_600_000
const KEPT_SENT = 10_000

export interface Webhook {
  readonly url: string
  readonly secret: string
  readonly connections: number
  lastError?: { readonly at: number; readonly message: string }
}

interface Entry {
  readonly update: Update
  readonly chat: number
  readonly at: number
  /** Handed out once more whatever the offset says. */
  repeated: boolean
}

/** An update that the bot took: by a 2xx, or by a poll from behind it. */
export interface Confirmation {
  readonly update_id: number
  /** Epoch milliseconds: when it was there, and when it was taken. */
  readonly said: number
  readonly at: number
}

export interface UpdateQueue {
  /** Every confirmation, oldest first; repeats, too. */
  readonly confirmations: readonly Confirmation[]
  /** How many updates nobody has confirmed. */
  readonly pending: number
  readonly webhook: Webhook | undefined
  add(update: Update, chat: number): void
  /** Hands out an update once more. */
  again(id: number): void
  allow(types: unknown): void
  allowed(): readonly string[]
  /** @throws Refusal 409 when a webhook is set, or when another poll takes this one's place */
  poll(offset: number, limit: number, seconds: number, gone: AbortSignal): Promise<readonly Update[]>
  setWebhook(webhook: Omit<Webhook, 'lastError'> | undefined, dropPending: boolean): void
  close(): void
}

interface Poll {
  answer(): void
  fail(error: Error): void
}

/** @param retryDelay milliseconds before the first repetition of a failed webhook call; doubles up to `maxRetryDelay`, which bounds Retry-After too; `keep`: confirmations that are remembered; `addresses`, `ca`: see the options */
export function createUpdateQueue(
  retryDelay: number,
  maxRetryDelay: number,
  keep: number,
  addresses?: () => readonly string[],
  ca?: string,
): UpdateQueue {
  const entries = new Map<number, Entry>()
  const confirmed = new Map<number, Entry>()
  const confirmations: Confirmation[] = []
  let allowed: readonly string[] = DEFAULT_UPDATES
  let waiting: Poll | undefined
  let pusher: Pusher | undefined

  const confirm = (entry: Entry) => {
    entries.delete(entry.update.update_id)
    confirmations.push({ update_id: entry.update.update_id, said: entry.at, at: Date.now() })
    if (confirmations.length > keep) confirmations.splice(0, Math.ceil(keep / 10))
    confirmed.set(entry.update.update_id, entry)
    const oldest = confirmed.size > KEPT_SENT ? confirmed.keys().next().value : undefined
    if (oldest !== undefined) confirmed.delete(oldest)
  }
  const enqueue = (entry: Entry) => {
    entries.set(entry.update.update_id, entry)
    pusher?.push(entry)
    // What is said in one go comes in one batch.
    if (waiting) setImmediate(() => waiting?.answer())
  }
  const endPoll = (words: string) => waiting?.fail(new Refusal(409, `Conflict: ${words}`))
  const forget = (offset: number) => {
    const oldest = Date.now() - KEPT_FOR
    let surplus = offset < 0 ? entries.size + offset : 0
    for (const entry of entries.values()) {
      if (entry.at < oldest) entries.delete(entry.update.update_id)
      else if (offset < 0 ? surplus-- > 0 : entry.update.update_id < offset && !entry.repeated) confirm(entry)
      else if (!entry.repeated) break
    }
  }
  const batch = (limit: number) => {
    const found = entries.values().take(limit).toArray()
    for (const entry of found) entry.repeated = false
    return found.map((entry) => entry.update)
  }
  return {
    confirmations,
    get pending() {
      return entries.size
    },
    get webhook() {
      return pusher?.webhook
    },
    add: (update, chat) => {
      if (Object.keys(update).some((type) => allowed.includes(type))) enqueue({ update, chat, at: Date.now(), repeated: false })
    },
    again: (id) => {
      const entry = confirmed.get(id)
      if (!entry) throw new Error(`update ${id} was not delivered yet`)
      enqueue({ ...entry, at: Date.now(), repeated: true })
    },
    allow: (types) => {
      if (Array.isArray(types)) allowed = types.length > 0 ? types.map(String) : DEFAULT_UPDATES
    },
    allowed: () => allowed,
    poll: async (offset, limit, seconds, gone) => {
      if (pusher) {
        const words = "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
        throw new Refusal(409, `Conflict: ${words}`)
      }
      endPoll('terminated by other getUpdates request; make sure that only one bot instance is running')
      forget(offset)
      if (entries.size > 0 || seconds === 0) return batch(limit)
      return new Promise((resolve, reject) => {
        const end = (settle: () => void) => {
          clearTimeout(timer)
          gone.removeEventListener('abort', leave)
          if (waiting === poll) waiting = undefined
          settle()
        }
        const leave = () => end(() => resolve([]))
        const poll: Poll = { answer: () => end(() => resolve(batch(limit))), fail: (error) => end(() => reject(error)) }
        const timer = setTimeout(poll.answer, seconds * 1000)
        gone.addEventListener('abort', leave)
        waiting = poll
      })
    },
    setWebhook: (webhook, dropPending) => {
      if (dropPending) entries.clear()
      pusher?.close()
      pusher = undefined
      if (!webhook) return
      endPoll('terminated by setWebhook request')
      pusher = createPusher(webhook, { first: retryDelay, most: maxRetryDelay }, confirm, addresses, ca)
      for (const entry of entries.values()) pusher.push(entry)
    },
    close: () => {
      waiting?.answer()
      pusher?.close()
      pusher = undefined
    },
  }
}

interface Pusher {
  readonly webhook: Webhook
  push(entry: Entry): void
  close(): void
}

/** Calls the webhook, at most `connections` at once, one chat's updates one after the other, until each is answered with 2xx. */
function createPusher(
  webhook: Webhook,
  retry: { first: number; most: number },
  done: (entry: Entry) => void,
  addresses: () => readonly string[] = () => [],
  ca?: string,
): Pusher {
  const chats = new Map<number, { readonly queue: Entry[]; failures: number }>()
  const ready: number[] = []
  const timers = new Set<NodeJS.Timeout>()
  const agent = new (webhook.url.startsWith('https:') ? HttpsAgent : HttpAgent)({
    keepAlive: true,
    maxSockets: webhook.connections,
    ...(ca ? { ca } : {}),
  })
  let running = 0
  let calls = 0
  let closed = false
  const nextAddress = () => {
    const hosts = addresses()
    const url = new URL(webhook.url)
    url.host = hosts[calls++ % hosts.length] ?? url.host
    return url
  }

  const next = () => {
    while (!closed && running < webhook.connections) {
      const chat = ready.shift()
      if (chat === undefined) return
      running++
      deliver(chat).then(
        () => {
          running--
          next()
        },
        () => undefined,
      )
    }
  }
  const deliver = async (chat: number): Promise<void> => {
    const lane = chats.get(chat)
    const entry = lane?.queue[0]
    if (!lane || !entry) return
    const failure = await callWebhook(webhook, nextAddress(), agent, entry.update)
    if (closed) return
    if (failure === undefined) {
      lane.queue.shift()
      lane.failures = 0
      done(entry)
      if (lane.queue.length > 0) ready.push(chat)
      else chats.delete(chat)
      return
    }
    webhook.lastError = { at: Date.now(), message: failure.message }
    const wait = Math.min(failure.retryAfter ?? retry.first * 2 ** lane.failures++, retry.most)
    const timer = setTimeout(() => {
      timers.delete(timer)
      ready.push(chat)
      next()
    }, wait)
    timers.add(timer)
  }
  return {
    webhook,
    push: (entry) => {
      const lane = chats.get(entry.chat)
      if (lane) lane.queue.push(entry)
      else {
        chats.set(entry.chat, { queue: [entry], failures: 0 })
        ready.push(entry.chat)
      }
      next()
    },
    close: () => {
      closed = true
      for (const timer of timers) clearTimeout(timer)
      agent.destroy()
    },
  }
}

/** Undefined when the webhook took it. */
function callWebhook(
  webhook: Webhook,
  url: URL,
  agent: HttpAgent | HttpsAgent,
  update: Update,
): Promise<{ message: string; retryAfter?: number } | undefined> {
  return new Promise((resolve) => {
    const body = JSON.stringify(update)
    const headers: Record<string, string | number> = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    if (webhook.secret) headers['X-Telegram-Bot-Api-Secret-Token'] = webhook.secret
    const send = agent instanceof HttpsAgent ? httpsRequest : httpRequest
    const call = send(url, { method: 'POST', headers, agent, timeout: 60_000 }, (response) => {
      const status = response.statusCode ?? 0
      const seconds = Number(response.headers['retry-after'])
      const message = `Wrong response from the webhook: ${status} ${response.statusMessage ?? ''}`.trim()
      const failure = { message, ...(seconds > 0 ? { retryAfter: seconds * 1000 } : {}) }
      response.resume()
      response.on('end', () => resolve(status >= 200 && status < 300 ? undefined : failure))
      response.on('error', (error) => resolve({ message: error.message }))
    })
    call.on('timeout', () => call.destroy(new Error('Read timeout expired')))
    call.on('error', (error) => resolve({ message: error.message }))
    call.end(body)
  })
}
