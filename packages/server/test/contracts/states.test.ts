/** The state machines: as tables they are whole, and storage walks only their steps, whatever is asked of it in whatever order. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import { deliverySteps } from '@posthouse/contract'
import fc from 'fast-check'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import { inboxSteps, StaleTurn, type Store, type Turn, toolCallSteps } from '../../src/ports/store.ts'
import { loadKey } from '../../src/security/key.ts'
import { createSealer } from '../../src/security/sealer.ts'
import { openStore } from '../../src/storage/index.ts'
import { inbound, type StoreHarness, storeBehaviours } from './store.ts'

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

interface Watched extends StoreHarness {
  /** Steps that were taken, as `table: was -> now`. */
  steps(): ReadonlySet<string>
}

/** A store whose database writes down every step itself. */
async function watched(work: (harness: Watched) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-states-'))
  const path = join(folder, 'data', 'posthouse.db')
  let now = 1_000_000
  const clock: Clock = { ...systemClock, now: () => now }
  const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
  const open = () => openStore({ path, sealer, clock, newId })
  let store = await open()
  const others: Store[] = []
  const witness = new DatabaseSync(path)
  witness.exec('PRAGMA synchronous = OFF; CREATE TABLE walked (step TEXT PRIMARY KEY) WITHOUT ROWID')
  for (const table of Object.keys(machines)) {
    witness.exec(
      `CREATE TRIGGER walk_${table} AFTER UPDATE OF state ON ${table} BEGIN
        INSERT OR IGNORE INTO walked VALUES ('${table}: ' || OLD.state || ' -> ' || NEW.state); END`,
    )
  }
  try {
    await work({
      store,
      newId,
      advance: (ms) => {
        now += ms
      },
      async reopen() {
        await store[Symbol.asyncDispose]()
        store = await open()
        return store
      },
      async another() {
        const other = await open()
        others.push(other)
        return other
      },
      steps: () =>
        new Set(
          witness
            .prepare('SELECT step FROM walked')
            .all()
            .map((row) => String(row.step)),
        ),
    })
  } finally {
    witness.close()
    for (const each of [store, ...others]) await each[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  }
}

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
  'begin',
  'confirm',
  'retry',
  'bury',
  'again',
  'drop',
  'intend',
  'settle',
  'take-over',
] as const
const walk = fc.array(fc.record({ call: fc.constantFrom(...calls), pick: fc.nat() }), { minLength: 30, maxLength: 80 })

/** Calls in an order that nobody sane would choose, on ids of any state. */
async function stumble({ store }: Watched, script: readonly { readonly call: (typeof calls)[number]; readonly pick: number }[]) {
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
      recover: () => store.turns.recover(pick % 2 === 0 ? [] : ['node']),
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
      begin: () => store.outbox.begin(delivery),
      confirm: () => store.outbox.confirm(delivery, { id: '1', room: 'r' }, pick % 2 === 0),
      retry: () => store.outbox.retry(delivery, { failure: 'transient', detail: '', nextAt: 0, ambiguous: pick % 2 === 0 }),
      bury: () => store.outbox.bury(delivery, 'invalid', ''),
      again: () => store.dead.retry(some([...deliveries, ...messages], pick)),
      drop: () => store.dead.drop(some([...deliveries, ...messages], pick)),
    }
    try {
      await actions[call]()
    } catch (error) {
      if (!(error instanceof StaleTurn)) throw error
    }
  }
}

describe('storage walks only the tables', () => {
  it('in what is asked of every store', async () => {
    const walked = new Set<string>()
    for (const { run } of storeBehaviours)
      await watched(async (harness) => {
        await run(harness)
        for (const step of harness.steps()) walked.add(step)
      })
    assert.deepEqual(forbidden(walked), [])
  })

  it('in any order of calls', async () => {
    const walked = new Set<string>()
    await watched((harness) =>
      fc.assert(
        fc.asyncProperty(walk, async (script) => {
          await stumble(harness, script)
          const steps = harness.steps()
          for (const step of steps) walked.add(step)
          assert.deepEqual(forbidden(steps), [])
        }),
        { numRuns: 15 },
      ),
    )
    assert.ok(walked.size >= allowed.size / 2, `the walk went far enough: ${[...walked].join(', ')}`)
  })
})
