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
  type Piece,
  type Place,
  PosthouseError,
  type SendOptions,
} from '@posthouse/contract'
import {
  type ChannelHarness,
  type ChannelWorld,
  channelBehaviours,
  createDingtalkEmulator,
  createFakeHost,
  type DingtalkEmulator,
  type DingtalkEmulatorOptions,
  type DingtalkSaid,
  type FakeHost,
  openListening,
  signAsDingtalk,
  signAsDingtalkCard,
  until,
  whyNot,
} from '@posthouse/testkit'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { connect } from '../../security/socket.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createDingtalk, type DingtalkSettings, dingtalk } from './index.ts'

const PERSON = 'ann'
const place: Place = { room: PERSON, type: 'direct' }
const group: Place = { room: 'cid_team', type: 'group' }
const options = (more: Partial<SendOptions> = {}): SendOptions => ({ idempotencyKey: 'k', signal: new AbortController().signal, ...more })

/** A webhook's account asks at once, not after five minutes. */
const quickClock: Clock = {
  now: Date.now,
  wait: (ms, signal) => sleep(ms > 60_000 ? 5 : ms, undefined, { signal }).catch(() => undefined),
}

interface World extends ChannelWorld {
  readonly emulator: DingtalkEmulator
  readonly host: FakeHost
  open(settings?: Partial<DingtalkSettings>): Promise<Connection>
}

const MODES = ['stream', 'stream with cards', 'webhook'] as const
type Mode = (typeof MODES)[number]

