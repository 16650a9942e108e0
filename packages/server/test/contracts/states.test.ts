/** The state machines: as tables they are whole, and storage walks only their steps, whatever is asked of it in whatever order. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { deliverySteps } from '@posthouse/contract'
import fc from 'fast-check'
import { newId } from '../../src/base/ids.ts'
import { inboxSteps, StaleDelivery, StaleTurn, type Turn, toolCallSteps } from '../../src/ports/store.ts'
import { databases, type Opened, type TestedDatabase, withStore } from './databases.ts'
import { storeBehaviours } from './store.ts'
import { inbound } from './store-scene.ts'

type Steps = Readonly<Record<string, readonly string[]>>
const machines: Readonly<Record<string, { readonly steps: Steps; readonly first: string; readonly ends: readonly string[] }>> = {
  inbox: { steps: inboxSteps, first: 'pending', ends: ['done', 'dropped'] },
  tool_calls: { steps: toolCallSteps, first: 'intended', ends: ['done', 'failed', 'unknown'] },
  outbox: { steps: deliverySteps, first: 'pending', ends: ['sent', 'dropped'] },
}

describe('the tables', () => {
  for (const [name, { steps, first, ends }] of Object.entries(machines)) {
    it(`${name}: every state is reached, only ends have no exit, and every state can come to an end`, () => {
      const reachable = (from: string) => {
        const seen = new Set([from])
        for (const state of seen) for (const next of steps[state] ?? []) seen.add(next)
        return seen
      }
      assert.deepEqual(reachable(first), new Set(Object.keys(steps)))
      assert.deepEqual(
        Object.keys(steps).filter((state) => steps[state]?.length === 0),
        ends,
      )
      for (const state of Object.keys(steps))
        assert.ok(
          ends.some((end) => reachable(state).has(end)),
          state,
        )
    })
  }
})

/** A store whose database writes down every step itself. */
const watched = (database: TestedDatabase, work: (harness: Opened) => Promise<void>) =>
  withStore(database, async (opened) => {
    await opened.witness.watch(Object.keys(machines))
    await work(opened)
  })

const allowed = new Set(
  Object.entries(machines).flatMap(([table, { steps }]) =>
    Object.entries(steps).flatMap(([was, next]) => next.map((state) => `${table}: ${was} -> ${state}`)),
  ),
)
const forbidden = (steps: ReadonlySet<string>) => [...steps.difference(allowed)]

const calls = [
  'admit',
  'claim',
  'finish',
  'bury-turn',
  'release',
  'recover',
  'stage',
  'adopt',
  'begin',
  'confirm',
  'retry',
  'bury',
  'again',
  'drop',
  'intend',
  'settle',
  'take-over',
  'hand-over',
  'give-back',
] as const
const walk = fc.array(fc.record({ call: fc.constantFrom(...calls), pick: fc.nat() }), { minLength: 30, maxLength: 80 })

