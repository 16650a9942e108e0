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
  createWecomEmulator,
  type FakeHost,
  openListening,
  sealAsWecom,
  signAsWecom,
  until,
  type WecomEmulator,
  type WecomEmulatorOptions,
  type WecomSaid,
  whyNot,
} from '@posthouse/testkit'
import fc from 'fast-check'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { connect } from '../../security/socket.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createWecom, type WecomSettings, wecom } from './index.ts'

/** A bot that is called has tests of its own. */
type Mode = Exclude<WecomSettings['mode'], 'bot-webhook'>

const place: Place = { room: 'ann', type: 'direct' }
const options = (more: Partial<SendOptions> = {}): SendOptions => ({ idempotencyKey: 'k', signal: new AbortController().signal, ...more })

/** An app's account asks at once, not after five minutes. */
const quickClock: Clock = {
  now: Date.now,
  wait: (ms, signal) => sleep(ms > 60_000 ? 5 : ms, undefined, { signal }).catch(() => undefined),
}

interface World extends ChannelWorld {
  readonly emulator: WecomEmulator
  readonly host: FakeHost
  readonly settings: WecomSettings
  open(): Promise<Connection>
}

async function start(mode: Mode, more: WecomEmulatorOptions = {}, clock = quickClock): Promise<World> {
  const client = createFetch()
  const emulator = await createWecomEmulator({
    mode: mode === 'bot' ? 'bot' : 'app',
    retryDelay: 2,
    maxRetryDelay: 10,
    attempts: 1000,
    ...more,
  })
  const verify = (...[verification, call]: Parameters<NonNullable<Parameters<typeof createFakeHost>[0]['verify']>>) =>
    verifyWebhook(verification, call, Date.now())
  const host = await createFakeHost({ fetch: client.fetch, connect, crypto: platformCrypto, webhook: mode === 'app', verify })
  const { corp_id, agent_id, secret, token, encoding_aes_key, bot_id, key, url: base_url, ws_url } = emulator
  const of = { app: { corp_id, agent_id, secret, token, encoding_aes_key }, bot: { bot_id, secret }, robot: { key } }
  const settings: WecomSettings = { mode, base_url, ws_url, ...of[mode] }
  const channel = createWecom(clock)
  let last: WecomSaid | undefined
  emulator.know('ann')
  const method = { app: 'message/send', bot: 'aibot_send_msg', robot: 'webhook/send' }[mode]
  const fail = (status: number, description: string, times = 1) => emulator.failNext(method, { status, description, times })
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: () => fail(-1, 'system busy'),
    'rate-limited': () => fail(45009, 'reach max api daily quota limit'),
    auth: () => (mode === 'app' ? fail(42001, 'access_token expired', 2) : fail(93000, 'invalid webhook url')),
    permission: () => fail(60020, 'not allow to access from your ip, from ip: 1.2.3.4'),
    'not-found': () => fail(60111, 'userid not found'),
    invalid: () => fail(45002, 'content size out of limit'),
    unknown: () => emulator.dropReplyOf(method),
  }
  return {
    emulator,
    host,
    settings,
    place,
    secrets: [secret, token, encoding_aes_key, key, 'access_token=', 'corpsecret'],
    async open() {
      const connection = await openListening(channel, settings, host)
      if (mode === 'app') await emulator.subscribe(host.routes.url)
      if (mode === 'bot') await until(() => emulator.connections === 1 || host.reports.length > 0, 'it is connected')
      return connection
    },
    probe: () => channel.probe(settings, host, new AbortController().signal),
    platform: {
      say: (text) => {
        last = emulator.say({ text })
      },
      redeliver: () => emulator.redeliver(last?.id ?? ''),
      unacknowledged: () => emulator.pending,
      posted: () => emulator.posted(mode === 'robot' ? 'robot' : 'ann').map(({ text }) => text),
      fail: (kind) => failures[kind]?.(),
      sayFile: (bytes) => void emulator.say(mode === 'bot' ? { file: bytes } : { image: bytes }),
      takeOver: () => void takeOver(emulator),
      revoke: () => emulator.revoke(),
    },
    [Symbol.asyncDispose]: async () => {
      await emulator[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}

/** Another program connects with our identity. */
async function takeOver({ ws_url, bot_id, secret }: WecomEmulator): Promise<void> {
  const socket = await connect(ws_url)
  await socket.send(JSON.stringify({ cmd: 'aibot_subscribe', headers: { req_id: 'aibot_subscribe_other' }, body: { bot_id, secret } }))
  for await (const _ of socket) return
}

const silent = 'what people say on the long connection is not acknowledged'
const harnesses: Readonly<Record<Mode, ChannelHarness>> = {
  app: {
    capabilities: wecom.capabilities,
    cannot: { takeOver: 'an app is called wherever it is', sayAsOurselves: 'an app is not told its own words' },
    neverFails: ['conflict'],
    start: () => start('app'),
  },
  bot: {
    capabilities: wecom.capabilitiesOf?.({ mode: 'bot' } as WecomSettings) ?? wecom.capabilities,
    cannot: {
      unacknowledged: silent,
      sayAsOurselves: 'a bot is not told its own words',
      revoke: 'a bot cannot be asked beside its connection; its refusal is tested below',
    },
    neverFails: ['conflict'],
    // What was sent without a question stays as it is; edits of streams are tested below.
    start: async () => {
      const world = await start('bot')
      return {
        ...world,
        host: world.host,
        open: async () => Object.create(await world.open(), { edit: { value: undefined } }) as Connection,
      }
    },
  },
  robot: {
    capabilities: wecom.capabilitiesOf?.({ mode: 'robot' } as WecomSettings) ?? wecom.capabilities,
    cannot: {
      say: 'a group robot hears nothing',
      sayAsOurselves: 'a group robot hears nothing',
      sayFile: 'a group robot hears nothing',
      takeOver: 'a group robot has no connection',
      revoke: 'a group robot cannot be asked',
    },
    neverFails: ['conflict'],
    start: () => start('robot'),
  },
}

for (const [mode, harness] of Object.entries(harnesses)) {
  for (const behaviour of channelBehaviours) {
    // A robot gives no sign of life: it only sends.
    const skip = mode === 'robot' && behaviour.name.startsWith('health') ? 'a group robot hears nothing' : whyNot(behaviour, harness)
    test(`${mode}: ${behaviour.name}`, { skip }, () => behaviour.run(harness))
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

// ---- App --------------------------------------------------------------------------------------------------------------

test('app: its address is proven, kinds of messages, menus and cards', async () => {
  await using world = await start('app')
  const { emulator, host } = world
  await using _connection = await world.open()
  emulator.say({ text: 'a < b && c ]]> d' })
  emulator.say({ voice: Buffer.from('#!AMR voice') })
  emulator.say({ video: Buffer.from('a film, in short') })
  emulator.say({ location: { latitude: 39.9, longitude: 116.4, label: '北京' } })
  emulator.say({ link: { title: 'T', description: 'D', url: 'https://example.com/?a=1&b=2' } })
  emulator.press('/help', 'ann', 'click')
  emulator.press('menu-2', 'ann', 'click')
  emulator.press('yes')
  emulator.happen('enter_agent')
  await until(() => emulator.pending === 0, 'all are taken')
  const [text, voice, video, location, link, help, menu, card, none] = host.inbox
  assert.deepEqual(text?.parts, [{ type: 'text', text: 'a < b && c ]]> d' }])
  assert.deepEqual(voice?.parts[0]?.type === 'file' && [voice.parts[0].file.kind, voice.parts[0].file.name], ['voice', 'voice.amr'])
  assert.equal(video?.parts[0]?.type === 'file' && video.parts[0].file.kind, 'video')
  assert.deepEqual(location?.parts, [{ type: 'location', latitude: 39.9, longitude: 116.4, title: '北京' }])
  assert.deepEqual(link?.parts, [{ type: 'text', text: 'T\nD\nhttps://example.com/?a=1&b=2' }])
  assert.deepEqual([help?.kind, help?.command], ['message', { name: 'help', argument: '' }])
  assert.deepEqual([menu?.kind, menu?.callbackData], ['callback', 'menu-2'])
  assert.deepEqual([card?.kind, card?.callbackData], ['callback', 'yes'])
  assert.equal(none, undefined)
})

/** A call as the platform makes it, changed. */
async function call(
  world: World,
  change: { body?: string; query?: object; xml?: string; receiveId?: string; at?: number; method?: string },
) {
  const { emulator, host, settings } = world
  const { corp_id, encoding_aes_key, token, agent_id } = emulator
  const id = String(Math.random()).slice(2)
  const inner =
    change.xml ??
    `<xml><ToUserName>${corp_id}</ToUserName><FromUserName>eve</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>hi</Content><MsgId>${id}</MsgId><AgentID>${agent_id}</AgentID></xml>`
  const sealed = sealAsWecom(encoding_aes_key, inner, change.receiveId ?? corp_id)
  const echo = change.method === 'GET' && change.query === undefined ? { echostr: sealed } : {}
  const query = { ...signAsWecom(token, sealed, change.at), ...echo, ...change.query }
  const given = Object.entries(query).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  const body = change.body?.replace('SEALED', sealed) ?? `<xml><Encrypt><![CDATA[${sealed}]]></Encrypt></xml>`
  assert.equal(settings.mode, 'app')
  const method = change.method ?? 'POST'
  return await fetch(`${host.routes.url}?${new URLSearchParams(given)}`, { method, ...(method === 'GET' ? {} : { body }) })
}

test('app: what is not the platform’s, or is not as it writes, is refused and does no harm', async () => {
  await using world = await start('app')
  const { emulator, host } = world
  await using _connection = await world.open()
  const { corp_id, agent_id } = emulator
  const inner = (more: string, to = corp_id) =>
    `<xml><ToUserName>${to}</ToUserName><FromUserName>eve</FromUserName><MsgType>text</MsgType>${more}</xml>`
  const cases: readonly (readonly [name: string, status: number, change: Parameters<typeof call>[1]])[] = [
    ['no signature', 401, { query: { msg_signature: undefined } }],
    ['a wrong signature', 401, { query: { msg_signature: '0'.repeat(40) } }],
    ['a short signature', 401, { query: { msg_signature: '00' } }],
    ['an old signature', 401, { at: Math.floor(Date.now() / 1000) - 7200 }],
    ['one from the future', 401, { at: Math.floor(Date.now() / 1000) + 7200 }],
    ['another nonce', 401, { query: { nonce: 'x' } }],
    ['another body', 401, { body: '<xml><Encrypt>AAAA</Encrypt></xml>' }],
    ['two bodies', 401, { body: '<xml><Encrypt>SEALED</Encrypt><Encrypt>SEALED</Encrypt></xml>' }],
    ['no body', 401, { body: '' }],
    ['JSON', 400, { body: '{"Encrypt":"SEALED"}' }],
    ['a document type', 400, { body: '<!DOCTYPE xml [<!ENTITY a "b">]><xml><Encrypt>SEALED</Encrypt></xml>' }],
    ['an attribute', 400, { body: '<xml a="b"><Encrypt>SEALED</Encrypt></xml>' }],
    ['not closed', 400, { body: '<xml><Encrypt>SEALED</Encrypt>' }],
    ['deep', 400, { body: `${'<a>'.repeat(10_000)}<Encrypt>SEALED</Encrypt>` }],
    ['for another organization', 400, { receiveId: 'ww-other' }],
    ['for another organization inside', 400, { xml: inner('<Content>x</Content><MsgId>9</MsgId>', 'ww-other') }],
    ['for another app', 400, { xml: inner(`<Content>x</Content><MsgId>9</MsgId><AgentID>${agent_id + 1}</AgentID>`) }],
    ['without an id', 400, { xml: inner('<Content>x</Content>') }],
    ['an entity of its own', 400, { xml: inner('<Content>&xxe;</Content><MsgId>9</MsgId>') }],
    ['an element twice', 400, { xml: inner('<Content>x</Content><MsgId>9</MsgId><MsgId>8</MsgId>') }],
    ['no XML inside', 400, { xml: 'hello' }],
    ['a question that is not sealed', 401, { method: 'GET', query: { echostr: 'hello' } }],
    ['a message as a question', 400, { method: 'GET' }],
    ['no question', 401, { method: 'GET', query: {} }],
  ]
  for (const [name, status, change] of cases) assert.equal((await call(world, change)).status, status, name)
  const pollution = inner('<__proto__>x</__proto__><constructor>y</constructor><Content>fine</Content><MsgId>10</MsgId>')
  assert.equal((await call(world, { xml: pollution })).status, 200)
  assert.equal(host.inbox.length, 1)
  assert.equal(({} as Record<string, unknown>).x, undefined)
  // The same at once, over and over: one message.
  const same = inner('<Content>once</Content><MsgId>11</MsgId>')
  const answers = await Promise.all(Array.from({ length: 10 }, () => call(world, { xml: same })))
  assert.ok(answers.every(({ status }) => status === 200))
  assert.equal(host.inbox.length, 2)
  emulator.say('still here')
  await until(() => emulator.pending === 0, 'the channel is unharmed')
})

test('app: a token that ended is renewed once, and one renewal serves all', async () => {
  await using world = await start('app')
  const { emulator } = world
  await using connection = await world.open()
  emulator.expireTokens()
  const before = emulator.ledger.filter(({ method }) => method === 'gettoken').length
  await Promise.all(['a', 'b', 'c'].map((text) => connection.send(first(connection, text), place, options({ idempotencyKey: text }))))
  assert.equal(emulator.posted('ann').length, 3)
  assert.ok(emulator.ledger.filter(({ method }) => method === 'gettoken').length - before <= 2)
})

test('app: somebody outside the visible range, an address that is not trusted', async () => {
  await using world = await start('app')
  await using connection = await world.open()
  const nobody = connection.send(first(connection, 'hi'), { room: 'nobody', type: 'direct' }, options())
  await assert.rejects(nobody, refusal('permission', /visible range/))
  world.platform.fail('permission')
  await assert.rejects(connection.send(first(connection, 'hi'), place, options()), refusal('permission', /trusted IPs[\s\S]*1\.2\.3\.4/))
})

const fileOf = (kind: FileKind, name: string, mime: string, size: number, link?: string): OutboundFile => ({
  kind,
  name,
  mime,
  size,
  ...(link ? { link } : {}),
  async *open() {
    yield new Uint8Array(size).fill(7)
  },
})

for (const mode of ['app', 'bot', 'robot'] as const) {
  test(`${mode}: files of every kind, too large ones as links`, async () => {
    await using world = await start(mode)
    const { emulator } = world
    await using connection = await world.open()
    const files = [
      fileOf('image', 'a.png', 'image/png', 3000),
      fileOf('image', 'large.png', 'image/png', 11_000_000),
      fileOf('voice', 'v.amr', 'audio/amr', 700_000),
      fileOf('voice', 'v.ogg', 'audio/ogg', 100),
      fileOf('video', 'v.mp4', 'video/mp4', 100),
      fileOf('file', '../"evil"\r\n.txt', 'text/plain', 100),
      fileOf('file', 'huge.bin', 'x/y', 21_000_000, 'https://example.com/huge'),
    ]
    for (const [index, piece] of render(connection, 'files', { files }).entries())
      await connection.send(piece, place, options({ idempotencyKey: String(index) }))
    const seen = emulator.posted().map(({ msgtype, file }) => `${msgtype} ${file?.bytes.length ?? ''}`)
    const video = mode === 'robot' ? 'file' : 'video'
    assert.deepEqual(seen, ['markdown ', 'image 3000', 'file 11000000', 'voice 700000', 'file 100', `${video} 100`, 'file 100'])
    assert.ok(emulator.posted()[0]?.source.includes('](https://example.com/huge)'))
    const [alone] = render(connection, '', { files: [fileOf('file', 'h.bin', 'x/y', 21_000_000)] })
    assert.ok(alone)
    await assert.rejects(connection.send(alone, place, options()), refusal('invalid', /20 MB/))
  })
}

// ---- Bot --------------------------------------------------------------------------------------------------------------

test('bot: groups, what is cited, mixtures, a command behind a mention', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say({ text: 'what is tea?', chat: 'wr_team', from: 'bob', quote: 'tea\nis hot' })
  emulator.say({ text: '/new now', chat: 'wr_team' })
  emulator.say({ mixed: ['look:', Buffer.from('picture')] })
  emulator.say({ text: 'spoken', voice: new Uint8Array(1) })
  emulator.press('yes')
  emulator.happen('enter_chat')
  await until(() => host.inbox.length === 5, 'all are taken')
  const [asked, command, mixed, spoken, pressed] = host.inbox
  assert.deepEqual([asked?.place, asked?.author.id, asked?.mentionsUs], [{ room: 'wr_team', type: 'group' }, 'bob', true])
  assert.deepEqual(asked?.parts, [
    { type: 'text', text: '> tea\n> is hot' },
    { type: 'text', text: 'what is tea?' },
  ])
  assert.deepEqual(command?.command, { name: 'new', argument: 'now' })
  assert.deepEqual(
    mixed?.parts.map(({ type }) => type),
    ['text', 'file'],
  )
  assert.deepEqual(spoken?.parts, [{ type: 'text', text: 'spoken' }])
  assert.deepEqual([pressed?.kind, pressed?.callbackData], ['callback', 'yes'])
  emulator.say({ file: Buffer.from('bytes'), name: '计划 "1".txt' })
  await until(() => host.inbox.length === 6, 'the file')
  const [part] = host.inbox[5]?.parts ?? []
  // Its name is told with its bytes only: the message did not wait for it.
  const file = part?.type === 'file' ? part.file : undefined
  assert.equal(file?.name, 'file')
  assert.equal(file && (await connection.download?.(file, 100, new AbortController().signal))?.name, '计划 "1".txt')
  const receipt = await connection.send(first(connection, 'a leaf', { replyTo: asked?.id }), asked?.place as Place, options())
  assert.equal(receipt.room, 'wr_team')
  assert.deepEqual(
    emulator.posted('wr_team').map(({ reply_to, text, streaming }) => [reply_to, text, streaming]),
    [[asked?.id, 'a leaf', false]],
  )
})

test('bot: an answer grows as a stream and ends; repeating an edit changes nothing', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say('the long road')
  await until(() => host.inbox.length === 1, 'the question')
  const replyTo = host.inbox[0]?.id
  const grown = (text: string) => first(connection, text, { replyTo })
  const receipt = await connection.send(grown('one'), place, options({ draft: true }))
  await connection.edit?.(receipt, grown('one two'), options({ draft: true }))
  assert.deepEqual(
    emulator.posted('ann').map(({ text, streaming }) => [text, streaming]),
    [['one two', true]],
  )
  for (let time = 0; time < 2; time++) assert.deepEqual(await connection.edit?.(receipt, grown('one two three'), options()), receipt)
  assert.deepEqual(
    emulator.posted('ann').map(({ text, streaming }) => [text, streaming]),
    [['one two three', false]],
  )
})

test('bot: a question of an earlier connection is not answered under its id, but by a message; its stream is gone', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say('before')
  await until(() => host.inbox.length === 1, 'the question')
  const piece = first(connection, 'late', { replyTo: host.inbox[0]?.id })
  const receipt = await connection.send(piece, place, options({ draft: true }))
  const reports = host.reports.filter(({ state }) => state === 'connected').length
  emulator.cut()
  await until(() => host.reports.filter(({ state }) => state === 'connected').length > reports, 'it is connected again')
  await assert.rejects(Promise.resolve(connection.edit?.(receipt, piece, options())), refusal('not-found'))
  await assert.rejects(connection.send(piece, place, options({ draft: true })), refusal('not-found'))
  await connection.send(piece, place, options())
  assert.deepEqual(
    emulator.posted('ann').map(({ msgtype, text }) => [msgtype, text]),
    [
      ['stream', 'late'],
      ['markdown', 'late'],
    ],
  )
})

test('bot: an answer that comes after its stream has ended becomes a message', async () => {
  await using world = await start('bot', { streamLife: 0 })
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say('slow')
  await until(() => host.inbox.length === 1, 'the question')
  const replyTo = host.inbox[0]?.id
  const receipt = await connection.send(first(connection, 'one', { replyTo }), place, options({ draft: true }))
  await sleep(2)
  await assert.rejects(
    Promise.resolve(connection.edit?.(receipt, first(connection, 'one two', { replyTo }), options())),
    refusal('not-found'),
  )
})

test('bot: whatever is rendered is accepted, and no word of it is lost', async () => {
  await using world = await start('bot')
  const { emulator } = world
  await using connection = await world.open()
  const forms = fc.constantFrom(
    '# ',
    '> ',
    '- ',
    '1. ',
    '**',
    '*',
    '_',
    '`',
    '```\n',
    '~~',
    '[a](b)',
    '|',
    '\n',
    '\n\n',
    '<b>',
    '\\',
    '---',
    '&',
  )
  const word = fc.nat().map((n) => ` w${n} `)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(forms, fc.string({ unit: 'grapheme' }), word), { maxLength: 60 }), async (parts) => {
      const before = emulator.posted().length
      const pieces = render(connection, parts.join(''))
      for (const piece of pieces) await connection.send(piece, place, options())
      const words = (texts: readonly string[]) => texts.join('\n').match(/\bw\d+\b/g) ?? []
      const shown = emulator.posted().slice(before)
      assert.deepEqual(words(shown.map(({ text }) => text)), words(pieces.map(({ text }) => text)))
    }),
    { numRuns: 100 },
  )
})