async function start(mode: Mode = 'stream', more: DingtalkEmulatorOptions = {}): Promise<World> {
  const client = createFetch()
  const emulator = await createDingtalkEmulator({ retryDelay: 2, maxRetryDelay: 10, ...more })
  const webhook = mode === 'webhook'
  const host = await createFakeHost({
    fetch: client.fetch,
    connect,
    crypto: platformCrypto,
    webhook,
    verify: (verification, call) => verifyWebhook(verification, call, Date.now()),
  })
  const { client_id, client_secret, token, aes_key, card_template_id, url } = emulator
  const settings: DingtalkSettings = {
    client_id,
    client_secret,
    mode: webhook ? 'webhook' : 'stream',
    ...(webhook ? { token, aes_key } : {}),
    ...(mode === 'stream with cards' ? { card_template_id } : {}),
    card_template_key: 'content',
    base_url: url,
    old_base_url: url,
  }
  const channel = createDingtalk(quickClock)
  let last: DingtalkSaid | undefined
  emulator.know(PERSON, 'Ann')
  const METHOD = 'robot.oToMessages.batchSend'
  const fail = (status: number, description: string, times?: number) => () =>
    emulator.failNext(METHOD, { status, description, ...(times ? { times } : {}) })
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: fail(503, 'ServiceUnavailable'),
    'rate-limited': fail(403, 'Forbidden.AccessDenied.QpsLimitForApi'),
    auth: fail(400, 'InvalidAuthentication', 2),
    permission: fail(403, 'Forbidden.AccessDenied.AccessTokenPermissionDenied'),
    'not-found': fail(400, 'staffId.notExisted'),
    invalid: fail(400, 'invalidParameter.msgParam.invalid'),
    unknown: () => emulator.dropReplyOf(METHOD),
  }
  return {
    emulator,
    host,
    place,
    secrets: [client_secret, token, aes_key, 'ticket=', 'session='],
    async open(settingsToo) {
      const connection = await openListening(channel, { ...settings, ...settingsToo }, host)
      if (webhook) emulator.subscribe(host.routes.url)
      return connection
    },
    probe: () => channel.probe(settings, host, new AbortController().signal),
    platform: {
      say: (text) => {
        last = emulator.say({ text, from: { staff: PERSON, nick: 'Ann' } })
      },
      redeliver: () => emulator.redeliver(last?.id ?? ''),
      unacknowledged: () => emulator.pending,
      posted: () => emulator.posted(PERSON).map(({ text }) => text),
      fail: (kind) => failures[kind]?.(),
      sayAsOurselves: (text) => void emulator.sayAsRobot(text, PERSON),
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

for (const mode of MODES) {
  const harness: ChannelHarness = {
    capabilities: dingtalk.capabilities,
    editsPreviewsOnly: true,
    cannot: { takeOver: 'several connections share the flow; nobody is turned away for another' },
    neverFails: ['conflict'],
    start: () => start(mode),
  }
  for (const behaviour of channelBehaviours) {
    test(`${mode}: ${behaviour.name}`, { skip: whyNot(behaviour, harness) }, () => behaviour.run(harness))
  }
}

const first = (connection: Connection, text: string, more: object = {}): Piece => {
  const [piece] = connection.render({ id: 'm', to: place, text, document: parseMarkdown(text), ...more })
  assert.ok(piece)
  return piece
}
const refusal =
  (kind: DeliveryFailure, words = /./) =>
  (error: unknown) =>
    error instanceof DeliveryError && error.kind === kind && words.test(error.message)
const calls = ({ emulator }: World, method: string) => emulator.ledger.filter((entry) => entry.method === method)
const methodsOf = ({ emulator }: World) =>
  emulator.ledger.map(({ method }) => method).filter((method) => /sendBySession|Send|send|card/.test(method))

// ---- Receiving --------------------------------------------------------------------------------------------------------

test('groups: a mention, an answer to us and one to somebody else, a person from outside', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const team = { id: 'cid_team', title: 'The team' }
  emulator.say({ text: 'what is tea?', group: team, from: { staff: 'bob', nick: 'Bob' } })
  emulator.say({ text: 'and coffee?', group: team, unaddressed: true, answers: { msgId: 'msg0', text: 'a leaf' } })
  emulator.say({ text: 'not for us', group: team, unaddressed: true, answers: { msgId: 'msg1', text: 'me', from: 'cem' } })
  emulator.say({ text: 'and this?', group: team, answers: { msgId: 'msg2', text: 'a root\nor two', from: 'cem' } })
  emulator.say({ text: 'hello', from: '$:LWCP_v1:$outsider' })
  await until(() => emulator.pending === 0, 'all are taken')
  // Rooms do not wait for each other.
  const outside = host.inbox.find(({ place: { type } }) => type === 'direct')
  const [tea, coffee, other, quoting] = host.inbox.filter(({ place: { type } }) => type === 'group')
  assert.deepEqual(
    [tea?.author, tea?.place],
    [
      { id: 'bob', name: 'Bob' },
      { room: 'cid_team', type: 'group', title: 'The team' },
    ],
  )
  assert.deepEqual([tea?.mentionsUs, tea?.addressed, tea?.parts], [true, true, [{ type: 'text', text: 'what is tea?' }]])
  assert.deepEqual([coffee?.answersUs, coffee?.addressed, coffee?.replyTo, coffee?.parts.length], [true, true, 'msg0', 1])
  assert.deepEqual([other?.answersUs, other?.addressed], [false, false])
  assert.deepEqual(
    quoting?.parts.map((part) => part.type === 'text' && part.text),
    ['> a root\n> or two', 'and this?'],
  )
  assert.deepEqual([outside?.author.id, outside?.place.room, outside?.place.type], ['$:LWCP_v1:$outsider', '$:LWCP_v1:$outsider', 'direct'])
})

test('each kind of content', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  const bytes = Buffer.from('89504e470d0a1a0a', 'hex')
  emulator.say({ picture: bytes })
  emulator.say({ audio: { recognition: 'what it heard', bytes } })
  emulator.say({ video: bytes })
  emulator.say({ rich: ['see ', bytes, 'and say'] })
  emulator.say({ other: { msgtype: 'unknownMsgType', content: {} } })
  await until(() => emulator.pending === 0, 'all are taken')
  const shown = host.inbox.map(({ parts }) =>
    parts.map((part) => (part.type === 'text' ? part.text : part.type === 'file' ? `${part.file.kind} ${part.file.name}` : '')),
  )
  assert.deepEqual(shown, [
    ['image picture'],
    ['what it heard', 'voice voice.amr'],
    ['video video.mp4'],
    ['see and say', 'image picture'],
    ['[a message of a kind that robots are not shown]'],
  ])
  const image = host.inbox[3]?.parts[1]
  assert.ok(image?.type === 'file')
  const chunks: Uint8Array[] = []
  for await (const chunk of (await connection.download?.(image.file, 100, new AbortController().signal)) ?? []) chunks.push(chunk)
  assert.deepEqual(Buffer.concat(chunks), bytes)
  const gone = connection.download?.({ kind: 'file', name: 'x', ref: 'nothing' }, 10, new AbortController().signal)
  await assert.rejects(async () => gone, refusal('not-found'))
  await assert.rejects(
    async () => connection.download?.({ kind: 'file', name: 'x' }, 10, new AbortController().signal),
    refusal('not-found'),
  )
})

