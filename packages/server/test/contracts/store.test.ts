import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import { loadKey } from '../../src/security/key.ts'
import { createSealer } from '../../src/security/sealer.ts'
import { openStore } from '../../src/storage/index.ts'
import { withMutant } from '../chaos/mutants.ts'
import { databases, withStore } from './databases.ts'
import { nodeBehaviours } from './leases.ts'
import { storeBehaviours } from './store.ts'
import { inbound } from './store-scene.ts'

const tables = [
  ...['conversations', 'messages', 'inbox', 'outbox', 'tool_calls', 'account_state', 'settings', 'users', 'setup_links', 'logins'],
  ...['access_tokens', 'files', 'file_chunks', 'erasures', 'nodes', 'leases'],
]

for (const database of databases)
  describe(`store on ${database.name}`, { skip: database.missing }, () => {
    for (const { name, run } of storeBehaviours) it(name, () => withStore(database, run))

    for (const { name, shared, run } of nodeBehaviours)
      if (!shared || database.shared) it(name, () => withStore(database, (opened) => run({ ...opened, shared: database.shared })))

    it('P12: nothing that was said is readable in what is kept', () =>
      withStore(database, async ({ store, witness }) => {
        const canary = 'canary-7f3e9a'
        const parts = [{ type: 'text' as const, text: canary }]
        await store.inbox.record({
          account: 'bot',
          message: inbound({ parts, place: { room: 'r', type: 'group', title: canary } }),
          priority: 0,
        })
        await store.accountState.set('bot', 'cursor', canary)
        await store.files.add({ id: newId(), owner: 'u', kind: 'file', name: canary, mime: 'text/plain', size: 1 })
        const { conversationId } = await store.inbox.record({ account: 'bot', message: inbound(), priority: 0 })
        const turn = await store.turns.claim(conversationId, 'n', 10)
        assert.ok(turn)
        const id = newId()
        await store.toolCalls.intend(turn, { id, step: 1, callId: canary, name: 'look', arguments: JSON.stringify({ what: canary }) })
        await store.toolCalls.settle(turn, id, 'done', canary)
        const kept = await witness.everything()
        assert.ok(kept.includes(turn.messages[0]?.id ?? '?'), 'it looked at what is kept')
        assert.equal(kept.includes(canary), false)
      }))

    it('refuses data that was sealed with another key, and leaves it as it is', () =>
      withStore(database, async ({ store, folder, url }) => {
        await store[Symbol.asyncDispose]()
        const other = createSealer(loadKey(join(folder, 'other.key'), false))
        await assert.rejects(openStore({ url, sealer: other, clock: systemClock, newId }), /does not fit/)
      }))

    it('is made once, however many begin with it', () =>
      withStore(database, async ({ another, witness }) => {
        await witness.execute('drop table migrations')
        for (const table of tables) await witness.execute(`drop table ${table}`)
        const opened = await Promise.all([another(), another(), another(), another()])
        for (const store of opened) await store.settings.set('a', 'b')
      }))
  })

describe('P7, in what the stores are asked', { skip: databases.find(({ shared }) => shared)?.missing }, () => {
  it('turns red for the mutant "missing epoch check"', () => {
    const name = 'P7: who lost its lease admits nothing'
    const flags = ['--conditions=posthouse-source', '--disable-warning=ExperimentalWarning']
    // Else the process takes itself for a part of this run.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const run = (mutant?: string) =>
      spawnSync(process.execPath, [...flags, '--test', '--test-reporter=tap', `--test-name-pattern=${name}`, import.meta.filename], {
        env: withMutant(mutant, env),
        encoding: 'utf8',
      }).stdout
    assert.match(run(), /^# pass 2$/m)
    assert.match(run('missing epoch check'), /^# fail 2$/m)
  })
})
