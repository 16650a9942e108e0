import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Clock, type Connection, DeliveryError, type DeliveryFailure, type Place, PosthouseError } from '@posthouse/contract'
import {
  type ChannelHarness,
  type ChannelWorld,
  channelBehaviours,
  createDiscordEmulator,
  createFakeHost,
  type DiscordEmulator,
  type DiscordEmulatorOptions,
  type FakeHost,
  openListening,
  until,
  whyNot,
} from '@posthouse/testkit'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { connect } from '../../security/socket.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createDiscord, type DiscordSettings, discord } from './index.ts'

const PERSON = '1001'
const options = (idempotencyKey = 'k') => ({ idempotencyKey, signal: new AbortController().signal })

/** No back-off lasts: what would be waited for is kept for looking at. `ahead`: how far the clock is ahead. */
function quickClock(waits: number[], ahead: { ms: number } = { ms: 0 }): Clock {
  return {
    now: () => Date.now() + ahead.ms,
    wait: async (ms, signal) => {
      waits.push(ms)
      await sleep(Math.min(ms, ms < 20_000 ? 40 : 400), undefined, { signal }).catch(() => undefined)
    },
  }
}

interface World extends ChannelWorld {
  readonly emulator: DiscordEmulator
  readonly host: FakeHost
  readonly waits: number[]
  readonly ahead: { ms: number }
  readonly settings: DiscordSettings
  open(settings?: Partial<DiscordSettings>): Promise<Connection>
}