test('what cannot be taken yet is kept here, as nobody repeats it', async () => {
  for (const mode of ['stream', 'webhook'] as const) {
    await using world = await start(mode)
    const { emulator, host } = world
    await using _connection = await world.open()
    let refusals = 3
    host.gate = () => {
      if (refusals-- > 0) throw new PosthouseError('overloaded', undefined, { retryAfter: 1 })
    }
    emulator.say('once')
    await until(() => emulator.pending === 0, 'it is acknowledged, or given up')
    assert.deepEqual([host.inbox.length, emulator.attempts.map(({ status }) => status)], [1, [200]])
  }
})

test('a pressed button is answered after the commit', async () => {
  await using world = await start('stream with cards')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.gather('cid_team')
  for (const [to, room] of [
    [place, PERSON],
    [group, 'cid_team'],
  ] as const) {
    const { id } = await connection.send(first(connection, 'press'), to, options({ draft: true }))
    const admitted = Promise.withResolvers<void>()
    host.gate = () => admitted.promise
    emulator.press(id, { data: 'yes' }, 'bob')
    await until(() => host.attempts.at(-1)?.place.type === to.type, 'it is handed over')
    assert.equal(emulator.pending, 1)
    admitted.resolve()
    await until(() => emulator.pending === 0, 'it is answered')
    assert.equal(emulator.attempts.at(-1)?.body, '{"response":{}}')
    const pressed = host.inbox.at(-1)
    assert.deepEqual([pressed?.kind, pressed?.callbackData, pressed?.author.id], ['callback', 'yes', 'bob'])
    assert.equal(pressed?.place.room, to.type === 'group' ? room : 'bob')
  }
  assert.equal(new Set(host.inbox.map(({ key }) => key)).size, 2)
})

// ---- Connections ------------------------------------------------------------------------------------------------------

test('a connection that is about to end is replaced before it does, and nothing said meanwhile is lost', async () => {
  await using world = await start('stream', { notice: 200 })
  const { emulator, host } = world
  await using _connection = await world.open()
  await until(() => emulator.pongs === 1, 'a ping is answered')
  const admitted = Promise.withResolvers<void>()
  host.gate = ({ parts: [part] }) => (part?.type === 'text' && part.text === 'slow' ? admitted.promise : undefined)
  emulator.say({ text: 'slow', from: 'bob' })
  await until(() => host.attempts.length === 1, 'it is handed over')
  // The first try to replace it fails.
  emulator.failNext('gateway.connections.open', { status: 503, description: 'ServiceUnavailable' })
  emulator.dismiss()
  assert.equal(emulator.connections, 0)
  emulator.say('while it changes')
  await until(() => emulator.connections === 1 && host.inbox.length === 1, 'the next one is there')
  admitted.resolve()
  await until(() => host.inbox.length === 2, 'what the old one brought is taken')
  assert.deepEqual(
    host.reports.filter(({ state }) => state !== 'connected'),
    [],
  )
})

test('a connection that lasted is replaced at once when it breaks', async () => {
  await using world = await start()
  const { emulator, host } = world
  const channel = createDingtalk({ now: () => Date.now() * 1000, wait: quickClock.wait })
  const { client_id, client_secret, url } = emulator
  const settings: DingtalkSettings = {
    client_id,
    client_secret,
    mode: 'stream',
    card_template_key: 'content',
    base_url: url,
    old_base_url: url,
  }
  await using _connection = await openListening(channel, settings, host)
  await until(() => emulator.pongs === 1, 'it is open')
  // Ten seconds of that clock.
  await sleep(20)
  emulator.cut()
  await until(() => emulator.pongs === 2, 'it is open again')
  assert.ok(host.reports.every(({ state }) => state === 'connected'))
})

