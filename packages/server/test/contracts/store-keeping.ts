/** What every store keeps beside the message's way: conversations of owners, files, accounts, what is deleted and what has served its time. */
import assert from 'node:assert/strict'
import type { FileRef } from '@posthouse/contract'
import { pause, pausesOf, resume } from '../../src/ports/pauses.ts'
import { admit, answer, type Behaviour, inbound } from './store-scene.ts'

export const keepingBehaviours: readonly Behaviour[] = [
  {
    name: 'a conversation belongs to its owner only',
    async run({ store, newId }) {
      const id = newId()
      const place = { room: id, type: 'direct' as const }
      await store.inbox.record({ account: 'web', message: inbound({ place }), priority: 0, conversationId: id, owner: 'ann' })
      await assert.rejects(
        store.inbox.record({ account: 'web', message: inbound({ place }), priority: 0, conversationId: id, owner: 'bob' }),
        /not-found/,
      )
      assert.equal((await store.conversations.list('ann', 'web', 10)).length, 1)
      assert.equal((await store.conversations.list('bob', 'web', 10)).length, 0)
      const file = { kind: 'file' as const, name: 'a.txt', mime: 'text/plain', size: 1, id: newId() }
      await store.files.add({ ...file, owner: 'ann' })
      assert.deepEqual(
        [await store.files.used('ann'), await store.files.used('bob')],
        [
          { all: 1, own: 1 },
          { all: 1, own: 0 },
        ],
      )
      const parts = [{ type: 'file' as const, file }]
      await store.inbox.record({ account: 'web', message: inbound({ place, parts }), priority: 0, conversationId: id, owner: 'ann' })
      assert.deepEqual(await store.conversations.remove(id), [file.id])
      assert.equal(await store.files.find(file.id), undefined)
      assert.deepEqual(await store.files.used('ann'), { all: 0, own: 0 })
      assert.equal(await store.conversations.find(id), undefined)
    },
  },
  {
    name: 'a file belongs to the conversation that it was sent in; one that was never sent is nobody’s after its time',
    async run({ store, newId, advance }) {
      const conversationId = newId()
      const place = { room: conversationId, type: 'direct' as const }
      const send = (one: FileRef, owner: string, id: string) =>
        store.inbox.record({
          account: 'web',
          message: inbound({ place: { ...place, room: id }, parts: [{ type: 'file', file: one }] }),
          priority: 0,
          conversationId: id,
          owner,
        })
      const file = () => ({ id: newId(), owner: 'ann', kind: 'file' as const, name: 'a.txt', mime: 'text/plain', size: 1 })
      const [old, sent, forgotten] = [file(), file(), file()]
      await store.files.add(old)
      advance(1000)
      await store.files.add(sent)
      await store.files.add(forgotten)
      await send(sent, 'bob', newId())
      assert.equal((await store.files.find(sent.id))?.owner, 'ann', 'only its owner gives it away')
      await send(sent, 'ann', conversationId)
      assert.equal((await store.files.find(sent.id))?.owner, conversationId)
      assert.deepEqual(await store.files.abandon(1_000_500, 1_000_500), [], 'too young')
      assert.deepEqual(await store.files.abandon(1_000_500, 9_000_000), [forgotten.id])
      assert.equal(await store.files.find(forgotten.id), undefined)
      assert.deepEqual(await store.files.abandon(1_000_500, 9_000_000), [forgotten.id], 'found again until its bytes are gone')
      await store.files.remove([forgotten.id, sent.id])
      assert.deepEqual(await store.files.abandon(1_000_500, 9_000_000), [])
      assert.ok((await store.files.find(sent.id)) && (await store.files.find(old.id)))
    },
  },
  {
    name: 'what is deleted is written down by its id, for longer than backups are kept',
    async run({ store, newId, advance }) {
      const { conversationId } = await admit(store)
      const token = { id: newId(), name: 't', userId: 'u', scopes: [], createdAt: 1, expiresAt: 2 }
      await store.users.addToken(token)
      assert.deepEqual(await store.erasures(), [])
      await store.conversations.remove(conversationId)
      await store.users.revokeToken(token.id)
      const noted = (await store.erasures()).map(({ kind, id }) => `${kind} ${id}`).sort()
      assert.deepEqual(noted, [`conversation ${conversationId}`, `token ${token.id}`])
      const day = 86_400_000
      advance(399 * day)
      await store.prune(1_000_000 + 399 * day)
      assert.equal((await store.erasures()).length, 2)
      await store.prune(1_000_001 + 400 * day)
      assert.deepEqual(await store.erasures(), [])
    },
  },
  {
    name: 'bytes of a file that nothing is known of are lost, unless they were there before the database',
    async run({ store, newId }) {
      const [known, unknown] = [newId(), newId()]
      await store.files.add({ id: known, owner: 'ann', kind: 'file', name: 'a', mime: 'text/plain', size: 1 })
      assert.deepEqual(await store.files.lost([known, unknown, '00000000-0000-7000-8000-000000000000']), [unknown])
    },
  },
  {
    name: 'the set-up link makes one account, once, in time',
    async run({ store, newId, advance }) {
      const user = () => ({ id: newId(), name: 'ann', role: 'admin' as const, passwordHash: 'x' })
      await store.users.setLink('hash', 10_000_000, true)
      assert.equal(await store.users.setUp('wrong', user()), false)
      advance(20_000_000)
      assert.equal(await store.users.setUp('hash', user()), false, 'expired')
      await store.users.setLink('void', 90_000_000, true)
      await store.users.setLink('hash1', 90_000_000, true)
      assert.equal(await store.users.setUp('void', user()), false, 'a later one took its place')
      await store.users.setLink('hash2', 90_000_000, false)
      const used = await Promise.all(['hash1', 'hash2'].map((hash) => store.users.setUp(hash, { ...user(), name: hash })))
      assert.deepEqual(used.toSorted(), [false, true], 'of several nodes one')
      await store.users.setLink('hash3', 90_000_000, true)
      assert.equal(await store.users.setUp('hash3', user()), false, 'there is an account already')
    },
  },
  {
    name: 'a login ends with its time, with signing out, and with a new password',
    async run({ store, advance }) {
      await store.users.add({ id: 'u', name: 'ann', role: 'user', passwordHash: 'x' })
      await store.users.addLogin('one', 'u', 5_000_000)
      await store.users.addLogin('two', 'u', 90_000_000)
      assert.equal((await store.users.login('one'))?.id, 'u')
      await store.users.removeLogin('one')
      assert.equal(await store.users.login('one'), undefined)
      await store.users.changePassword('u', 'y')
      assert.equal(await store.users.login('two'), undefined)
      await store.users.addLogin('three', 'u', 90_000_000)
      advance(99_000_000)
      assert.equal(await store.users.login('three'), undefined)
    },
  },
  {
    name: 'retention takes what is settled and old, and nothing that waits',
    async run(harness) {
      const { store, advance } = harness
      const done = await admit(store, { key: 'done' })
      const turn = await store.turns.claim(done.conversationId, 'n', 1)
      await store.turns.finish('n', { ...answer(harness, turn), messages: [], deliveries: [] })
      const waiting = await admit(store, { key: 'waiting' })
      advance(8 * 86_400_000)
      await store.prune(1_000_000 + 8 * 86_400_000)
      assert.equal((await admit(store, { key: 'done' })).status, 'duplicate', 'keys are kept for longer than 7 days')
      await store.prune(1_000_000 + 40 * 86_400_000)
      assert.equal((await store.inbox.outcome(waiting.messageId))?.state, 'pending')
      assert.equal(await store.inbox.outcome(done.messageId), undefined)
    },
  },
  {
    name: 'who was refused is remembered for a month, and other settings for ever',
    async run({ store, advance }) {
      const keys = ['denied:bot:7', 'denied;', 'model']
      for (const key of keys) assert.equal(await store.settings.once(key), true)
      await store.prune(1_000_000 + 29 * 86_400_000)
      assert.equal(await store.settings.once('denied:bot:7'), false)
      advance(1)
      await store.prune(1_000_000 + 31 * 86_400_000)
      assert.deepEqual(await Promise.all(keys.map((key) => store.settings.once(key))), [true, false, false])
    },
  },
  {
    name: 'of all who change a value of an account from the same one, on whatever node, one does',
    async run({ store, another }) {
      const other = await another()
      const race = async (before: string | undefined) => {
        const values = Array.from({ length: 10 }, (_, index) => `${before ?? ''}${index}`)
        const tries = values.map((value, index) => (index % 2 ? store : other).accountState.swap('bot', 'k', before, value))
        const won = (await Promise.all(tries)).flatMap((did, index) => (did ? [values[index]] : []))
        assert.equal(won.length, 1)
        assert.equal(await other.accountState.get('bot', 'k'), won[0])
        return won[0]
      }
      const first = await race(undefined)
      const second = await race(first)
      assert.equal(await store.accountState.swap('bot', 'k', 'another', 'x'), false)
      assert.equal(await store.accountState.swap('bot', 'k', undefined, 'x'), false)
      assert.equal(await store.accountState.swap('other', 'k', second, 'x'), false)
      assert.equal(await store.accountState.get('bot', 'k'), second)
    },
  },
  {
    name: 'of all who change a setting from the same one, on whatever node, one does; pauses of two operators are all there',
    async run({ store, another }) {
      const other = await another()
      for (const before of [undefined, 'a']) {
        const values = before ? ['b', 'b2', 'b3', 'b4'] : ['a', 'a', 'a', 'a']
        const tries = values.map((value, index) => (index % 2 ? store : other).settings.swap('k', before, value))
        assert.equal((await Promise.all(tries)).filter(Boolean).length, 1)
        assert.equal((await other.settings.get('k'))?.[0], before ? 'b' : 'a')
      }
      assert.equal(await store.settings.swap('k', undefined, 'x'), false)
      const names = Array.from({ length: 8 }, (_, index) => `account${index}`)
      await Promise.all(names.map((name, index) => pause((index % 2 ? store : other).settings, [name], index)))
      const pausedNow = async () => {
        const { since } = await pausesOf((await another()).settings)
        return names.filter((name, index) => since(name) === index)
      }
      assert.deepEqual(await pausedNow(), names)
      await Promise.all(names.slice(2).map((name, index) => resume((index % 2 ? store : other).settings, [name], names)))
      assert.deepEqual(await pausedNow(), names.slice(0, 2))
    },
  },
  {
    name: 'what an account kept for a while is forgotten after three hours, and nothing else of it',
    async run({ store, advance }) {
      for (const key of ['~old', 'offset']) await store.accountState.set('bot', key, '1')
      const hour = 3_600_000
      advance(hour)
      await store.accountState.set('other', '~old', '1')
      await store.prune(1_000_000 + 3 * hour)
      assert.equal(await store.accountState.get('bot', '~old'), '1')
      await store.prune(1_000_001 + 3 * hour)
      assert.equal(await store.accountState.get('bot', '~old'), undefined)
      assert.deepEqual(await Promise.all([store.accountState.get('other', '~old'), store.accountState.get('bot', 'offset')]), ['1', '1'])
    },
  },
]
