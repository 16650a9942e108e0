import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Clock, type Connection, DeliveryError, type DeliveryFailure, type Place, PosthouseError } from '@posthouse/contract'
import {
  type ChannelHarness,
  type ChannelWorld,
  channelBehaviours,
  createFakeHost,
  createSlackEmulator,
  type FakeHost,
  openListening,
  type SlackEmulator,
  type SlackEmulatorOptions,
  type SlackSaid,
  until,
  whyNot,
} from '@posthouse/testkit'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { connect } from '../../security/socket.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createSlack, type SlackSettings, slack } from './index.ts'

const PERSON = 'U0PERSON'
const PLACE: Place = { room: 'D0PERSON', type: 'direct' }
const OTHER = 'T0OTHER'
const credentials = ({ oauth }: SlackEmulator) => ({ client_id: oauth.clientId, client_secret: oauth.clientSecret })
const options = (more: object = {}) => ({ idempotencyKey: 'k', signal: new AbortController().signal, ...more })

/** No back-off lasts: what would be waited for is kept for looking at. */
function quickClock(waits: number[] = []): Clock {
  return {
    now: Date.now,
    wait: async (ms, signal) => {
      waits.push(ms)
      await sleep(Math.min(ms, 5), undefined, { signal }).catch(() => undefined)
    },
  }
}

interface World extends ChannelWorld {
  readonly emulator: SlackEmulator
  readonly host: FakeHost
  readonly waits: number[]
  open(settings?: Partial<SlackSettings>): Promise<Connection>
  /** On a node that does not listen: calls of the platform come to it, too. */
  openBeside(): Promise<Connection>
}

