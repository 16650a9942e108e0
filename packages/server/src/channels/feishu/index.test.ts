import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Clock,
  type Connection,
  DeliveryError,
  type DeliveryFailure,
  type FileKind,
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
  createFeishuEmulator,
  type FakeHost,
  type FeishuEmulator,
  type FeishuEmulatorOptions,
  type FeishuSaid,
  openListening,
  until,
  whyNot,
} from '@posthouse/testkit'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { connect } from '../../security/socket.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createFeishu, type FeishuSettings, feishu } from './index.ts'

const PERSON = 'ou_ann'
const CHAT = 'oc_ann'
const place: Place = { room: CHAT, type: 'direct' }
const options = (more: Partial<SendOptions> = {}): SendOptions => ({ idempotencyKey: 'k', signal: new AbortController().signal, ...more })

/** A webhook's account asks at once, not after five minutes. */
const quickClock: Clock = {
  now: Date.now,
  wait: (ms, signal) => sleep(ms > 60_000 ? 5 : ms, undefined, { signal }).catch(() => undefined),
}

interface World extends ChannelWorld {
  readonly emulator: FeishuEmulator
  readonly host: FakeHost
  open(settings?: Partial<FeishuSettings>): Promise<Connection>
  /** The same, on a node that does not listen: calls of the platform come to it, too. */
  openBeside(): Promise<Connection>
}

type Mode = 'websocket' | 'sealed webhook' | 'webhook by token'

