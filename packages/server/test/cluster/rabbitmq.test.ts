/** What RabbitMQ does to us: it goes, freezes, is full, loses what it had. No ticket's way ends there. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { priorities } from '@posthouse/contract'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { openRabbitBroker } from '../../src/broker/index.ts'
import type { Broker } from '../../src/ports/broker.ts'
import { until } from '../journeys/posthouse.ts'
import { clearRabbit, noRabbit, ownPrefix, queuesOf, skipWithout, type Wire, wireTo, withChannel } from './servers.ts'
import { silent } from './silent.ts'

/** Waits of seconds take tenths. */
const quick: Clock = { ...systemClock, elapsed: () => performance.now() * 10, every: (ms, task) => systemClock.every(ms / 10, task) }

interface Node {
  readonly broker: Broker
  readonly wire: Wire
  readonly prefix: string
  /** Lanes whose tickets came. */
  readonly taken: Set<string>
  readonly results: string[]
  send(lane: string): void
}

async function withNode(run: (node: Node) => Promise<void>, change: (url: string) => string = (url) => url, before?: (wire: Wire) => void) {
  const prefix = ownPrefix()
  await using wire = await wireTo.rabbit()
  before?.(wire)
  const results: string[] = []
  const taken = new Set<string>()
  const observer = { ticket: ({ result }: { result: string }) => results.push(result) }
  const broker = await openRabbitBroker({ url: change(wire.url), prefix, prefetch: 50, clock: quick, log: silent.log, observer })
  try {
    broker.consume(({ lane }, done) => {
      taken.add(lane)
      done?.()
    })
    const send = (lane: string) => broker.publish({ lane, priority: priorities.interactive })
    await run({ broker, wire, prefix, taken, results, send })
  } finally {
    wire.proxy.set({})
    await broker[Symbol.asyncDispose]()
    await clearRabbit(prefix)
  }
}

const works = ({ broker }: Pick<Node, 'broker'>) => until(() => broker.problem === undefined, 'it works', 30_000)

describe('RabbitMQ fails', { skip: skipWithout(noRabbit), timeout: 90_000, concurrency: 2 }, () => {
  it('is away at the start, and comes', () =>
    withNode(
      async (node) => {
        node.send('before')
        await until(() => node.taken.has('before'), 'what cannot be handed over is handed on here')
        assert.equal(node.broker.problem, 'unreachable')
        node.wire.proxy.set({})
        await works(node)
        node.send('after')
        await until(() => node.taken.has('after') && node.results.includes('confirmed'), 'it goes over the broker')
        assert.deepEqual(node.results, ['refused', 'confirmed'])
      },
      undefined,
      (wire) => wire.proxy.down(),
    ))

  it('loses its connections again and again: every ticket comes', () =>
    withNode(async (node) => {
      await works(node)
      const lanes = Array.from({ length: 250 }, (_, index) => `lane-${index}`)
      for (const [index, lane] of lanes.entries()) {
        node.send(lane)
        if (index % 50 === 24) await until(() => node.taken.size > index, 'what came so far is taken')
        if (index % 50 === 35) node.wire.proxy.cut()
        if (index % 50 !== 49) continue
        const made = 2 + 2 * Math.ceil(index / 50)
        await until(() => node.wire.proxy.made >= made, 'both are made anew')
        await works(node)
      }
      await until(() => node.taken.size === lanes.length, 'every ticket comes')
      assert.ok(node.results.includes('confirmed') && node.results.includes('refused'))
    }))

  it('freezes: nobody waits for it, the ticket is given up after the limit, and it is found again', () =>
    withNode(async (node) => {
      await works(node)
      node.wire.proxy.set({ freeze: true })
      const made = node.wire.proxy.made
      node.send('lost')
      await until(() => node.results.includes('unconfirmed'), 'the limit is over')
      assert.ok(node.broker.problem)
      node.send('instead')
      await until(() => node.taken.has('instead'), 'it is handed on here')
      node.wire.proxy.set({})
      await until(() => node.wire.proxy.made > made, 'a new connection is made', 30_000)
      await works(node)
      node.send('again')
      await until(() => node.taken.has('again') && node.results.at(-1) === 'confirmed', 'it goes over the broker')
    }))

  it('takes no more than so many unconfirmed tickets', () =>
    withNode(async (node) => {
      await works(node)
      node.wire.proxy.set({ freeze: true })
      for (let count = 0; count < 1200; count++) node.send(`lane-${count}`)
      assert.equal(node.results.filter((result) => result === 'refused').length, 200)
    }))

  it('is short of memory: it is left alone until it has some', () =>
    withNode(async (node) => {
      await works(node)
      node.wire.proxy.say(method(10, 60, Buffer.from('\x03low')))
      await until(() => node.broker.problem === 'blocked', 'it says so')
      node.send('meanwhile')
      await until(() => node.taken.has('meanwhile') && node.results.length > 0, 'it is handed on here')
      assert.deepEqual(node.results, ['refused'])
      node.wire.proxy.say(method(10, 61, Buffer.alloc(0)))
      await works(node)
      node.send('then')
      await until(() => node.taken.has('then'), 'it goes over the broker')
      assert.deepEqual(node.results, ['refused', 'confirmed'])
    }))

  it('loses its queues: they are made anew', () =>
    withNode(async (node) => {
      await works(node)
      await withChannel(async (channel) => {
        for (const queue of queuesOf(node.prefix)) await channel.deleteQueue(queue)
      })
      await until(() => {
        node.send('lane')
        return node.taken.has('lane')
      }, 'tickets come again')
      await works(node)
    }))

  it('brings what is none of ours: it is counted and gone, and the rest goes on', () =>
    withNode(async (node) => {
      await works(node)
      const foreign = [
        '',
        'no json',
        '{"lane":1,"priority":0}',
        '{"lane":"a b","priority":0}',
        '{"lane":"a","priority":9}',
        'x'.repeat(10_000),
      ]
      const [queue = ''] = queuesOf(node.prefix)
      await withChannel(async (channel) => {
        for (const text of foreign) channel.sendToQueue(queue, Buffer.from(text))
      })
      await until(() => node.results.filter((result) => result === 'foreign').length === foreign.length, 'all are counted')
      node.send('ours')
      await until(() => node.taken.has('ours'), 'ours comes')
      assert.equal(await withChannel(async (channel) => (await channel.checkQueue(queue)).messageCount), 0)
      assert.deepEqual([...node.taken], ['ours'])
    }))

  it('does not let us in: that is said, and work goes on here', () =>
    withNode(
      async (node) => {
        node.send('lane')
        await until(() => node.broker.problem === 'refused' && node.taken.has('lane'), 'it is said')
      },
      (url) => url.replace(/:[^:@]+@/, ':wrong-password@'),
    ))

  it('has a queue of that name that is another: that is said, and work goes on here', async () => {
    const prefix = ownPrefix()
    await withChannel((channel) => channel.assertQueue(queuesOf(prefix)[0] ?? '', { durable: true }))
    await using wire = await wireTo.rabbit()
    const broker = await openRabbitBroker({ url: wire.url, prefix, prefetch: 1, clock: quick, ...silent })
    try {
      await until(() => broker.problem === 'refused', 'it is said')
    } finally {
      await broker[Symbol.asyncDispose]()
      await clearRabbit(prefix)
    }
  })
})

/** A frame of AMQP 0-9-1 with a method of the connection. */
function method(kind: number, id: number, values: Buffer): Buffer {
  const head = Buffer.from([1, 0, 0, 0, 0, 0, 4 + values.length, 0, kind, 0, id])
  return Buffer.concat([head, values, Buffer.from([0xce])])
}