/** `many`: the app is installed in several workspaces, this person's among them. */
async function start(mode: 'socket' | 'webhook' | 'many' = 'socket', more: SlackEmulatorOptions = {}): Promise<World> {
  const client = createFetch()
  const emulator = await createSlackEmulator({ retryDelay: 2, maxRetryDelay: 10, ackDeadline: 5000, ...more })
  const host = await createFakeHost({
    fetch: client.fetch,
    connect,
    crypto: platformCrypto,
    webhook: mode !== 'socket',
    verify: (verification, call) => verifyWebhook(verification, call, Date.now()),
  })
  const settings: SlackSettings = {
    mode: mode === 'webhook' ? 'webhook' : 'socket',
    ...(mode === 'many' ? credentials(emulator) : { bot_token: emulator.botToken }),
    ...(mode === 'webhook' ? { signing_secret: emulator.signingSecret } : { app_token: emulator.appToken }),
    base_url: emulator.url,
  }
  const place: Place = mode === 'many' ? { ...PLACE, room: `${OTHER}:${PLACE.room}` } : PLACE
  const waits: number[] = []
  let last: SlackSaid | undefined
  emulator.know({ id: PLACE.room, type: 'im', user: PERSON, ...(mode === 'many' ? { team: OTHER } : {}) })
  const refusal = (description: string) => () => emulator.failNext('chat.postMessage', { status: 200, description })
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: refusal('service_unavailable'),
    'rate-limited': () => emulator.failNext('chat.postMessage', { status: 429, retryAfter: 3 }),
    // Another token might be had where one was revoked; not so here.
    auth: refusal('account_inactive'),
    permission: refusal('not_in_channel'),
    'not-found': refusal('channel_not_found'),
    invalid: refusal('invalid_blocks'),
    unknown: () => emulator.dropReplyOf('chat.postMessage'),
  }
  return {
    emulator,
    host,
    waits,
    place,
    secrets: [emulator.botToken, emulator.appToken, emulator.signingSecret, emulator.oauth.clientSecret, 'xoxe'],
    openBeside: () => createSlack(quickClock(waits)).open(settings, host, new AbortController().signal),
    async open(changed) {
      const connection = await openListening(createSlack(quickClock(waits)), { ...settings, ...changed }, host)
      if (mode === 'webhook' && host.routes.url) await emulator.callAt(host.routes.url)
      if (mode === 'many' && (await host.state.get(`team:${OTHER}`)) === undefined)
        assert.equal((await install({ emulator, host }, OTHER)).status, 200)
      return connection
    },
    probe: () => createSlack().probe(settings, host, new AbortController().signal),
    platform: {
      say: (text) => {
        last = emulator.say(text)
      },
      redeliver: () => {
        for (const delivery of last?.deliveries ?? []) emulator.redeliver(delivery)
      },
      unacknowledged: () => emulator.pending,
      posted: () => emulator.posted(PLACE.room).map((message) => message.text),
      fail: (kind) => failures[kind]?.(),
      sayAsOurselves: (text) => {
        emulator.say({ text, bot: 'us', channel: PLACE.room })
      },
      sayFile: (bytes) => {
        emulator.say({ text: '', file: { bytes, name: '../../evil"\r\n.txt' } })
      },
      revoke: () => emulator.revoke(),
    },
    [Symbol.asyncDispose]: async () => {
      await emulator[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}

/** A person's browser goes through an installation. `bring`: what it brings back, changed. */
async function install(
  { emulator, host }: Pick<World, 'emulator' | 'host'>,
  team: string,
  bring: (back: { url: URL; cookie: string }) => { url: URL; cookie: string } = (back) => back,
): Promise<Response> {
  emulator.oauth.workspace = team
  emulator.redirectUrl = host.routes.url
  const asked = await fetch(`${host.routes.url}?install`, { redirect: 'manual' })
  assert.equal(asked.status, 302)
  const agreed = await fetch(asked.headers.get('location') ?? '', { redirect: 'manual' })
  assert.equal(agreed.status, 302)
  const { url, cookie } = bring({
    url: new URL(agreed.headers.get('location') ?? ''),
    cookie: `other=1; ${asked.headers.get('set-cookie')?.split(';')[0]}`,
  })
  return await fetch(url, { headers: { cookie } })
}

const harnessOf = (mode: 'socket' | 'webhook' | 'many', more: SlackEmulatorOptions = {}): ChannelHarness => ({
  capabilities: slack.capabilities,
  cannot: { takeOver: 'the connections of an app share what comes, and none is told of the others' },
  // Only a socket above the tenth is one; see below.
  neverFails: ['conflict'],
  start: () => start(mode, more),
})

const harnesses: Readonly<Record<string, ChannelHarness>> = {
  socket: harnessOf('socket'),
  webhook: harnessOf('webhook'),
  'several workspaces': harnessOf('many'),
  'without streams, statuses and scopes to read': harnessOf('socket', { streams: false, statuses: false, history: false, users: false }),
}

for (const [mode, harness] of Object.entries(harnesses)) {
  for (const behaviour of channelBehaviours) {
    test(`${mode}: ${behaviour.name}`, { skip: whyNot(behaviour, harness) }, () => behaviour.run(harness))
  }
}

// ---- Receiving --------------------------------------------------------------------------------------------------------

const refused = (kind: DeliveryFailure) => (error: unknown) => error instanceof DeliveryError && error.kind === kind

test('`message` and `app_mention` of one message are admitted once, whichever comes first', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const mrkdwn = `<@${emulator.me.user}> hello`
  emulator.say({ mrkdwn, channel: 'C1' })
  emulator.say({ mrkdwn, channel: 'C1', mention: 'first' })
  emulator.say({ mrkdwn, channel: 'C1', mention: 'only' })
  await until(() => emulator.pending === 0, 'all are acknowledged')
  assert.deepEqual([host.attempts.length, host.inbox.length], [5, 3])
  assert.ok(host.inbox.every(({ place: { thread }, id }) => thread === id))
})

test('asked to reconnect, the next socket is open before the old one is left, and nothing is told twice', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  emulator.delay('apps.connections.open', 300)
  for (let round = 1; round <= 3; round++) {
    emulator.refresh(2000)
    // While the next one is opened, the old one is read.
    await until(() => emulator.ledger.filter(({ method }) => method === 'apps.connections.open').length === round + 1, 'the next address')
    emulator.say(`meanwhile ${round}`)
    await until(() => host.inbox.length === round * 2 - 1 && emulator.pending === 0, 'what came over the old one')
    assert.equal(host.reports.length, round, 'the old one was left before the next one was open')
    await until(() => host.reports.length === round + 1 && emulator.sockets === 1, 'the next socket')
    emulator.say(`after ${round}`)
    await until(() => host.inbox.length === round * 2 && emulator.pending === 0, 'what came over the new one')
  }
  assert.equal(host.attempts.length, 6)
  assert.deepEqual([...new Set(host.reports.map(({ state }) => state))], ['connected'])
})

test('Socket Mode that is switched off, and an eleventh connection, are told as such', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  emulator.disconnect('link_disabled')
  await until(() => host.reports.some(({ state }) => state === 'needs-auth'), 'the report')
  await until(() => host.reports.at(-1)?.state === 'connected', 'it comes back by itself')
  await using client = createFetch()
  const sockets = []
  for (let more = 0; more < 9; more++) {
    const opened = await client.fetch(`${emulator.url}/apps.connections.open`, {
      method: 'POST',
      headers: { authorization: `Bearer ${emulator.appToken}`, 'content-type': 'application/x-www-form-urlencoded' },
      body: '',
    })
    sockets.push(await connect(((await opened.json()) as { url: string }).url))
  }
  await until(() => emulator.sockets === 10, 'ten of them')
  await using other = await createFakeHost({ fetch: client.fetch, connect, crypto: platformCrypto })
  const settings = { mode: 'socket' as const, bot_token: emulator.botToken, app_token: emulator.appToken, base_url: emulator.url }
  await using _other = await openListening(createSlack(quickClock()), settings, other)
  await until(() => other.reports.some(({ state }) => state === 'conflict'), 'the conflict')
  for (const socket of sockets) await socket[Symbol.asyncDispose]()
})