async function start(mode: 'gateway' | 'webhook' = 'gateway', more: DiscordEmulatorOptions = {}): Promise<World> {
  const client = createFetch()
  const emulator = await createDiscordEmulator({ heartbeat: 25, identifyEvery: 0, ...more })
  const host = await createFakeHost({
    fetch: client.fetch,
    connect,
    webhook: mode === 'webhook',
    verify: (verification, call) => verifyWebhook(verification, call, Date.now()),
  })
  const settings: DiscordSettings = {
    token: emulator.token,
    mode,
    register_commands: false,
    base_url: emulator.url,
    ...(mode === 'webhook' ? { public_key: emulator.publicKey } : {}),
  }
  const waits: number[] = []
  const ahead = { ms: 0 }
  const { id: room } = emulator.direct(PERSON)
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: () => emulator.failNext('createMessage', { status: 503, description: 'Service Unavailable' }),
    'rate-limited': () => emulator.failNext('createMessage', { status: 429, retryAfter: 0.05 }),
    auth: () => emulator.failNext('createMessage', { status: 401, description: '401: Unauthorized' }),
    permission: () => emulator.failNext('createMessage', { status: 403, description: '50013 Missing Permissions' }),
    'not-found': () => emulator.failNext('createMessage', { status: 404, description: '10003 Unknown Channel' }),
    invalid: () => emulator.failNext('createMessage', { status: 400, description: '50035 Invalid Form Body' }),
    unknown: () => emulator.dropReplyOf('createMessage'),
  }
  return {
    emulator,
    host,
    waits,
    ahead,
    settings,
    place: { room, type: 'direct' },
    secrets: [emulator.token],
    open: (changed) => openListening(createDiscord(quickClock(waits, ahead)), { ...settings, ...changed }, host),
    probe: () => createDiscord().probe(settings, host, new AbortController().signal),
    platform: {
      say: (text) => {
        if (mode === 'webhook') emulator.command({ name: 'ask', options: { prompt: text }, from: PERSON })
        else emulator.say({ text, from: PERSON })
      },
      redeliver: () => emulator.redeliver(),
      unacknowledged: () => emulator.pending,
      posted: () => emulator.posted(room).map(({ text }) => text),
      fail: (kind) => {
        // Past what the call before was told to wait.
        ahead.ms += 1000
        failures[kind]?.()
      },
      sayAsOurselves: (text) => void emulator.say({ text, from: emulator.me.id, in: room }),
      sayFile: (bytes) => void emulator.say({ from: PERSON, files: [{ name: '../../evil"\r\n.txt', bytes }] }),
      takeOver: () => emulator.takeOver(room),
      revoke: () => emulator.revoke(),
    },
    [Symbol.asyncDispose]: async () => {
      await emulator[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}

const harnesses: Readonly<Record<string, ChannelHarness>> = {
  gateway: { capabilities: discord.capabilities, neverFails: ['conflict'], start: () => start('gateway') },
  webhook: {
    capabilities: discord.capabilities,
    neverFails: ['conflict'],
    cannot: {
      unacknowledged: 'an interaction is sent once, and told to have failed',
      redeliver: 'an interaction is sent once',
      sayAsOurselves: 'the endpoint hears interactions only',
      sayFile: 'the endpoint hears interactions only',
      takeOver: 'the endpoint hears interactions only',
      revoke: 'the token is asked for after minutes only',
    },
    start: () => start('webhook'),
  },
}

for (const [mode, harness] of Object.entries(harnesses)) {
  for (const behaviour of channelBehaviours) {
    test(`${mode}: ${behaviour.name}`, { skip: whyNot(behaviour, harness) }, () => behaviour.run(harness))
  }
}

const file = (size: number, fields: object = {}) => ({
  kind: 'file' as const,
  name: 'a b.txt',
  mime: 'text/plain',
  size,
  open: async function* () {
    yield new Uint8Array(size)
  },
  ...fields,
})

async function write(connection: Connection, text: string, to: Place, more: { replyTo?: string; key?: string } = {}) {
  const [piece] = connection.render({
    id: '1',
    to,
    text,
    document: parseMarkdown(text),
    ...(more.replyTo ? { replyTo: more.replyTo } : {}),
  })
  assert.ok(piece)
  return { piece, receipt: await connection.send(piece, to, options(more.key)) }
}
const isKind = (kind: DeliveryFailure) => (error: unknown) => error instanceof DeliveryError && error.kind === kind

// ---- The gateway ------------------------------------------------------------------------------------------------------

test('a session is kept over restarts, and what was admitted is not asked for again', async () => {
  await using world = await start()
  const { emulator, host } = world
  {
    await using _connection = await world.open()
    emulator.say('one')
    await until(() => host.inbox.length === 1, 'the first')
  }
  emulator.say('two')
  await using _again = await world.open()
  await until(() => host.inbox.length === 2, 'the second')
  assert.deepEqual([emulator.counts.identified, emulator.counts.resumed], [1, 1])
  assert.equal(host.attempts.length, 2)
})

test('whatever ends the connection, one session is enough', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const breaks: (() => void)[] = [
    () => emulator.drop(),
    () => emulator.drop(4000),
    () => emulator.drop(4008),
    () => emulator.askReconnect(),
    () => emulator.invalidate(true),
    () => {
      // Zombie: the line is open and nobody is there.
      emulator.mute(true)
      setTimeout(() => emulator.mute(false), 120)
    },
  ]
  for (const [index, broken] of breaks.entries()) {
    const before = emulator.counts.resumed
    broken()
    await until(() => emulator.counts.resumed > before, `it is resumed after ${index}`)
    emulator.say(`message ${index}`)
    await until(() => host.inbox.length === index + 1 && emulator.pending === 0, `the message after ${index}`)
  }
  assert.equal(emulator.counts.identified, 1)
})

test('a session that is over costs one more, and what was said meanwhile is fetched', async () => {
  await using world = await start()
  const { emulator, host } = world
  emulator.channel('5001')
  emulator.channel('5002', { parent: '5001' })
  emulator.say({ text: `<@${emulator.me.id}> long ago`, in: '5001', at: Date.now() - 7_200_000 })
  {
    await using _connection = await world.open()
    emulator.say('hello')
    emulator.say({ text: 'hello', from: '1002' })
    await until(() => host.inbox.length === 2, 'people who spoke with us before')
  }
  emulator.forget()
  for (let index = 0; index < 120; index++) emulator.say({ text: `meanwhile ${index}`, unheard: true })
  emulator.say({ text: `<@${emulator.me.id}> in a channel`, in: '5001', unheard: true })
  emulator.say({ text: `<@${emulator.me.id}> in a thread`, in: '5002', unheard: true })
  emulator.say({ text: 'not for us', in: '5001', unheard: true })
  const secret = emulator.channel('5003')
  emulator.say({ text: `<@${emulator.me.id}> where we may not look`, in: '5003', unheard: true })
  secret.refuses = 50001
  await using _again = await world.open()
  const texts = () =>
    host.inbox
      .filter(({ addressed }) => addressed)
      .map(({ parts }) => parts.map((part) => (part.type === 'text' ? part.text : '')).join(''))
  await until(() => texts().length === 124, 'all that was missed')
  emulator.say('and now')
  await until(() => texts().length === 125, 'what is said afterwards')
  assert.deepEqual(
    texts().slice(2, 122),
    Array.from({ length: 120 }, (_, index) => `meanwhile ${index}`),
  )
  assert.deepEqual(texts().slice(122).toSorted(), ['and now', 'in a channel', 'in a thread'])
  assert.deepEqual([emulator.counts.identified, emulator.counts.invalid], [2, 1])
  assert.ok(emulator.invalidRequests <= 1)
})

test('what the first session never heard is not fetched', async () => {
  await using world = await start()
  const { emulator, host } = world
  emulator.say({ text: 'before we came', unheard: true })
  emulator.say({ text: `<@${emulator.me.id}> before we came`, in: '5001', unheard: true })
  await using _connection = await world.open()
  emulator.say('now')
  await until(() => host.inbox.length === 1, 'what is said now')
  assert.ok(!emulator.ledger.some(({ method }) => method === 'getChannelMessages'))
})

test('no session is begun when few are left, and none twice within seconds', async () => {
  await using world = await start('gateway', { starts: 6 })
  const { emulator, host, waits } = world
  await using _connection = await world.open()
  await until(() => host.reports.at(-1)?.state === 'connected', 'connected')
  emulator.invalidate(false)
  await until(() => host.reports.some(({ state }) => state === 'rate-limited'), 'it waits')
  assert.equal(emulator.counts.identified, 1)
  assert.ok(
    waits.some((ms) => ms > 4000 && ms <= 5000),
    'five seconds between two sessions',
  )
  assert.equal((await world.probe())?.id, emulator.me.id)
})

test('a missing intent and a refused token are told with their remedy', async () => {
  await using world = await start('gateway', { messageContent: false })
  await using _connection = await world.open()
  await until(
    () => world.host.reports.some(({ state, problem }) => state === 'needs-auth' && problem?.includes('Message Content Intent')),
    'the intent',
  )
  await using other = await start()
  await using _refused = await other.open({ token: 'wrong.token' })
  await until(() => other.host.reports.some(({ state }) => state === 'needs-auth'), 'the token')
})

test('a full queue holds the sequence, and waits as told', async () => {
  await using world = await start()
  const { emulator, host, waits } = world
  let full = true
  host.gate = () => {
    if (full) throw new PosthouseError('overloaded', undefined, { retryAfter: 777 })
  }
  await using _connection = await world.open()
  emulator.say('one')
  emulator.say('two')
  await until(() => waits.filter((ms) => ms === 777).length > 2, 'the time that was asked for')
  assert.equal(emulator.pending, 2)
  assert.equal(host.reports.at(-1)?.state, 'connected')
  full = false
  await until(() => emulator.pending === 0, 'both are confirmed')
  assert.equal(host.inbox.length, 2)
})

test('opens while Discord is down, and recovers by itself', async () => {
  await using world = await start()
  const { emulator, host } = world
  emulator.failNext('getGatewayBot', { status: 502, body: '<html>', times: 5 })
  await using _connection = await world.open()
  assert.equal(host.reports[0]?.state, 'degraded')
  await until(() => host.reports.at(-1)?.state === 'connected', 'recovery')
  emulator.say('later')
  await until(() => host.inbox.length === 1, 'the message')
})

test('a session whose address is gone is given up', async () => {
  await using world = await start()
  const { emulator, host } = world
  {
    await using _connection = await world.open()
    emulator.say('one')
    await until(() => host.inbox.length === 1, 'the message')
  }
  const session = JSON.parse((await host.state.get('session')) ?? '{}') as object
  await host.state.set('session', JSON.stringify({ ...session, url: 'ws://127.0.0.1:1' }))
  await using _again = await world.open()
  await until(() => emulator.counts.identified === 2, 'a new session')
})

test('malformed events and frames are skipped with a log line and never stop the line', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const author = { id: '1', username: 'x' }
  const base = { id: '5', channel_id: '6', author, content: 'x', type: 0, mentions: [], attachments: [], timestamp: 'x' }
  const bad: unknown[] = [
    {},
    null,
    7,
    { ...base, id: 5 },
    { ...base, channel_id: '../../6' },
    { ...base, content: {} },
    { ...base, author: null },
    { ...base, author: { id: '1 2' } },
    { ...base, attachments: [{ id: '1', url: 7 }] },
    { ...base, message_snapshots: [{}] },
    { ...base, edited_timestamp: 'never', __update: true },
  ]
  for (const event of bad)
    emulator.dispatch((event as { __update?: boolean } | null)?.__update ? 'MESSAGE_UPDATE' : 'MESSAGE_CREATE', event as object)
  emulator.dispatch('INTERACTION_CREATE', { type: 2, data: { type: 1, name: 'ask' } })
  emulator.dispatch('GUILD_CREATE', { roles: 7 })
  emulator.dispatch('x'.repeat(1000), JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}') as object)
  emulator.dispatch('MESSAGE_CREATE', JSON.parse(`{"content":${'['.repeat(10_000)}${']'.repeat(10_000)}}`) as object)
  emulator.say('fine')
  await until(() => host.inbox.length === 1 && emulator.pending === 0, 'the well-formed one')
  assert.equal(({} as { polluted?: number }).polluted, undefined)
  assert.equal(host.said.filter((line) => line.includes('malformed')).length, bad.length + 2)
  assert.equal(emulator.counts.identified, 1)
})