test('bot: an answer that is refused under its question becomes a message', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say('slow')
  await until(() => host.inbox.length === 1, 'the question')
  emulator.failNext('aibot_respond_msg', { status: 846608, description: 'stream message update expired' })
  await connection.send(first(connection, 'late', { replyTo: host.inbox[0]?.id }), place, options())
  assert.deepEqual(
    emulator.posted('ann').map(({ msgtype, text }) => [msgtype, text]),
    [['markdown', 'late']],
  )
})

test('bot: answers to one question wait for each other, and each gets its own acknowledgement', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say('quick')
  await until(() => host.inbox.length === 1, 'the question')
  const replyTo = host.inbox[0]?.id
  const receipt = await connection.send(first(connection, 'one', { replyTo }), place, options({ draft: true }))
  emulator.delay('aibot_respond_msg', 20)
  emulator.failNext('aibot_respond_msg', { status: 45009, description: 'api freq out of limit' })
  const edits = ['one two', 'one two three'].map((text) =>
    Promise.resolve(connection.edit?.(receipt, first(connection, text, { replyTo }), options({ draft: true }))),
  )
  const [refused, taken] = await Promise.allSettled(edits)
  assert.deepEqual([refused?.status, taken?.status], ['rejected', 'fulfilled'])
  assert.equal(emulator.posted('ann')[0]?.text, 'one two three')
})