test('two gateways share what comes, each message in one of them, and the second says so', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _first = await world.open()
  await using client = createFetch()
  await using other = await createFakeHost({ fetch: client.fetch, connect, crypto: platformCrypto })
  const settings = { mode: 'socket' as const, bot_token: emulator.botToken, app_token: emulator.appToken, base_url: emulator.url }
  await using _second = await openListening(createSlack(quickClock()), settings, other)
  for (let index = 0; index < 20; index++) emulator.say(`message ${index}`)
  await until(() => emulator.pending === 0, 'all are acknowledged')
  assert.equal(host.inbox.length + other.inbox.length, 20)
  assert.ok(host.inbox.length > 0 && other.inbox.length > 0)
  assert.deepEqual([host.reports.at(-1)?.problem, other.reports.at(-1)?.state], [undefined, 'connected'])
  assert.match(other.reports.at(-1)?.problem ?? '', /^when this connection was opened, 1 more took messages of this app/)
})

test('a full queue holds its room in order and no other, and waits as told', async () => {
  await using world = await start('socket', { ackDeadline: 50 })
  const { emulator, host, waits } = world
  let full = true
  host.gate = (message) => {
    if (full && message.place.room === 'D0ANN') throw new PosthouseError('overloaded', undefined, { retryAfter: 777 })
  }
  await using _connection = await world.open()
  emulator.say({ text: 'first', from: 'U0ANN' })
  emulator.say({ text: 'second', from: 'U0ANN' })
  emulator.say({ text: 'free', from: 'U0BOB' })
  await until(() => host.inbox.length === 1 && waits.includes(777), 'the other room')
  full = false
  await until(() => host.inbox.length === 3 && emulator.pending === 0, 'both are there')
  const texts = host.inbox.map(({ parts }) => (parts[0]?.type === 'text' ? parts[0].text : ''))
  assert.deepEqual(texts, ['free', 'first', 'second'])
})

test('malformed frames are skipped with a log line and never end the connection', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  for (const event of [
    7,
    {},
    { type: 'message' },
    { type: 'message', channel: 'D1', ts: 'x' },
    { type: 'message', channel: 'D1', ts: 7 },
    null,
  ])
    emulator.send(event)
  emulator.say('fine')
  await until(() => host.inbox.length === 1 && emulator.pending === 0, 'the well-formed one')
  assert.equal(host.said.filter((line) => line.includes('malformed')).length, 6)
  assert.equal(emulator.sockets, 1)
})

test('slash commands and buttons are acknowledged after they were admitted', async () => {
  for (const mode of ['socket', 'webhook'] as const) {
    await using world = await start(mode)
    const { emulator, host } = world
    await using _connection = await world.open()
    const admitted = Promise.withResolvers<void>()
    host.gate = () => admitted.promise
    const command = emulator.command({ text: 'new', channel: 'C1' })
    emulator.press({ channel: 'C1', ts: '1.000001', value: 'yes' })
    await until(() => host.attempts.length > 0, 'the command')
    await world.probe()
    assert.equal(emulator.pending, 2)
    admitted.resolve()
    await until(() => emulator.pending === 0, 'the acknowledgements')
    if (mode === 'socket') assert.deepEqual(emulator.answerOf(command), { response_type: 'in_channel' })
    else assert.match(emulator.calls[0]?.body ?? '', /in_channel/)
    assert.deepEqual(host.inbox.map(({ kind, command: named, callbackData }) => [kind, named?.name ?? callbackData]).toSorted(), [
      ['callback', 'yes'],
      ['message', 'new'],
    ])
  }
})

test('an edit and a recall; a preview of a link and a mark change nothing', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const said = emulator.say('one')
  emulator.unfurl(said)
  emulator.edit(said, 'two')
  emulator.react(said, 'tada')
  emulator.recall(said)
  await until(() => emulator.pending === 0, 'all are acknowledged')
  assert.deepEqual(
    host.attempts.map(({ kind, id }) => [kind, id === said.ts]),
    [
      ['message', true],
      ['edit', true],
      ['reaction', true],
      ['delete', true],
    ],
  )
})

