/** A backup of either database, restored into either: what is in it, what comes back, and what must not. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import { pause, pausesOf, resume } from '../../src/ports/pauses.ts'
import type { Erasure } from '../../src/ports/store.ts'
import { createSealer, loadKey } from '../../src/security/index.ts'
import { createBackup, createBlobs, openStore, restoreBackup, verifyBackup } from '../../src/storage/index.ts'
import { databases, type Opened, type TestedDatabase, withStore } from './databases.ts'
import { inbound } from './store-scene.ts'

const quiet = () => {}
const about = { product: 'test', now: new Date(5_000_000) }
const keyIn = (folder: string) => loadKey(join(folder, 'posthouse.key'), true)
const keysIn = (folder: string) => ({ sealer: createSealer(keyIn(folder)), files: keyIn(folder).derive('files') })
const filesIn = (folder: string) => join(folder, 'data/files')
const installation = ({ url, folder }: { url: string; folder: string }) => ({ url, folder: filesIn(folder) })
const refused = (reason: string, what?: RegExp) => (error: Error & { reason?: string; what?: string }) => {
  assert.deepEqual([error.name, error.reason], ['CopyRefused', reason])
  if (what) assert.match(error.what ?? '', what)
  return true
}

async function* one(bytes: Buffer) {
  yield bytes
}
const blobsOf = (store: Awaited<ReturnType<typeof openStore>>, folder: string) =>
  createBlobs(store.place(filesIn(folder)), keyIn(folder).derive('files'))
async function hashOf(blobs: ReturnType<typeof createBlobs>, id: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of blobs.get(id)) hash.update(chunk)
  return hash.digest('hex')
}

const reopen = (url: string, folder: string) => openStore({ url, sealer: keysIn(folder).sealer, clock: systemClock, newId })

/** Five questions, the first answered and sent, the second answered and not sent, the third claimed, the others waiting; two files; a token. */
async function grow({ store, folder, url }: Opened) {
  const opened = await reopen(url, folder)
  const blobs = blobsOf(opened, folder)
  const asked = []
  for (let n = 0; n < 5; n++)
    asked.push(
      await store.inbox.record({
        account: 'bot',
        message: inbound({ key: `k${n}`, place: { room: `r${n}`, type: 'direct' } }),
        priority: 0,
      }),
    )
  const ids = asked.map(({ conversationId }) => conversationId)
  for (const [n, lane] of ids.slice(0, 3).entries()) {
    const turn = await store.turns.claim(lane, 'n', 1)
    assert.ok(turn)
    if (n === 2) break
    const id = newId()
    await store.turns.finish('n', {
      ...{ turnId: turn.id, lane, account: 'bot', outcome: 'replied' as const, inbox: 'done' as const },
      messages: [{ id, role: 'assistant', parts: [{ type: 'text', text: `answer ${n}` }], status: 'complete' }],
      deliveries: [{ id, begun: n === 0 }],
    })
    if (n === 0) await store.outbox.confirm('n', id, { id: '1', room: 'r0' }, true)
  }
  const files: { id: string; hash: string }[] = []
  for (const size of [10, 700_000]) {
    const [id, bytes] = [newId(), randomBytes(size)]
    await blobs.put(id, one(bytes), 1_000_000)
    await store.files.add({ id, owner: ids[0] ?? '', kind: 'file', name: 'a', mime: 'text/plain', size })
    files.push({ id, hash: createHash('sha256').update(bytes).digest('hex') })
  }
  const token = { id: newId(), name: 't', userId: 'u', scopes: ['chat'], createdAt: 1, expiresAt: 9e15 }
  await store.users.addToken(token)
  await store.users.add({ id: 'u', name: 'u', role: 'admin', passwordHash: 'x' })
  await store.users.addLogin('hash', 'u', 9e15)
  return { opened, blobs, ids, files, token }
}

