import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Connection,
  DeliveryError,
  type DeliveryFailure,
  type FileKind,
  type InboundMessage,
  type OutboundFile,
  type Place,
  PosthouseError,
  type SendOptions,
} from '@posthouse/contract'
import {
  type ChannelHarness,
  type ChannelWorld,
  channelBehaviours,
  createFakeHost,
  createWecomEmulator,
  type FakeHost,
  openAsWecom,
  openListening,
  sealAsWecom,
  signAsWecom,
  until,
  type WecomEmulator,
  type WecomEmulatorOptions,
  type WecomSaid,
  whyNot,
} from '@posthouse/testkit'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { connect } from '../../security/socket.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createWecom, type WecomSettings, wecom } from './index.ts'

const place: Place = { room: 'ann', type: 'direct' }
const options = (more: Partial<SendOptions> = {}): SendOptions => ({ idempotencyKey: 'k', signal: new AbortController().signal, ...more })

interface World extends ChannelWorld {
  readonly emulator: WecomEmulator
  readonly host: FakeHost
  readonly settings: WecomSettings
  open(): Promise<Connection>
  /** One more node: its own address, the same durable state. */
  another(): Promise<{ readonly host: FakeHost; readonly connection: Connection }>
  /** Later by so many milliseconds, for the channel. */
  later(ms: number): void
  /** What people see that is not about to change, nor a mark. */
  said(room?: string): readonly string[]
}

const MINUTE = 60_000

async function start(more: WecomEmulatorOptions = {}, publicly = true): Promise<World> {
  const client = createFetch()
  const emulator = await createWecomEmulator({
    mode: 'bot-webhook',
    retryDelay: 2,
    maxRetryDelay: 10,
    attempts: 1000,
    pollEvery: 5,
    ...more,
  })
  const { bot_id, token, encoding_aes_key, url: base_url, ws_url } = emulator
  const settings: WecomSettings = { mode: 'bot-webhook', base_url, ws_url, bot_id, token, encoding_aes_key }
  let shift = 0
  const clock = {
    now: () => Date.now() + shift,
    wait: (ms: number, signal: AbortSignal) => sleep(Math.min(ms, 5), undefined, { signal }).catch(() => undefined),
  }
  const channel = createWecom(clock)
  const newHost = () =>
    createFakeHost({
      fetch: client.fetch,
      connect,
      crypto: platformCrypto,
      webhook: publicly,
      verify: (verification, call) => verifyWebhook(verification, call, clock.now()),
    })
  const host = await newHost()
  const opened: AsyncDisposable[] = [emulator, host, client]
  let last: WecomSaid | undefined
  const said = (room = 'ann') =>
    emulator
      .posted(room)
      .filter(({ streaming, text }) => !streaming && text !== '…')
      .map(({ text }) => text)
  const fail = (status: number, description: string) => emulator.failNext('aibot/response', { status, description })
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: () => fail(-1, 'system busy'),
    'rate-limited': () => fail(45009, 'reach max api daily quota limit'),
    'not-found': () => fail(40001, 'invalid credential'),
    invalid: () => fail(45002, 'content size out of limit'),
    unknown: () => emulator.dropReplyOf('aibot/response'),
  }
  return {
    emulator,
    host,
    settings,
    place,
    secrets: [token, encoding_aes_key, 'response_code='],
    said,
    later: (ms) => {
      shift += ms
    },
    async open() {
      const connection = await openListening(channel, settings, host)
      if (publicly) await emulator.subscribe(host.routes.url)
      return connection
    },
    async another() {
      const next = await newHost()
      const beside: FakeHost = Object.create(next, { state: { value: host.state } })
      const connection = await openListening(channel, settings, beside)
      opened.unshift(connection, next)
      return { host: beside, connection }
    },
    // The platform cannot be asked; its question to us is a round trip as well.
    async probe() {
      if (publicly) await emulator.subscribe(host.routes.url)
      return await channel.probe(settings, host, new AbortController().signal)
    },
    platform: {
      say: (text) => {
        last = emulator.say({ text })
      },
      redeliver: () => emulator.redeliver(last?.id ?? ''),
      unacknowledged: () => emulator.pending,
      posted: () => said(),
      fail: (kind) => failures[kind]?.(),
      sayFile: (bytes) => void emulator.say({ file: bytes }),
    },
    [Symbol.asyncDispose]: async () => {
      for (const each of opened) await each[Symbol.asyncDispose]()
    },
  }
}