test('a connection that is cut, or refused, is told and made again', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  await until(() => emulator.connections === 1, 'it is connected')
  emulator.failNext('gateway.connections.open', { status: 503, description: 'ServiceUnavailable' })
  emulator.cut()
  await until(
    () => host.reports.some(({ state, problem }) => state === 'degraded' && /ServiceUnavailable/.test(problem ?? '')),
    'it is told',
  )
  emulator.say('are you there?')
  await until(() => emulator.pending === 0 && host.inbox.length === 1, 'it is connected again')
})

// ---- Sending ----------------------------------------------------------------------------------------------------------

test('an answer goes to the address that came with the question, from another process too, and after its end otherwise', async () => {
  await using world = await start()
  const { emulator } = world
  const send = (connection: Connection, text: string, to = place) => connection.send(first(connection, text), to, options())
  {
    await using connection = await world.open()
    emulator.say('hi')
    await until(() => emulator.pending === 0, 'it is taken')
    await send(connection, '**one**')
  }
  await using connection = await world.open()
  await send(connection, 'two')
  assert.deepEqual(methodsOf(world), ['robot.sendBySession', 'robot.sendBySession'])
  // Known to be over by the platform only.
  emulator.expireSessions()
  await send(connection, 'three')
  await send(connection, 'four')
  assert.deepEqual(methodsOf(world).slice(2), ['robot.sendBySession', 'robot.oToMessages.batchSend', 'robot.oToMessages.batchSend'])
  assert.deepEqual(
    emulator.posted(PERSON).map(({ text, title }) => [text, title]),
    ['one', 'two', 'three', 'four'].map((text) => [text, text]),
  )
  emulator.gather('cid_team')
  await send(connection, 'to a group', group)
  assert.equal(methodsOf(world).at(-1), 'robot.groupMessages.send')
  emulator.close('cid_team')
  await assert.rejects(send(connection, 'x', group), refusal('permission'))
  await assert.rejects(send(connection, 'x', { room: 'nobody', type: 'direct' }), refusal('not-found'))
})

test('an address that is over soon, or none of the platform’s, is not used', async () => {
  await using world = await start('stream', { sessionLife: 4 * 60_000 })
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say('hi')
  await until(() => emulator.pending === 0, 'it is taken')
  await connection.send(first(connection, 'soon over'), place, options())
  assert.deepEqual(methodsOf(world), ['robot.oToMessages.batchSend'])
  const outsider: Place = { room: '$:LWCP_v1:$x', type: 'direct' }
  await assert.rejects(connection.send(first(connection, 'x'), outsider, options()), refusal('permission', /outside/))
  assert.equal(
    host.said.some((line) => /robot\/sendBySession/.test(line)),
    false,
  )
})

test('forged addresses in calls whose body is not proven', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  await using connection = await world.open()
  for (const sessionWebhook of ['http://127.0.0.1:1/robot/sendBySession?session=x', `${emulator.url}@evil.example/robot/sendBySession?`]) {
    const body = JSON.stringify({
      msgId: sessionWebhook,
      senderStaffId: PERSON,
      conversationType: '1',
      msgtype: 'text',
      text: { content: 'hi' },
      sessionWebhook,
      sessionWebhookExpiredTime: Date.now() + 5_400_000,
    })
    const response = await fetch(host.routes.url ?? '', { method: 'POST', body, headers: signAsDingtalk(emulator.client_secret) })
    assert.equal(response.status, 200)
    await connection.send(first(connection, 'an answer'), place, options())
  }
  assert.deepEqual(methodsOf(world), ['robot.oToMessages.batchSend', 'robot.oToMessages.batchSend'])
})