test('two gateways on one token: both are told of the conflict', async () => {
  await using world = await start()
  await using client = createFetch()
  await using other = await createFakeHost({ fetch: client.fetch, connect })
  await using first = await world.open()
  await using second = await openListening(createDiscord(quickClock([])), world.settings, other)
  await until(() => world.emulator.connected === 2, 'both are connected')
  await write(first, 'from the first', world.place)
  await until(() => other.reports.some(({ state }) => state === 'conflict'), 'the second hears of the first')
  assert.ok(!world.host.reports.some(({ state }) => state === 'conflict'), 'one’s own messages are none')
  await write(second, 'from the second', world.place)
  await until(() => world.host.reports.some(({ state }) => state === 'conflict'), 'the first hears of the second')
  world.emulator.say('still heard')
  await until(() => world.host.inbox.length === 1 && other.inbox.length === 1, 'both still hear')
  assert.equal(world.host.reports.at(-1)?.state, 'conflict')
})

test('recalled and edited messages, reactions; recalls only where somebody spoke with us', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const said = emulator.say('one')
  const more = [emulator.say('two'), emulator.say('three')]
  const strange = emulator.say({ text: 'not for us', in: '5001' })
  emulator.edit(said, 'one, changed')
  emulator.react(said, '👍')
  emulator.recall(said)
  emulator.recall(...more)
  emulator.recall(strange)
  emulator.say('last')
  await until(() => host.inbox.some(({ parts }) => JSON.stringify(parts).includes('last')), 'all')
  assert.deepEqual(
    host.attempts.map(({ kind, addressed }) => `${kind}${addressed ? '' : ' ignored'}`),
    ['message', 'message', 'message', 'message ignored', 'edit', 'reaction ignored', 'delete', 'delete', 'delete', 'message'],
  )
})

