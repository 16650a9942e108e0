/** Connectors without code: the examples as they are shipped, between a real gateway and servers that play their platforms. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createModelEmulator, type PlatformAnswer, type PlatformCall, servePlatform } from '@posthouse/testkit'
import { freePort } from '../ports.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

const examples = join(import.meta.dirname, '../../../../examples/connectors')
const HOOK = 'token-of-the-hook-1234'

interface Played extends AsyncDisposable {
  readonly posthouse: Posthouse
  readonly calls: readonly { readonly method: string; readonly params: unknown }[]
  readonly posted: { readonly to: string; text: string }[]
  hook(body: object): Promise<Response>
  drop(method: string): void
}

async function play(
  name: string,
  account: object,
  answer: (call: PlatformCall, played: Played['posted']) => PlatformAnswer,
): Promise<Played> {
  const posted: { to: string; text: string }[] = []
  const model = await createModelEmulator({ keys: 'any', models: 'any' })
  const platform = await servePlatform(
    {},
    {
      read: ({ method, path, body }) => ({ method: `${method} ${path}`, params: body.toString() }),
      answer: (call) => answer(call, posted),
      refuse: ({ status }) => ({ status, body: {} }),
    },
  )
  const port = await freePort()
  const posthouse = createPosthouse({
    server: { port, public_url: `http://127.0.0.1:${port}` },
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: {
      [name]: {
        type: 'webhook',
        connector: `./connectors/${name}.yaml`,
        base_url: platform.url,
        receive: { proof: { secret: HOOK } },
        send_rate: 1000,
        room_send_rate: 1000,
        ...account,
      },
    },
  })
  mkdirSync(join(posthouse.folder, 'connectors'))
  cpSync(examples, join(posthouse.folder, 'connectors'), { recursive: true })
  await posthouse.start()
  const url = `http://127.0.0.1:${port}/api/webhook/${name}`
  return {
    posthouse,
    posted,
    calls: platform.ledger,
    drop: (method) => platform.faults.dropReplyOf(method),
    hook: (body) => fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    async [Symbol.asyncDispose]() {
      await posthouse[Symbol.asyncDispose]()
      await platform[Symbol.asyncDispose]()
      await model[Symbol.asyncDispose]()
    },
  }
}

/** What was sent away once. */
const slowed = new Set<string>()
const zulip = (call: PlatformCall, posted: Played['posted']): PlatformAnswer => {
  const basic = `Basic ${Buffer.from('bot@example.com:key-of-the-bot').toString('base64')}`
  if (call.headers.authorization !== basic) return { status: 401, body: { result: 'error', code: 'UNAUTHORIZED', msg: 'Invalid API key' } }
  const form = Object.fromEntries(new URLSearchParams(call.body.toString()))
  const ok = { result: 'success', msg: '' }
  if (call.method === 'GET' && call.path === '/api/v1/users/me') return { body: { ...ok, user_id: 42, full_name: 'Assistant' } }
  if (call.method === 'POST' && call.path === '/api/v1/messages') {
    if (form.content?.includes('too fast') && !slowed.has(form.content)) {
      slowed.add(form.content)
      return { status: 429, body: { result: 'error', code: 'RATE_LIMIT_HIT', msg: 'slow down', 'retry-after': 0.3 } }
    }
    if ((form.content ?? '').length > 10_000 || !form.to) return { status: 400, body: { result: 'error', code: 'BAD_REQUEST', msg: 'no' } }
    posted.push({ to: [form.type, form.to, form.topic].filter(Boolean).join(' '), text: form.content ?? '' })
    return { body: { ...ok, id: 9_007_199_254_740_993n.toString() } }
  }
  const [, id] = /^\/api\/v1\/messages\/(\d+)$/.exec(call.path) ?? []
  return call.method === 'PATCH' && id ? { body: { ...ok } } : { status: 404, body: { result: 'error', code: 'NOT_FOUND' } }
}
const zulipSays = (content: string, id: number, more: object = {}) => ({
  bot_email: 'bot@example.com',
  token: HOOK,
  trigger: 'mention',
  data: content,
  message: {
    id,
    type: 'stream',
    stream_id: 7,
    subject: 'lunch & more',
    sender_id: 11,
    sender_full_name: 'Ann',
    content,
    timestamp: Math.floor(Date.now() / 1000),
    ...more,
  },
})