test('by an address, too: what is refused, how long to wait, and what is not known', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  emulator.say('hi')
  await until(() => emulator.pending === 0, 'it is taken')
  const send = () => connection.send(first(connection, 'x'), place, options())
  const fail = (status: number, description: string, body?: string) =>
    emulator.failNext('robot.sendBySession', { status, description, ...(body === undefined ? {} : { body }) })
  fail(130101, 'send too fast, exceed 20 times per minute')
  await assert.rejects(send(), (error: unknown) => refusal('rate-limited')(error) && (error as DeliveryError).retryAfter === 60_000)
  fail(460101, 'message too long, exceed 20000 bytes')
  await assert.rejects(send(), refusal('invalid', /460101/))
  fail(502, '', '<html>bad gateway</html>')
  await assert.rejects(send(), refusal('unknown'))
  emulator.dropReplyOf('robot.sendBySession')
  await assert.rejects(send(), refusal('unknown'))
  assert.equal(emulator.posted(PERSON).length, 1)
})

test('the token is renewed when it is over, once for all who wait', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const send = (key: string) => connection.send(first(connection, key), place, options({ idempotencyKey: key }))
  await send('a')
  emulator.expireTokens()
  await Promise.all(['b', 'c', 'd', 'e'].map(send))
  assert.deepEqual([emulator.posted(PERSON).length, calls(world, 'oauth2.accessToken').length], [5, 2])
})

// ---- Cards ------------------------------------------------------------------------------------------------------------

test('an answer grows in its card, and is whole in the end, also from another process', async () => {
  for (const to of [place, group]) {
    await using world = await start('stream with cards')
    const { emulator } = world
    emulator.gather('cid_team')
    const draft = { draft: true, idempotencyKey: 'draft:1' }
    let receipt: Awaited<ReturnType<Connection['send']>>
    {
      await using connection = await world.open()
      receipt = await connection.send(first(connection, 'one …'), to, options(draft))
      receipt = (await connection.edit?.(receipt, first(connection, 'one two …'), options(draft))) ?? receipt
      assert.deepEqual(
        emulator.posted(to.room).map(({ text, streaming }) => [text, streaming]),
        [['one two …', true]],
      )
    }
    await using connection = await world.open()
    for (let time = 0; time < 2; time++) await connection.edit?.(receipt, first(connection, '**one** two three'), options())
    assert.deepEqual(
      emulator.posted(to.room).map(({ text, streaming }) => [text, streaming]),
      [['one two three', false]],
    )
  }
})

test('a card that got no answer is not made twice; one that is gone, or takes no more, is said to be', async () => {
  await using world = await start('stream with cards')
  const { emulator } = world
  await using connection = await world.open()
  const send = (text: string) => connection.send(first(connection, text), place, options({ draft: true }))
  emulator.dropReplyOf('card.createAndDeliver')
  await assert.rejects(send('one'), refusal('unknown'))
  const receipt = await send('one two')
  assert.deepEqual(
    emulator.posted(PERSON).map(({ text }) => text),
    ['one two'],
  )
  emulator.failNext('card.streaming', { status: 400, description: 'param.content.tooLong' })
  await assert.rejects(async () => connection.edit?.(receipt, first(connection, 'end'), options()), refusal('not-found'))
  emulator.failNext('card.streaming', { status: 403, description: 'Forbidden.AccessDenied.QpsLimitForAppkeyAndApi' })
  await assert.rejects(async () => connection.edit?.(receipt, first(connection, 'end'), options()), refusal('rate-limited'))
  await connection.edit?.(receipt, first(connection, 'end'), options())
  for (const id of ['posthouse-d-gone', 'session/1'])
    await assert.rejects(async () => connection.edit?.({ id, room: PERSON }, first(connection, 'x'), options()), refusal('not-found'))
})

test('a card whose first try never arrived is made by the next', async () => {
  await using world = await start('stream with cards')
  const { emulator } = world
  await using connection = await world.open()
  emulator.failNext('card.createAndDeliver', { status: 502, body: 'bad gateway' })
  const send = () => connection.send(first(connection, 'one'), place, options({ draft: true }))
  await assert.rejects(send(), refusal('unknown'))
  await send()
  assert.equal(emulator.posted(PERSON).length, 1)
})

test('nobody outside of the organization is sent a card', async () => {
  await using world = await start('stream with cards')
  const { emulator } = world
  await using connection = await world.open()
  const { room } = emulator.say({ text: 'hi', from: '$:LWCP_v1:$outsider' })
  await until(() => emulator.pending === 0, 'it is taken')
  const outside: Place = { room, type: 'direct' }
  await assert.rejects(connection.send(first(connection, 'one'), outside, options({ draft: true })), refusal('permission'))
  await connection.send(first(connection, 'one'), outside, options())
  assert.deepEqual(methodsOf(world), ['robot.sendBySession'])
})