for (const from of databases)
  describe(`a backup of ${from.name}`, { skip: from.missing }, () => {
    for (const to of databases)
      it(
        `restored into ${to.name}: everything comes back but what was deleted; what was under way waits, nobody is sent anything`,
        { skip: to.missing },
        () =>
          withStore(from, async (harness) => {
            const { store, folder, url } = harness
            const { opened, blobs, ids, files, token } = await grow(harness)
            const path = join(folder, 'kept/a.backup')
            let writes = 0
            const manifest = await createBackup(installation(harness), path, about, () => {
              // People go on writing.
              if (writes++ < 100) void store.inbox.record({ account: 'bot', message: inbound({ key: `late${writes}` }), priority: 0 })
            })
            assert.ok(writes > 5)
            assert.deepEqual(readdirSync(join(folder, 'kept')), ['a.backup'])
            const { opened: tried } = await verifyBackup(path, keysIn(folder), quiet)
            assert.deepEqual(tried, { messages: 7, files: 2 })
            assert.equal((await verifyBackup(path, undefined, quiet)).opened, undefined)
            const rows = (name: string) => manifest.tables.find((table) => table.name === name)?.rows
            assert.deepEqual([rows('messages'), rows('inbox'), rows('outbox'), rows('files'), manifest.files.count], [7, 5, 2, 2, 2])
            assert.equal(manifest.key, keyIn(folder).id)

            // After the backup: somebody deletes a conversation with its files' rows, an operator voids a token.
            const [, doomed = ''] = files.map(({ id }) => id)
            await store.conversations.remove(ids[4] ?? '')
            assert.equal(await store.users.revokeToken(token.id), true)
            const ledger: Erasure[] = [...(await store.erasures()), { kind: 'file', id: doomed, erasedAt: 1 }]
            assert.equal(ledger.length, 3)
            await opened[Symbol.asyncDispose]()

            const there = join(folder, 'there')
            const target = { url: await to.url(there), folder: filesIn(there) }
            mkdirSync(there)
            writeFileSync(join(there, 'posthouse.key'), readFileSync(join(folder, 'posthouse.key')), { mode: 0o600 })
            const options = { sealer: keysIn(folder).sealer, now: new Date(6_000_000), replace: false, erasures: ledger }
            const restored = await restoreBackup(path, target, options, quiet)
            // The second answer, and the third question; the fifth conversation is gone with its question.
            assert.deepEqual([restored.erasures, restored.setAside, restored.old], [3, 3, undefined])

            await using again = await reopen(target.url, there)
            const kept = blobsOf(again, there)
            assert.equal(await hashOf(kept, files[0]?.id ?? ''), files[0]?.hash)
            assert.equal((await hashOf(blobs, files[1]?.id ?? '').catch(() => 'closed')) === files[1]?.hash, from.name === 'SQLite')
            await assert.rejects(hashOf(kept, doomed), { code: 'not-found' })
            assert.equal(await again.files.find(doomed), undefined)
            assert.equal(await again.conversations.find(ids[4] ?? ''), undefined)
            assert.ok((await again.users.token(token.id))?.revokedAt)
            assert.equal(await again.users.login('hash'), undefined)
            assert.equal((await again.erasures()).length, 3)
            const letters = await again.dead.list(10)
            assert.deepEqual(letters.map(({ kind, reason }) => `${kind} ${reason}`).sort(), [
              'delivery restored',
              'inbox restored',
              'inbox restored',
            ])
            assert.deepEqual([await again.inbox.depth(), (await again.outbox.backlog()).count], [0, 0])
            assert.deepEqual([(await pausesOf(again.settings)).all, (await pausesOf(again.settings)).since('bot')], [6_000_000, 6_000_000])

            // The conversation goes on, and the keys of what was admitted are still known.
            const repeated = await again.inbox.record({
              account: 'bot',
              message: inbound({ key: 'k0', place: { room: 'r0', type: 'direct' } }),
              priority: 0,
            })
            assert.equal(repeated.status, 'duplicate')
            const more = await again.inbox.record({
              account: 'bot',
              message: inbound({ key: 'new', place: { room: 'r0', type: 'direct' } }),
              priority: 0,
            })
            assert.deepEqual([more.status, more.conversationId], ['admitted', ids[0]])
            const turn = await again.turns.claim(ids[0] ?? '', 'n', 1)
            assert.equal((await again.conversations.context(turn?.conversation as never, Number.MAX_SAFE_INTEGER, 10)).length, 3)
            // What may have been answered since is not shown to the model, until an operator lets it go.
            const aside = await again.turns.claim(ids[2] ?? '', 'n', 1)
            assert.equal(aside, undefined)
            const question = async () => (await again.conversations.messages(ids[2] ?? '', {}, 10))[0]?.status
            assert.equal(await question(), 'failed')
            for (const { id } of letters.filter(({ kind }) => kind === 'inbox')) assert.equal(await again.dead.retry(id), true)
            assert.equal(await question(), 'complete')
            assert.equal(await again.inbox.depth(), 3)
            assert.equal(existsSync(url.slice('sqlite:'.length)), from.name === 'SQLite')
          }),
      )

    it('replaces what is there, which is kept, and what was deleted there stays deleted', () =>
      withStore(from, async (harness) => {
        const { store, folder } = harness
        const { opened, ids, files } = await grow(harness)
        const path = join(folder, 'a.backup')
        await createBackup(installation(harness), path, about, quiet)
        await store.conversations.remove(ids[0] ?? '')
        await opened[Symbol.asyncDispose]()
        await store[Symbol.asyncDispose]()
        const options = { sealer: keysIn(folder).sealer, now: new Date(Date.UTC(2026, 1, 3, 4, 5, 6)), replace: false, erasures: undefined }
        await assert.rejects(restoreBackup(path, installation(harness), options, quiet), refused('occupied'))
        const { old, erasures } = await restoreBackup(path, installation(harness), { ...options, replace: true }, quiet)
        assert.equal(erasures, 1)
        {
          await using again = await reopen(harness.url, folder)
          assert.equal(await again.conversations.find(ids[0] ?? ''), undefined)
          assert.ok(await again.conversations.find(ids[1] ?? ''))
          assert.equal(await hashOf(blobsOf(again, folder), files[1]?.id ?? ''), files[1]?.hash)
        }
        assert.match(old ?? '', /before_20260203040506000$/)
        if (from.name === 'SQLite') {
          await using kept = await reopen(`sqlite:${join(old ?? '', 'posthouse.db')}`, folder)
          assert.equal((await kept.erasures()).length, 1)
          assert.equal(readdirSync(join(old ?? '', 'files')).length > 0, true)
        } else {
          const url = new URL(harness.url)
          url.searchParams.set('options', `-csearch_path=${old}`)
          await using kept = await reopen(url.href, folder)
          assert.equal((await kept.erasures()).length, 1)
        }
      }))

    it('goes on where it was killed, and no gateway begins before', () =>
      withStore(from, async (harness) => {
        const { store, folder, url } = harness
        const { opened, ids, files } = await grow(harness)
        const path = join(folder, 'a.backup')
        await createBackup(installation(harness), path, about, quiet)
        await opened[Symbol.asyncDispose]()
        await store.conversations.remove(ids[4] ?? '')
        await store[Symbol.asyncDispose]()
        const options = { sealer: keysIn(folder).sealer, now: new Date(), replace: true, erasures: undefined }
        for (const point of ['messages', 'outbox', 'files']) {
          let passed = 0
          const dies = (name: string, done: number, of: number) => {
            // The first time is the check of the backup.
            if (name === point && done === of && ++passed === 2) throw new Error('killed')
          }
          await assert.rejects(restoreBackup(path, installation(harness), options, dies), /killed/)
          await assert.rejects(reopen(url, folder), { name: 'HalfCopied' })
        }
        const { erasures, old } = await restoreBackup(path, installation(harness), { ...options, replace: false }, quiet)
        assert.deepEqual([erasures, old !== undefined], [1, true], 'the ledger of what was replaced was not forgotten')
        await using again = await reopen(url, folder)
        assert.equal(await again.conversations.find(ids[4] ?? ''), undefined)
        assert.equal(await hashOf(blobsOf(again, folder), files[1]?.id ?? ''), files[1]?.hash)
      }))
  })

