import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Clock, systemClock as clock } from '../../src/base/clock.ts'
import { createLocalRates, createSingleLive, openShared } from '../../src/cluster/index.ts'
import { createSealer, loadKey } from '../../src/security/index.ts'
import { clearRedis, noRedis, ownPrefix, skipWithout, wireTo } from '../cluster/servers.ts'
import { silent } from '../cluster/silent.ts'
import { until } from '../journeys/posthouse.ts'
import { liveBehaviours } from './live.ts'
import { rateBehaviours } from './rates.ts'

type Shared = Awaited<ReturnType<typeof openShared>>

const folder = mkdtempSync(join(tmpdir(), 'posthouse-cluster-'))
const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
rmSync(folder, { recursive: true })

async function withRedis(run: (open: () => Promise<Shared>) => Promise<void>): Promise<void> {
  const prefix = ownPrefix()
  await using wire = await wireTo.redis()
  const opened: Shared[] = []
  const salt = randomBytes(8)
  const pseudonym = (name: string) => createHash('sha256').update(salt).update(name).digest('base64url').slice(0, 22)
  try {
    await run(async () => {
      const node = `node-${opened.length}`
      const shared = await openShared({ url: wire.url, prefix, node, sealer, pseudonym, clock, ...silent })
      opened.push(shared)
      await until(() => shared.problem === undefined, 'Redis answers')
      return shared
    })
  } finally {
    for (const shared of opened) await shared[Symbol.asyncDispose]()
    await clearRedis(prefix)
  }
}

describe('live frames within one process', () => {
  for (const { name, run, shared } of liveBehaviours) if (!shared) it(name, () => run({ open: async () => createSingleLive() }))
})

describe('rates within one process', () => {
  for (const { name, run, shared } of rateBehaviours) if (!shared) it(name, () => run({ open: async () => createLocalRates(clock) }))

  it('a place is free again when its time came', () => {
    let now = 0
    const rates = createLocalRates({ elapsed: () => now } satisfies Pick<Clock, 'elapsed'>)
    const one = { account: { amount: 1, per: 1000 } }
    const take = () => rates.tryReserve('bot', { room: 'a', type: 'direct' }, one, 'send')
    assert.deepEqual([take(), take()], [true, false])
    now = 1000
    assert.deepEqual([take(), take()], [true, false])
  })
})

describe('Redis', { skip: skipWithout(noRedis), timeout: 60_000 }, () => {
  it('is there', () => assert.equal(noRedis, undefined))
  for (const { name, run } of liveBehaviours) it(name, () => withRedis((open) => run({ open: async () => (await open()).live })))
  for (const { name, run } of rateBehaviours) it(name, () => withRedis((open) => run({ open: async () => (await open()).rates })))
})