const capabilities = wecom.capabilitiesOf?.({ mode: 'bot-webhook' } as WecomSettings) ?? wecom.capabilities

const harness = (asked: boolean): ChannelHarness => ({
  capabilities,
  cannot: {
    sayAsOurselves: 'a bot is not told its own words',
    takeOver: 'a bot is called wherever it is',
    revoke: 'a bot that is called has no credential that it shows',
  },
  neverFails: ['auth', 'permission', 'conflict'],
  async start() {
    const world = await start()
    return {
      ...world,
      // It may write only where somebody wrote. What answers nothing cannot grow: streams are tested below.
      open: async () => {
        const connection = await world.open()
        if (asked) {
          for (let time = 0; time < 16; time++) world.emulator.say('go on')
          await until(() => world.host.inbox.length === 16 && world.emulator.pending === 0, 'the questions')
        }
        return Object.create(connection, { edit: { value: undefined } }) as Connection
      },
    }
  },
})

for (const behaviour of channelBehaviours) {
  const writes = behaviour.needs.includes('posted') && !behaviour.needs.includes('say')
  test(`called bot: ${behaviour.name}`, { skip: whyNot(behaviour, harness(writes)) }, () => behaviour.run(harness(writes)))
}

const render = (connection: Connection, text: string, more: object = {}) =>
  connection.render({ id: 'm', to: place, text, document: parseMarkdown(text), ...more })
const first = (connection: Connection, text: string, more: object = {}) => {
  const [piece] = render(connection, text, more)
  assert.ok(piece)
  return piece
}
const refusal =
  (kind: DeliveryFailure, words = /./) =>
  (error: unknown) =>
    error instanceof DeliveryError && error.kind === kind && words.test(error.message)

/** Somebody asks; the message as it was admitted. */
async function ask({ emulator, host }: World, text: string): Promise<InboundMessage> {
  const before = host.inbox.length
  emulator.say({ text })
  await until(() => host.inbox.length > before && emulator.pending === 0, 'the question is taken')
  return host.inbox[before] as InboundMessage
}

const posts = ({ emulator }: World) => emulator.ledger.filter(({ method }) => method === 'aibot/response').length

// ---- In ---------------------------------------------------------------------------------------------------------------

test('its address is proven; kinds of messages, a group, a citation, a button, what is nothing for us', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say('/new now')
  emulator.say({ mixed: ['look', Buffer.from('picture')], from: 'bob' })
  emulator.say({ text: 'spoken', voice: Buffer.from('x'), from: 'cat' })
  emulator.say({ text: 'what is tea?', quote: 'tea\nis hot', chat: 'wr_team', from: 'dan' })
  emulator.press('yes', 'eve')
  emulator.happen('enter_chat', 'fay')
  emulator.say({ file: Buffer.from('bytes of a plan'), name: '计划.txt', from: 'guy' })
  await until(() => emulator.pending === 0, 'all are taken')
  const by = (id: string) => host.inbox.find(({ author }) => author.id === id)
  assert.deepEqual(by('ann')?.command, { name: 'new', argument: 'now' })
  assert.deepEqual(
    by('bob')?.parts.map(({ type }) => type),
    ['text', 'file'],
  )
  assert.deepEqual(by('cat')?.parts, [{ type: 'text', text: 'spoken' }])
  assert.deepEqual(by('dan')?.place, { room: 'wr_team', type: 'group' })
  assert.deepEqual(by('dan')?.parts, [
    { type: 'text', text: '> tea\n> is hot' },
    { type: 'text', text: 'what is tea?' },
  ])
  assert.deepEqual([by('eve')?.kind, by('eve')?.callbackData], ['callback', 'yes'])
  assert.equal(by('fay'), undefined)
  const [file] = by('guy')?.parts ?? []
  assert.ok(file?.type === 'file' && connection.download)
  const download = await connection.download(file.file, 1000, new AbortController().signal)
  assert.equal(download.name, '计划.txt')
  const chunks: Uint8Array[] = []
  for await (const chunk of download) chunks.push(chunk)
  assert.equal(Buffer.concat(chunks).toString(), 'bytes of a plan')
  assert.deepEqual(emulator.refused, [])
})