async function start(mode: Mode = 'websocket', more: FeishuEmulatorOptions = {}): Promise<World> {
  const client = createFetch()
  const emulator = await createFeishuEmulator({
    retryDelay: 2,
    maxRetryDelay: 10,
    ...(mode === 'sealed webhook' ? { encrypt_key: 'the-key-of-this-app' } : {}),
    ...more,
  })
  const verify = (...[verification, call]: Parameters<NonNullable<Parameters<typeof createFakeHost>[0]['verify']>>) =>
    verifyWebhook(verification, call, Date.now())
  const webhook = mode !== 'websocket'
  const host = await createFakeHost({ fetch: client.fetch, connect, crypto: platformCrypto, webhook, verify })
  const { app_id, app_secret, verification_token, encrypt_key, url } = emulator
  const settings: FeishuSettings = {
    app_id,
    app_secret,
    mode: webhook ? 'webhook' : 'websocket',
    domain: 'feishu',
    base_url: url,
    ...(webhook ? { verification_token } : {}),
    ...(encrypt_key ? { encrypt_key } : {}),
  }
  const channel = createFeishu(quickClock)
  let last: FeishuSaid | undefined
  emulator.know(PERSON, 'Ann')
  const fail = (status: number, description: string, retryAfter?: number) => () =>
    emulator.failNext('im.message.create', { status, description, ...(retryAfter === undefined ? {} : { retryAfter }) })
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: fail(500, 'internal error'),
    'rate-limited': fail(429, 'request trigger frequency limit', 3),
    auth: () => emulator.failNext('im.message.create', { status: 99991663, description: 'Invalid access token', times: 2 }),
    permission: fail(230002, 'The bot can not be outside the group.'),
    'not-found': fail(230034, 'The receive_id is invalid.'),
    invalid: fail(230001, 'Your request contains an invalid request parameter.'),
    unknown: () => emulator.dropReplyOf('im.message.create'),
  }
  return {
    emulator,
    host,
    place,
    secrets: [app_secret, verification_token, 'the-key-of-this-app', 'Bearer', 'ticket='],
    openBeside: () => channel.open(settings, host, new AbortController().signal),
    async open(settingsToo) {
      const connection = await openListening(channel, { ...settings, ...settingsToo }, host)
      if (webhook) await emulator.subscribe(host.routes.url)
      return connection
    },
    probe: () => channel.probe(settings, host, new AbortController().signal),
    platform: {
      say: (text) => {
        last = emulator.say({ text, from: { open_id: PERSON, name: 'Ann' } })
      },
      redeliver: () => emulator.redeliver(last?.event_id ?? ''),
      unacknowledged: () => emulator.pending,
      posted: () => emulator.posted(CHAT).map(({ text }) => text),
      fail: (kind) => failures[kind]?.(),
      sayAsOurselves: (text) => void emulator.sayAsBot(text, CHAT),
      sayFile: (bytes) => void emulator.say({ file: { bytes, name: '../../evil"\r\n.txt' }, from: PERSON }),
      revoke: () => emulator.revoke(),
    },
    [Symbol.asyncDispose]: async () => {
      await emulator[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}

const differs = {
  cannot: { takeOver: 'several connections share the flow; nobody is turned away for another' },
  neverFails: ['conflict'],
} as const satisfies Partial<ChannelHarness>

for (const mode of ['websocket', 'sealed webhook', 'webhook by token'] as const) {
  const harness: ChannelHarness = { capabilities: feishu.capabilities, ...differs, start: () => start(mode) }
  for (const behaviour of channelBehaviours) {
    test(`${mode}: ${behaviour.name}`, { skip: whyNot(behaviour, harness) }, () => behaviour.run(harness))
  }
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
const calls = ({ emulator }: World, method: string) => emulator.ledger.filter((entry) => entry.method === method)

// ---- Receiving --------------------------------------------------------------------------------------------------------

test('groups: a mention, an answer to us, an answer to somebody else, a topic', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  const chat = { chat_id: 'oc_team', name: 'The team' }
  const plain = emulator.say({ text: 'tea, anybody?', chat })
  emulator.say({ text: 'what is tea?', chat, mention: true, from: { open_id: 'ou_bob', name: 'Bob' } })
  await until(() => emulator.pending === 0, 'both')
  const asked = host.inbox.find(({ addressed }) => addressed)
  assert.equal(asked?.mentionsUs, true)
  assert.deepEqual(asked?.parts, [{ type: 'text', text: 'what is tea?' }])
  const receipt = await connection.send(first(connection, 'a leaf', { replyTo: asked?.id }), asked?.place as Place, options())
  assert.equal(emulator.posted('oc_team')[0]?.reply_to, asked?.id)
  emulator.say({ text: 'and coffee?', chat, replyTo: receipt.id })
  emulator.say({ text: 'me', chat, replyTo: plain.message_id })
  emulator.say({ text: 'a new topic', chat, thread: true, mention: true })
  await until(() => emulator.pending === 0, 'the rest')
  const addressed = host.inbox.filter((message) => message.addressed)
  assert.deepEqual(
    addressed.map(({ parts }) => (parts[0]?.type === 'text' ? parts[0].text : '')),
    ['what is tea?', 'and coffee?', 'a new topic'],
  )
  assert.equal(addressed[1]?.answersUs, true)
  assert.equal(addressed[2]?.place.thread, addressed[2]?.id)
  // Every piece finds its topic, also without the question.
  const inTopic = addressed[2]?.place as Place
  await connection.send(first(connection, 'one', { to: inTopic, replyTo: addressed[2]?.id }), inTopic, options({ idempotencyKey: 'a' }))
  await connection.send(first(connection, 'two', { to: inTopic }), inTopic, options({ idempotencyKey: 'b' }))
  const threads = emulator
    .posted('oc_team')
    .slice(1)
    .map(({ thread_id }) => thread_id)
  assert.ok(threads.length === 2 && threads[0] && threads[0] === threads[1])
})

test('whose message was answered is said only where this process knows: the receipts tell the rest', async () => {
  await using world = await start()
  const { emulator, host } = world
  const chat = { chat_id: 'oc_team', name: 'The team' }
  const { message_id: plain } = emulator.say({ text: 'x', chat })
  let posted = ''
  {
    await using connection = await world.open()
    posted = (await connection.send(first(connection, 'ours'), { room: 'oc_team', type: 'group' }, options())).id
    await until(() => emulator.pending === 0, 'the first')
    for (const replyTo of [posted, plain]) emulator.say({ text: 'yes', chat, replyTo })
    await until(() => emulator.pending === 0, 'answers')
    assert.deepEqual(
      host.inbox.slice(1).map(({ addressed, answersUs, replyTo }) => [addressed, answersUs, replyTo]),
      [
        [true, true, posted],
        [false, false, plain],
      ],
    )
  }
  await using _connection = await world.open()
  emulator.say({ text: 'and after a restart', chat, replyTo: posted })
  emulator.say({ text: 'to nobody', chat })
  await until(() => emulator.pending === 0, 'more')
  assert.deepEqual(
    host.inbox.slice(3).map(({ addressed, answersUs }) => [addressed, answersUs]),
    [
      [false, undefined],
      [false, false],
    ],
  )
  assert.equal(calls(world, 'im.message.get').length, 0)
})

test('edits and what was taken back, in a topic too', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const chat = { chat_id: 'oc_team', type: 'topic_group' as const }
  const said = emulator.say({ text: 'to Luoyang', chat, mention: true })
  emulator.edit(said, 'to Kaifeng')
  emulator.recall(said)
  await until(() => emulator.pending === 0, 'all three')
  const [message, edit, recall] = host.inbox
  assert.deepEqual([message?.kind, edit?.kind, recall?.kind], ['message', 'edit', 'delete'])
  assert.deepEqual([edit?.id, edit?.parts], [said.message_id, [{ type: 'text', text: 'to Kaifeng' }]])
  assert.equal(edit?.place.thread, said.message_id)
  // The platform names no topic here, and is not asked for it.
  assert.deepEqual([recall?.id, recall?.place], [said.message_id, { room: 'oc_team', type: 'group' }])
})

test('names: asked for beside, read once, told when they are needed', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  const chat = { chat_id: 'oc_team', name: 'The team' }
  const nameOf = (person: string) => connection.nameOf?.(person, place, new AbortController().signal)
  for (const text of ['one', 'two']) emulator.say({ text, chat, mention: true, from: { open_id: PERSON, name: 'Ann' } })
  await until(() => emulator.pending === 0, 'both')
  assert.equal(await nameOf(PERSON), 'Ann')
  assert.equal(await nameOf('oc_team'), 'The team')
  emulator.say({ text: 'three', chat, mention: true, from: { open_id: PERSON, name: 'Ann' } })
  await until(() => host.inbox.length === 3, 'three')
  assert.deepEqual([host.inbox[2]?.author.name, host.inbox[2]?.place.title], ['Ann', 'The team'])
  for (let time = 0; time < 3; time++) assert.equal(await nameOf(PERSON), 'Ann')
  assert.deepEqual([calls(world, 'contact.user.get').length, calls(world, 'im.chat.get').length], [1, 1])
  emulator.withdraw('contact:user.base:readonly')
  for (let time = 0; time < 2; time++) assert.equal(await nameOf('ou_cem'), undefined)
  assert.equal(calls(world, 'contact.user.get').length, 2, 'who may not be asked for is not asked for again')
})