test('bot: what cannot be taken at once is held, in its order, and answers go out meanwhile', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using connection = await world.open()
  let refusals = 3
  host.gate = () => {
    if (refusals-- > 0) throw new PosthouseError('overloaded', undefined, { retryAfter: 5 })
  }
  const texts = Array.from({ length: 20 }, (_, index) => `message ${index}`)
  for (const text of texts) emulator.say(text)
  await connection.send(first(connection, 'meanwhile'), place, options())
  await until(() => host.inbox.length === texts.length, 'all are taken')
  assert.deepEqual(
    host.inbox.map(({ parts }) => (parts[0]?.type === 'text' ? parts[0].text : '')),
    texts,
  )
})

test('bot: a refused secret is told; without a connection nothing is surely sent', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.revoke()
  await until(() => host.reports.some(({ state, problem }) => state === 'needs-auth' && problem?.includes('853000')), 'it is told')
  await assert.rejects(connection.send(first(connection, 'hi'), place, options()), refusal('transient', /does not stand/))
  assert.equal(await world.probe(), undefined)
})

test('bot: a platform that does not answer its heartbeat is left', async () => {
  const hurried: Clock = { now: Date.now, wait: (_ms, signal) => sleep(5, undefined, { signal }).catch(() => undefined) }
  await using world = await start('bot', {}, hurried)
  const { emulator, host } = world
  await using _connection = await world.open()
  await until(() => emulator.frames.filter(({ cmd }) => cmd === 'ping').length > 3, 'it beats')
  emulator.failNext('ping', { status: -1, description: 'system busy' })
  await until(() => host.reports.some(({ state }) => state === 'degraded'), 'it is told')
  await until(() => host.reports.at(-1)?.state === 'connected', 'it is connected again')
})