/** A call as the platform makes it, changed. */
async function call(
  { emulator, host }: World,
  change: { inner?: string; body?: string; query?: object; receiveId?: string; at?: number; method?: string; slashes?: boolean } = {},
) {
  const { encoding_aes_key, token, bot_id } = emulator
  const id = String(Math.random()).slice(2)
  const inner =
    change.inner ??
    JSON.stringify({ msgid: id, aibotid: bot_id, chattype: 'single', from: { userid: 'eve' }, msgtype: 'text', text: { content: 'hi' } })
  const sealed = sealAsWecom(encoding_aes_key, inner, change.receiveId ?? '')
  const echo = change.method === 'GET' && change.query === undefined ? { echostr: sealed } : {}
  const query = { ...signAsWecom(token, sealed, change.at), ...echo, ...change.query }
  const given = Object.entries(query).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  const other = sealAsWecom(encoding_aes_key, inner, '')
  const body = change.body?.replaceAll('SEALED', sealed).replaceAll('OTHER', other) ?? JSON.stringify({ encrypt: sealed })
  const method = change.method ?? 'POST'
  return await fetch(`${host.routes.url}?${new URLSearchParams(given)}`, {
    method,
    ...(method === 'GET' ? {} : { body: change.slashes ? body.replaceAll('/', '\\/') : body }),
  })
}

test('what is not the platform’s, or is not as it writes, is refused and does no harm', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const about = (more: object) =>
    JSON.stringify({
      aibotid: emulator.bot_id,
      chattype: 'single',
      from: { userid: 'eve' },
      msgtype: 'text',
      text: { content: 'x' },
      ...more,
    })
  const cases: readonly (readonly [name: string, status: number, change: Parameters<typeof call>[1]])[] = [
    ['no signature', 401, { query: { msg_signature: undefined } }],
    ['a wrong signature', 401, { query: { msg_signature: '0'.repeat(40) } }],
    ['a short signature', 401, { query: { msg_signature: '00' } }],
    ['an old signature', 401, { at: Math.floor(Date.now() / 1000) - 7200 }],
    ['one from the future', 401, { at: Math.floor(Date.now() / 1000) + 7200 }],
    ['another nonce', 401, { query: { nonce: 'x' } }],
    ['another body', 401, { body: '{"encrypt":"AAAA"}' }],
    ['two bodies', 401, { body: '{"encrypt":"SEALED","encrypt":"SEALED"}' }],
    ['a second body that is named otherwise', 400, { body: '{"encrypt":"SEALED","\\u0065ncrypt":"OTHER"}' }],
    ['a body that is proven and another that is read', 400, { body: '{"x":{"encrypt":"SEALED"},"\\u0065ncrypt":"OTHER"}' }],
    ['no body', 401, { body: '' }],
    ['no JSON', 400, { body: '{"encrypt":"SEALED"' }],
    ['an app’s XML', 401, { body: '<xml><Encrypt>SEALED</Encrypt></xml>' }],
    ['for an organization', 400, { receiveId: 'ww-other' }],
    ['for another bot', 400, { inner: about({ msgid: '9', aibotid: 'aib-other' }) }],
    ['without an id', 400, { inner: about({}) }],
    ['with an id that is none', 400, { inner: about({ msgid: 'x'.repeat(300) }) }],
    ['of nobody', 400, { inner: about({ msgid: '9', from: {} }) }],
    ['of a group without an id', 400, { inner: about({ msgid: '9', chattype: 'group' }) }],
    ['no JSON inside', 400, { inner: 'hello' }],
    ['how far, of nobody', 400, { inner: about({ msgid: '9', msgtype: 'stream', stream: { id: 'x' }, from: {} }) }],
    ['a question that is not sealed', 401, { method: 'GET', query: { echostr: 'hello' } }],
    ['a message as a question', 400, { method: 'GET' }],
    ['no question', 401, { method: 'GET', query: {} }],
  ]
  for (const [name, status, change] of cases) assert.equal((await call(world, change)).status, status, name)
  assert.equal(host.inbox.length, 0)
  // Some write a slash in JSON with a backslash before it.
  for (let id = 20; id < 30; id++)
    assert.equal((await call(world, { inner: about({ msgid: `${id}` }), body: '{"encrypt":"SEALED"}', slashes: true })).status, 200)
  assert.equal(host.inbox.length, 10)
  // The same at once, over and over: one message, one stream.
  const same = about({ msgid: '11' })
  const answers = await Promise.all(Array.from({ length: 10 }, () => call(world, { inner: same })))
  const streams = await Promise.all(
    answers.map(async (answer) => openAsWecom(emulator.encoding_aes_key, ((await answer.json()) as { encrypt: string }).encrypt, '')),
  )
  assert.equal(new Set(streams).size, 1)
  assert.equal(host.inbox.length, 11)
  // Asked for what nobody knows, it is at its end.
  const unknown = await call(world, { inner: about({ msgid: '12', msgtype: 'stream', stream: { id: '__proto__' } }) })
  const { encrypt } = (await unknown.json()) as { encrypt: string }
  assert.equal(JSON.parse(openAsWecom(emulator.encoding_aes_key, encrypt, '')).stream.finish, true)
  const polluted = about({ msgid: '13' }).replace('{', '{"__proto__":{"polluted":1},')
  assert.equal((await call(world, { inner: polluted })).status, 200)
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
  await ask(world, 'still here')
})

