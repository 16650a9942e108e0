import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Clock, type Connection, DeliveryError, type DeliveryFailure, type Place, PosthouseError } from '@posthouse/contract'
import {
  type ChannelHarness,
  type ChannelWorld,
  channelBehaviours,
  createFakeHost,
  createTelegramEmulator,
  type FakeHost,
  openListening,
  type TelegramEmulator,
  until,
  whyNot,
} from '@posthouse/testkit'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { createTelegram, type TelegramSettings, telegram } from './index.ts'

const PERSON = 1001
const place: Place = { room: String(PERSON), type: 'direct' }
const options = () => ({ idempotencyKey: 'k', signal: new AbortController().signal })

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
  readonly emulator: TelegramEmulator
  readonly host: FakeHost
  readonly waits: number[]
  open(settings?: Partial<TelegramSettings>): Promise<Connection>
  /** On a node that does not listen: calls of the platform come to it, too. */
  openBeside(): Promise<Connection>
}

async function start(mode: 'polling' | 'webhook' = 'polling'): Promise<World> {
  const client = createFetch()
  const emulator = await createTelegramEmulator({ retryDelay: 2, maxRetryDelay: 10 })
  const host = await createFakeHost({ fetch: client.fetch, webhook: mode === 'webhook' })
  const settings = { token: emulator.token, mode, secret_token: 'shh', api_root: emulator.url, poll_timeout: 30_000 }
  const waits: number[] = []
  let last: { update_id: number } | undefined
  emulator.know(PERSON)
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: () => emulator.failNext('sendMessage', { status: 500, description: 'Internal Server Error' }),
    'rate-limited': () => emulator.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 3', retryAfter: 3 }),
    auth: () => emulator.failNext('sendMessage', { status: 401, description: 'Unauthorized' }),
    permission: () => emulator.failNext('sendMessage', { status: 403, description: 'Forbidden: bot was blocked by the user' }),
    'not-found': () => emulator.failNext('sendMessage', { status: 400, description: 'Bad Request: chat not found' }),
    invalid: () => emulator.failNext('sendMessage', { status: 400, description: "Bad Request: can't parse entities: x" }),
    conflict: () => emulator.failNext('sendMessage', { status: 409, description: 'Conflict' }),
    unknown: () => emulator.dropReplyOf('sendMessage'),
  }
  return {
    emulator,
    host,
    waits,
    place,
    secrets: [emulator.token],
    openBeside: () => createTelegram(quickClock(waits)).open(settings, host, new AbortController().signal),
    open: (more) => openListening(createTelegram(quickClock(waits)), { ...settings, ...more }, host),
    probe: () => createTelegram().probe(settings, host, new AbortController().signal),
    platform: {
      say: (text) => {
        last = emulator.say({ text, from: PERSON })
      },
      redeliver: () => emulator.redeliver(last?.update_id ?? 0),
      unacknowledged: () => emulator.pending,
      posted: () => emulator.posted(PERSON).map((message) => message.text),
      fail: (kind) => failures[kind]?.(),
      sayAsOurselves: (text) => {
        emulator.say({ text, from: emulator.me, chat: PERSON })
      },
      sayFile: (bytes) => {
        emulator.say({ document: { bytes, name: '../../evil"\r\n.txt' }, from: PERSON })
      },
      takeOver: () => {
        // Another program polls, which removes a webhook and ends the poll of whoever came before.
        const other = async (method: string) => (await fetch(`${emulator.url}/bot${emulator.token}/${method}`)).text()
        const poll = async () => {
          await other('deleteWebhook')
          for (let time = 0; time < 50; time++) await other('getUpdates')
        }
        poll().catch(() => undefined)
      },
      revoke: () => {
        emulator.failNext('*', { status: 401, description: 'Unauthorized', times: 1000 })
        emulator.say('wake the poll')
      },
    },
    [Symbol.asyncDispose]: async () => {
      await emulator[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}

const harnesses: Readonly<Record<string, ChannelHarness>> = {
  polling: { capabilities: telegram.capabilities, polls: /getUpdates/, start: () => start('polling') },
  webhook: { capabilities: telegram.capabilities, start: () => start('webhook') },
}

for (const [mode, harness] of Object.entries(harnesses)) {
  for (const behaviour of channelBehaviours) {
    test(`${mode}: ${behaviour.name}`, { skip: whyNot(behaviour, harness) }, () => behaviour.run(harness))
  }
}

test('a full queue keeps the offset, waits as told and takes other chats meanwhile', async () => {
  await using world = await start()
  const { emulator, host, waits } = world
  let full = true
  host.gate = (message) => {
    if (full && message.place.room === '1') throw new PosthouseError('overloaded', undefined, { retryAfter: 777 })
  }
  await using _connection = await world.open()
  emulator.say({ text: 'blocked', from: 1 })
  emulator.say({ text: 'free', from: 2 })
  await until(() => host.inbox.length === 1, 'the other chat')
  assert.equal(host.inbox[0]?.place.room, '2')
  await until(() => waits.includes(777), 'the time that was asked for')
  assert.equal(emulator.pending, 2)
  full = false
  await until(() => emulator.pending === 0, 'both are confirmed')
  assert.equal(host.inbox.length, 2)
})

test('malformed updates are skipped with a log line and never stop the loop', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using _connection = await world.open()
  const chat = { id: 1, type: 'private' }
  const from = { id: 1, is_bot: false, first_name: 'x' }
  for (const message of [
    {},
    { message_id: 'x', chat, from, date: 1 },
    { message_id: 1, chat: null, from, date: 1 },
    7,
    { message_id: 1, chat, from, date: 1, text: {} },
  ]) {
    emulator.send({ message })
  }
  emulator.send({ message: { message_id: 2, chat, date: 1, from, text: 'x', entities: 'no list' } })
  emulator.send({ callback_query: { id: '1', from, data: 'x', message: {} } })
  emulator.say('fine')
  await until(() => host.inbox.length === 1 && emulator.pending === 0, 'the well-formed one')
  assert.equal(host.said.filter((line) => line.includes('malformed')).length, 7)
})

test('a webhook takes no call without the secret, and refuses what is no JSON', async () => {
  await using world = await start('webhook')
  await using _connection = await world.open()
  const { host } = world
  const post = async (body: string, secret: string) => {
    const headers = { 'x-telegram-bot-api-secret-token': secret }
    return (await fetch(host.routes.url ?? '', { method: 'POST', headers, body })).status
  }
  assert.equal(await post('{}', 'wrong'), 401)
  assert.equal(await post('no json', 'shh'), 400)
  assert.equal(await post('{}', 'shh'), 200)
  host.gate = () => {
    throw new PosthouseError('overloaded', undefined, { retryAfter: 1500 })
  }
  const update = {
    update_id: 1,
    message: { message_id: 1, date: 1, chat: { id: 1, type: 'private' }, from: { id: 1, is_bot: false, first_name: 'x' }, text: 'x' },
  }
  const response = await fetch(host.routes.url ?? '', {
    method: 'POST',
    headers: { 'x-telegram-bot-api-secret-token': 'shh' },
    body: JSON.stringify(update),
  })
  assert.deepEqual([response.status, response.headers.get('retry-after')], [503, '2'])
})

test('webhook mode without a public address says so', async () => {
  await using world = await start('polling')
  await using _connection = await world.open({ mode: 'webhook' })
  await until(() => world.host.reports.some(({ state, problem }) => state === 'degraded' && problem?.includes('public_url')), 'the report')
  await assert.rejects(world.open({ mode: 'webhook', secret_token: '' }), /secret_token/)
  assert.deepEqual(
    telegram.settings.check?.({ mode: 'webhook' } as TelegramSettings).map(({ field }) => field),
    ['secret_token'],
  )
})

test('a pressed button is acknowledged after it was admitted', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using connection = await world.open()
  const [piece] = connection.render({ id: '1', to: place, text: '', document: parseMarkdown('choose') })
  assert.ok(piece)
  const receipt = await connection.send(piece, place, options())
  const answered = () => emulator.ledger.filter((entry) => entry.method === 'answerCallbackQuery').length
  const admitted = Promise.withResolvers<void>()
  host.gate = () => admitted.promise
  emulator.press({ data: 'yes', chat: PERSON, message: Number(receipt.id), from: PERSON })
  await until(() => host.attempts.length === 1, 'the press')
  await world.probe()
  assert.equal(answered(), 0)
  admitted.resolve()
  await until(() => answered() === 1, 'the acknowledgement')
  assert.deepEqual([host.inbox[0]?.kind, host.inbox[0]?.callbackData], ['callback', 'yes'])
})

