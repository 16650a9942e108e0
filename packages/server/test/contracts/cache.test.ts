/** The cache in both forms, against a real Redis; and what a failing Redis costs who asks. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createFaultProxy } from '@posthouse/testkit'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { createCache } from '../../src/cache/index.ts'
import { openShared } from '../../src/cluster/index.ts'
import type { Cache, CacheResult, CacheTier } from '../../src/ports/cache.ts'
import { createPseudonyms, createSealer, loadKey } from '../../src/security/index.ts'
import { noRedis, type OwnRedis, ownPrefix, skipWithout, startRedis } from '../cluster/servers.ts'
import { silent } from '../cluster/silent.ts'
import { until } from '../journeys/posthouse.ts'
import { type CacheHarness, cacheBehaviours, HOUR, LIMIT } from './cache.ts'

const folder = mkdtempSync(join(tmpdir(), 'posthouse-cache-'))
const key = loadKey(join(folder, 'posthouse.key'), false)
const sealer = createSealer(key)
const pseudonym = createPseudonyms(key)
rmSync(folder, { recursive: true })

/** A clock of the test: what it waits for comes when the test says so. */
function createTestClock(): Pick<Clock, 'now' | 'after'> & { wait(ms: number): void } {
  let passed = 0
  const due = new Set<{ readonly at: number; readonly task: () => void }>()
  return {
    now: () => 1_790_000_000_000 + passed,
    after(ms, task) {
      const entry = { at: passed + ms, task }
      due.add(entry)
      return { [Symbol.dispose]: () => void due.delete(entry) }
    },
    wait(ms) {
      passed += ms
      for (const entry of [...due]) {
        if (entry.at > passed) continue
        due.delete(entry)
        entry.task()
      }
    },
  }
}

function createHarness(redis?: { readonly own: OwnRedis; readonly url?: string }) {
  const told: `${CacheTier} ${CacheResult}`[] = []
  const prefix = ownPrefix()
  const clock = createTestClock()
  const observer = { cached: ({ tier, result }: { tier: CacheTier; result: CacheResult }) => void told.push(`${tier} ${result}`) }
  const opened: AsyncDisposable[] = []
  const open = async (): Promise<Cache> => {
    const parts = { limit: LIMIT, sealer, pseudonym, clock, observer }
    if (!redis) return createCache({ ...parts, shared: undefined })
    const node = `node-${opened.length}`
    const shared = await openShared({ url: redis.url ?? redis.own.url, prefix, node, sealer, pseudonym, clock: systemClock, ...silent })
    opened.push(shared)
    await until(() => shared.problem === undefined, 'Redis answers')
    return createCache({ ...parts, shared: shared.tier })
  }
  const harness: CacheHarness = {
    open,
    wait: clock.wait,
    told,
    ...(redis && {
      outside: {
        async all() {
          const names = await redis.own.client.keys(`${prefix}:cache:*`)
          const values = await Promise.all(names.map(async (name) => (await redis.own.client.getBuffer(name)) ?? Buffer.alloc(0)))
          return new Map(names.map((name, index) => [name, values[index] as Buffer]))
        },
        put: async (name, value) => void (await redis.own.client.set(name, value)),
      },
    }),
  }
  return {
    harness,
    async [Symbol.asyncDispose]() {
      for (const shared of opened) await shared[Symbol.asyncDispose]()
    },
  }
}

describe('the cache in memory', () => {
  for (const { name, run, shared } of cacheBehaviours) if (!shared) it(name, () => run(createHarness().harness))
})

describe('the cache in memory and Redis', { skip: skipWithout(noRedis), timeout: 60_000 }, () => {
  it('is there', () => assert.equal(noRedis, undefined))
  for (const { name, run } of cacheBehaviours)
    it(name, async () => {
      await using own = await startRedis()
      await using opened = createHarness({ own })
      await run(opened.harness)
    })
})

describe('the cache when Redis fails', { skip: skipWithout(noRedis), timeout: 60_000 }, () => {
  const never = new AbortController().signal
  const look = async (cache: Cache, question: string) => {
    using found = await cache.find(question, never)
    return found.value
  }
  /** Looks one after the other, of which none is in memory; answers what Redis was asked for. */
  const askMany = async (cache: Cache, { told }: CacheHarness) => {
    const before = told.length
    for (let index = 0; index < 50; index++) assert.equal(await look(cache, `nobody knows ${index} ${before}`), undefined)
    return told.slice(before).filter((one) => one.startsWith('redis'))
  }

  /** How often the server was asked for a value. */
  const gets = async ({ client }: OwnRedis) => Number(/cmdstat_get:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0)

  it('is killed: what is in memory is found, nothing waits, and it is used again when it is back', async () => {
    await using own = await startRedis()
    await using opened = createHarness({ own })
    const [here, there] = [await opened.harness.open(), await opened.harness.open()]
    here.keep('q', 'kept', HOUR)
    await until(async () => (await look(there, 'q')) === 'kept', 'it is shared')
    await own.stop()
    assert.equal(await look(here, 'q'), 'kept')
    assert.deepEqual(new Set(await askMany(there, opened.harness)), new Set(['redis failed']))
    here.keep('meanwhile', 'in memory', HOUR)
    assert.equal(await look(here, 'meanwhile'), 'in memory')
    await own.start()
    await until(async () => {
      here.keep('again', 'shared', HOUR)
      return (await look(there, 'again')) === 'shared'
    }, 'it is used again')
  })

  for (const latency of [100, 500])
    it(`is ${latency} ms late, each way: not every question pays for it`, async () => {
      await using own = await startRedis()
      await using proxy = await createFaultProxy(own.url.replace('redis:', 'tcp:'))
      await using opened = createHarness({ own, url: proxy.url.replace('http:', 'redis:') })
      const cache = await opened.harness.open()
      assert.deepEqual(new Set(await askMany(cache, opened.harness)), new Set(['redis miss']))
      proxy.set({ latency })
      const before = await gets(own)
      assert.ok((await askMany(cache, opened.harness)).filter((one) => one === 'redis failed').length >= 45)
      assert.ok((await gets(own)) - before < 5, 'it is asked again and again')
    })

  it('is emptied, or takes nothing more: what is in memory stays', async () => {
    await using own = await startRedis()
    await using opened = createHarness({ own })
    const [here, there] = [await opened.harness.open(), await opened.harness.open()]
    here.keep('q', 'kept', HOUR)
    await until(async () => (await look(there, 'q')) === 'kept', 'it is shared')
    await own.client.flushall()
    assert.deepEqual([await look(here, 'q'), await look(await opened.harness.open(), 'q')], ['kept', undefined])
    await own.client.config('SET', 'maxmemory', '1mb')
    await own.client.config('SET', 'maxmemory-policy', 'noeviction')
    for (let index = 0; index < 60; index++) here.keep(`large ${index}`, 'x'.repeat(10_000), HOUR)
    await until(() => opened.harness.told.includes('redis failed'), 'it takes nothing more')
    assert.equal(await look(here, 'large 59'), 'x'.repeat(10_000))
  })
})