test('an address to answer at that is not the platform’s is not used', async () => {
  await using world = await start()
  await using connection = await world.open()
  const inner = (response_url: string, msgid: string) =>
    JSON.stringify({ msgid, chattype: 'single', from: { userid: 'ann' }, msgtype: 'text', text: { content: 'x' }, response_url })
  for (const [index, url] of [
    'http://127.0.0.1:1/cgi-bin/aibot/response?x',
    `${world.emulator.url}@evil.example/`,
    'file:///etc/passwd',
  ].entries())
    assert.equal((await call(world, { inner: inner(url, `u${index}`) })).status, 200)
  await assert.rejects(connection.send(first(connection, 'hi'), place, options()), refusal('permission', /let the person write again/))
})

test('without a public address it says what to do', async () => {
  await using world = await start({}, false)
  await using _connection = await world.open()
  assert.deepEqual(
    world.host.reports.map(({ state }) => state),
    ['degraded'],
  )
  assert.match(world.host.reports[0]?.problem ?? '', /server\.public_url/)
})

// ---- Out --------------------------------------------------------------------------------------------------------------

test('an answer grows in one message and ends; it is sent when it was fetched; repeating it changes nothing', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { id: replyTo } = await ask(world, 'the long road')
  const grown = (text: string) => first(connection, text, { replyTo })
  assert.deepEqual(
    emulator.posted('ann').map(({ text, streaming, reply_to }) => [text, streaming, reply_to]),
    [['…', true, replyTo]],
  )
  const receipt = await connection.send(grown('one'), place, options({ draft: true, idempotencyKey: 'd' }))
  await until(() => emulator.posted('ann')[0]?.text === 'one', 'the draft is shown')
  await connection.edit?.(receipt, grown('one two'), options({ draft: true, idempotencyKey: 'd' }))
  await until(() => emulator.posted('ann')[0]?.text === 'one two', 'it grows')
  for (let time = 0; time < 2; time++) {
    assert.deepEqual(await connection.edit?.(receipt, grown('one two three'), options()), receipt)
    await until(() => emulator.posted('ann')[0]?.streaming === false, 'it ended')
  }
  await assert.rejects(Promise.resolve(connection.edit?.(receipt, grown('x'), options({ draft: true }))), refusal('not-found'))
  assert.deepEqual(world.said(), ['one two three'])
  assert.equal(posts(world), 0)
  assert.deepEqual(emulator.refused, [])
})

/** From now on the platform asks in vain; a question that was on its way would still take the answer. */
async function turnAway({ emulator }: World): Promise<void> {
  await emulator.subscribe(undefined)
  const { polls } = emulator
  await until(() => emulator.polls > polls, 'the last question that reached us is answered')
}

test('it is not sent before it was fetched, and a fetch whose answer is lost is repeated', async () => {
  await using world = await start({ pollEvery: 30 })
  const { emulator } = world
  await using connection = await world.open()
  const { id: replyTo } = await ask(world, 'hi')
  await turnAway(world)
  let sent = false
  const sending = connection.send(first(connection, 'hello', { replyTo }), place, options()).then(() => {
    sent = true
  })
  const polls = emulator.polls
  await until(() => emulator.polls > polls + 2, 'the platform asks in vain')
  assert.equal(sent, false)
  emulator.dropReplyOf('poll')
  await emulator.subscribe(world.host.routes.url)
  await sending
  await until(() => world.said().length > 0, 'it is shown')
  assert.deepEqual(world.said(), ['hello'])
  assert.equal(posts(world), 0)
})