for (const mode of ['websocket', 'sealed webhook'] as const)
  test(`${mode}: what is asked of the platform, and never answered, holds no acknowledgement`, async () => {
    await using world = await start(mode)
    const { emulator, host } = world
    // The first start may ask who we are.
    await (await world.open())[Symbol.asyncDispose]()
    for (const method of ['bot.info', 'contact.user.get', 'im.chat.get', 'im.message.get']) emulator.delay(method, 3_600_000)
    await using _connection = mode === 'websocket' ? await world.open() : await world.openBeside()
    const chat = { chat_id: 'oc_team', name: 'The team' }
    const asked = emulator.say({ text: 'tea?', chat, mention: true, from: { open_id: 'ou_bob', name: 'Bob' } })
    emulator.say({ text: 'and coffee?', chat, replyTo: asked.message_id, thread: true })
    emulator.recall(asked)
    await until(() => emulator.pending === 0, 'all is acknowledged')
    assert.deepEqual(
      host.inbox.map(({ kind, mentionsUs }) => [kind, mentionsUs]),
      [
        ['message', true],
        ['message', false],
        ['delete', undefined],
      ],
    )
  })

test('webhook: while nobody knows who we are, what a group says comes again; a direct message need not', async () => {
  await using world = await start('sealed webhook')
  const { emulator, host } = world
  emulator.failNext('bot.info', { status: 503, body: 'busy', times: 1e9 })
  await using _connection = await world.open()
  emulator.say({ text: 'hi', from: PERSON })
  await until(() => emulator.pending === 0, 'it is acknowledged')
  emulator.say({ text: 'tea?', chat: { chat_id: 'oc_team', name: 'The team' }, mention: true })
  await until(() => emulator.attempts.some(({ status }) => status === 503), 'it is refused')
  assert.equal(host.inbox.length, 1)
  emulator.heal()
  await until(() => emulator.pending === 0, 'it came again')
  assert.equal(host.inbox[1]?.mentionsUs, true)
})