test('who writes, and who is mentioned, is asked for once and beside; where that may not be, it is left out', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  const nameOf = (person: string) => connection.nameOf?.(person, PLACE, new AbortController().signal)
  const asked = () => emulator.ledger.filter(({ method }) => method === 'users.info').length
  emulator.people.set('U0LI', { name: '李雷', locale: 'zh-CN' })
  for (const text of ['one', 'two']) emulator.say({ text, from: 'U0LI' })
  await until(() => emulator.pending === 0, 'both')
  assert.equal(await nameOf('U0LI'), '李雷')
  emulator.say({ text: 'ask @U0LI or @U0HAN, not @USA or x@U0LI', from: 'U0LI' })
  await until(() => host.inbox.length === 3, 'the third')
  assert.deepEqual([host.inbox[2]?.author.name, host.inbox[2]?.author.language], ['李雷', 'zh-CN'])
  assert.deepEqual(host.inbox[2]?.parts, [{ type: 'text', text: 'ask @李雷 or @U0HAN, not @USA or x@U0LI' }])
  await nameOf('U0HAN')
  assert.equal(asked(), 2)
  emulator.has.users = false
  for (let time = 0; time < 2; time++) assert.equal(await nameOf('U0ANN'), undefined)
  assert.equal(asked(), 3)
})

for (const mode of ['socket', 'webhook', 'many'] as const)
  test(`${mode}: what is asked of the platform, and never answered, holds no acknowledgement`, async () => {
    await using world = await start(mode)
    const { emulator, host } = world
    // The first start may ask who we are.
    await (await world.open())[Symbol.asyncDispose]()
    // Nobody's patience ends these questions.
    const { promise: unanswered, reject: giveUp } = Promise.withResolvers<never>()
    const { fetch: answered } = host
    const stalled = mode === 'webhook' ? /users\.info|auth\.test/ : /users\.info/
    Object.assign(host, { fetch: (...[url, init]: Parameters<typeof answered>) => (stalled.test(url) ? unanswered : answered(url, init)) })
    await using _connection = mode === 'webhook' ? await world.openBeside() : await world.open()
    emulator.say('hello @U0LI')
    await until(() => emulator.pending === 0, 'it is acknowledged')
    assert.deepEqual([host.inbox[0]?.parts, host.inbox[0]?.author.name], [[{ type: 'text', text: 'hello @U0LI' }], undefined])
    giveUp(new Error('the line is dead'))
  })

test('webhook: while nobody knows who we are, what is said comes again', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  emulator.failNext('auth.test', { status: 502, body: '<html>', times: 1e9 })
  await using _connection = await world.open()
  emulator.say('hello')
  await until(() => host.said.some((line) => line.includes('who we are')), 'it is refused')
  assert.equal(host.inbox.length, 0)
  emulator.heal()
  await until(() => emulator.pending === 0, 'it came again')
  assert.equal(host.inbox.length, 1)
})

test('the page of the app greets each person once', async () => {
  await using world = await start()
  const { emulator } = world
  await using _connection = await world.open()
  emulator.openHome('U0ANN')
  await until(() => emulator.home('U0ANN') !== undefined, 'the page')
  emulator.openHome('U0ANN')
  emulator.openHome('U0BOB')
  await until(() => emulator.home('U0BOB') !== undefined, 'the other page')
  assert.equal(emulator.ledger.filter(({ method }) => method === 'views.publish').length, 2)
  assert.match(JSON.stringify(emulator.home('U0ANN')), /Hello!.*你好/)
})

// ---- The door ---------------------------------------------------------------------------------------------------------

test('a call that is not Slack’s own makes no turn and does no harm', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  await using _connection = await world.open()
  const url = host.routes.url ?? ''
  const event = { type: 'message', channel: 'D7', channel_type: 'im', user: 'U7', text: 'x', ts: '1700000000.000100' }
  const envelope = (more: object = {}) =>
    JSON.stringify({ type: 'event_callback', team_id: emulator.team, api_app_id: emulator.app, event_id: 'Ev1', event, ...more })
  const now = () => Math.floor(Date.now() / 1000)
  const call = async (
    body: string | Uint8Array<ArrayBuffer>,
    more: { at?: number; secret?: string; headers?: Record<string, string> } = {},
  ) => {
    const at = String(more.at ?? now())
    const base = Buffer.concat([Buffer.from(`v0:${at}:`), Buffer.from(body)])
    const signature = createHmac('sha256', more.secret ?? emulator.signingSecret)
      .update(base)
      .digest('hex')
    const headers = { 'x-slack-request-timestamp': at, 'x-slack-signature': `v0=${signature}`, ...more.headers }
    return (await fetch(url, { method: 'POST', headers, body })).status
  }
  const good = envelope()
  const cases: [string, Promise<number>, number][] = [
    ['wrong secret', call(good, { secret: 'another secret' }), 401],
    ['tampered body', call(`${good} `, { headers: { 'x-slack-signature': `v0=${'0'.repeat(64)}` } }), 401],
    ['short signature', call(good, { headers: { 'x-slack-signature': 'v0=00' } }), 401],
    ['no signature', call(good, { headers: { 'x-slack-signature': '' } }), 401],
    ['another version', call(good, { headers: { 'x-slack-signature': `v1=${'0'.repeat(64)}` } }), 401],
    ['no time', call(good, { headers: { 'x-slack-request-timestamp': '' } }), 401],
    ['a replay after six minutes', call(good, { at: now() - 360 }), 401],
    ['from the future', call(good, { at: now() + 360 }), 401],
    ['no UTF-8', call(Uint8Array.of(0x7b, 0xff, 0x7d)), 400],
    ['no JSON', call('{'), 400],
    ['no fields', call('{}'), 400],
    ['another workspace', call(envelope({ team_id: 'T0OTHER' })), 200],
    ['deep', call(`{"type":"odd","x":${'['.repeat(10_000)}${']'.repeat(10_000)}}`), 200],
  ]
  for (const [name, status, wanted] of cases) assert.equal(await status, wanted, name)
  const before = host.inbox.length
  // Signed for another body.
  const at = String(now())
  const signature = createHmac('sha256', emulator.signingSecret).update(`v0:${at}:${good}`).digest('hex')
  const headers = { 'x-slack-request-timestamp': at, 'x-slack-signature': `v0=${signature}` }
  assert.equal((await fetch(url, { method: 'POST', headers, body: good.replace('"x"', '"y"') })).status, 401)
  assert.equal(host.inbox.length, before)
  // At once, and again: one.
  await Promise.all(Array.from({ length: 5 }, () => call(good)))
  assert.equal(host.inbox.length, before + 1)
  emulator.say('still there')
  await until(() => host.inbox.length === before + 2, 'what is said next')
})

