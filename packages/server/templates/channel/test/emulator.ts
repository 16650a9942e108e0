/** Pigeon, played: as strict as the platform's documentation. Each rule that it breaks is a message that people will not get. */
import { createPosts, createWebhookCalls, type PlatformAnswer, type PlatformCall, servePlatform } from '@posthouse/testkit'

export interface PigeonPost {
  readonly id: string
  readonly room: string
  readonly text: string
}

/** `hook`: where calls go. */
export async function createPigeonEmulator(options: { readonly token: string; readonly secret: string; readonly hook: () => string }) {
  const posted: PigeonPost[] = []
  const posts = createPosts<PigeonPost>(posted, ({ room, text }) => `${room}: ${text}`)
  const calls = createWebhookCalls({ retryDelay: 2, maxRetryDelay: 10 })
  let revoked = false
  let count = 0
  const answer = ({ method, path, headers, body }: PlatformCall): PlatformAnswer => {
    if (revoked || headers.authorization !== `Bearer ${options.token}`) return { status: 401, body: { error: 'who are you' } }
    if (method === 'GET' && path === '/me') return { body: { id: 'pigeon-bot', name: 'Pigeon' } }
    const [, room] = /^\/rooms\/([^/]+)$/.exec(path) ?? []
    if (method !== 'POST' || !room) return { status: 404, body: { error: 'no such place' } }
    const { text } = JSON.parse(body.toString()) as { text?: unknown }
    if (typeof text !== 'string' || text === '' || [...text].length > 1000) return { status: 422, body: { error: 'text' } }
    const post = { id: String(++count), room: decodeURIComponent(room), text }
    posted.push(post)
    posts.changed(post)
    return { body: { id: post.id } }
  }
  const platform = await servePlatform(
    {},
    {
      read: ({ method, path, body }) => ({ method: method === 'GET' ? 'me' : 'post', params: { path, body: body.toString() } }),
      answer,
      refuse: ({ status, retryAfter }) => ({
        status,
        body: { error: 'planned' },
        headers: retryAfter ? { 'retry-after': String(retryAfter) } : {},
      }),
    },
  )
  const deliver = (message: object) =>
    calls.call({
      room: 'all',
      request: () => ({ url: options.hook(), headers: { 'x-pigeon-secret': options.secret }, body: JSON.stringify(message) }),
    })
  return {
    url: platform.url,
    ledger: platform.ledger,
    ...platform.faults,
    get pending() {
      return calls.pending
    },
    posted: () => posted,
    waitForPosted: posts.wait,
    say(text: string, more: object = {}) {
      const message = { type: 'message', id: `in-${++count}`, room: 'room', from: 'ann', text, time: Date.now(), ...more }
      deliver(message)
      return message
    },
    deliver,
    revoke() {
      revoked = true
    },
    async [Symbol.asyncDispose]() {
      await calls[Symbol.asyncDispose]()
      await platform[Symbol.asyncDispose]()
    },
  }
}