test('a pressed button is answered after the commit; a mark asks for nothing', async () => {
  for (const mode of ['websocket', 'sealed webhook'] as const) {
    await using world = await start(mode)
    const { emulator, host } = world
    await using connection = await world.open()
    const { id } = await connection.send(first(connection, 'press'), place, options())
    const admitted = Promise.withResolvers<void>()
    host.gate = () => admitted.promise
    emulator.press(id, { data: 'yes' }, PERSON)
    await until(() => host.attempts.length === 1, 'it is handed over')
    assert.equal(emulator.pending, 1)
    admitted.resolve()
    await until(() => emulator.pending === 0, 'it is answered')
    assert.equal(emulator.attempts.at(-1)?.body, '{}')
    assert.deepEqual([host.inbox[0]?.kind, host.inbox[0]?.callbackData, host.inbox[0]?.place.room], ['callback', 'yes', CHAT])
    emulator.react(id, 'THUMBSUP', PERSON)
    await until(() => emulator.pending === 0, 'the mark is taken')
    assert.equal(host.attempts.at(-1)?.kind, 'reaction')
  }
})

test('messages of the older form, and one that comes in both forms', async () => {
  await using world = await start('sealed webhook')
  const { emulator, host } = world
  await using _connection = await world.open()
  emulator.say({ text: 'old', form: 'v1', from: PERSON })
  emulator.say({ text: 'in a group', form: 'v1', from: PERSON, chat: 'oc_team', mention: true })
  await until(() => emulator.pending === 0, 'both')
  assert.deepEqual(
    host.inbox.map(({ parts, place: { type }, addressed }) => [parts[0]?.type === 'text' && parts[0].text, type, addressed]),
    [
      ['old', 'direct', true],
      ['in a group', 'group', true],
    ],
  )
})

// ---- The long connection ----------------------------------------------------------------------------------------------

test('long messages come in parts; the heartbeat is the one that was told', async () => {
  await using world = await start('websocket', { partSize: 97, pingInterval: 1 })
  const { emulator, host } = world
  await using _connection = await world.open()
  const text = '长文 '.repeat(500)
  emulator.say({ text })
  await until(() => host.inbox.length === 1, 'the message')
  assert.deepEqual(host.inbox[0]?.parts, [{ type: 'text', text }])
  await until(() => emulator.pings >= 2, 'two heartbeats')
})

test('a connection that is cut, or refused, is made again', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  emulator.failNext('ws.endpoint', { status: 1, description: 'system busy' })
  emulator.failNext('ws.endpoint', { status: 1000040350, description: 'the number of connections exceeded the limit' })
  emulator.cut()
  await until(() => host.reports.some(({ state }) => state === 'degraded'), 'it is told')
  await until(() => host.reports.some(({ state, problem }) => state === 'conflict' && /50/.test(problem ?? '')), 'too many connections')
  emulator.say('are you there?')
  await until(() => emulator.pending === 0 && host.inbox.length === 1, 'it is connected again')
})