test('webhook mode without a public address, and settings that are missing, say so', async () => {
  await using world = await start('socket')
  await using _connection = await world.open({ mode: 'webhook', signing_secret: world.emulator.signingSecret })
  await until(() => world.host.reports.some(({ state, problem }) => state === 'degraded' && problem?.includes('public_url')), 'the report')
  await assert.rejects(world.open({ mode: 'webhook', signing_secret: '' }), /signing_secret/)
  const fields = (given: object) => slack.settings.check?.({ bot_token: 'xoxb-1', ...given } as SlackSettings).map(({ field }) => field)
  assert.deepEqual([fields({ mode: 'socket' }), fields({ mode: 'webhook' })], [['app_token'], ['signing_secret']])
})

test('opens while Slack is down, and recovers by itself', async () => {
  await using world = await start()
  const { emulator, host } = world
  emulator.failNext('auth.test', { status: 502, body: '<html>', times: 5 })
  emulator.failNext('apps.connections.open', { status: 503, body: '<html>', times: 3 })
  await using _connection = await world.open()
  assert.equal(host.reports[0]?.state, 'degraded')
  emulator.say('later')
  await until(() => host.inbox.length === 1, 'the message')
  assert.equal(host.reports.at(-1)?.state, 'connected')
})

// ---- Sending ----------------------------------------------------------------------------------------------------------

const piecesOf = (connection: Connection, text: string, to: Place) =>
  connection.render({ id: '1', to, text, document: parseMarkdown(text) })

/** Says something in a channel, so that there is a thread and somebody who asked. */
async function asked(world: World): Promise<{ said: SlackSaid; to: Place }> {
  const said = world.emulator.say({ text: `@${world.emulator.me.name} hello`, channel: 'C1', from: 'U0ANN' })
  await until(() => world.host.inbox.length > 0 && world.emulator.pending === 0, 'the question')
  return { said, to: { room: 'C1', type: 'group', thread: said.ts } }
}

test('a preview in a thread is a stream that only grows; its end is the message as it would have been sent', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { to } = await asked(world)
  const show = async (text: string) => piecesOf(connection, text, to)[0] ?? assert.fail()
  const draft = options({ draft: true })
  let receipt = await connection.send(await show('**One'), to, draft)
  assert.deepEqual(await connection.edit?.(receipt, await show('**One** two'), draft), receipt)
  assert.deepEqual([emulator.posted('C1')[0]?.text, emulator.posted('C1')[0]?.streaming], ['**One** two', 'in_progress'])
  for (let time = 0; time < 2; time++) receipt = (await connection.edit?.(receipt, await show('**One** two three'), options())) ?? receipt
  const [post] = emulator.posted('C1')
  assert.deepEqual([post?.text, post?.streaming, emulator.posted('C1').length], ['One two three', 'completed', 1])
  assert.equal(receipt.id, post?.ts)
  const called = emulator.ledger.map(({ method }) => method).filter((method) => method.startsWith('chat.'))
  assert.deepEqual(called, ['chat.startStream', 'chat.appendStream', 'chat.stopStream', 'chat.update', 'chat.update'])
  const began = emulator.ledger.find(({ method }) => method === 'chat.startStream')?.params as Record<string, string>
  assert.deepEqual([began.recipient_user_id, began.recipient_team_id, began.thread_ts], ['U0ANN', emulator.team, to.thread])
  assert.deepEqual(emulator.refusals, [])
})