test('any node and the next process answer for a stream', async () => {
  await using world = await start()
  const { emulator } = world
  const connection = await world.open()
  const { id: replyTo } = await ask(world, 'hi')
  const piece = first(connection, 'from the first node', { replyTo })
  await connection.send(piece, place, options({ draft: true, idempotencyKey: 'd' }))
  const other = await world.another()
  await emulator.subscribe(other.host.routes.url)
  await until(() => emulator.posted('ann')[0]?.text === 'from the first node', 'the second node shows the draft')
  // It ends in the middle of the send; what it laid ready is fetched, and the next attempt learns of it.
  await turnAway(world)
  const dying = new AbortController()
  const sending = connection.send(piece, place, options({ signal: dying.signal }))
  dying.abort()
  await assert.rejects(sending, (error: unknown) => error instanceof DeliveryError && ['transient', 'cancelled'].includes(error.kind))
  await connection[Symbol.asyncDispose]()
  await emulator.subscribe(other.host.routes.url)
  await other.connection.send(piece, place, options())
  await until(() => world.said().length > 0, 'it is shown')
  assert.deepEqual(world.said(), ['from the first node'])
  assert.equal(posts(world), 0)
})

test('a stream that the platform gave up, or that is over, is answered at the address; never at both', async () => {
  for (const late of [21_000, 6 * MINUTE]) {
    await using world = await start()
    const { emulator } = world
    await using connection = await world.open()
    const { id: replyTo } = await ask(world, 'slow')
    await turnAway(world)
    const sending = connection.send(first(connection, 'whole', { replyTo }), place, options())
    const { polls } = emulator
    await until(() => emulator.polls > polls + 3, 'the platform asks in vain, and the answer lies ready')
    world.later(late)
    const { id } = await sending
    assert.equal(posts(world), 1)
    await emulator.subscribe(world.host.routes.url)
    await until(() => emulator.posted('ann').every(({ streaming }) => !streaming), 'the stream is ended')
    assert.deepEqual(
      emulator.posted('ann').map(({ text, msgtype, reply_to }) => [text, msgtype, reply_to]),
      [
        ['…', 'stream', replyTo],
        ['whole', 'markdown', replyTo],
      ],
    )
    // Once more, as after a crash: the address took it.
    assert.equal((await connection.send(first(connection, 'whole', { replyTo }), place, options())).id, id)
    assert.deepEqual(world.said(), ['whole'])
  }
})

test('shortly before its end an unfinished stream is ended, and the answer comes at the address', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { id: replyTo } = await ask(world, 'very slow')
  const receipt = await connection.send(first(connection, 'half', { replyTo }), place, options({ draft: true, idempotencyKey: 'd' }))
  world.later(5 * MINUTE + 45_000)
  await until(() => emulator.posted('ann')[0]?.streaming === false, 'it is ended')
  await assert.rejects(
    Promise.resolve(connection.edit?.(receipt, first(connection, 'whole', { replyTo }), options())),
    refusal('not-found'),
  )
  await connection.send(first(connection, 'whole', { replyTo }), place, options())
  assert.deepEqual(world.said(), ['whole'])
})

test('an address takes one message: a lost answer is unknown, and the next attempt shows nothing twice', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  await ask(world, 'one')
  emulator.dropReplyOf('aibot/response')
  const piece = first(connection, 'a notice')
  await assert.rejects(connection.send(piece, place, options()), refusal('unknown'))
  await connection.send(piece, place, options())
  assert.deepEqual(world.said(), ['a notice'])
  // Refused for sure, it is free for the next.
  await ask(world, 'two')
  emulator.failNext('aibot/response', { status: -1, description: 'system busy' })
  await assert.rejects(connection.send(piece, place, options({ idempotencyKey: 'k2' })), refusal('transient'))
  await connection.send(first(connection, 'another'), place, options({ idempotencyKey: 'k3' }))
  assert.deepEqual(world.said(), ['a notice', 'another'])
  await assert.rejects(connection.send(piece, place, options({ idempotencyKey: 'k4' })), refusal('permission', /write again/))
})