test('webhook: a node that never listened knows us from those that did, else asks beside, and refuses until then', async () => {
  await using world = await start('webhook')
  const { emulator, host } = world
  await (await world.open())[Symbol.asyncDispose]()
  emulator.failNext('getMe', { status: 502, body: '<html>', times: 1e9 })
  {
    await using _connection = await world.openBeside()
    emulator.say({ text: 'known', from: PERSON })
    await until(() => emulator.pending === 0, 'it is acknowledged')
  }
  await host.state.set('identity', '')
  await using _connection = await world.openBeside()
  emulator.say({ text: 'unknown', from: PERSON })
  await until(() => host.said.some((line) => line.includes('who we are')), 'it is refused')
  assert.equal(host.inbox.length, 1)
  emulator.heal()
  await until(() => emulator.pending === 0 && host.inbox.length === 2, 'it came again')
})

test('opens while Telegram is down, and recovers by itself', async () => {
  await using world = await start()
  const { emulator, host } = world
  emulator.failNext('getMe', { status: 502, body: '<html>', times: 12 })
  await using _connection = await world.open()
  assert.equal(host.reports[0]?.state, 'degraded')
  emulator.say('later')
  await until(() => host.inbox.length === 1, 'the message')
  assert.equal(host.reports.at(-1)?.state, 'connected')
})