test('a line that says nothing any more is given up, not believed', async () => {
  await using world = await start('websocket', { pingInterval: 1 })
  const { emulator, host } = world
  const deaf = {
    ...host,
    connect: async (...given: Parameters<typeof connect>) => {
      const socket = await connect(...given)
      return { ...socket, send: async () => {}, [Symbol.asyncIterator]: () => socket[Symbol.asyncIterator]() }
    },
  }
  const channel = createFeishu()
  const { app_id, app_secret, url } = emulator
  const connection = await channel.open(
    { app_id, app_secret, mode: 'websocket', domain: 'feishu', base_url: url },
    deaf,
    new AbortController().signal,
  )
  await assert.rejects(
    connection.listen?.(deaf, new AbortController().signal) ?? Promise.resolve(),
    refusal('transient', /does not answer/),
  )
  await connection[Symbol.asyncDispose]()
})

// ---- Sending ----------------------------------------------------------------------------------------------------------

test('an answer grows in its card, and is whole in the end, also from another process', async () => {
  await using world = await start()
  const { emulator } = world
  const draft = { draft: true, idempotencyKey: 'draft:1' }
  let receipt: Awaited<ReturnType<Connection['send']>>
  {
    await using connection = await world.open()
    receipt = await connection.send(first(connection, 'one'), place, options(draft))
    assert.deepEqual(
      emulator.posted(CHAT).map(({ text, streaming }) => [text, streaming]),
      [['one', true]],
    )
    receipt = (await connection.edit?.(receipt, first(connection, 'one two'), options(draft))) ?? receipt
    receipt = (await connection.edit?.(receipt, first(connection, 'one two three'), options(draft))) ?? receipt
    assert.equal(emulator.posted(CHAT)[0]?.text, 'one two three')
  }
  await using connection = await world.open()
  for (let time = 0; time < 2; time++) await connection.edit?.(receipt, first(connection, '**one** two three four'), options())
  assert.deepEqual(
    emulator.posted(CHAT).map(({ text, streaming }) => [text, streaming]),
    [['one two three four', false]],
  )
})

test('a preview that stopped by itself goes on; one that is gone is said to be', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const receipt = await connection.send(first(connection, 'one'), place, options({ draft: true }))
  emulator.failNext('cardkit.cardElement.content', { status: 300309, description: 'Card streaming closed' })
  await connection.edit?.(receipt, first(connection, 'one two'), options({ draft: true }))
  assert.equal(emulator.posted(CHAT)[0]?.text, 'one two')
  // Another clock was ahead of ours: the next attempt is beyond it.
  emulator.failNext('cardkit.card.settings', { status: 300317, description: 'sequence' })
  await assert.rejects(async () => connection.edit?.(receipt, first(connection, 'end'), options()), refusal('transient'))
  await connection.edit?.(receipt, first(connection, 'end'), options())
  assert.equal(emulator.posted(CHAT)[0]?.text, 'end')
  const gone = { id: 'om_gone/123456/a', room: CHAT }
  await assert.rejects(async () => connection.edit?.(gone, first(connection, 'x'), options()), refusal('not-found'))
})

test('a preview whose sending got no answer is not sent twice, and shows the right card', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  emulator.dropReplyOf('im.message.create')
  const send = (text: string) => connection.send(first(connection, text), place, options({ draft: true }))
  await assert.rejects(send('one'), refusal('unknown'))
  const receipt = await send('one two')
  await connection.edit?.(receipt, first(connection, 'the end'), options())
  assert.deepEqual(
    emulator.posted(CHAT).map(({ text }) => text),
    ['the end'],
  )
})

test('a preview that another process began unheard does not swallow the answer', async () => {
  await using world = await start()
  const { emulator } = world
  const send = (connection: Connection) => connection.send(first(connection, 'one'), place, options({ draft: true }))
  {
    await using connection = await world.open()
    emulator.dropReplyOf('im.message.create')
    await assert.rejects(send(connection), refusal('unknown'))
  }
  await using connection = await world.open()
  await connection.edit?.(await send(connection), first(connection, 'the end'), options())
  assert.deepEqual(
    emulator.posted(CHAT).map(({ text }) => text),
    ['one', 'the end'],
  )
})