test('only with a template answers grow', async () => {
  await using world = await start()
  await using connection = await world.open()
  assert.equal(connection.edit, undefined)
  const settings = { card_template_id: 'x' } as DingtalkSettings
  assert.deepEqual([dingtalk.capabilities.draftInterval, dingtalk.capabilitiesOf?.(settings).draftInterval], [undefined, 800])
})

// ---- Files ------------------------------------------------------------------------------------------------------------

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

test('files go as images and documents; what robots cannot send, as links', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const bytes = Buffer.from('some bytes')
  const files = [
    fileOf('image', 'a.png', 'image/png', Buffer.from('89504e470d0a1a0a', 'hex')),
    fileOf('file', 'b "x"\r\n.pdf', 'application/pdf', bytes),
    fileOf('audio', 'c.mp3', 'audio/mpeg', bytes, { link: 'https://post.example/c' }),
    fileOf('file', 'd.pdf', 'application/pdf', bytes, { size: 30 * 1024 * 1024, link: 'https://post.example/d' }),
  ]
  const pieces = connection.render({ id: 'm', to: place, text: '', document: [], files })
  for (const [index, piece] of pieces.entries()) await connection.send(piece, place, options({ idempotencyKey: `f${index}` }))
  assert.deepEqual(
    emulator.posted(PERSON).map(({ form, text, file }) => [form, text, file?.bytes.length]),
    [
      ['markdown', '📎 c.mp3\n\n📎 d.pdf', undefined],
      ['image', '', 8],
      ['file', 'b _x___.pdf', 10],
    ],
  )
  const [other] = connection.render({ id: 'm', to: place, text: '', document: [], files: [fileOf('file', 'e.txt', 'text/plain', bytes)] })
  await assert.rejects(connection.send(other as Piece, place, options()), refusal('invalid', /pdf/))
  // Nobody saw what was uploaded, so it is no "maybe".
  emulator.dropReplyOf('media.upload')
  await assert.rejects(connection.send(pieces[1] as Piece, place, options({ idempotencyKey: 'again' })), refusal('transient'))
})

// ---- Calls ------------------------------------------------------------------------------------------------------------

test('calls that are refused harm nothing, and one that comes many times is taken once', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  await using _connection = await world.open()
  const body = JSON.stringify({ msgId: 'msg1', conversationType: '1', senderStaffId: PERSON, msgtype: 'text', text: { content: 'hi' } })
  const call = async (sent: string, headers: Record<string, string>) =>
    (await fetch(host.routes.url ?? '', { method: 'POST', body: sent, headers })).status
  const signed = signAsDingtalk(emulator.client_secret)
  assert.deepEqual([await call(body, {}), await call('['.repeat(10_000), signed), await call('{}', signed)], [401, 400, 400])
  const many = await Promise.all(Array.from({ length: 20 }, () => call(body, signed)))
  assert.ok(many.every((status) => status === 200))
  emulator.say('still here')
  await until(() => host.inbox.length === 2, 'the channel works')
})

test('events: the platform’s question, a sealed event, its sealed answer', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  await using _connection = await world.open()
  await emulator.subscribeEvents(host.routes.url ?? '')
  emulator.emit('chat_update_title', { Title: 'x' })
  await until(() => emulator.pending === 0, 'the answer is sealed and signed')
  assert.equal(host.attempts.length, 0)
})

// ---- Buttons ----------------------------------------------------------------------------------------------------------

const buttons = async (world: World) => {
  const connection = await world.open({ card_template_id: world.emulator.card_template_id })
  await until(() => world.host.reports.some(({ state }) => state === 'connected'), 'the address for buttons is registered')
  return connection
}