/** Calls in an order that nobody sane would choose, on ids of any state. */
async function stumble({ store }: Opened, script: readonly { readonly call: (typeof calls)[number]; readonly pick: number }[]) {
  const [lanes, messages, deliveries, toolCalls]: [string[], string[], string[], string[]] = [[], [], [], []]
  const turns: Turn[] = []
  const some = (ids: readonly string[], pick: number) => ids[pick % Math.max(1, ids.length)] ?? 'nothing'
  for (const { call, pick } of script) {
    const delivery = some(deliveries, pick)
    const someTurn = turns[pick % Math.max(1, turns.length)]
    const finish = async (inbox: 'done' | 'dead') => {
      const turn = turns[pick % Math.max(1, turns.length)]
      if (!turn) return
      const id = newId()
      deliveries.push(id)
      await store.turns.finish('node', {
        turnId: turn.id,
        lane: turn.conversation.id,
        account: 'bot',
        outcome: inbox === 'done' ? 'replied' : 'quarantined',
        inbox,
        messages: [{ id, role: 'assistant', parts: [{ type: 'text', text: 'answer' }], status: 'complete' }],
        deliveries: [{ id, begun: pick % 2 === 0 }],
      })
    }
    const actions: Record<(typeof calls)[number], () => Promise<unknown>> = {
      async admit() {
        const message = inbound({ place: { room: `room-${pick % 3}`, type: 'direct' } })
        const { messageId, conversationId } = await store.inbox.record({ account: 'bot', message, priority: 0 })
        messages.push(messageId)
        lanes.push(conversationId)
      },
      async claim() {
        const turn = await store.turns.claim(some(lanes, pick), 'node', 1 + (pick % 3))
        if (turn) turns.push(turn)
      },
      finish: () => finish('done'),
      'bury-turn': () => finish('dead'),
      async release() {
        const turn = turns[pick % Math.max(1, turns.length)]
        if (turn) await store.turns.release('node', turn, pick % 2 === 0)
      },
      recover: () => store.turns.recover(),
      async stage() {
        if (lanes.length === 0) return
        const id = newId()
        deliveries.push(id)
        const message = {
          id,
          role: 'assistant' as const,
          parts: [{ type: 'text' as const, text: 'word' }],
          status: 'complete' as const,
        }
        await store.outbox.stage({ id: some(lanes, pick), account: 'bot' }, message, { id, begun: pick % 2 === 0 })
      },
      async intend() {
        if (!someTurn) return
        const id = newId()
        toolCalls.push(id)
        await store.toolCalls.intend(someTurn, { id, step: 1, callId: 'c', name: pick % 2 === 0 ? 'look' : 'book', arguments: '{}' })
      },
      async settle() {
        const state = (['done', 'failed', 'unknown'] as const)[pick % 3] ?? 'done'
        if (someTurn) await store.toolCalls.settle(someTurn, some(toolCalls, pick), state, 'result')
      },
      async 'take-over'() {
        if (someTurn) await store.toolCalls.takeOver(someTurn, (name) => name === 'look', 'lost')
      },
      async 'hand-over'() {
        const conversation = await store.conversations.find(some(lanes, pick))
        if (!conversation) return
        const id = newId()
        deliveries.push(id)
        await store.handovers.take(conversation.id, 'ann')
        const words = {
          id,
          role: 'assistant' as const,
          parts: [{ type: 'text' as const, text: 'I am here.' }],
          status: 'complete' as const,
        }
        await store.handovers.say(conversation, words, undefined)
      },
      'give-back': () => store.handovers.giveBack(some(lanes, pick)),
      adopt: () => store.outbox.adopt('node', some(lanes, pick)),
      begin: () => store.outbox.begin('node', delivery),
      confirm: () => store.outbox.confirm('node', delivery, { id: '1', room: 'r' }, pick % 2 === 0),
      retry: () => store.outbox.retry('node', delivery, { failure: 'transient', detail: '', nextAt: 0, ambiguous: pick % 2 === 0 }),
      bury: () => store.outbox.bury('node', delivery, 'invalid', ''),
      again: () => store.dead.retry(some([...deliveries, ...messages], pick)),
      drop: () => store.dead.drop(some([...deliveries, ...messages], pick)),
    }
    try {
      await actions[call]()
    } catch (error) {
      if (!(error instanceof StaleTurn || error instanceof StaleDelivery)) throw error
    }
  }
}

for (const database of databases)
  describe(`storage walks only the tables, on ${database.name}`, { skip: database.missing }, () => {
    it('in what is asked of every store', async () => {
      const walked = new Set<string>()
      for (const { run } of storeBehaviours)
        await watched(database, async (harness) => {
          await run(harness)
          for (const step of await harness.witness.steps()) walked.add(step)
        })
      assert.deepEqual(forbidden(walked), [])
    })

    it('in any order of calls', async () => {
      const walked = new Set<string>()
      await watched(database, (harness) =>
        fc.assert(
          fc.asyncProperty(walk, async (script) => {
            await stumble(harness, script)
            const steps = await harness.witness.steps()
            for (const step of steps) walked.add(step)
            assert.deepEqual(forbidden(steps), [])
          }),
          { numRuns: 50 },
        ),
      )
      assert.ok(walked.size >= allowed.size / 2, `the walk went far enough: ${[...walked].join(', ')}`)
    })
  })
