/** What every database must hold between nodes, as data: who is there, who owns what, and who may write no more (P7). Two stores on one database. */
import assert from 'node:assert/strict'
import { type Lease, StaleLease } from '../../src/ports/leases.ts'
import { type Delivery, StaleDelivery, type Store } from '../../src/ports/store.ts'
import { inbound, type StoreHarness } from './store-scene.ts'

export interface NodesHarness extends StoreHarness {
  /** Several gateways may be there. */
  readonly shared: boolean
}

interface Behaviour {
  readonly name: string
  /** Only where several gateways may be there. */
  readonly shared?: boolean
  run(harness: NodesHarness): Promise<void>
}

const LONG = 60_000
const join = (store: Store, id: string, ttl = LONG, formerly: string[] = []) =>
  store.nodes.join({ id, name: `name of ${id}`, version: '1' }, ttl, formerly)
/** Both are there; on a file the second one would bury the first. */
const both = async ({ store, another, shared }: NodesHarness) => {
  const other = await another()
  await join(store, 'a')
  if (shared) await join(other, 'b')
  return other
}
const names = async (store: Store) => (await store.nodes.list()).map(({ id, alive }) => `${id} ${alive ? 'lives' : 'is overdue'}`)
const admit = (store: Store, lease?: Lease) =>
  store.inbox.record({ account: 'bot', message: inbound(), priority: 0, ...(lease ? { lease } : {}) })

/** A turn of a node that ends with an answer to be sent. */
async function answered({ newId }: StoreHarness, store: Store, node: string, begun = false) {
  const { conversationId: lane } = await admit(store)
  const turn = await store.turns.claim(lane, node, 1)
  assert.ok(turn)
  const id = newId()
  const result = {
    turnId: turn.id,
    lane,
    account: 'bot',
    outcome: 'replied' as const,
    inbox: 'done' as const,
    messages: [{ id, role: 'assistant' as const, parts: [{ type: 'text' as const, text: 'answer' }], status: 'complete' as const }],
    deliveries: [{ id, begun }],
  }
  const { waits } = await store.turns.finish(node, result)
  return { id, lane, waits }
}
const outlines = (deliveries: readonly Delivery[]) => deliveries.map(({ id, state, node }) => `${id} ${state} ${node}`)