test('a refused token and a conflict are told as such, and end by themselves', async () => {
  await using world = await start()
  const { emulator, host } = world
  emulator.failNext('getUpdates', { status: 409, description: 'Conflict: terminated by other getUpdates request', times: 3 })
  emulator.failNext('getMe', { status: 401, description: 'Unauthorized', times: 3 })
  await using _connection = await world.open()
  await until(() => host.reports.at(-1)?.state === 'connected', 'recovery')
  assert.deepEqual([...new Set(host.reports.map(({ state }) => state))], ['needs-auth', 'conflict', 'connected'])
})

test('two gateways on one bot: the conflict is told, nothing is lost', async () => {
  await using world = await start()
  const { emulator, host } = world
  await using client = createFetch()
  await using other = await createFakeHost({ fetch: client.fetch })
  await using _first = await world.open()
  const settings = { token: emulator.token, mode: 'polling' as const, api_root: emulator.url, poll_timeout: 30_000 }
  await using _second = await openListening(createTelegram(quickClock()), settings, other)
  const texts = Array.from({ length: 20 }, (_, index) => `message ${index}`)
  for (const text of texts) emulator.say({ text, from: PERSON })
  const keys = () => new Set([...host.inbox, ...other.inbox].map((message) => message.key))
  await until(() => keys().size === texts.length && emulator.pending === 0, 'every message in one of the two')
  await until(() => [...host.reports, ...other.reports].some((report) => report.state === 'conflict'), 'the conflict')
})

test('an offset from before a quiet week is forgotten', async () => {
  await using world = await start()
  const { emulator, host } = world
  await host.state.set('offset', JSON.stringify({ offset: 999_999_999, at: Date.now() - 7 * 86_400_000 }))
  emulator.say('after the holidays')
  await using _connection = await world.open()
  await until(() => host.inbox.length === 1 && emulator.pending === 0, 'the message with a lower id')
})

test('a group that became a supergroup is written to under its new id, also after a restart', async () => {
  await using world = await start()
  const { emulator } = world
  emulator.know({ id: -5, type: 'group' })
  emulator.migrate(-5, -1005)
  const group: Place = { room: '-5', type: 'group' }
  const write = async (connection: Connection) => {
    const [piece] = connection.render({ id: '1', to: group, text: '', document: parseMarkdown('hello') })
    assert.ok(piece)
    return connection.send(piece, group, options())
  }
  {
    await using connection = await world.open()
    await assert.rejects(write(connection), (error: unknown) => error instanceof DeliveryError && error.kind === 'transient')
    assert.equal((await write(connection)).room, '-1005')
  }
  await using connection = await world.open()
  assert.equal((await write(connection)).room, '-1005')
})

test('topics, replies, files by kind and size', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  const said = emulator.say({ text: 'in a topic', chat: -100, thread: 7 })
  const to: Place = { room: '-100', thread: '7', type: 'group' }
  const file = (kind: 'image' | 'voice' | 'audio' | 'video' | 'file', mime: string, size = 10) => ({
    kind,
    mime,
    size,
    name: `a ${kind}`,
    open: async function* () {
      yield new Uint8Array(size)
    },
  })
  const files = [
    file('image', 'image/png'),
    file('image', 'image/png', 10 * 1024 * 1024 + 1),
    file('image', 'image/svg+xml'),
    file('voice', 'audio/ogg'),
    file('audio', 'audio/mpeg'),
    file('audio', 'audio/flac'),
    file('video', 'video/mp4'),
    file('file', 'text/plain'),
  ]
  const message = { id: '1', to, replyTo: String(said.message.message_id), text: '', document: parseMarkdown('look'), files }
  for (const piece of connection.render(message)) await connection.send(piece, to, options())
  const posted = emulator.posted(-100)
  assert.deepEqual(
    posted.map(({ method }) => method),
    ['sendMessage', 'sendPhoto', 'sendDocument', 'sendDocument', 'sendVoice', 'sendAudio', 'sendDocument', 'sendVideo', 'sendDocument'],
  )
  assert.ok(posted.every(({ thread }) => thread === 7))
  assert.deepEqual(
    posted.map(({ reply_to }) => reply_to),
    [said.message.message_id, ...Array(8).fill(undefined)],
  )
  const [tooLarge] = connection.render({ ...message, document: [], files: [file('file', 'x/y', 50 * 1024 * 1024 + 1)] })
  assert.ok(tooLarge)
  await assert.rejects(
    connection.send(tooLarge, to, options()),
    (error: unknown) => error instanceof DeliveryError && error.kind === 'invalid',
  )
})