describe('a backup', () => {
  const sqlite = databases[0] as TestedDatabase
  const withBackup = (work: (harness: Opened, path: string) => Promise<void>) =>
    withStore(sqlite, async (harness) => {
      const { opened } = await grow(harness)
      const path = join(harness.folder, 'a.backup')
      await createBackup(installation(harness), path, about, quiet)
      await opened[Symbol.asyncDispose]()
      await work(harness, path)
    })
  const elsewhere = (folder: string) => ({ url: `sqlite:${join(folder, 'there/posthouse.db')}`, folder: join(folder, 'there/files') })
  const options = (folder: string) => ({ sealer: keysIn(folder).sealer, now: new Date(), replace: false, erasures: [] })

  it('that was damaged anywhere is refused, by name, and nothing is changed', () =>
    withBackup(async ({ folder }, path) => {
      const whole = readFileSync(path)
      let seen = 0
      for (let at = 40; at < whole.length; at += Math.floor(whole.length / 60)) {
        const bytes = Buffer.from(whole)
        for (let index = at; index < Math.min(at + 64, bytes.length); index++) bytes[index] = (bytes[index] ?? 0) ^ 0xff
        writeFileSync(path, bytes)
        // Room that no row uses may hold anything.
        const outcome = await verifyBackup(path, keysIn(folder), quiet).then(
          () => 'whole',
          (error: { name: string; reason?: string; what?: string }) => {
            assert.equal(error.name, 'CopyRefused', String(error))
            assert.ok(['damaged', 'foreign', 'newer', 'wrong-key'].includes(error.reason ?? ''), String(error))
            assert.ok(error.what)
            return 'refused'
          },
        )
        if (outcome === 'whole') continue
        seen++
        await assert.rejects(restoreBackup(path, elsewhere(folder), options(folder), quiet), { name: 'CopyRefused' })
        assert.equal(existsSync(join(folder, 'there')), false)
      }
      assert.ok(seen > 30, `${seen} damages were seen`)
      writeFileSync(path, whole.subarray(0, whole.length / 2))
      await assert.rejects(verifyBackup(path, undefined, quiet), { name: 'CopyRefused', reason: 'damaged' })
      writeFileSync(path, 'no backup')
      await assert.rejects(verifyBackup(path, undefined, quiet), refused('foreign'))
      await assert.rejects(verifyBackup(`${path}x`, undefined, quiet), refused('absent'))
    }))

  it('names the table or the file that is not what it was', () =>
    withBackup(async (_, path) => {
      const change = async (sql: string, what: RegExp) => {
        const whole = readFileSync(path)
        const database = new DatabaseSync(path)
        database.exec(sql)
        database.close()
        await assert.rejects(verifyBackup(path, undefined, quiet), refused('damaged', what))
        writeFileSync(path, whole)
      }
      await change(`update messages set status = 'failed' where seq = 1`, /^messages$/)
      await change('delete from access_tokens', /^access_tokens$/)
      await change('update file_chunks set bytes = zeroblob(length(bytes)) where part = 1', /^file [0-9a-f-]{36}$/)
      await change('delete from file_chunks where part = 1', /^file [0-9a-f-]{36}$/)
      await change('delete from contents', /^contents$/)
    }))

  it('is refused with another key, and by an older version', () =>
    withBackup(async ({ folder }, path) => {
      const other = loadKey(join(folder, 'other.key'), false)
      const keys = { sealer: createSealer(other), files: other.derive('files') }
      await assert.rejects(verifyBackup(path, keys, quiet), refused('wrong-key'))
      await assert.rejects(restoreBackup(path, elsewhere(folder), { ...options(folder), sealer: keys.sealer }, quiet), refused('wrong-key'))
      const database = new DatabaseSync(path)
      database.exec(
        `update meta set value = cast(replace(cast(value as text), '"migrations":[', '"migrations":["9999-later",') as blob) where key = 'manifest'`,
      )
      database.close()
      await assert.rejects(verifyBackup(path, undefined, quiet), refused('newer'))
    }))

  it('of an older schema is brought to this one', () =>
    withStore(sqlite, async (harness) => {
      const { store, folder, url } = harness
      const { opened, ids } = await grow(harness)
      await opened[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
      const database = new DatabaseSync(url.slice('sqlite:'.length))
      database.exec(
        `drop table erasures; drop table file_chunks; alter table conversations drop column stopped_before; alter table nodes drop column knows; drop index conversations_held; alter table conversations drop column held_by; alter table conversations drop column held_at; delete from migrations where name > '0005'`,
      )
      database.close()
      const path = join(folder, 'old.backup')
      const { migrations } = await createBackup(installation(harness), path, about, quiet)
      assert.ok(!migrations.some((name) => name > '0005'))
      await restoreBackup(path, elsewhere(folder), options(folder), quiet)
      await using again = await reopen(elsewhere(folder).url, folder)
      assert.ok(await again.conversations.find(ids[0] ?? ''))
      assert.deepEqual(await again.erasures(), [])
    }))

  it('leaves out what was deleted while it was made, and clears what a killed one left', () =>
    withStore(sqlite, async (harness) => {
      const { folder } = harness
      const { opened, files } = await grow(harness)
      mkdirSync(join(folder, 'kept'))
      const [left, other] = [join(folder, 'kept/killed.backup.part'), join(folder, 'kept/other.part')]
      writeFileSync(left, 'half')
      const held = new DatabaseSync(join(folder, 'kept/b.backup.part'))
      held.exec('BEGIN EXCLUSIVE; CREATE TABLE a (b)')
      await assert.rejects(createBackup(installation(harness), join(folder, 'kept/b.backup'), about, quiet), refused('busy'))
      assert.ok(existsSync(join(folder, 'kept/b.backup.part')), 'it is left to its writer')
      held.close()
      writeFileSync(other, 'of somebody else')
      const path = join(folder, 'kept/a.backup')
      const manifest = await createBackup(installation(harness), path, about, (name) => {
        if (name === 'files') rmSync(filesIn(folder), { recursive: true, force: true })
      })
      assert.equal(manifest.files.count, 0)
      assert.equal(manifest.tables.find(({ name }) => name === 'files')?.rows, 0)
      assert.deepEqual(readdirSync(join(folder, 'kept')).sort(), ['a.backup', 'other.part'])
      await verifyBackup(path, keysIn(folder), quiet)
      assert.equal(files.length, 2)
      await opened[Symbol.asyncDispose]()
    }))

  it('over a database that cannot be read demands to be told what was deleted there', () =>
    withBackup(async (harness, path) => {
      const { folder, url, store } = harness
      await store[Symbol.asyncDispose]()
      const file = url.slice('sqlite:'.length)
      writeFileSync(file, Buffer.alloc(50_000, 7))
      for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true })
      const blind = { ...options(folder), replace: true, erasures: undefined }
      await assert.rejects(restoreBackup(path, installation(harness), blind, quiet), refused('ledger'))
      assert.equal(readFileSync(file).length, 50_000)
      const { old } = await restoreBackup(path, installation(harness), { ...blind, erasures: [] }, quiet)
      assert.equal(readFileSync(join(old ?? '', 'posthouse.db')).length, 50_000)
      await using again = await reopen(url, folder)
      assert.equal(await again.dead.count(), 4)
    }))
})

describe('pauses', () => {
  it('hold for an account or for all, and one of all goes on alone', () =>
    withStore(databases[0] as TestedDatabase, async ({ store: { settings } }) => {
      const paused = async () => {
        const { since } = await pausesOf(settings)
        return ['a', 'b', 'later'].filter((id) => since(id) !== undefined)
      }
      assert.deepEqual(await paused(), [])
      await pause(settings, ['a'], 5)
      assert.deepEqual(await paused(), ['a'])
      await pause(settings, undefined, 7)
      assert.deepEqual(await paused(), ['a', 'b', 'later'])
      assert.equal((await pausesOf(settings)).since('a'), 5)
      await resume(settings, ['b'], ['a', 'b'])
      assert.deepEqual(await paused(), ['a'])
      await pause(settings, undefined, 9)
      await resume(settings, undefined, ['a', 'b'])
      assert.deepEqual(await paused(), [])
    }))
})
