/** What Redis does to us: it goes, freezes, forgets. Frames of this node go on, and nobody sends faster than is allowed. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { ServerFrame } from '@posthouse/contract/http'
import { systemClock as clock } from '../../src/base/clock.ts'
import { openShared } from '../../src/cluster/index.ts'
import { conversationTopic } from '../../src/ports/live.ts'
import { createSealer, loadKey } from '../../src/security/index.ts'
import { delta, watch } from '../contracts/live.ts'
import { until } from '../journeys/posthouse.ts'
import { noRedis, type OwnRedis, ownPrefix, skipWithout, startRedis } from './servers.ts'
import { silent } from './silent.ts'

const folder = mkdtempSync(join(tmpdir(), 'posthouse-redis-key-'))
const sealer = createSealer(loadKey(join(folder, 'a.key'), false))
const otherSealer = createSealer(loadKey(join(folder, 'b.key'), false))
rmSync(folder, { recursive: true })

type Shared = Awaited<ReturnType<typeof openShared>>
const topic = conversationTopic('0198c0de-0000-7000-8000-000000000001')
const place = { room: 'room', type: 'direct' } as const
const four = { account: { amount: 4, per: 3_600_000 } }

async function withNodes(run: (redis: OwnRedis, nodes: readonly [Shared, Shared], results: string[]) => Promise<void>, second = sealer) {
  await using redis = await startRedis()
  const results: string[] = []
  const observer = { frame: ({ result }: { result: string }) => results.push(result) }
  const options = {
    url: redis.url,
    prefix: ownPrefix(),
    pseudonym: (name: string) => name.length.toString(),
    clock,
    log: silent.log,
    observer,
  }
  await using here = await openShared({ ...options, node: 'here', sealer })
  await using there = await openShared({ ...options, node: 'there', sealer: second })
  await work(here, there)
  await watch(there.live, here.live)
  await run(redis, [here, there], results)
}

const work = (...nodes: Shared[]) => until(() => nodes.every(({ problem }) => problem === undefined), 'they work', 20_000)
const places = async ({ rates }: Shared, most = 10) => {
  let free = 0
  while (free < most && (await rates.tryReserve('bot', place, four, 'send'))) free++
  return free
}

describe('Redis fails', { skip: skipWithout(noRedis), timeout: 90_000, concurrency: 2 }, () => {
  it('goes and comes: frames of this node go on; who listened is told that something may be missing', () =>
    withNodes(async (redis, [here, there]) => {
      const own: ServerFrame[] = []
      const heard: ServerFrame[] = []
      let missed = 0
      using _own = here.live.subscribe(topic, (frame) => own.push(frame))
      using _heard = there.live.subscribe(
        topic,
        (frame) => heard.push(frame),
        () => missed++,
      )
      await redis.stop()
      await until(() => here.problem === 'unreachable', 'it is noticed')
      assert.equal(here.live.deaf, true)
      here.live.publish(topic, delta(0))
      assert.deepEqual(own, [delta(0)])
      await redis.start()
      await work(here, there)
      await until(() => missed > 0, 'it is told')
      here.live.publish(topic, delta(1))
      await until(() => heard.length > 0, 'frames come again')
      assert.deepEqual([own, heard], [[delta(0), delta(1)], [delta(1)]])
    }))

  it('freezes: nobody waits long, and each node keeps to a part of the rate', () =>
    withNodes(async (redis, [here, there], results) => {
      let missed = 0
      using _heard = there.live.subscribe(
        topic,
        () => {},
        () => missed++,
      )
      redis.signal('SIGSTOP')
      assert.deepEqual([await places(here), await places(there)], [2, 2])
      assert.equal(here.problem, 'silent')
      here.live.publish(topic, delta(0))
      assert.equal(results.at(-1), 'dropped')
      redis.signal('SIGCONT')
      await work(here, there)
      await until(() => missed > 0, 'what did not go out is told')
    }))

  it('freezes in the middle of many frames: they do not pile up', () =>
    withNodes(async (redis, [here], results) => {
      redis.signal('SIGSTOP')
      const text = 'x'.repeat(100_000)
      for (let offset = 0; offset < 100; offset++) here.live.publish(topic, delta(offset, text))
      const sent = results.filter((result) => result === 'sent').length
      assert.ok(sent > 10 && sent < 50, `${sent}`)
      redis.signal('SIGCONT')
    }))

  it('forgets everything: no node goes faster than one may', () =>
    withNodes(async (redis, [here]) => {
      assert.equal(await places(here), 4)
      await redis.client.flushall()
      assert.equal(await places(here), 0)
      await redis.client.script('FLUSH')
      assert.equal(await places(here), 0)
      assert.equal(here.problem, undefined)
    }))

  it('ends its slow listeners: they come back, and are told', () =>
    withNodes(async (redis, [here, there]) => {
      let missed = 0
      const heard: ServerFrame[] = []
      using _heard = there.live.subscribe(
        topic,
        (frame) => heard.push(frame),
        () => missed++,
      )
      await redis.client.client('KILL', 'TYPE', 'pubsub')
      await until(() => missed > 0, 'it is told')
      await work(here, there)
      here.live.publish(topic, delta(0))
      await until(() => heard.length > 0, 'frames come again')
    }))

  it('brings what was sealed with another key, or by nobody: it is counted and shown to nobody', () =>
    withNodes(async (redis, [here, there], results) => {
      const heard: ServerFrame[] = []
      using _heard = there.live.subscribe(topic, (frame) => heard.push(frame))
      here.live.publish(topic, delta(0))
      const [channel = ''] = (await redis.client.pubsub('CHANNELS', '*:live')) as string[]
      for (const text of ['', 'frame', `frame x ${topic}\n`, `frame x ${topic}\n${JSON.stringify(delta(1))}`, 'x'.repeat(100_000), '\n\n'])
        await redis.client.publish(channel, text)
      await until(() => results.filter((result) => result === 'foreign').length >= 3, 'it is counted')
      assert.deepEqual(heard, [])
    }, otherSealer))

  it('does not know the password: that is said', async () => {
    await using redis = await startRedis()
    const url = redis.url.replace('redis://', 'redis://nobody:wrong-password@')
    const parts = { prefix: ownPrefix(), node: 'n', sealer, pseudonym: (name: string) => name, clock, ...silent }
    await using shared = await openShared({ url, ...parts })
    await until(() => shared.problem === 'refused', 'it is said')
  })
})