test('a download that is longer than declared ends at the limit', async () => {
  await using world = await start()
  await using client = createFetch()
  let sent = 0
  const endless = async function* () {
    for (; ; sent += 1000) yield new Uint8Array(1000)
  }
  const fetch: typeof client.fetch = async (url, request) => {
    const response = await client.fetch(url, request)
    return url.includes('/file/') ? { ...response, body: endless() } : response
  }
  await using host = await createFakeHost({ fetch })
  const settings = { token: world.emulator.token, mode: 'polling' as const, api_root: world.emulator.url, poll_timeout: 30_000 }
  await using connection = await createTelegram(quickClock()).open(settings, host, new AbortController().signal)
  const said = world.emulator.say({ document: { size: 10 } })
  const file = { kind: 'file' as const, name: 'x', ref: said.message.document?.file_id ?? '' }
  const body = await connection.download?.(file, 50_000, new AbortController().signal)
  const read = async () => {
    for await (const _ of body ?? []);
  }
  await assert.rejects(read(), (error: unknown) => error instanceof PosthouseError && error.code === 'too-large')
  assert.equal(sent, 50_000)
})

test('typing is shown where we write, and its failure is nobody’s concern', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  await connection.typing?.(place, new AbortController().signal)
  await connection.typing?.({ room: '999', type: 'direct' }, new AbortController().signal)
  const calls = emulator.ledger.filter((entry) => entry.method === 'sendChatAction')
  assert.deepEqual(
    calls.map(({ params, outcome }) => [params.action, outcome.code]),
    [
      ['typing', 200],
      ['typing', 400],
    ],
  )
})

test('an upload that breaks on our side was surely not sent', async () => {
  await using world = await start()
  await using connection = await world.open()
  const broken = {
    kind: 'file' as const,
    name: 'x',
    size: 10,
    open: async function* () {
      yield new Uint8Array(5)
      throw new Error('disk')
    },
  }
  const [piece] = connection.render({ id: '1', to: place, text: '', document: [], files: [broken] })
  assert.ok(piece)
  await assert.rejects(
    connection.send(piece, place, options()),
    (error: unknown) => error instanceof DeliveryError && error.kind === 'transient',
  )
  assert.equal(world.emulator.posted().length, 0)
})

test('a gateway in between that answers 502 or 504 leaves it open whether the message was sent', async () => {
  await using world = await start()
  await using connection = await world.open()
  const [piece] = connection.render({ id: '1', to: place, text: '', document: parseMarkdown('x') })
  assert.ok(piece)
  const kinds: [object, string][] = [
    [{ status: 504, body: '<html>Gateway Timeout</html>' }, 'unknown'],
    [{ status: 500, body: 'oops' }, 'unknown'],
    [{ status: 502, description: 'Bad Gateway' }, 'unknown'],
    [{ status: 503, description: 'Service Unavailable' }, 'transient'],
    [{ status: 403, body: '<html>proxy</html>' }, 'transient'],
    [{ status: 413, body: '<html>nginx</html>' }, 'invalid'],
  ]
  for (const [fault, kind] of kinds) {
    world.emulator.failNext('sendMessage', fault as { status: number })
    await assert.rejects(
      connection.send(piece, place, options()),
      (error: unknown) => error instanceof DeliveryError && error.kind === kind,
    )
  }
  await using nobody = await createTelegram(quickClock()).open(
    { token: '1:A', mode: 'polling', api_root: 'http://127.0.0.1:1', poll_timeout: 1000 },
    world.host,
    new AbortController().signal,
  )
  await assert.rejects(
    nobody.send(piece, place, options()),
    (error: unknown) => error instanceof DeliveryError && error.kind === 'transient',
  )
})

test('an edit of a message that is gone is not found', async () => {
  await using world = await start()
  await using connection = await world.open()
  const [piece] = connection.render({ id: '1', to: place, text: '', document: parseMarkdown('x') })
  assert.ok(piece && connection.edit)
  const edited = connection.edit({ id: '999', room: place.room }, piece, options())
  await assert.rejects(edited, (error: unknown) => error instanceof DeliveryError && error.kind === 'not-found')
})