// ---- Interactions -----------------------------------------------------------------------------------------------------

test('a slash command is acknowledged after it was admitted, and its answer takes the place of the waiting', async () => {
  for (const mode of ['gateway', 'webhook'] as const) {
    await using world = await start(mode)
    const { emulator, host, place } = world
    await using connection = await world.open()
    const admitted = Promise.withResolvers<void>()
    host.gate = () => admitted.promise
    const interaction = emulator.command({ name: 'ask', options: { prompt: 'what is tea?' }, locale: 'zh-CN' })
    await until(() => host.attempts.length === 1, 'the command')
    await world.probe()
    assert.equal(interaction.first, undefined, mode)
    admitted.resolve()
    await until(() => interaction.first === 5, 'it is acknowledged')
    assert.equal(interaction.by, mode === 'gateway' ? 'call' : 'endpoint')
    const [message] = host.inbox
    assert.deepEqual(
      [message?.parts, message?.author.language, message?.command],
      [[{ type: 'text', text: 'what is tea?' }], 'zh-CN', undefined],
    )
    const { piece, receipt } = await write(connection, 'a leaf', place, { replyTo: message?.id ?? '' })
    assert.deepEqual(
      emulator.posted().map(({ text, interaction: of }) => [text, of]),
      [['a leaf', interaction.id]],
    )
    assert.equal(await connection.reconcile?.(piece, place, options()), 'not-sent')
    const [next] = connection.render({ id: '1', to: place, text: '', document: parseMarkdown('a leaf, infused') })
    assert.ok(next && connection.edit)
    await connection.edit(receipt, next, options())
    // In another process the token is known from the account's state.
    {
      await using other = await world.open()
      assert.ok(other.edit)
      await other.edit(receipt, next, options())
    }
    assert.deepEqual(
      emulator.posted().map(({ text }) => text),
      ['a leaf, infused'],
    )
    // After its time the message is changed as any other.
    world.ahead.ms += 20 * 60_000
    const [late] = connection.render({ id: '1', to: place, text: '', document: parseMarkdown('at last') })
    assert.ok(late)
    await connection.edit(receipt, late, options())
    assert.deepEqual(
      emulator.posted().map(({ text }) => text),
      ['at last'],
    )
    const methods = emulator.ledger.map(({ method }) => method).filter((method) => /Original|editMessage/.test(method))
    assert.deepEqual(methods, ['editOriginal', 'editOriginal', 'editOriginal', 'editMessage'])
    assert.ok(!host.said.some((line) => line.includes(interaction.token)), 'the token was logged')
  }
})

