import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Turn } from '../../ports/store.ts'
import { runTurn } from './turn.ts'
import type { TurnParts } from './work.ts'

const HOUR = 3_600_000
const NOW = 1_800_000_000_000

test('the assistant is silent while a person answers, and comes back when that person said nothing for long', async () => {
  const givenBack: string[] = []
  const parts = {
    clock: { now: () => NOW },
    accounts: { find: () => undefined },
    assistant: { returnAfter: 2 * HOUR },
    newId: () => 'new',
    store: { handovers: { giveBack: async (id: string) => givenBack.push(id) > 0 } },
  } as unknown as TurnParts
  const run = async (held: Turn['conversation']['held']) => {
    const conversation = { id: 'talk', account: 'gone', place: { room: 'r', type: 'direct' }, held }
    // One that failed too often: whoever gets beyond the person sets it aside.
    const messages = [{ id: 'm', attempts: 9, sentAt: NOW, body: { parts: [] } }]
    const turn = { id: 't', conversation, messages } as unknown as Turn
    const timing = { model: 0, firstToken: undefined }
    return (await runTurn(turn, parts, { signal: new AbortController().signal, draft: { text: '' }, timing })).outcome
  }
  assert.equal(await run({ by: 'eve', at: NOW - 2 * HOUR }), 'handed')
  assert.deepEqual(givenBack, [])
  assert.equal(await run({ by: 'eve', at: NOW - 2 * HOUR - 1 }), 'quarantined')
  assert.deepEqual(givenBack, ['talk'])
  assert.equal(await run(undefined), 'quarantined')
  assert.equal(givenBack.length, 1)
})