test('webhook: buttons of cards are told by a call, in private chats and groups; repeated they are one', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  emulator.gather(group.room)
  await using connection = await buttons(world)
  for (const [index, to] of [place, group].entries()) {
    const { id } = await connection.send(first(connection, 'choose'), to, options({ draft: true, idempotencyKey: `b${index}` }))
    assert.ok(id.length <= 64)
    const press = emulator.press(id, { data: 'yes' })
    await until(() => host.inbox.length === index * 2 + 1 && emulator.pending === 0, 'the press')
    const message = host.inbox.at(-1)
    assert.deepEqual([message?.kind, message?.callbackData, message?.place, message?.author.id], ['callback', 'yes', to, PERSON])
    emulator.redeliver(press)
    await until(() => emulator.pending === 0, 'its repetition')
    assert.equal(host.inbox.length, index * 2 + 1)
    emulator.press(id, { data: 'yes' })
    await until(() => host.inbox.length === index * 2 + 2, 'a second press is another')
    await connection.edit?.({ id, room: to.room }, first(connection, 'chosen'), options())
    assert.equal(emulator.posted(to.room).at(-1)?.text, 'chosen')
  }
  assert.equal(world.emulator.ledger.filter(({ method }) => method === 'card.callbacks.register').length, 1)
})

test('webhook: a call for a card that is not the platform’s, or is not as it writes, is refused', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  await using connection = await buttons(world)
  const { id } = await connection.send(first(connection, 'choose'), place, options({ draft: true }))
  const { apiSecret = '' } = (calls(world, 'card.callbacks.register')[0]?.params ?? {}) as { apiSecret?: string }
  assert.ok(apiSecret.length === 32 && !apiSecret.includes(emulator.client_secret))
  const body = (more: object = {}) =>
    JSON.stringify({ type: 'actionCallback', outTrackId: id, corpId: 'c', userId: PERSON, content: '{}', ...more })
  const call = async (headers: Record<string, string>, sent = body()) =>
    (await fetch(host.routes.url ?? '', { method: 'POST', body: sent, headers })).status
  const signed = signAsDingtalkCard(apiSecret)
  const HOUR = 3_600_000
  const cases: readonly (readonly [string, number, Record<string, string>, string?])[] = [
    ['no signature', 401, {}],
    ['another secret', 401, signAsDingtalkCard('other')],
    ['an empty secret', 401, signAsDingtalkCard('')],
    ['the secret of the app', 401, signAsDingtalkCard(emulator.client_secret)],
    ['an old one', 401, signAsDingtalkCard(apiSecret, Date.now() - 2 * HOUR)],
    ['one from the future', 401, signAsDingtalkCard(apiSecret, Date.now() + 2 * HOUR)],
    ['a short one', 401, { ...signed, 'x-ddpaas-signature': 'AAAA' }],
    ['another time', 401, { ...signed, 'x-ddpaas-signature-timestamp': String(Date.now() - 5) }],
    ['two proofs', 400, { ...signed, ...signAsDingtalk(emulator.client_secret) }],
    [
      'a robot’s proof beside a card’s that does not hold',
      400,
      { ...signAsDingtalk(emulator.client_secret), 'x-ddpaas-signature': 'AAAA' },
    ],
    ['no JSON', 400, signed, '['.repeat(1000)],
    ['of nobody', 400, signed, body({ userId: '' })],
    ['without a card', 400, signed, body({ outTrackId: undefined })],
    ['in a group that is not told', 400, signed, body({ outTrackId: `posthouse-g-${'0'.repeat(40)}` })],
    [
      'a robot message with the proof of a card',
      400,
      signed,
      JSON.stringify({ msgId: 'm', senderStaffId: PERSON, msgtype: 'text', text: { content: 'x' } }),
    ],
  ]
  for (const [name, status, headers, sent] of cases) assert.equal(await call(headers, sent), status, name)
  assert.equal(host.inbox.length, 0)
  assert.equal(await call(signed), 200)
  assert.equal(host.inbox.length, 1)
})

test('webhook: without the right to register, cards grow as before', async () => {
  await using world = await start('webhook')
  const { emulator } = world
  emulator.failNext('card.callbacks.register', { status: 403, description: 'Forbidden.AccessDenied.AccessTokenPermissionDenied' })
  await using connection = await buttons(world)
  const { id } = await connection.send(first(connection, 'one'), place, options({ draft: true }))
  await connection.edit?.({ id, room: PERSON }, first(connection, 'one two'), options())
  assert.equal(emulator.posted(PERSON)[0]?.text, 'one two')
})