test('commands of ours, unknown ones, buttons; what cannot be answered in time is answered by a message', async () => {
  await using world = await start()
  const { emulator, host, place } = world
  await using connection = await world.open()
  emulator.command({ name: 'model', options: { name: 'deep' } })
  emulator.command({ name: 'old', options: { a: '1', b: '2' }, in: '5001' })
  const { receipt } = await write(connection, 'choose', place)
  const pressed = emulator.press({ message: { message_id: receipt.id, channel: place.room }, custom_id: 'yes' })
  await until(() => pressed.first === 6, 'the button is acknowledged')
  const [model, old, press] = host.inbox.filter(({ author }) => !author.isBot)
  assert.deepEqual(model?.command, { name: 'model', argument: 'deep' })
  assert.deepEqual([old?.command, old?.place.type], [{ name: 'old', argument: '1 2' }, 'group'])
  assert.deepEqual([press?.kind, press?.callbackData, press?.id], ['callback', 'yes', receipt.id])
  // Too late, or gone: the token is worth nothing.
  host.gate = () => sleep(3100)
  const late = emulator.command({ name: 'ask', options: { prompt: 'slow' } })
  await until(
    () => emulator.ledger.some(({ method, outcome }) => method === 'createInteractionResponse' && outcome.code === 404),
    'it is too late',
  )
  host.gate = () => undefined
  await write(connection, 'by a message', place, { replyTo: `interaction:${late.id}`, key: 'late' })
  assert.equal(emulator.posted().at(-1)?.text, 'by a message')
  // A token that Discord does not take any more: the next attempt is a message.
  const gone = emulator.command({ name: 'ask', options: { prompt: 'x' } })
  await until(() => gone.first === 5, 'acknowledged')
  emulator.failNext('editOriginal', { status: 404, description: '10015 Unknown Webhook', times: 2 })
  const again = () => write(connection, 'in the end', place, { replyTo: `interaction:${gone.id}`, key: 'gone' })
  await assert.rejects(again(), isKind('transient'))
  world.ahead.ms += 10_000
  await assert.rejects(again(), isKind('transient'))
  await again()
  assert.equal(emulator.posted().at(-1)?.text, 'in the end')
})

test('slash commands are registered when they differ, and others stay', async () => {
  await using world = await start()
  const { emulator } = world
  const puts = () => emulator.ledger.filter(({ method }) => method === 'putCommands').length
  await fetch(`${emulator.url}/applications/${emulator.application}/commands`, {
    method: 'PUT',
    headers: { authorization: `Bot ${emulator.token}`, 'user-agent': 'DiscordBot (x, 1)', 'content-type': 'application/json' },
    body: JSON.stringify([
      { name: 'theirs', description: 'Of somebody else.' },
      { name: 'help', description: 'Old.' },
    ]),
  })
  {
    await using _connection = await world.open({ register_commands: true })
    await until(() => puts() === 2, 'they are registered')
  }
  assert.deepEqual(
    emulator.commands.map((each) => (each as { name: string }).name),
    ['theirs', 'ask', 'help', 'new', 'stop', 'model'],
  )
  await using _again = await world.open({ register_commands: true })
  await until(() => emulator.ledger.filter(({ method }) => method === 'getCommands').length === 2, 'they are looked at')
  await world.probe()
  assert.equal(puts(), 2)
})

