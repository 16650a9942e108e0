/** Versions beside each other on one database: what the next one adds disturbs nobody; what this one could not bear keeps it out. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { dialectOf } from '../../src/storage/dialects/index.ts'
import { migrate } from '../../src/storage/migrations/index.ts'
import { databases, withStore } from './databases.ts'
import { inbound } from './store-scene.ts'

/** What a statement of ours may read whole. */
const TABLES = ['conversations', 'messages', 'inbox', 'outbox', 'tool_calls', 'users', 'files', 'nodes', 'leases', 'settings']

for (const database of databases)
  describe(`versions on ${database.name}`, { skip: database.missing }, () => {
    it('goes on, without an error, when a newer version adds columns while it runs, and begins beside it', () =>
      withStore(database, async ({ store, another, witness }) => {
        await store.nodes.join({ id: 'n', name: 'n', version: '1' }, 60_000, [])
        const work = async (on: typeof store) => {
          const { conversationId: lane } = await on.inbox.record({ account: 'bot', message: inbound(), priority: 0 })
          const turn = await on.turns.claim(lane, 'n', 10)
          assert.ok(turn)
          await on.turns.release('n', turn, false)
          // As many at once as there are connections that read.
          await Promise.all(Array.from({ length: 8 }, () => on.conversations.find(lane)))
          assert.equal((await on.nodes.list()).length, 1)
          return { lane, said: (await on.conversations.messages(lane, {}, 10)).length }
        }
        const { lane } = await work(store)
        await witness.execute(`insert into migrations (name, applied_at) values ('9999-later', 1)`)
        for (const table of TABLES) await witness.execute(`alter table ${table} add column later text`)
        // It meets the connections that read, one after the other, and all of them are of before.
        assert.ok(await store.conversations.find(lane))
        for (let round = 2; round < 5; round++) assert.equal((await work(store)).said, round)
        const other = await another()
        assert.equal((await work(other)).said, 5)
      }))

    it('refuses to begin, and to come back, where a newer version takes away what it needs; nothing is changed', () =>
      withStore(database, async ({ store, another, witness }) => {
        await witness.execute(`insert into migrations (name, applied_at) values ('9999-later', 1)`)
        await witness.execute(
          `update meta set value = cast('9999-later' as ${database.shared ? 'text)::bytea' : 'blob)'} where key = 'least'`,
        )
        await assert.rejects(another(), { name: 'VersionRefused', reason: 'newer' })
        await assert.rejects(store.nodes.join({ id: 'n', name: 'n', version: '1' }, 60_000, []), { name: 'VersionRefused' })
        assert.deepEqual(await store.nodes.list(), [])
      }))

    it('refuses to copy what it does not know', () =>
      withStore(database, async ({ url, witness }) => {
        const dialect = await dialectOf(url)
        await using opened = await dialect.open(url, {})
        await migrate(opened, dialect)
        await witness.execute(`insert into migrations (name, applied_at) values ('9999-later', 1)`)
        await assert.rejects(migrate(opened, dialect), { name: 'VersionRefused', reason: 'newer' })
      }))
  })
