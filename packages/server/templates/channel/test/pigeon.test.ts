import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DeliveryFailure, type Fetch, FetchError, PosthouseError } from '@posthouse/contract'
import { type ChannelHarness, type ChannelWorld, channelBehaviours, createFakeHost, openListening, whyNot } from '@posthouse/testkit'
import { type PigeonSettings, pigeon } from '../src/index.ts'
import { decode } from '../src/receive.ts'
import { createPigeonEmulator } from './emulator.ts'

/** The gateway's client in short. */
const fetcher: Fetch = async (url, { method = 'GET', headers = {}, body, signal } = {}) => {
  const response = await fetch(url, { method, headers, ...(body ? { body: body as string } : {}), ...(signal ? { signal } : {}) }).catch(
    (error: Error) => {
      throw new FetchError(/ECONNREFUSED/.test(String(error.cause)) ? 'connect' : 'broken', error.message)
    },
  )
  const text = await response.text()
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: (async function* () {
      yield new TextEncoder().encode(text)
    })(),
    text: async () => text,
    json: async () => JSON.parse(text) as unknown,
  }
}

async function start(): Promise<ChannelWorld> {
  const secrets = { token: 'the-token-of-ours', secret: 'the-secret-of-theirs' }
  const host = await createFakeHost({ fetch: fetcher, webhook: true })
  const emulator = await createPigeonEmulator({ ...secrets, hook: () => host.routes.url ?? '' })
  const settings: PigeonSettings = { ...secrets, base_url: emulator.url }
  const statuses: Partial<Record<DeliveryFailure, number>> = {
    transient: 503,
    'rate-limited': 429,
    auth: 401,
    permission: 403,
    'not-found': 404,
    invalid: 422,
    conflict: 409,
  }
  let last: object = {}
  return {
    host,
    place: { room: 'room', type: 'direct' },
    secrets: Object.values(secrets),
    open: () => openListening(pigeon, settings, host),
    probe: () => pigeon.probe(settings, host, new AbortController().signal),
    platform: {
      say: (text) => {
        last = emulator.say(text)
      },
      redeliver: () => emulator.deliver(last),
      unacknowledged: () => emulator.pending,
      posted: () => emulator.posted().map(({ text }) => text.replace(/\\([*`])/g, '$1')),
      fail: (kind) => {
        if (kind === 'unknown') emulator.dropReplyOf('post')
        else emulator.failNext('post', { status: statuses[kind] ?? 500, ...(kind === 'rate-limited' ? { retryAfter: 3 } : {}) })
      },
      sayAsOurselves: (text) => void emulator.say(text, { bot: true }),
    },
    async [Symbol.asyncDispose]() {
      await emulator[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
    },
  }
}

const harness: ChannelHarness = {
  capabilities: pigeon.capabilities,
  cannot: {
    sayFile: 'Pigeon has no files',
    takeOver: 'webhooks are taken by every node',
    revoke: 'looked for every five minutes only',
  },
  start,
}

for (const behaviour of channelBehaviours) {
  test(behaviour.name, { skip: whyNot(behaviour, harness) }, () => behaviour.run(harness))
}

test('what is malformed is refused, what is not for us is left', () => {
  for (const given of [{ type: 'message' }, { type: 'message', id: 1, room: 'r', from: 'a', text: 't' }])
    assert.throws(() => decode(given), PosthouseError)
  assert.equal(decode({ type: 'typing' }), undefined)
})
