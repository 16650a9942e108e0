/** What only a database server can do to us: go away in the middle, take its answer with it, be another's, be unfit. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { isPosthouseError } from '@posthouse/contract'
import pg from 'pg'
import { systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import type { Store } from '../../src/ports/store.ts'
import { loadKey } from '../../src/security/key.ts'
import { createSealer } from '../../src/security/sealer.ts'
import { dialectOf } from '../../src/storage/dialects/index.ts'
import { inspectDatabase, openStore } from '../../src/storage/index.ts'
import { statement, together } from '../../src/storage/query.ts'
import { until } from '../journeys/posthouse.ts'
import { ask, newPlace, noPostgres } from './postgres.ts'
import { createPostgres, createWire, noServer } from './private-postgres.ts'
import { inbound } from './store-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'posthouse-postgres-key-'))
const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
rmSync(folder, { recursive: true })
const open = (url: string, options: { lost?(error: Error): void; as?: 'gateway' | 'alone' } = {}) =>
  openStore({ url, sealer, clock: systemClock, newId, ...(options.lost ? { as: 'gateway', ...options } : options) })
const admit = (store: Store, key: string, room = 'room') =>
  store.inbox.record({ account: 'bot', message: inbound({ key, place: { room, type: 'direct' } }), priority: 0 })

/** Asks again while the database is away, as whoever is not acknowledged does. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!isPosthouseError(error) || error.code !== 'unavailable') throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

describe('the planner of PostgreSQL', { skip: noPostgres }, () => {
  it('counts anew when it is told to, also while people write', async () => {
    const url = await newPlace()
    await using store = await open(url)
    const writing = Promise.all(Array.from({ length: 50 }, (_, index) => admit(store, `k${index}`, `room ${index}`)))
    await store.analyze()
    await writing
    await store.analyze()
    const [row] = await ask(url, `select reltuples::int as rows from pg_class where oid = 'inbox'::regclass`)
    assert.equal(row?.rows, 50)
  })
})

describe('a transaction that was begun behind a commit', { skip: noPostgres }, () => {
  it('ends with the commit when that fails: what comes next is whole, or not there', async () => {
    const url = await newPlace()
    await ask(url, 'create table parent (id int primary key)')
    await ask(url, 'create table child (id int primary key references parent deferrable initially deferred)')
    const dialect = await dialectOf(url)
    await using database = await dialect.open(url, {})
    const put = (id: number) => statement(`insert into parent values (${id})`)
    let half: Promise<unknown> | undefined
    const orphan = database.write(async (transaction) => {
      await transaction.run(statement('insert into child values (1)'), {})
      half = database.write(async (next) => {
        await next.run(put(2), {})
        throw new Error('half')
      })
      half.catch(() => {})
    })
    await assert.rejects(orphan, { code: '23503' })
    await assert.rejects(half ?? assert.fail('the next one waited'), { message: 'half' })
    await database.write((transaction) => transaction.run(put(3), {}))
    assert.deepEqual(await ask(url, 'select id from parent'), [{ id: 3 }])
  })
})

describe('what is asked together', { skip: noPostgres }, () => {
  it('waits for all of it also after an error, and tells the first', async () => {
    const url = await newPlace()
    await ask(url, 'create table parent (id int primary key)')
    const dialect = await dialectOf(url)
    await using database = await dialect.open(url, {})
    const put = (id: number | string) => statement(`insert into parent values (${id})`)
    const asked = database.write((transaction) =>
      together(
        () => transaction.run(put('1 / 0'), {}),
        async () => {
          // Long after the first one failed.
          for (let round = 0; round < 100; round++) await new Promise((resolve) => setImmediate(resolve))
          await transaction.run(put(2), {})
        },
      ),
    )
    await assert.rejects(asked, { code: '22012' })
    assert.deepEqual(await ask(url, 'select id from parent'), [])
  })
})

describe('PostgreSQL that goes away', { skip: noServer }, () => {
  it('is stopped in the middle of everything, twice: nothing is lost, nothing is doubled, and the work goes on', async () => {
    using server = createPostgres()
    await using store = await open(server.url, { lost: assert.fail })
    const LANES = 20
    let working = true
    let turns = 0
    const answered = new Map<string, number>()
    const lanes = Array.from({ length: LANES }, async (_, lane) => {
      for (let count = 0; working; count++) {
        const { conversationId } = await insist(() => admit(store, `${lane}-${count}`, `room ${lane}`))
        const turn = await insist(() => store.turns.claim(conversationId, 'n', 10))
        assert.ok(turn, 'a claim whose answer was lost is not lost itself')
        const id = newId()
        await insist(() =>
          store.turns.finish('n', {
            turnId: turn.id,
            lane: conversationId,
            account: 'bot',
            outcome: 'replied',
            inbox: 'done',
            messages: [{ id, role: 'assistant', parts: [{ type: 'text', text: 'answer' }], status: 'complete' }],
            deliveries: [{ id, begun: true }],
          }),
        )
        await insist(() => store.outbox.confirm('n', id, { id: 'p', room: 'r' }, false))
        await insist(() => store.outbox.confirm('n', id, { id: 'q', room: 'r' }, true))
        turns++
        answered.set(conversationId, (answered.get(conversationId) ?? 0) + 1)
      }
    })
    for (let stops = 0; stops < 2; stops++) {
      const before = turns
      await until(() => turns > before + 3 * LANES, 'turns end', 60_000)
      server.stop()
      server.start()
    }
    const before = turns
    await until(() => turns > before + LANES, 'turns end after the last start', 60_000)
    working = false
    await Promise.all(lanes)
    assert.equal(answered.size, LANES)
    for (const [id, count] of answered) {
      const said = await store.conversations.messages(id, {}, 10_000)
      assert.deepEqual(
        said.map(({ role }) => role),
        Array.from({ length: count }, () => ['user', 'assistant']).flat(),
      )
    }
    const rows = await ask(server.url, `select state, confirmed, count(*)::int from outbox group by state, confirmed`)
    assert.deepEqual(rows, [{ state: 'sent', confirmed: 2, count: turns }])
  })

  it('takes its answer to a commit with it: the commit is looked up, and told', async () => {
    using server = createPostgres()
    await using wire = await createWire(server.url)
    await using store = await open(wire.url)
    wire.cut('after')
    const recorded = await admit(store, 'confirmed in silence')
    assert.deepEqual([wire.cuts, recorded.status], [1, 'admitted'])
    assert.equal((await admit(store, 'confirmed in silence')).status, 'duplicate')
  })

  it('never hears of a commit: nothing is acknowledged, and the repeat is the first', async () => {
    using server = createPostgres()
    await using wire = await createWire(server.url)
    await using store = await open(wire.url)
    wire.cut('before')
    await assert.rejects(admit(store, 'lost'), { code: 'unavailable' })
    assert.equal(wire.cuts, 1)
    assert.equal((await insist(() => admit(store, 'lost'))).status, 'admitted')
  })

  it('is refused while it does not sync its commits', async () => {
    using server = createPostgres()
    await ask(server.url, 'alter database postgres set synchronous_commit = off')
    await assert.rejects(open(server.url), /does not sync its commits \(synchronous_commit off/)
    assert.match((await inspectDatabase(server.url)).refusal ?? '', /synchronous_commit off/)
    await ask(server.url, 'alter database postgres reset synchronous_commit')
    await ask(server.url, 'alter system set fsync = off')
    await ask(server.url, 'select pg_reload_conf()')
    await until(async () => (await ask(server.url, 'show fsync'))[0]?.fsync === 'off', 'the server has the setting')
    await assert.rejects(open(server.url), /does not sync its commits \(synchronous_commit on, fsync off/)
    assert.deepEqual(await ask(server.url, `select to_regclass('messages') as made`), [{ made: null }])
  })
})

describe('PostgreSQL that others use, too', { skip: noPostgres }, () => {
  const waits = `select 1 from pg_stat_activity where application_name = 'posthouse gateway' and wait_event_type = 'Lock' and datname = current_database()`
  const backend = async (url: string) =>
    (await ask(url, `select pid from pg_stat_activity where application_name = 'posthouse gateway' and datname = current_database()`)).map(
      ({ pid }) => pid,
    )

  it('has several gateways, and commands beside them; nobody gets it alone before the last is gone', async () => {
    const url = await newPlace()
    const alone = () => open(url, { as: 'alone' })
    const first = await open(url, { lost: assert.fail })
    const second = await open(url, { lost: assert.fail })
    await using command = await open(url)
    for (const store of [first, second, command]) assert.equal((await admit(store, newId())).status, 'admitted')
    assert.match((await inspectDatabase(url)).holder ?? '', /server process \d+, and 1 more/)
    await first[Symbol.asyncDispose]()
    await assert.rejects(alone(), { name: 'DatabaseInUse', message: /server process \d+/ })
    await second[Symbol.asyncDispose]()
    await using _alone = await alone()
    // So was a gateway of a version that knows of no others.
    await assert.rejects(open(url, { lost: assert.fail }), { name: 'DatabaseInUse', message: /older version/ })
  })

  it('has gateways side by side in different schemas', async () => {
    await using one = await open(await newPlace(), { lost: assert.fail })
    await using two = await open(await newPlace(), { lost: assert.fail })
    assert.deepEqual([(await admit(one, 'k')).status, (await admit(two, 'k')).status], ['admitted', 'admitted'])
  })

  it('was taken by somebody alone meanwhile: the first writes nothing any more, and is told', async () => {
    const url = await newPlace()
    const lost = Promise.withResolvers<Error>()
    await using first = await open(url, { lost: lost.resolve })
    await admit(first, 'before')
    const mine = await backend(url)
    const next = open(url, { as: 'alone' })
    await until(async () => (await ask(url, waits)).length > 0, 'it waits for the lock')
    for (const pid of mine) await ask(url, 'select pg_terminate_backend($1)', [pid])
    await using _second = await next
    await assert.rejects(admit(first, 'after'), { code: 'unavailable' })
    assert.equal((await lost.promise).name, 'DatabaseInUse')
    await assert.rejects(admit(first, 'ever after'), { code: 'unavailable' })
  })

  it('closed an idle connection: the gateway has its lock again before it has anything to write', async () => {
    const url = await newPlace()
    await using _store = await open(url, { lost: assert.fail })
    const before = await backend(url)
    for (const pid of before) await ask(url, 'select pg_terminate_backend($1)', [pid])
    await until(async () => (await backend(url)).some((pid) => !before.includes(pid)), 'it is there again')
    await assert.rejects(open(url, { as: 'alone' }), { name: 'DatabaseInUse' })
  })

  it('closed an idle connection: the next write goes through as if nothing had been', async () => {
    const url = await newPlace()
    await using store = await open(url, { lost: assert.fail })
    for (const pid of await backend(url)) await ask(url, 'select pg_terminate_backend($1)', [pid])
    assert.equal((await insist(() => admit(store, 'k'))).status, 'admitted')
    assert.equal((await store.conversations.list('nobody', 'bot', 1)).length, 0)
  })

  it('has a table locked: reads and writes are refused after a while instead of waiting for ever, and go on after it', async () => {
    const url = await newPlace()
    await using store = await open(url, { lost: assert.fail })
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    await other.query('begin; lock table conversations in access exclusive mode')
    const refused = (ends: PromiseSettledResult<unknown>[]) =>
      ends.map((end) => end.status === 'rejected' && isPosthouseError(end.reason) && end.reason.code)
    const writes = Array.from({ length: 30 }, (_, count) => admit(store, `k${count}`, `r${count}`))
    const ends = await Promise.allSettled([...writes, store.conversations.find('x')])
    assert.deepEqual(refused(ends), Array(31).fill('unavailable'))
    await other.query('rollback')
    await other.end()
    assert.equal((await admit(store, 'k1', 'r1')).status, 'admitted')
  })

  it('has a conversation held by a node that stands still: the others of the same batch go through, this one is refused and goes on after it', async () => {
    const url = await newPlace()
    await using store = await open(url, { lost: assert.fail })
    const { conversationId } = await admit(store, 'a', 'held')
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    await other.query('begin')
    await other.query('select id from conversations where id = $1 for update', [conversationId])
    const ends = await Promise.allSettled([admit(store, 'held', 'held'), ...['x', 'y', 'z'].map((room) => admit(store, room, room))])
    assert.deepEqual(
      ends.map(({ status }) => status),
      ['rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
    )
    await other.query('rollback')
    await other.end()
    assert.equal((await admit(store, 'held', 'held')).status, 'admitted')
  })

  it('sees a deadlock of a batch with another: nobody but the two notices, and both go through', async () => {
    const url = await newPlace()
    await using store = await open(url, { lost: assert.fail })
    const [a, b] = [(await admit(store, 'a', 'a')).conversationId, (await admit(store, 'b', 'b')).conversationId]
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    // The other one is never the victim.
    await other.query(`set deadlock_timeout = '1h'; begin`)
    await other.query('update conversations set revision = 1 where id = $1', [a])
    const writes = Promise.all([admit(store, 'b2', 'b'), admit(store, 'a2', 'a'), admit(store, 'c2', 'c')])
    await until(async () => (await ask(url, waits)).length > 0, 'the batch waits')
    await other.query('update conversations set revision = 1 where id = $1', [b])
    await other.query('commit')
    await other.end()
    assert.deepEqual(
      (await writes).map(({ status }) => status),
      ['admitted', 'admitted', 'admitted'],
    )
  })

  it('P4: a claim that waited for a lane takes nothing that another node answered meanwhile', async () => {
    const url = await newPlace()
    await using store = await open(url, { lost: assert.fail })
    const { conversationId } = await admit(store, 'k')
    const other = new pg.Client({ connectionString: url })
    await other.connect()
    await other.query('begin')
    await other.query('select id from conversations for update')
    const claim = store.turns.claim(conversationId, 'n', 1)
    await until(async () => (await ask(url, waits)).length > 0, 'the claim waits')
    await other.query(`update inbox set state = 'done', done_at = 1, outcome = 'replied'`)
    await other.query('commit')
    await other.end()
    assert.equal(await claim, undefined)
    await admit(store, 'k2')
    assert.equal((await store.turns.claim(conversationId, 'n', 9))?.messages.length, 1, 'the lane is free')
  })

  it('has the encoding of another century, and is refused', async () => {
    const url = new URL(await newPlace())
    const name = `${url.pathname.slice(1)}_latin`
    await ask(url.href, `create database ${name} encoding 'LATIN1' locale 'C' template template0`)
    const latin = new URL(url)
    latin.pathname = `/${name}`
    latin.search = ''
    try {
      await assert.rejects(open(latin.href), /encoding LATIN1/)
    } finally {
      await ask(url.href, `drop database ${name} with (force)`)
    }
  })

  it('tells no password, whatever goes wrong', async () => {
    const url = new URL(await newPlace())
    url.password = 'canary-pass'
    const told = (change: Partial<URL>) =>
      open(Object.assign(new URL(url), change).href).then(
        () => assert.fail('it opened'),
        (error: Error) => `${error.stack} ${JSON.stringify(error)} ${Object.values(error).join(' ')} ${(error.cause as Error)?.stack}`,
      )
    const wrong = [
      { port: '1' },
      { pathname: '/no-such-database' },
      { username: 'nobody-of-this-name' },
      { hostname: 'no-such-host.invalid' },
    ]
    for (const change of wrong) assert.doesNotMatch(await told(change), /canary-pass/)
  })
})