test('an answer to what was taken back stands by itself', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const said = emulator.say({ text: 'oops', from: PERSON })
  emulator.recall(said)
  await connection.send(first(connection, 'an answer', { replyTo: said.message_id }), place, options())
  assert.deepEqual(
    emulator.posted(CHAT).map(({ reply_to, text }) => [reply_to, text]),
    [[undefined, 'an answer']],
  )
})

test('the question is marked while it is worked on', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { message_id } = emulator.say({ text: 'hm', from: PERSON })
  const answered = new AbortController()
  for (let time = 0; time < 3; time++) await connection.typing?.(place, answered.signal, message_id)
  assert.deepEqual(emulator.marks(message_id), ['Typing'])
  answered.abort()
  await until(() => emulator.marks(message_id).length === 0, 'the mark is taken back')
})

const PNG = Buffer.from('89504e470d0a1a0a', 'hex')
const fileOf = (kind: FileKind, name: string, mime: string, bytes: Uint8Array, more: Partial<OutboundFile> = {}): OutboundFile => ({
  kind,
  name,
  mime,
  size: bytes.length,
  open: async function* () {
    yield bytes
  },
  ...more,
})

test('files of each kind arrive as the platform shows them best; what is too large as a link', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const bytes = Buffer.from('some bytes')
  const files = [
    fileOf('image', 'a.png', 'image/png', PNG),
    fileOf('voice', 'b.ogg', 'audio/ogg', bytes),
    fileOf('video', 'c.mp4', 'video/mp4', bytes),
    fileOf('file', 'd "x"\r\n.pdf', 'application/pdf', bytes),
    fileOf('audio', 'e.mp3', 'audio/mpeg', bytes),
    fileOf('file', 'f.bin', 'application/octet-stream', bytes, { size: 40 * 1024 * 1024, link: 'https://post.example/f' }),
  ]
  const pieces = connection.render({ id: 'm', to: place, text: '', document: [], files })
  for (const [index, piece] of pieces.entries()) await connection.send(piece, place, options({ idempotencyKey: `f${index}` }))
  assert.deepEqual(
    emulator.posted(CHAT).map(({ msg_type, file }) => [msg_type, file?.type]),
    [
      ['interactive', undefined],
      ['image', 'image'],
      ['audio', 'opus'],
      ['media', 'mp4'],
      ['file', 'pdf'],
      ['file', 'stream'],
    ],
  )
  assert.equal(emulator.posted(CHAT)[0]?.text, '📎 f.bin')
  const [large] = connection.render({
    id: 'm',
    to: place,
    text: '',
    document: [],
    files: [fileOf('file', 'g', '', bytes, { size: 40 * 1024 * 1024 })],
  })
  await assert.rejects(connection.send(large as never, place, options()), refusal('invalid', /30 MB/))
  // Nobody saw what was uploaded, so it is no "maybe".
  emulator.dropReplyOf('im.file.create')
  await assert.rejects(connection.send(pieces.at(-1) as never, place, options({ idempotencyKey: 'again' })), refusal('transient'))
})

test('a file that is gone, and one that is none of ours', async () => {
  await using world = await start()
  await using connection = await world.open()
  const fetched = (ref?: string) =>
    connection.download?.({ kind: 'file', name: 'x', ...(ref ? { ref } : {}) }, 10, new AbortController().signal)
  await assert.rejects(async () => fetched(JSON.stringify({ message: 'om_x', key: 'file_x', type: 'file' })), DeliveryError)
  await assert.rejects(async () => fetched(), refusal('not-found'))
  world.emulator.failNext('im.messageResource.get', { status: 234037, description: 'Downloaded file size exceeds limit.' })
  await assert.rejects(
    async () => fetched(JSON.stringify({ message: 'om_x', key: 'k', type: 'file' })),
    (error: unknown) => error instanceof PosthouseError && error.code === 'too-large',
  )
})