test('a long answer: the stream, then the addresses that the chat has left; after an hour there is none', async () => {
  await using world = await start()
  await using connection = await world.open()
  await ask(world, 'an earlier one')
  const { id: replyTo } = await ask(world, 'everything')
  const words = Array.from({ length: 9000 }, (_, index) => `词${index}`)
  const pieces = render(connection, words.join(' '), { replyTo })
  assert.equal(pieces.length, 4)
  for (const [index, piece] of pieces.slice(0, 3).entries()) await connection.send(piece, place, options({ idempotencyKey: `m:${index}` }))
  const last = pieces[3]
  assert.ok(last)
  await assert.rejects(connection.send(last, place, options({ idempotencyKey: 'm:3' })), refusal('permission', /write again/))
  await until(() => world.said().length === 3, 'three are shown')
  await ask(world, 'go on')
  await connection.send(last, place, options({ idempotencyKey: 'm:3' }))
  assert.deepEqual(world.said().join(' ').split(/\s+/), words)
  await ask(world, 'and')
  world.later(60 * MINUTE)
  await assert.rejects(connection.send(last, place, options({ idempotencyKey: 'm:4' })), refusal('permission'))
})

test('of questions that are answered together the earlier ones come to their end; a button’s answer goes to its address', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  await ask(world, 'one')
  const { id: replyTo } = await ask(world, 'two')
  await connection.send(first(connection, 'both', { replyTo }), place, options())
  await until(() => emulator.posted('ann').every(({ streaming }) => !streaming), 'both streams are at their end')
  assert.deepEqual(
    emulator.posted('ann').map(({ text }) => text),
    ['…', 'both'],
  )
  emulator.press('yes')
  await until(() => host.inbox.length === 3 && emulator.pending === 0, 'the press')
  await connection.send(first(connection, 'pressed', { replyTo: host.inbox[2]?.id }), place, options({ idempotencyKey: 'p' }))
  assert.deepEqual(world.said(), ['both', 'pressed'])
})

test('a burst of many at once, and two nodes that answer for one chat', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  const { connection: other } = await world.another()
  for (let time = 0; time < 40; time++) emulator.say(`m${time}`)
  await until(() => host.inbox.length === 40 && emulator.pending === 0, 'all are taken')
  const last = host.inbox.at(-1)?.id
  const sends = [connection, other].flatMap((node, at) =>
    Array.from({ length: 8 }, (_, index) =>
      node.send(first(node, `notice ${at} ${index}`), place, options({ idempotencyKey: `${at} ${index}` })),
    ),
  )
  await Promise.all([...sends, connection.send(first(connection, 'the answer', { replyTo: last }), place, options())])
  await until(() => emulator.posted('ann').every(({ streaming }) => !streaming), 'every stream comes to its end')
  assert.equal(new Set(world.said()).size, 17)
  assert.equal(world.said().length, 17)
  assert.deepEqual(emulator.refused, [])
})

const fileOf = (kind: FileKind, name: string, size: number, link?: string): OutboundFile => ({
  kind,
  name,
  size,
  ...(link ? { link } : {}),
  async *open() {
    yield new Uint8Array(size)
  },
})

test('files become links; without an address it is said what to do', async () => {
  await using world = await start()
  await using connection = await world.open()
  const { id: replyTo } = await ask(world, 'send it')
  const [only, ...none] = render(connection, 'here', { replyTo, files: [fileOf('image', 'a.png', 10, 'https://example.com/a')] })
  assert.ok(only && none.length === 0)
  assert.match(String(only.payload.content), /\]\(https:\/\/example\.com\/a\)/)
  const [, file] = render(connection, 'here', { files: [fileOf('file', 'a.txt', 10)] })
  assert.ok(file)
  await assert.rejects(connection.send(file, place, options()), refusal('invalid', /server\.public_url/))
})

test('a state that cannot be written is no acknowledgement', async () => {
  await using world = await start()
  const { host, emulator } = world
  await using _connection = await world.open()
  const { swap } = host.state
  let refused = 0
  host.state.swap = async () => {
    refused++
    throw new PosthouseError('unavailable')
  }
  emulator.say('hi')
  await until(() => refused > 1, 'it comes again')
  assert.equal(host.inbox.length, 0)
  host.state.swap = swap
  await until(() => emulator.pending === 0, 'it is taken')
  assert.equal(host.inbox.length, 1)
})