test('a stream that another process began, or whose text did not grow at its end, ends as an edit', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { to } = await asked(world)
  const [first] = piecesOf(connection, 'The first model says', to)
  const [second] = piecesOf(connection, 'The second begins anew', to)
  assert.ok(first && second)
  const draft = options({ draft: true })
  const receipt = await connection.send(first, to, draft)
  const next = await connection.edit?.(receipt, second, draft)
  assert.equal(emulator.posted('C1')[0]?.text, 'The second begins anew')
  assert.ok(next)
  const other = await connection.send(first, to, draft)
  await connection[Symbol.asyncDispose]()
  await using reopened = await world.open()
  await reopened.edit?.(other, second, options())
  assert.deepEqual(
    emulator.posted('C1').map(({ text, streaming }) => [text, streaming]),
    [
      ['The second begins anew', 'completed'],
      ['The second begins anew', 'completed'],
    ],
  )
})

test('without streams a preview is a message that is edited, and Slack is not asked again for a while', async () => {
  await using world = await start('socket', { streams: false })
  const { emulator } = world
  await using connection = await world.open()
  const { to } = await asked(world)
  const [piece] = piecesOf(connection, 'One', to)
  const [more] = piecesOf(connection, 'One two', to)
  assert.ok(piece && more)
  for (let time = 0; time < 2; time++) {
    const receipt = await connection.send(piece, to, options({ draft: true }))
    await connection.edit?.(receipt, more, options({ draft: true }))
    await connection.edit?.(receipt, more, options())
  }
  assert.deepEqual(
    emulator.posted('C1').map(({ text, thread_ts }) => [text, thread_ts]),
    [
      ['One two', to.thread],
      ['One two', to.thread],
    ],
  )
  assert.equal(emulator.ledger.filter(({ method }) => method === 'chat.startStream').length, 1)
})

test('in a direct place without a thread, and where nobody asked, there is no stream', async () => {
  await using world = await start()
  await using connection = await world.open()
  world.emulator.know({ id: 'C9' })
  const said = world.emulator.say({ text: 'x', channel: 'C9', bot: 'other' })
  for (const to of [PLACE, { room: 'C9', type: 'group', thread: said.ts } as const]) {
    const [piece] = piecesOf(connection, 'One', to)
    assert.ok(piece)
    await connection.send(piece, to, options({ draft: true }))
  }
  assert.ok(!world.emulator.ledger.some(({ method }) => method === 'chat.startStream'))
})

test('a lost answer is looked for by our own mark, also in a long thread', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { said, to } = await asked(world)
  for (let index = 0; index < 450; index++) emulator.say({ text: `${index}`, channel: 'C1', thread: said.ts, bot: 'other' })
  for (const where of [PLACE, to]) {
    const [piece] = piecesOf(connection, 'maybe', where)
    assert.ok(piece)
    const since = Date.now() - 1000
    emulator.dropReplyOf('chat.postMessage')
    await assert.rejects(connection.send(piece, where, options({ idempotencyKey: 'lost' })), refused('unknown'))
    assert.equal(await connection.reconcile?.(piece, where, options({ idempotencyKey: 'lost', since })), 'sent')
    assert.equal(await connection.reconcile?.(piece, where, options({ idempotencyKey: 'another', since })), 'not-sent')
    assert.equal(await connection.reconcile?.(piece, where, options({ idempotencyKey: 'lost' })), 'unknown')
  }
  emulator.has.history = false
  const [piece] = piecesOf(connection, 'maybe', to)
  assert.ok(piece && connection.reconcile)
  await assert.rejects(connection.reconcile(piece, to, options({ since: Date.now() })), refused('permission'))
})

test('a file becomes visible with its last step only, in the thread', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { to } = await asked(world)
  const file = {
    kind: 'file' as const,
    name: '../a/报告.txt',
    size: 5,
    open: async function* () {
      yield Buffer.from('bytes')
    },
  }
  const [piece] = connection.render({ id: '1', to, text: '', document: [], files: [file] })
  assert.ok(piece)
  for (const method of ['files.getUploadURLExternal', 'upload']) {
    emulator.dropReplyOf(method)
    await assert.rejects(connection.send(piece, to, options()), refused('transient'), method)
  }
  assert.equal(emulator.posted().length, 0)
  emulator.dropReplyOf('files.completeUploadExternal')
  await assert.rejects(connection.send(piece, to, options()), refused('unknown'))
  await connection.send(piece, to, options())
  const [, post] = emulator.posted('C1')
  assert.deepEqual(
    [post?.file?.name, post?.thread_ts, Buffer.from(post?.file?.bytes ?? []).toString()],
    ['.._a_报告.txt', to.thread, 'bytes'],
  )
  const broken = {
    ...file,
    open: async function* () {
      yield new Uint8Array(2)
      throw new Error('disk')
    },
  }
  const [other] = connection.render({ id: '1', to, text: '', document: [], files: [broken] })
  assert.ok(other)
  await assert.rejects(connection.send(other, to, options()), refused('transient'))
})

