import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it, test } from 'node:test'
import { type Block, DeliveryError, type DeliveryFailure, type Place, PosthouseError } from '@posthouse/contract'
import {
  type ChannelHarness,
  type ChannelWorld,
  channelBehaviours,
  createFakeHost,
  createPosts,
  createWebhookCalls,
  openListening,
  type PlatformAnswer,
  type PlatformCall,
  servePlatform,
  until,
  whyNot,
} from '@posthouse/testkit'
import fc from 'fast-check'
import { catalog } from '../../catalog.ts'
import { parseSettings } from '../../config/index.ts'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { platformCrypto, verifyWebhook } from '../../security/index.ts'
import { loadExpressions } from './expressions.ts'
import { webhook } from './index.ts'
import { playSamples } from './samples.ts'
import type { ConnectorSettings } from './settings.ts'

/** A platform that nobody knows: it signs its calls, takes Markdown, and lets messages be changed. */
const connector = (url: string) => `
title: Pigeon
base_url: ${url}
values: { token: "pigeon-secret-token" }
receive:
  proof:
    kind: hmac
    header: X-Pigeon-Signature
    prefix: sha256=
    secret: "hook-secret"
    signed: ["header:X-Pigeon-Time", "text:.", body]
    time_header: X-Pigeon-Time
  challenge: { when: 'body.type == "hello"', json: { answer: "= body.nonce" } }
  when: 'body.type == "messages"'
  messages: body.messages
  message:
    id: message.id
    room: message.room
    author: message.from.id
    author_name: message.from.name
    author_is_bot: 'has(message.from.bot) && message.from.bot'
    text: message.text
    sent_at: message.time
    files: 'has(message.file) ? [message.file] : []'
  respond: { json: { taken: true } }
send:
  max_text: 900
  unit: code-points
  headers: { Authorization: "Bearer {{ values.token }}" }
  message: { path: "/rooms/{{ room }}/messages", json: { text: "{{ text }}", key: "{{ key }}", answers: "= reply_to" }, id: body.message.id }
  edit: { method: PUT, path: "/messages/{{ message_id }}", json: { text: "{{ text }}" }, id: body.message.id }
  file: { headers: { X-Purpose: download } }
  probe: { method: GET, path: /me, id: body.id, name: body.name }
  failures: [{ when: 'status == 409', kind: conflict }, { when: 'status == 420', kind: rate-limited, retry_after: body.wait }]
`

const PERSON = '10000000000000000001'
const place: Place = { room: PERSON, type: 'direct' }

interface Post {
  readonly id: string
  readonly room: string
  text: string
}

async function start(): Promise<
  ChannelWorld & {
    readonly settings: ConnectorSettings
    readonly call: (body: string, headers?: object) => Promise<Response>
    readonly answered: (() => PlatformAnswer)[]
  }