export const nodeBehaviours: readonly Behaviour[] = [
  {
    name: 'a node is there until it leaves, and who follows it buries it at once',
    async run({ store }) {
      await join(store, 'a')
      assert.equal(await store.nodes.beat('a', LONG, true), true)
      assert.deepEqual(
        (await store.nodes.list()).map(({ id, name, draining, alive }) => ({ id, name, draining, alive })),
        [{ id: 'a', name: 'name of a', draining: true, alive: true }],
      )
      await join(store, 'a2', LONG, ['a'])
      assert.deepEqual(await names(store), ['a2 lives'])
      await store.nodes.leave('a2')
      assert.deepEqual(await names(store), [])
    },
  },
  {
    name: 'who was not seen in time is dead by the clock of the database, and stays dead; a clock that is ten minutes off changes nothing',
    shared: true,
    async run({ store, another, advance }) {
      const other = await another()
      await join(store, 'a', 1)
      await join(other, 'b')
      advance(600_000)
      assert.equal(await other.nodes.beat('b', LONG, false), true)
      for (let dead = false; !dead; ) dead = (await names(other)).includes('a is overdue')
      assert.equal(await store.nodes.beat('a', LONG, false), false)
      assert.deepEqual(await store.nodes.bury('a'), [], 'nobody buries itself')
      assert.deepEqual(await other.nodes.bury('b'), ['name of a'])
      assert.deepEqual([await store.nodes.beat('a', LONG, false), await names(store)], [false, ['b lives']])
    },
  },
  {
    name: 'the only one there is lives on, however long it was silent',
    async run({ store, shared }) {
      if (shared) return
      await join(store, 'a', 1)
      for (let late = false; !late; ) late = (await names(store)).includes('a is overdue')
      assert.equal(await store.nodes.beat('a', LONG, false), true)
    },
  },
  {
    name: 'a lease is taken once, refused to others, given back; its epoch rises with every taking',
    async run(harness) {
      const other = await both(harness)
      const { store } = harness
      const first = await store.leases.take('bot', 'a')
      assert.deepEqual(first, { name: 'bot', node: 'a', epoch: 1 })
      assert.deepEqual([await other.leases.free('bot'), await other.leases.take('bot', 'b')], [false, undefined])
      assert.deepEqual(await other.leases.list(), [first])
      assert.ok(first)
      await store.leases.release(first)
      assert.deepEqual([await other.leases.free('bot'), await other.leases.list()], [true, []])
      assert.equal((await other.leases.take('bot', 'b'))?.epoch, 2)
      await store.leases.release(first)
      assert.equal((await store.leases.list()).length, harness.shared ? 1 : 0, 'what was taken since is not given back')
    },
  },
  {
    name: 'two that take a lease in the same moment are told apart',
    async run(harness) {
      const other = await both(harness)
      for (let count = 0; count < 10; count++) {
        const taken = await Promise.all([
          harness.store.leases.take(`bot ${count}`, 'a'),
          other.leases.take(`bot ${count}`, harness.shared ? 'b' : 'a'),
        ])
        assert.equal(taken.filter(Boolean).length, 1)
      }
    },
  },
  {
    name: 'P7: who lost its lease admits nothing and keeps nothing, and the next owner does',
    async run(harness) {
      const { store, shared } = harness
      const other = await both(harness)
      const next = shared ? 'b' : 'a'
      const lease = await store.leases.take('bot', 'a')
      assert.ok(lease)
      assert.equal((await admit(store, lease)).status, 'admitted')
      await store.accountState.set('bot', 'offset', '1', lease)
      // A node that is buried owns nothing any more, also if it knows nothing of it.
      if (shared) await other.nodes.leave('a')
      else await store.leases.release(lease)
      const taken = await other.leases.take('bot', next)
      assert.deepEqual(taken, { name: 'bot', node: next, epoch: 2 })
      await other.accountState.set('bot', 'offset', '2', taken)
      await assert.rejects(admit(store, lease), StaleLease)
      await assert.rejects(store.accountState.set('bot', 'offset', '1', lease), StaleLease)
      await assert.rejects(store.accountState.swap('bot', 'offset', '2', '1', lease), StaleLease)
      assert.deepEqual([await other.accountState.get('bot', 'offset'), await other.inbox.depth()], ['2', 1])
      assert.equal((await admit(other, taken)).status, 'admitted')
      assert.equal((await admit(store)).status, 'admitted', 'what came by a webhook has no lease')
    },
  },
  {
    name: 'turns of nodes that are there are left alone, those of others are given back',
    async run(harness) {
      const { store } = harness
      await both(harness)
      const { conversationId } = await admit(store)
      await store.turns.claim(conversationId, 'a', 1)
      assert.deepEqual([await store.turns.recover(), await store.turns.running()], [0, 1])
      await store.nodes.leave('a')
      assert.deepEqual([await store.turns.recover(), await store.turns.running()], [1, 0])
      assert.equal((await store.inbox.waitingLanes(10)).length, 1)
    },
  },
  {
    name: 'P4: the answers of a conversation are sent by one node, whoever wrote them; a dead one is followed in all of them',
    shared: true,
    async run(harness) {
      const { store } = harness
      const other = await both(harness)
      const first = await answered(harness, store, 'a', true)
      const second = await answered(harness, other, 'b', true)
      assert.deepEqual([first.waits, second.waits], [false, true])
      assert.deepEqual(await other.outbox.due('b', Number.MAX_SAFE_INTEGER, 0, 10), [])
      assert.deepEqual(await other.outbox.adopt('b', first.lane), [])
      const all = [`${first.id} sending a`, `${second.id} pending a`]
      assert.deepEqual(outlines(await store.outbox.adopt('a', first.lane)), all)
      await store.nodes.leave('a')
      assert.equal((await other.outbox.due('b', Number.MAX_SAFE_INTEGER, 0, 10)).length, 2)
      assert.deepEqual(outlines(await other.outbox.adopt('b', first.lane)), [`${first.id} sending b`, `${second.id} pending b`])
      for (const write of [
        () => store.outbox.confirm('a', first.id, { id: '1', room: 'room' }, true),
        () => store.outbox.retry('a', first.id, { failure: 'transient', detail: '', nextAt: 0, ambiguous: false }),
        () => store.outbox.bury('a', first.id, 'invalid', ''),
        () => store.outbox.begin('a', second.id),
      ])
        await assert.rejects(write(), StaleDelivery)
      await other.outbox.confirm('b', first.id, { id: '1', room: 'room' }, true)
      await other.outbox.begin('b', second.id)
      await other.outbox.confirm('b', second.id, { id: '2', room: 'room' }, true)
      assert.equal((await answered(harness, other, 'b', true)).waits, false)
    },
  },
  {
    name: 'what is staged beside a turn is sent by whoever sends what is before it, else by the first that looks',
    shared: true,
    async run(harness) {
      const { store, newId } = harness
      const other = await both(harness)
      const stage = async (lane: string) => {
        const id = newId()
        const message = { id, role: 'system' as const, parts: [{ type: 'text' as const, text: 'word' }], status: 'complete' as const }
        await other.outbox.stage({ id: lane, account: 'bot' }, message, { id, begun: false })
        return id
      }
      const { id, lane } = await answered(harness, store, 'a')
      const behind = await stage(lane)
      assert.deepEqual(await other.outbox.adopt('b', lane), [])
      assert.deepEqual(outlines(await store.outbox.adopt('a', lane)), [`${id} pending a`, `${behind} pending a`])
      for (const each of [id, behind]) {
        await store.outbox.begin('a', each)
        await store.outbox.bury('a', each, 'permission', '')
      }
      const alone = await stage(lane)
      assert.deepEqual(outlines(await other.outbox.adopt('b', lane)), [`${alone} pending b`])
      await store.dead.retry(id)
      assert.deepEqual(await store.outbox.adopt('a', lane), [], 'let go again, it goes with the others')
      assert.deepEqual(outlines(await other.outbox.adopt('b', lane)), [`${id} pending b`, `${alone} pending b`])
    },
  },
  {
    name: 'deliveries that a node gives back are for whoever looks, begun ones as begun; others it cannot give back',
    shared: true,
    async run(harness) {
      const { store } = harness
      const other = await both(harness)
      const begun = await answered(harness, store, 'a', true)
      const waiting = await answered(harness, store, 'a')
      assert.equal(begun.lane, waiting.lane)
      const due = async (node: string) => (await other.outbox.due(node, 2_000_000, 0, 10)).map(({ id, account }) => `${id} ${account}`)
      const all = [`${begun.id} bot`, `${waiting.id} bot`]
      await other.outbox.release('b', begun.lane)
      assert.deepEqual([await due('a'), await due('b')], [all, []])
      await store.outbox.release('a', begun.lane)
      assert.deepEqual([await due('a'), await due('b')], [all, all])
      await assert.rejects(store.outbox.confirm('a', begun.id, { id: '1', room: 'room' }, true), StaleDelivery)
      assert.deepEqual(outlines(await other.outbox.adopt('b', begun.lane)), [`${begun.id} sending b`, `${waiting.id} pending b`])
    },
  },
]