test('a file of a shared channel is asked for; our token is shown to nobody but Slack', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.say({ text: '', file: { bytes: Buffer.from('shared'), checkInfo: true } })
  await until(() => host.inbox.length === 1, 'the file')
  const part = host.inbox[0]?.parts[0]
  assert.ok(part?.type === 'file' && connection.download)
  const { signal } = new AbortController()
  let read = ''
  for await (const chunk of await connection.download(part.file, 100, signal)) read += Buffer.from(chunk).toString()
  assert.equal(read, 'shared')
  const elsewhere = { ...part.file, ref: JSON.stringify({ id: 'F1', url: 'https://files.slack.com.evil.example/x' }) }
  await assert.rejects(connection.download(elsewhere, 100, signal), refused('permission'))
  // Without the scope Slack shows a page where people sign in.
  emulator.revoke('bot')
  const direct = {
    ...part.file,
    ref: JSON.stringify({ id: 'F1', url: `${emulator.url.replace('/api', '')}/files-pri/F000000001/download` }),
  }
  await assert.rejects(connection.download(direct, 100, signal), DeliveryError)
})

test('work is shown by a status in a thread, else by a mark on the question that goes with the signal', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const { said, to } = await asked(world)
  const typing = new AbortController()
  await connection.typing?.(to, typing.signal, said.ts)
  assert.equal(emulator.statuses.length, 1)
  assert.deepEqual(emulator.marks('C1', said.ts), [])
  emulator.has.statuses = false
  for (let time = 0; time < 3; time++) await connection.typing?.(to, typing.signal, said.ts)
  assert.deepEqual(emulator.marks('C1', said.ts), ['eyes'])
  typing.abort()
  await until(() => emulator.marks('C1', said.ts).length === 0, 'the mark is taken away')
  assert.equal(emulator.ledger.filter(({ method }) => method === 'reactions.add').length, 1)
  assert.equal(emulator.ledger.filter(({ method }) => method === 'assistant.threads.setStatus').length, 2)
})

test('an edit of what is gone is not found', async () => {
  await using world = await start()
  await using connection = await world.open()
  const [piece] = piecesOf(connection, 'x', PLACE)
  assert.ok(piece && connection.edit)
  await assert.rejects(connection.edit({ id: '1.000001', room: PLACE.room }, piece, options()), refused('not-found'))
})

// ---- Several workspaces -----------------------------------------------------------------------------------------------

test('each workspace has its own token, rooms and keys', async () => {
  await using world = await start('many')
  const { emulator, host } = world
  await using connection = await world.open()
  emulator.know({ id: 'C1', team: OTHER })
  emulator.know({ id: 'C2', team: 'T0THIRD' })
  const mrkdwn = `<@${emulator.me.user}> hello`
  emulator.say({ mrkdwn, channel: 'C1' })
  // Not installed there: nobody could be answered.
  emulator.say({ mrkdwn, channel: 'C2' })
  await until(() => emulator.pending === 0, 'both are acknowledged')
  assert.deepEqual(
    host.inbox.map(({ place, key }) => [place.room, key.startsWith(`${OTHER}:message:`)]),
    [[`${OTHER}:C1`, true]],
  )
  assert.equal((await install(world, 'T0THIRD')).status, 200)
  const said = emulator.say({ mrkdwn, channel: 'C2', file: { bytes: Buffer.from('bytes') } })
  await until(() => host.inbox.length === 2, 'the third workspace')
  const to = host.inbox[1]?.place ?? PLACE
  const [piece] = piecesOf(connection, 'answer', to)
  assert.ok(piece)
  const receipt = await connection.send(piece, to, options({ draft: true }))
  assert.equal(receipt.room, 'T0THIRD:C2')
  await connection.edit?.(receipt, piece, options())
  assert.deepEqual(
    emulator.posted('C2').map(({ text, streaming, thread_ts }) => [text, streaming, thread_ts]),
    [['answer', 'completed', said.ts]],
  )
  const part = host.inbox[1]?.parts.find(({ type }) => type === 'file')
  assert.ok(part?.type === 'file' && connection.download)
  for await (const chunk of await connection.download(part.file, 10, new AbortController().signal))
    assert.equal(Buffer.from(chunk).toString(), 'bytes')
  // The token of one opens nothing in another.
  await assert.rejects(connection.send(piece, { ...to, room: `${OTHER}:C2` }, options()), refused('not-found'))
  await assert.rejects(connection.send(piece, { ...to, room: 'T0NOWHERE:C2' }, options()), refused('permission'))
  emulator.send({ type: 'app_uninstalled', channel: 'C2' })
  await until(() => emulator.pending === 0, 'the farewell')
  await assert.rejects(connection.send(piece, to, options()), refused('permission'))
})