test('bot: frames that are none do no harm', async () => {
  await using world = await start('bot')
  const { emulator, host } = world
  await using _connection = await world.open()
  const reader = await wecom.reader?.(world.settings)
  const known = { now: 1, crypto: platformCrypto }
  for (const frame of ['nothing', '['.repeat(10_000), new Uint8Array([0xff])])
    assert.throws(
      () => reader?.frame?.(frame, known),
      (error: unknown) => error instanceof PosthouseError && error.code === 'invalid',
    )
  const frame = (body: object) => ({ cmd: 'aibot_msg_callback', headers: { req_id: 'r' }, body })
  const from = { userid: 'ann' }
  for (const body of [
    {},
    { msgid: 'm' },
    { msgid: 1, from },
    { msgid: 'm', from, chattype: 'group' },
    { msgid: 'm', from, aibotid: 'other' },
  ])
    assert.throws(() => reader?.frame?.(frame(body), known))
  assert.deepEqual(reader?.frame?.({ headers: {}, errcode: 0 }, known).messages, [])
  let mixed: object = { msgtype: 'text', text: { content: 'deep' } }
  for (let depth = 0; depth < 10_000; depth++) mixed = { msgtype: 'mixed', mixed: { msg_item: [mixed] } }
  assert.deepEqual(reader?.frame?.(frame({ ...mixed, msgid: 'm', from }), known).messages, [])
  emulator.say('still here')
  await until(() => host.inbox.length === 1, 'the channel is unharmed')
})
