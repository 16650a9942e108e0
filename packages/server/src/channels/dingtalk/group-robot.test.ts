/** A group's own robot: it only sends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Connection, DeliveryError, type DeliveryFailure, type OutboundFile, type Place, type SendOptions } from '@posthouse/contract'
import {
  type ChannelHarness,
  type ChannelWorld,
  channelBehaviours,
  createDingtalkEmulator,
  createFakeHost,
  type DingtalkEmulator,
  openListening,
  whyNot,
} from '@posthouse/testkit'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { createDingtalk, type DingtalkSettings, dingtalk } from './index.ts'
import { settings as schema } from './settings.ts'

const place: Place = { room: 'group', type: 'group' }
const options = (more: Partial<SendOptions> = {}): SendOptions => ({ idempotencyKey: 'k', signal: new AbortController().signal, ...more })

interface World extends ChannelWorld {
  readonly emulator: DingtalkEmulator
  open(settings?: Partial<DingtalkSettings>): Promise<Connection>
}

async function start(shift = 0): Promise<World> {
  const client = createFetch()
  const emulator = await createDingtalkEmulator()
  const host = await createFakeHost({ fetch: client.fetch, crypto: platformCrypto })
  const { access_token, secret, url } = emulator
  const settings: DingtalkSettings = {
    mode: 'robot',
    access_token,
    secret,
    card_template_key: 'content',
    base_url: url,
    old_base_url: `${url}/`,
  }
  const channel = createDingtalk({ now: () => Date.now() + shift, wait: async () => undefined })
  const fail = (status: number, description: string) => () => emulator.failNext('robot.send', { status, description })
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: fail(-1, '系统繁忙'),
    'rate-limited': fail(130101, 'send too fast, exceed 20 times per minute'),
    auth: fail(300005, 'token is not exist'),
    permission: fail(310000, 'keywords not in content'),
    'not-found': fail(400013, '群已被解散'),
    invalid: fail(460101, 'message too long, exceed 20000 bytes'),
    unknown: () => emulator.dropReplyOf('robot.send'),
  }
  return {
    emulator,
    host,
    place,
    secrets: [access_token, secret, 'sign='],
    open: (more) => openListening(channel, { ...settings, ...more }, host),
    probe: () => channel.probe(settings, host, new AbortController().signal),
    platform: {
      say: () => undefined,
      redeliver: () => undefined,
      unacknowledged: () => 0,
      posted: () => emulator.posted('group-robot').map(({ text }) => text),
      fail: (kind) => failures[kind]?.(),
    },
    [Symbol.asyncDispose]: async () => {
      for (const each of [emulator, host, client]) await each[Symbol.asyncDispose]()
    },
  }
}

const harness: ChannelHarness = {
  capabilities: dingtalk.capabilitiesOf?.({ mode: 'robot' } as DingtalkSettings) ?? dingtalk.capabilities,
  cannot: Object.fromEntries(
    ['say', 'redeliver', 'unacknowledged', 'sayAsOurselves', 'sayFile', 'takeOver', 'revoke'].map((verb) => [
      verb,
      "a group's robot hears nothing",
    ]),
  ),
  neverFails: ['conflict'],
  start: () => start(),
}

for (const behaviour of channelBehaviours) {
  // It gives no sign of life: it only sends.
  const skip = behaviour.name.startsWith('health') ? "a group's robot hears nothing" : whyNot(behaviour, harness)
  test(`robot: ${behaviour.name}`, { skip }, () => behaviour.run(harness))
}

const pieceOf = (connection: Connection, text: string, files: readonly OutboundFile[] = []) => {
  const [piece] = connection.render({ id: 'm', to: place, text, document: parseMarkdown(text), files })
  assert.ok(piece)
  return piece
}
const refusal =
  (kind: DeliveryFailure, words = /./) =>
  (error: unknown) =>
    error instanceof DeliveryError && error.kind === kind && words.test(error.message)

test('each call is signed anew; a wrong secret, token or clock is told in words that help', async () => {
  await using world = await start()
  const { emulator } = world
  await using connection = await world.open()
  await connection.send(pieceOf(connection, '# Build\n\n**green**'), place, options())
  const [post] = emulator.posted('group-robot')
  assert.deepEqual([post?.title, post?.text], ['Build green', 'Build\n\ngreen'])
  await using wrong = await world.open({ secret: 'SECother' })
  await assert.rejects(wrong.send(pieceOf(wrong, 'x'), place, options()), refusal('permission', /secret, keywords and IPs/))
  await using unsigned = await world.open({ secret: '' })
  await assert.rejects(unsigned.send(pieceOf(unsigned, 'x'), place, options()), refusal('permission'))
  await using unknown = await world.open({ access_token: 'other' })
  await assert.rejects(unknown.send(pieceOf(unknown, 'x'), place, options()), refusal('auth'))
  await using late = await start(-2 * 3_600_000)
  await using behind = await late.open()
  await assert.rejects(behind.send(pieceOf(behind, 'x'), place, options()), refusal('permission', /timestamp/))
})

test('above 20 in a minute it is shut out for a while', async () => {
  await using world = await start()
  await using connection = await world.open()
  for (let sent = 0; sent < 20; sent++)
    await connection.send(pieceOf(connection, `n${sent}`), place, options({ idempotencyKey: `${sent}` }))
  await assert.rejects(connection.send(pieceOf(connection, 'n20'), place, options()), refusal('rate-limited'))
})

test('files become links; without an address it is said what to do', async () => {
  await using world = await start()
  await using connection = await world.open()
  const file: OutboundFile = { kind: 'image', name: 'a.png', mime: 'image/png', size: 3, async *open() {} }
  const linked = connection.render({ id: 'm', to: place, text: '', document: [], files: [{ ...file, link: 'https://post.example/a' }] })
  assert.match(JSON.stringify(linked.map(({ payload }) => payload)), /^\[\{"msgtype":"markdown".*\]\(https:\/\/post\.example\/a\)/)
  const [alone] = connection.render({ id: 'm', to: place, text: '', document: [], files: [file] })
  assert.ok(alone)
  await assert.rejects(connection.send(alone, place, options()), refusal('invalid', /server\.public_url/))
})

test('what each mode needs is asked for', () => {
  const rest = { card_template_key: 'content', base_url: 'x', old_base_url: 'x' }
  const missing = (given: Partial<DingtalkSettings>) =>
    schema.check?.({ mode: 'stream', ...rest, ...given } as DingtalkSettings).map(({ field }) => field)
  assert.deepEqual(missing({}), ['client_id', 'client_secret'])
  assert.deepEqual(missing({ mode: 'webhook', client_id: 'a' }), ['client_secret'])
  assert.deepEqual(missing({ mode: 'robot' }), ['access_token'])
  assert.deepEqual(missing({ mode: 'robot', access_token: 'a' }), [])
})