describe('the example connectors', () => {
  it('Zulip: asked in a topic and directly, repeated, after kill -9, an event', async () => {
    await using played = await play('zulip', { values: { email: 'bot@example.com', key: 'key-of-the-bot' }, allowed_users: [11] }, zulip)
    const { posthouse, posted, hook } = played
    const tested = await posthouse.cli('channel', 'test', 'zulip')
    assert.deepEqual([tested.code, tested.stdout.split('\n')[0]], [0, 'zulip: the platform knows us as Assistant (42).'])
    const asked = await hook(zulipSays('what is *up*?', 1))
    assert.deepEqual([asked.status, await asked.json()], [200, { response_not_required: true }])
    assert.equal((await hook(zulipSays('what is *up*?', 1))).status, 200)
    await until(() => posted.length === 1, 'the answer in the topic')
    assert.deepEqual(posted[0], { to: 'stream 7 lunch & more', text: 'You said: Ann: what is *up*?' })
    await hook(zulipSays('hi', 2, { type: 'private' }))
    await until(() => posted.length === 2, 'the direct answer')
    assert.equal(posted[1]?.to, 'direct [11]')
    assert.equal((await hook({ ...zulipSays('not theirs', 3), token: 'another' })).status, 401)
    await hook(zulipSays('once more', 4))
    await posthouse.kill()
    await posthouse.start()
    await until(() => posted.length === 3, 'the answer after the crash')
    const event = await posthouse.cli(
      'send',
      'zulip',
      '7',
      '--group',
      '--thread',
      'ops',
      '--event',
      'task_update',
      '--content',
      '{"title":"Backup","state":"done"}',
    )
    assert.equal(event.code, 0, event.stderr)
    await until(() => posted.length === 4, 'the event')
    assert.deepEqual(posted[3], { to: 'stream 7 ops', text: '**Backup**: done' })
    // One that it does not know goes in words.
    await posthouse.cli('send', 'zulip', '7', '--group', '--thread', 'ops', '--event', 'disk_full', '--content', '{"left":"1 %"}')
    await until(() => posted.length === 5, 'the words')
    assert.equal(posted[4]?.text, '**disk\\_full**\n\n- left: 1 %')
    await hook(zulipSays('too fast?', 5))
    await until(() => posted.length === 6, 'the answer after the wait that was asked for')
    assert.equal(slowed.size, 1)
    assert.ok(!posthouse.log.join('\n').includes('key-of-the-bot') && !posthouse.log.join('\n').includes(HOOK))
  })

  it('Rocket.Chat: threads, edits, bots, a refusal and a lost reply', async () => {
    const rooms: string[] = []
    await using played = await play(
      'rocketchat',
      { values: { user_id: 'us', token: 'token-of-ours', username: 'assistant' } },
      (call, posted) => {
        if (call.headers['x-auth-token'] !== 'token-of-ours' || call.headers['x-user-id'] !== 'us')
          return { status: 401, body: { status: 'error' } }
        const body = (call.body.length > 0 ? JSON.parse(call.body.toString()) : {}) as Record<string, string>
        if (call.path === '/api/v1/me') return { body: { success: true, _id: 'us', username: 'assistant' } }
        if (call.path !== '/api/v1/chat.postMessage') return { status: 404, body: { success: false } }
        rooms.push(JSON.stringify([body.roomId, body.tmid]))
        if (body.roomId === 'gone') return { status: 400, body: { success: false, errorType: 'error-room-not-found', error: 'no room' } }
        posted.push({ to: body.roomId ?? '', text: body.text ?? '' })
        return { body: { success: true, message: { _id: `m${posted.length}` } } }
      },
    )
    const { posthouse, posted, hook } = played
    const says = (text: string, id: string, more: object = {}) =>
      hook({
        token: HOOK,
        bot: false,
        channel_id: 'room',
        channel_name: 'general',
        message_id: id,
        timestamp: new Date().toISOString(),
        user_id: 'ann',
        user_name: 'ann',
        text,
        ...more,
      })
    assert.equal((await says('@assistant hi', 'a', { tmid: 't1' })).status, 200)
    await until(() => posted.length === 1, 'the answer')
    assert.deepEqual([posted[0]?.text, rooms[0]], ['You said: ann: @assistant hi', '["room","t1"]'])
    await says('nobody asked', 'b')
    await says('@assistant I am a bot', 'c', { bot: { i: 'x' } })
    await says('hi', 'd', { channel_id: 'gone', channel_name: null })
    const dead = async () => JSON.parse((await posthouse.cli('dead', 'list', '--json')).stdout).dead as { reason: string }[]
    await until(async () => (await dead()).length === 1, 'the dead letter')
    assert.equal((await dead())[0]?.reason, 'not-found')
    played.drop('post /api/v1/chat.postmessage')
    await says('lost', 'e', { channel_name: null })
    await until(() => posted.filter(({ text }) => text === 'You said: lost').length === 2, 'it is sent once more, marked')
    const { maybeDuplicates } = JSON.parse((await posthouse.cli('status', '--json')).stdout) as { maybeDuplicates: number }
    assert.equal(maybeDuplicates, 1)
    assert.equal(posted.length, 3)
  })
})
