import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { type Channel, type ChannelHost, DeliveryError } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import type { Leases } from '../ports/leases.ts'
import { type AccountSettings, createAccounts } from './accounts.ts'

const accountOf = (channel: Channel): AccountSettings => ({
  id: 'a',
  channel,
  settings: {},
  capabilities: channel.capabilities,
  allowedUsers: undefined,
  freshness: undefined,
  priority: 0,
  rates: {},
})

/** A channel that is asked who it is, and a clock whose minutes pass when the test says so. */
async function start(publicUrl?: string, more: { capabilities?: object; keep?: Leases['keep'] } = {}) {
  let now = 1_000_000
  let tick = () => {}
  let host: ChannelHost | undefined
  const probes: number[] = []
  const clock = {
    now: () => now,
    elapsed: () => now,
    sleep: () => new Promise<void>(() => {}),
    every: (_: number, work: () => void) => {
      tick = work
      return { [Symbol.dispose]: () => undefined }
    },
  } as unknown as Clock
  const channel = {
    id: 'test',
    settings: { fields: {}, required: [] },
    capabilities: more.capabilities ?? {},
    async probe() {
      probes.push(now)
      throw new DeliveryError('auth', 'refused')
    },
    async open(_: unknown, given: ChannelHost) {
      host = given
      return {
        listen: (_: unknown, signal: AbortSignal) => once(signal, 'abort'),
        render: () => [],
        send: async () => ({ id: '', room: '' }),
        [Symbol.asyncDispose]: async () => undefined,
      }
    },
  } as unknown as Channel
  const quiet = { debug() {}, info() {}, warn() {}, error() {} }
  const accounts = createAccounts({
    state: { get: async () => undefined, set: async () => undefined, swap: async () => true },
    leases: { keep: more.keep ?? (async () => undefined), held: [] },
    node: { live: true },
    observer: { fenced: () => undefined },
    platform: {} as never,
    clock,
    log: { ...quiet, child: () => quiet },
    publicUrl,
    receive: async () => ({ status: 'admitted', messageId: '', conversationId: '' }),
  })
  await accounts.update([accountOf(channel)])
  while (!accounts.find('a')?.connection) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(host)
  const pass = async (ms: number) => {
    now += ms
    tick()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { accounts, channel, host, probes, pass }
}

test('who is silent for a minute is asked, and what comes of it is seen', async () => {
  const { accounts, host, probes, pass } = await start()
  host.received()
  await pass(59_000)
  assert.equal(probes.length, 0)
  await pass(2_000)
  assert.equal(probes.length, 1)
  assert.equal(accounts.status()[0]?.state, 'needs-auth')
})

test('who refuses our credentials is not asked again and again', async () => {
  const { host, probes, pass } = await start()
  host.report('needs-auth', 'wrong password')
  for (let minute = 0; minute < 10; minute++) await pass(60_000)
  assert.equal(probes.length, 0)
  host.received()
  await pass(61_000)
  assert.equal(probes.length, 1)
})

test('whoever calls an account that is paused is told to come again; one that is not there is not', async () => {
  const { accounts, channel } = await start()
  assert.equal(accounts.webhook('a'), undefined)
  assert.equal(accounts.webhook('b'), undefined)
  await accounts.update([{ ...accountOf(channel), paused: true }])
  assert.throws(() => accounts.webhook('a'), { code: 'unavailable', retryAfter: 10_000 })
})

test('behind a proxy, a call from this machine proves nothing', async () => {
  const handle = async () => ({ status: 200 })
  const behind = await start('https://posthouse.example')
  assert.throws(() => behind.host.routes.webhook({ verification: [{ kind: 'loopback' }] }, handle), { code: 'invalid' })
  assert.equal(behind.accounts.webhook('a'), undefined)
  const alone = await start()
  alone.host.routes.webhook({ verification: [{ kind: 'loopback' }] }, handle)
  assert.ok(alone.accounts.webhook('a'))
})

test('an account that sends over its connection is elsewhere unless this node has its lease', async () => {
  const given = Promise.withResolvers<AbortController>()
  const keep: Leases['keep'] = async (name, _signal, work) => {
    const lost = new AbortController()
    const working = work({ lease: { name, node: 'n', epoch: 1 }, demand: () => undefined }, lost.signal)
    given.resolve(lost)
    await working
  }
  const capabilities = { ownership: 'single', sendsOverConnection: true }
  const { accounts } = await start(undefined, { capabilities, keep })
  const lost = await given.promise
  assert.equal(accounts.find('a')?.elsewhere, false)
  lost.abort()
  while (!accounts.find('a')?.elsewhere) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await start(undefined, { capabilities })).accounts.find('a')?.elsewhere, true)
  assert.equal((await start(undefined, { capabilities: { ownership: 'single' } })).accounts.find('a')?.elsewhere, false)
})
