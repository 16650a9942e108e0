/** What every broker must do, as data. */
import assert from 'node:assert/strict'
import { priorities } from '@posthouse/contract'
import type { Broker, Ticket } from '../../src/ports/broker.ts'
import { until } from '../journeys/posthouse.ts'

export interface BrokerHarness {
  /** A node's broker, ready to work; at most `prefetch` tickets of a priority wait in it. It goes with the harness. */
  open(prefetch?: number): Promise<Broker>
}

interface Behaviour {
  readonly name: string
  /** Whether it takes more than one process. */
  readonly shared?: true
  run(harness: BrokerHarness): Promise<void>
}

const tickets = (count: number, priority: Ticket['priority'] = priorities.interactive) =>
  Array.from({ length: count }, (_, index): Ticket => ({ lane: `lane-${index}`, priority }))
const lanes = (some: readonly Ticket[]) => some.map(({ lane }) => lane)

export const brokerBehaviours: readonly Behaviour[] = [
  {
    name: 'brings every ticket as it was, and later than the call',
    async run({ open }) {
      const broker = await open()
      const taken: Ticket[] = []
      broker.consume((ticket, done) => {
        taken.push(ticket)
        done?.()
      })
      const sent = [...tickets(50), ...Object.values(priorities).map((priority) => ({ lane: `class-${priority}`, priority }))]
      await until(() => broker.problem === undefined, 'it works')
      for (const ticket of sent) broker.publish(ticket)
      assert.equal(taken.length, 0)
      await until(() => taken.length >= sent.length, 'every ticket comes')
      const byLane = (some: readonly Ticket[]) => some.toSorted((a, b) => (a.lane < b.lane ? -1 : 1))
      assert.deepEqual(byLane(taken), byLane(sent))
    },
  },
  {
    name: 'keeps the order of a priority',
    async run({ open }) {
      const broker = await open()
      const taken: Ticket[] = []
      broker.consume((ticket, done) => {
        taken.push(ticket)
        done?.()
      })
      await until(() => broker.problem === undefined, 'it works')
      for (const ticket of tickets(100)) broker.publish(ticket)
      await until(() => taken.length === 100, 'every ticket comes')
      assert.deepEqual(lanes(taken), lanes(tickets(100)))
    },
  },
  {
    name: 'says how often the database is to be asked, and takes tickets also after its end without a word',
    async run({ open }) {
      const broker = await open()
      assert.ok(broker.sweepEvery > 0 && broker.sweepEvery <= 2000)
      const taken: Ticket[] = []
      broker.consume((ticket) => taken.push(ticket))
      await broker[Symbol.asyncDispose]()
      broker.publish({ lane: 'late', priority: priorities.interactive })
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
      assert.deepEqual(taken, [])
    },
  },
  {
    name: 'gives a ticket to one node',
    shared: true,
    async run({ open }) {
      const taken: string[] = []
      const nodes = [await open(), await open()]
      const by = nodes.map(() => 0)
      for (const [index, node] of nodes.entries())
        node.consume(({ lane }, done) => {
          taken.push(lane)
          by[index] = (by[index] ?? 0) + 1
          done?.()
        })
      await until(() => nodes.every(({ problem }) => problem === undefined), 'both work')
      for (const ticket of tickets(100)) nodes[0]?.publish(ticket)
      await until(() => taken.length >= 100, 'every ticket comes')
      assert.equal(new Set(taken).size, 100)
      assert.ok(
        by.every((count) => count > 0),
        `${by}`,
      )
    },
  },
  {
    name: 'holds no more tickets than it may; what was not taken when a node ends goes to another',
    shared: true,
    async run({ open }) {
      const [first, second] = [await open(3), await open(50)]
      const held: string[] = []
      first.consume(({ lane }) => held.push(lane))
      await until(() => first.problem === undefined, 'the first works')
      for (const ticket of tickets(10)) first.publish(ticket)
      await until(() => held.length === 3, 'some are held')
      const taken: string[] = []
      second.consume(({ lane }, done) => {
        taken.push(lane)
        done?.()
      })
      await until(() => taken.length === 7, 'the other has the rest')
      assert.equal(held.length, 3)
      await first[Symbol.asyncDispose]()
      await until(() => taken.length === 10, 'the other has all')
      assert.deepEqual(new Set(taken), new Set(lanes(tickets(10))))
    },
  },
]