test('a token that ended is renewed once, by one of many calls and of several nodes', async () => {
  await using world = await start('many')
  const { emulator, host } = world
  await using connection = await world.open()
  const to: Place = { room: `${OTHER}:${PLACE.room}`, type: 'direct' }
  const [piece] = piecesOf(connection, 'x', to)
  assert.ok(piece)
  await using client = createFetch()
  const settings: SlackSettings = { mode: 'socket', ...credentials(emulator), app_token: emulator.appToken, base_url: emulator.url }
  const another = { ...host, fetch: client.fetch }
  await using other = await createSlack(quickClock()).open(settings, another, new AbortController().signal)
  await other.send(piece, to, options())
  emulator.oauth.expire()
  const renewals = () =>
    emulator.ledger.filter(({ method, params }) => method === 'oauth.v2.access' && (params as { grant_type?: string }).grant_type).length
  await Promise.all(Array.from({ length: 5 }, () => connection.send(piece, to, options())))
  assert.equal(renewals(), 1)
  await other.send(piece, to, options())
  assert.equal(renewals(), 1)
  assert.equal(emulator.posted(PLACE.room).length, 7)
  // Two nodes at the same moment: the refresh token holds for one, the other one reads what came of it.
  emulator.oauth.expire()
  await Promise.all([connection.send(piece, to, options()), other.send(piece, to, options())])
  assert.equal(emulator.refusals.filter(({ error }) => error === 'invalid_refresh_token').length, 1)
  assert.equal(emulator.posted(PLACE.room).length, 9)
  // Before it ends it is renewed without a refusal.
  const before = emulator.refusals.length
  let now = Date.now()
  await using later = await createSlack({ ...quickClock(), now: () => now }).open(settings, another, new AbortController().signal)
  now += 12 * 3_600_000 - 60_000
  await later.send(piece, to, options())
  assert.deepEqual([renewals(), emulator.refusals.length], [4, before])
})

test('an installation that another browser began, that is forged, late, refused or not permitted comes to nothing', async () => {
  await using world = await start('many')
  const { emulator, host } = world
  await using _connection = await world.open({ allowed_teams: [OTHER] })
  const status = async (bring: Parameters<typeof install>[2], team = OTHER) => (await install(world, team, bring)).status
  const exchanged = () =>
    emulator.ledger.filter(({ method, params }) => method === 'oauth.v2.access' && 'code' in (params as object)).length
  const before = exchanged()
  assert.equal(await status(({ url }) => ({ url, cookie: '' })), 401)
  assert.equal(await status(({ url, cookie }) => ({ url, cookie: cookie.replace(/=(\d+)$/, (_, at) => `=${Number(at) + 1}`) })), 401)
  assert.equal(await status(({ url, cookie }) => ({ url, cookie: `${cookie}; ${cookie.split('; ')[1]}` })), 401)
  assert.equal(
    await status(({ url, cookie }) => {
      url.searchParams.set('state', '0'.repeat(64))
      return { url, cookie }
    }),
    401,
  )
  // Eleven minutes ago, and signed so.
  const at = String(Date.now() - 660_000)
  const state = createHmac('sha256', emulator.oauth.clientSecret).update(`install:${at}`).digest('hex')
  assert.equal((await fetch(`${host.routes.url}?code=1&state=${state}`, { headers: { cookie: `posthouse_install=${at}` } })).status, 401)
  assert.equal(exchanged(), before)
  assert.equal(
    await status(({ url, cookie }) => {
      url.searchParams.set('code', 'guessed')
      return { url, cookie }
    }),
    400,
  )
  assert.equal(
    await status(({ url, cookie }) => {
      url.searchParams.delete('code')
      return { url, cookie }
    }),
    200,
  )
  assert.equal(await status(undefined, 'T0STRANGER'), 403)
  assert.equal(await host.state.get('team:T0STRANGER'), undefined)
  const asked = await fetch(`${host.routes.url}?install`, { redirect: 'manual' })
  assert.match(asked.headers.get('set-cookie') ?? '', /HttpOnly; Secure; SameSite=Lax/)
  assert.ok(!asked.headers.get('location')?.includes(emulator.oauth.clientSecret))
})

test('one workspace or several: the settings say which', () => {
  const fields = (settings: object) =>
    slack.settings.check?.({ mode: 'socket', app_token: 'xapp-1', ...settings } as SlackSettings).map(({ field }) => field)
  assert.deepEqual(fields({}), ['bot_token'])
  assert.deepEqual(fields({ client_id: '1' }), ['client_secret'])
  assert.deepEqual(fields({ client_id: '1', client_secret: '2', bot_token: 'xoxb-1' }), ['client_id'])
  assert.deepEqual(fields({ client_id: '1', client_secret: '2' }), [])
})