> {
  const client = createFetch()
  const posted: Post[] = []
  const posts = createPosts<Post>(posted, ({ text }) => text)
  const files = new Map<string, Uint8Array>()
  const answered: (() => PlatformAnswer)[] = []
  const revoked = false
  const answer = (call: PlatformCall): PlatformAnswer => {
    if (revoked || call.headers.authorization !== 'Bearer pigeon-secret-token') {
      if (!call.path.startsWith('/files/')) return { status: 401, body: { error: 'who are you' } }
    }
    const room = /^\/rooms\/([^/]+)\/messages$/.exec(call.path)?.[1]
    const body = (call.body.length > 0 ? JSON.parse(call.body.toString()) : {}) as { text?: string }
    if ((body.text ?? '').length > 900) return { status: 422, body: { error: 'too long' } }
    if (room) {
      const post: Post = { id: String(posted.length + 1), room: decodeURIComponent(room), text: body.text ?? '' }
      posted.push(post)
      posts.changed(post)
      return { body: { message: { id: Number(post.id) } } }
    }
    const changed = posted.find(({ id }) => call.path === `/messages/${id}`)
    if (changed) {
      changed.text = body.text ?? ''
      return { body: { message: { id: changed.id } } }
    }
    const file = files.get(call.path)
    if (file) return { body: file, status: call.headers['x-purpose'] === 'download' ? 200 : 403 }
    return call.path === '/me' ? { body: { id: 'us', name: 'Pigeon bot' } } : { status: 404, body: {} }
  }
  const platform = await servePlatform(
    {},
    {
      read: ({ method, path, body }) => ({ method: `${method} ${path.split('/')[1]}`, params: body.toString() }),
      answer: (call) => answered.shift()?.() ?? answer(call),
      refuse: ({ status, retryAfter }) => ({ status, body: { error: 'planned', wait: retryAfter } }),
    },
  )
  const calls = createWebhookCalls({ retryDelay: 2, maxRetryDelay: 10 })
  const host = await createFakeHost({
    fetch: client.fetch,
    crypto: platformCrypto,
    webhook: true,
    verify: (verification, call) => verifyWebhook(verification, call, Date.now()),
  })
  const { settings } = parseSettings(connector(platform.url), 'pigeon.yaml', catalog.channels.webhook as never, {})
  const given = settings as unknown as ConnectorSettings
  let count = 0
  let last: string | undefined
  const headersOf = (body: string, time = String(Math.floor(Date.now() / 1000))) => ({
    'content-type': 'application/json',
    'x-pigeon-time': time,
    'x-pigeon-signature': `sha256=${createHmac('sha256', 'hook-secret').update(`${time}.${body}`).digest('hex')}`,
  })
  const say = (message: object) => {
    last = JSON.stringify({ type: 'messages', messages: [{ id: ++count, room: 'ROOM', time: Date.now(), ...message }] }).replace(
      '"ROOM"',
      PERSON,
    )
    deliver(last)
  }
  const deliver = (body: string) =>
    calls.call({ room: 'all', request: () => ({ url: host.routes.url ?? '', headers: headersOf(body), body }) })
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: () => platform.faults.failNext('post rooms', { status: 503 }),
    'rate-limited': () => platform.faults.failNext('post rooms', { status: 420, retryAfter: 3 }),
    auth: () => platform.faults.failNext('post rooms', { status: 401 }),
    permission: () => platform.faults.failNext('post rooms', { status: 403 }),
    'not-found': () => platform.faults.failNext('post rooms', { status: 404 }),
    invalid: () => platform.faults.failNext('post rooms', { status: 422 }),
    conflict: () => platform.faults.failNext('post rooms', { status: 409 }),
    unknown: () => platform.faults.dropReplyOf('post rooms'),
  }
  return {
    host,
    place,
    settings: given,
    answered,
    secrets: ['pigeon-secret-token', 'hook-secret'],
    call: (body, headers = {}) => fetch(host.routes.url ?? '', { method: 'POST', body, headers: { ...headersOf(body), ...headers } }),
    open: () => openListening(webhook, given, host),
    probe: () => webhook.probe(given, host, new AbortController().signal),
    platform: {
      say: (text) => say({ text, from: { id: 7, name: 'Ann' } }),
      redeliver: () => deliver(last ?? ''),
      unacknowledged: () => calls.pending,
      posted: () => posted.map(({ text }) => text.replace(/\\([\\`*_~[\]<>#|+.-])/g, '$1')),
      fail: (kind) => failures[kind]?.(),
      sayAsOurselves: (text) => say({ text, from: { id: 1, bot: true } }),
      sayFile: (bytes) => {
        files.set('/files/1', bytes)
        say({ text: '', from: { id: 7 }, file: { url: '/files/1', name: 'a.bin', size: bytes.length } })
      },
    },
    async [Symbol.asyncDispose]() {
      await calls[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await platform[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}

const harness: ChannelHarness = {
  capabilities: { ...webhook.capabilities, maxText: { limit: 900, unit: 'code-points' } },
  cannot: { takeOver: 'webhooks are taken by every node', revoke: 'nobody listens, so nobody hears it' },
  start,
}

for (const behaviour of channelBehaviours) {
  // It is green by its first call only, and cannot be asked before.
  const skip = whyNot(behaviour, harness) || (behaviour.name.startsWith('health') && 'shown below')
  test(`connector: ${behaviour.name}`, { skip }, () => behaviour.run(harness))
}

describe('a connector', () => {
  it('is green by what it heard, and says what it waits for', async () => {
    await using world = await start()
    await using _connection = await world.open()
    assert.deepEqual([world.host.signs, world.host.reports.at(-1)?.state], [0, 'starting'])
    assert.match(world.host.reports.at(-1)?.problem ?? '', /^waiting for the first call at http/)
    world.platform.say('hi')
    await until(() => world.host.signs > 0, 'a sign of life')
  })

  it('keeps every digit of an id', async () => {
    await using world = await start()
    await using _connection = await world.open()
    world.platform.say('hi')
    await until(() => world.host.inbox.length === 1, 'the message')
    assert.equal(world.host.inbox[0]?.place.room, PERSON)
  })

  it('answers what asks whether the address is ours, and refuses what is not signed', async () => {
    await using world = await start()
    await using _connection = await world.open()
    const asked = await world.call('{"type":"hello","nonce":"<&\\" 1"}')
    assert.deepEqual([asked.status, await asked.json()], [200, { answer: '<&" 1' }])
    const body = '{"type":"messages","messages":[{"id":1,"room":1,"from":{"id":1},"text":"x"}]}'
    for (const headers of [{ 'x-pigeon-signature': '' }, { 'x-pigeon-time': '1' }, { 'x-pigeon-signature': `sha256=${'0'.repeat(64)}` }])
      assert.equal((await world.call(body, headers)).status, 401)
    assert.equal(world.host.attempts.length, 0)
  })

  it('samples say where they fail, and a misspelt key is no sample that holds', async () => {
    await using world = await start()
    const expressions = await loadExpressions()
    const call = { json: { type: 'messages', messages: [{ id: 1, room: 'r', from: { id: 'ann' }, text: 'hi', time: 1 }] } }
    const play = (sample: object) => playSamples({ ...world.settings, samples: [{ name: 's', ...sample }] }, expressions)
    assert.equal(await play({ call, expect: { events: [{ text: 'hi' }], response: { taken: true } } }), 1)
    const wrong: readonly [object, RegExp][] = [
      [
        { call, expect: { events: [{ text: 'hi', sender_id: 'bob' }] } },
        /sample "s": events\[0\]\.sender_id should be "bob", and is "ann"/,
      ],
      [{ call, expect: { events: [] } }, /sample "s": events should be \[\]/],
      [{ call, expect: { event: [] } }, /sample "s": expect\.event: unknown key; there are status, response, events, requests/],
      [{ call: { ...call, header: {} } }, /call\.header: unknown key/],
      [{ send: { text: 'hi', chat: 'r' } }, /send\.chat: unknown key/],
      [{ cal: call }, /sample\.cal: unknown key/],
    ]
    for (const [sample, words] of wrong) await assert.rejects(play(sample), words)
  })

  it('is not harmed by bodies of every kind', async () => {
    await using world = await start()
    await using _connection = await world.open()
    const refused = [
      '',
      '{',
      'null',
      '[]',
      '['.repeat(10_000),
      '{"type":"messages","messages":[{}]}',
      '{"type":"messages","messages":[{"id":{"a":1},"room":1,"from":{"id":1}}]}',
    ]
    for (const body of refused) assert.ok([200, 400].includes((await world.call(body)).status), body.slice(0, 40))
    const many = JSON.stringify({ type: 'messages', messages: Array.from({ length: 101 }, (_, id) => ({ id, room: 1, from: { id: 1 } })) })
    assert.equal((await world.call(many)).status, 400)
    const polluted =
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"type":"messages","messages":[{"id":1,"room":1,"from":{"id":2,"__proto__":{"bot":true}},"text":"x"}]}'
    assert.equal((await world.call(polluted)).status, 200)
    assert.equal(({} as { polluted?: number }).polluted, undefined)
    assert.deepEqual(
      world.host.attempts.map(({ author, parts }) => [author.id, author.isBot, parts]),
      [['2', false, [{ type: 'text', text: 'x' }]]],
    )
  })

  it('fetches files from its own address only', async () => {
    await using world = await start()
    await using connection = await world.open()
    const fetchFrom = (ref: string) => connection.download?.({ kind: 'file', name: 'x', ref }, 100, new AbortController().signal)
    for (const url of ['http://127.0.0.1:1/x', 'http://169.254.169.254/latest', '//other.example/x', 'file:///etc/passwd', 'http://['])
      await assert.rejects(
        async () => await fetchFrom(url),
        (error: unknown) => error instanceof PosthouseError && error.code === 'address-refused',
        url,
      )
  })

  it('an answer that is no JSON, or says no id, is an answer all the same', async () => {
    await using world = await start()
    await using connection = await world.open()
    world.answered.push(() => ({ body: 'ok' }))
    const [piece] = connection.render({ id: 'm', to: place, text: 'x', document: parseMarkdown('x') })
    assert.ok(piece)
    const options = { idempotencyKey: 'm:0', signal: new AbortController().signal }
    const receipt = await connection.send(piece, place, options)
    assert.equal(receipt.id, '')
    const edited = connection.edit?.(receipt, piece, options) ?? Promise.resolve()
    await assert.rejects(edited, (error: unknown) => error instanceof DeliveryError && error.kind === 'not-found')
  })

  it('nothing that people write gets out of its place in a request', async () => {
    await using world = await start()
    await using connection = await world.open()
    const names = fc.string({ unit: 'binary', maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(names, names, async (room, text) => {
        const document: readonly Block[] = [{ type: 'paragraph', children: [{ type: 'text', text: `${text}!` }] }]
        const [piece] = connection.render({ id: 'm', to: { room, type: 'direct' }, text, document, replyTo: text })
        const { path, json } = (piece?.payload ?? {}) as { path: string; json: Record<string, unknown> }
        assert.match(path, /^\/rooms\/[^/?#]*\/messages$/)
        assert.deepEqual(Object.keys(json), ['text', 'key', 'answers'])
        assert.equal(json.key, 'm:0')
        assert.equal(json.answers, text)
      }),
      { numRuns: 300 },
    )
  })
})