test('the endpoint: only what Discord signed, lately, of this application, and well-formed', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  await using _connection = await world.open({ application_id: emulator.application })
  await until(() => host.reports.at(-1)?.state === 'connected', 'Discord agreed to the endpoint')
  const before = host.attempts.length
  const command = (fields: object = {}) => ({
    id: '123456789012345678',
    application_id: emulator.application,
    type: 2,
    token: 'a-token',
    channel_id: '901001',
    context: 1,
    user: { id: PERSON, username: 'ann' },
    data: { id: '1', name: 'ask', type: 1, options: [{ name: 'prompt', type: 3, value: 'hi' }] },
    ...fields,
  })
  const good = JSON.stringify(command())
  const old = String(Math.floor(Date.now() / 1000) - 3600)
  const cases: readonly [
    name: string,
    status: number,
    body: string | Buffer,
    change?: (headers: Record<string, string>) => Record<string, string>,
  ][] = [
    ['no signature', 401, good, ({ 'x-signature-ed25519': _, ...rest }) => rest],
    ['no time', 401, good, ({ 'x-signature-timestamp': _, ...rest }) => rest],
    ['a short signature', 401, good, (headers) => ({ ...headers, 'x-signature-ed25519': 'ab' })],
    ['another signature', 401, good, (headers) => ({ ...headers, 'x-signature-ed25519': '0'.repeat(128) })],
    [
      'another time',
      401,
      good,
      (headers) => ({ ...headers, 'x-signature-timestamp': String(Number(headers['x-signature-timestamp']) + 1) }),
    ],
    ['an old time', 401, good, (headers) => ({ ...headers, 'x-signature-timestamp': old })],
    ['no JSON', 400, '{'],
    ['a list', 400, '[]'],
    ['null', 400, 'null'],
    ['another application', 400, JSON.stringify(command({ application_id: '1' }))],
    ['an id that is a path', 400, JSON.stringify(command({ id: '../1' }))],
    ['a channel that is a path', 400, JSON.stringify(command({ channel_id: '1/../2' }))],
    ['nobody', 400, JSON.stringify(command({ user: undefined }))],
    ['options of another kind', 400, JSON.stringify(command({ data: { name: 'ask', type: 1, options: 7 } }))],
    ['a name of another kind', 400, JSON.stringify(command({ data: { name: {}, type: 1 } }))],
    ['no type', 400, JSON.stringify(command({ type: undefined }))],
    ['10,000 deep', 400, `{"application_id":"${emulator.application}","type":2,"data":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
    ['polluting names', 400, `{"__proto__":{"type":1},"application_id":"${emulator.application}"}`],
    ['a question', 200, JSON.stringify({ type: 1, application_id: emulator.application })],
    ['suggestions', 200, JSON.stringify(command({ type: 4 }))],
    ['a form', 200, JSON.stringify(command({ type: 5 }))],
  ]
  for (const [name, status, body, change] of cases) {
    const answer = await emulator.post(String(body), change)
    assert.equal(answer.status, status, `${name}: ${answer.body}`)
  }
  assert.equal((await emulator.post(good, undefined, Date.now() - 301_000)).status, 401, 'signed long ago, as in a replay')
  assert.equal(host.attempts.length, before, 'nobody heard of any of these')
  const first = await emulator.post(good)
  assert.deepEqual([first.status, JSON.parse(first.body)], [200, { type: 5 }])
  // Twice at once, as a replay would be: one message.
  const both = await Promise.all([emulator.post(good), emulator.post(good)])
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200],
  )
  assert.equal(host.inbox.length, 1)
  host.gate = () => {
    throw new PosthouseError('overloaded', undefined, { retryAfter: 1500 })
  }
  assert.equal((await emulator.post(JSON.stringify(command({ id: '123456789012345679' })))).status, 503)
})

test('webhook mode says what is missing', async () => {
  await using world = await start('gateway')
  await using _connection = await world.open({ mode: 'webhook', public_key: world.emulator.publicKey })
  await until(() => world.host.reports.some(({ state, problem }) => state === 'degraded' && problem?.includes('public_url')), 'the address')
  await assert.rejects(world.open({ mode: 'webhook' }), /public_key/)
  assert.deepEqual(
    discord.settings.check?.({ mode: 'webhook' } as DiscordSettings).map(({ field }) => field),
    ['public_key'],
  )
  await using other = await start('webhook')
  await using _wrong = await other.open({ public_key: 'ab'.repeat(32) })
  await until(() => other.host.reports.some(({ problem }) => problem?.includes('not that of this bot')), 'the key')
})

// ---- Sending ----------------------------------------------------------------------------------------------------------

test('replies, files, what is too large, and nobody is called', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const asked = emulator.say({ text: 'x', in: '5001' })
  const to: Place = { room: '5001', type: 'group' }
  const link = 'https://posthouse.example/f/1?s=a_b'
  const message = {
    id: '1',
    to,
    replyTo: asked.message_id,
    text: '',
    document: parseMarkdown('hello @everyone <@1001>'),
    files: [file(10), file(20_000_000, { name: 'film.mp4', link })],
  }
  const pieces = connection.render(message)
  for (const [index, piece] of pieces.entries()) await connection.send(piece, to, options(`k:${index}`))
  const posted = emulator.posted('5001')
  assert.deepEqual(
    posted.map(({ reply_to, files, flags }) => [reply_to, files.map(({ name, bytes }) => [name, bytes.length]), flags]),
    [
      [asked.message_id, [], 4],
      [undefined, [['a b.txt', 10]], 4],
    ],
  )
  assert.match(posted[0]?.text ?? '', /film\.mp4 \(https:\/\/posthouse\.example\/f\/1\?s=a_b\)/)
  const sent = emulator.ledger.find(({ method }) => method === 'createMessage')?.params as { allowed_mentions: unknown }
  assert.deepEqual(sent.allowed_mentions, { parse: [], replied_user: false })
  const [tooLarge] = connection.render({ ...message, document: [], files: [file(20_000_000)] })
  assert.ok(tooLarge)
  await assert.rejects(connection.send(tooLarge, to, options()), isKind('invalid'))
  await assert.rejects(write(connection, 'x', { room: '../users/@me', type: 'group' }), isKind('not-found'))
  // Of what was answered and is gone the answer is a message.
  emulator.recall(asked)
  await write(connection, 'still', to, { replyTo: asked.message_id, key: 'gone' })
  assert.equal(emulator.posted('5001').at(-1)?.reply_to, undefined)
})

test('a repeat within the life of the nonce is no second message; later the latest messages tell', async () => {
  await using world = await start('gateway', { nonceWindow: 1_000_000 })
  const { emulator, place, ahead } = world
  await using connection = await world.open()
  const first = await write(connection, 'once', place, { key: 'a' })
  assert.equal((await write(connection, 'once', place, { key: 'a' })).receipt.id, first.receipt.id)
  assert.equal(await connection.reconcile?.(first.piece, place, options('a')), 'not-sent')
  ahead.ms += 180_000
  assert.equal(await connection.reconcile?.(first.piece, place, options('a')), 'sent', 'its nonce is there')
  assert.equal(await connection.reconcile?.(first.piece, place, options('b')), 'unknown', 'one like it is there')
  const [other] = connection.render({ id: '1', to: place, text: '', document: parseMarkdown('never') })
  assert.ok(other)
  assert.equal(await connection.reconcile?.(other, place, options('c')), 'not-sent')
  const asked = emulator.say({ text: 'x', in: '5001' })
  const group: Place = { room: '5001', type: 'group' }
  const { piece } = await write(connection, 'once', group, { replyTo: asked.message_id, key: 'd' })
  assert.equal(await connection.reconcile?.(piece, group, options('e')), 'sent', 'it answers the same message')
  assert.equal(emulator.posted(place.room).length, 1)
})

test('limits that Discord told are kept, so that nothing is refused for them', async () => {
  await using world = await start('gateway', { limits: { route: { amount: 3, per: 300 } } })
  const { emulator, place, ahead } = world
  await using connection = await world.open()
  for (let index = 0; index < 3; index++) await write(connection, `${index}`, place, { key: `${index}` })
  await assert.rejects(write(connection, '3', place, { key: '3' }), (error: unknown) => {
    assert.ok(
      error instanceof DeliveryError && error.kind === 'rate-limited' && (error.retryAfter ?? 0) > 0 && (error.retryAfter ?? 0) <= 300,
    )
    return true
  })
  // Another channel has its own.
  emulator.direct('1002')
  await write(connection, 'x', { room: '901002', type: 'direct' }, { key: 'x' })
  ahead.ms += 400
  await sleep(300)
  await write(connection, '3', place, { key: '3' })
  assert.equal(emulator.invalidRequests, 0)
})

test('after several refusals of the token only the line knocks', async () => {
  await using world = await start()
  const { emulator, place } = world
  await using connection = await world.open()
  emulator.failNext('createMessage', { status: 401, times: 5 })
  for (let index = 0; index < 6; index++) await assert.rejects(write(connection, 'x', place), isKind('auth'))
  assert.equal(emulator.ledger.filter(({ method }) => method === 'createMessage').length, 3)
  world.ahead.ms += 31_000
  emulator.heal()
  await write(connection, 'x', place)
})

test('an edit of what is gone, or no longer ours to change, is not found', async () => {
  await using world = await start()
  const { emulator, place } = world
  await using connection = await world.open()
  const { piece, receipt } = await write(connection, 'x', place)
  assert.ok(connection.edit)
  await assert.rejects(connection.edit({ ...receipt, id: '999' }, piece, options()), isKind('not-found'))
  emulator.failNext('editMessage', { status: 400, description: '50083 Thread is archived' })
  await assert.rejects(connection.edit(receipt, piece, options()), isKind('not-found'))
  emulator.failNext('editMessage', { status: 403, description: '50001 Missing Access' })
  await assert.rejects(connection.edit(receipt, piece, options()), isKind('permission'))
  emulator.failNext('createMessage', { status: 403, body: '<html>blocked</html>' })
  await assert.rejects(write(connection, 'x', place, { key: 'y' }), isKind('transient'))
  emulator.failNext('createMessage', { status: 502, body: '<html>' })
  await assert.rejects(write(connection, 'x', place, { key: 'z' }), isKind('unknown'))
  emulator.refuse(place.room, 50007)
  await assert.rejects(write(connection, 'x', place, { key: 'w' }), isKind('permission'))
  await connection.typing?.(place, new AbortController().signal)
})

test('an upload that breaks on our side was surely not sent', async () => {
  await using world = await start()
  await using connection = await world.open()
  const broken = file(10, {
    open: async function* () {
      yield new Uint8Array(5)
      throw new Error('disk')
    },
  })
  const [piece] = connection.render({ id: '1', to: world.place, text: '', document: [], files: [broken] })
  assert.ok(piece)
  await assert.rejects(connection.send(piece, world.place, options()), isKind('transient'))
  assert.equal(world.emulator.posted().length, 0)
})

test('a file whose address is over is asked for again, and none is fetched from elsewhere', async () => {
  await using world = await start('gateway', { attachmentLife: 3000 })
  const { emulator, host } = world
  await using connection = await world.open()
  const bytes = new Uint8Array(1000).fill(7)
  emulator.say({ files: [{ name: 'x.bin', bytes }] })
  await until(() => host.inbox.length === 1, 'the file')
  const part = host.inbox[0]?.parts[0]
  assert.ok(part?.type === 'file' && connection.download)
  const ref = JSON.parse(part.file.ref ?? '') as { url: string }
  const read = async (url: string) => {
    const chunks: Uint8Array[] = []
    const body = await connection.download?.({ ...part.file, ref: JSON.stringify({ ...ref, url }) }, 10_000, new AbortController().signal)
    for await (const chunk of body ?? []) chunks.push(chunk)
    return new Uint8Array(Buffer.concat(chunks))
  }
  assert.deepEqual(await read(ref.url.replace(/ex=\w+/, 'ex=1')), bytes)
  assert.equal(emulator.ledger.filter(({ method }) => method === 'getChannelMessage').length, 1)
  for (const url of ['http://169.254.169.254/latest', 'https://cdn.discordapp.com.evil.example/x', 'file:///etc/passwd'])
    await assert.rejects(read(url), isKind('invalid'))
})
