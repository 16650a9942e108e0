/** A gateway on a database server, as a person runs it; and the move there from a file. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createModelEmulator, createTelegramEmulator, type ModelEmulator, type TelegramEmulator } from '@posthouse/testkit'
import pg from 'pg'
import { ask, newPlace, noPostgres } from '../contracts/postgres.ts'
import { createPosthouse, until } from './posthouse.ts'

const PASSWORD = 'canary-7f3e9a!'

/** The same place with a password that its server does not ask for. */
function withPassword(place: string): string {
  const url = new URL(place)
  url.password = PASSWORD
  return url.href
}

const configOf = (telegram: TelegramEmulator, model: ModelEmulator, url?: string) => ({
  ...(url ? { database: { url } } : {}),
  models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
  channels: { telegram: { token: telegram.token, api_root: telegram.url } },
})
const says = (telegram: TelegramEmulator, question: string) =>
  telegram.posted().filter(({ text }) => text === `You said: ${question}`).length

describe('a gateway on PostgreSQL', { skip: noPostgres }, () => {
  it('answers, is killed in mid-answer, answers once; commands work beside it, and so does a second gateway with its key', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 100, interval: 50, chunks: 20 } })
    const url = withPassword(await newPlace())
    await using posthouse = createPosthouse(configOf(telegram, model, url))
    await posthouse.start()
    telegram.say({ text: 'Which way to Luoyang?', chat: 7, from: 7 })
    await until(() => says(telegram, 'Which way to Luoyang?') === 1, 'the answer')
    const calls = model.calls.length
    telegram.say({ text: 'And back?', chat: 7, from: 7 })
    await until(() => model.calls.length > calls, 'the model is asked')
    await posthouse.kill()
    await posthouse.start()
    await until(() => says(telegram, 'And back?') > 0, 'the answer')

    const [status, doctor, dead, explained] = [
      await posthouse.cli('status', '--json'),
      await posthouse.cli('doctor'),
      await posthouse.cli('dead', 'list'),
      await posthouse.cli('config', 'explain', 'database.url'),
    ]
    const { running, waiting, dead: letters } = JSON.parse(status.stdout)
    assert.deepEqual([running, waiting, letters], [true, 0, 0])
    assert.match(doctor.stdout, /✓ server: PostgreSQL \d+.* takes writes, every commit synced; a gateway uses it/)
    assert.match(doctor.stdout, /fits the data/)
    assert.match(dead.stdout, /No dead letters/)
    assert.match(explained.stdout, /now: "postgres:\/\/\*\*\*@/)

    await using second = createPosthouse(configOf(telegram, model, url))
    await assert.rejects(second.start(), /key file .* is missing.* name an empty database/s)
    copyFileSync(join(posthouse.folder, 'posthouse.key'), join(second.folder, 'posthouse.key'))
    await second.start()
    assert.equal(says(telegram, 'And back?'), 1)
    assert.match((await second.cli('status')).stdout, /(Node \S+ \S+: at work;[^\n]*\n){2}/)
    assert.equal(await second.stop(), 0)
    assert.equal(await posthouse.stop(), 0)
    const told = [status, doctor, dead, explained].flatMap(({ stdout, stderr }) => [stdout, stderr])
    for (const text of [...told, ...posthouse.log, posthouse.said, second.said, ...second.log])
      assert.equal(text.includes(PASSWORD), false, text)
  })

  it('ends when somebody has taken its database alone, and says so; it does not begin beside one', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator()
    const url = await newPlace()
    await using first = createPosthouse(configOf(telegram, model, url))
    await first.start()
    // As a gateway of a version does that knows of no others.
    const alone = new pg.Client({ connectionString: url, application_name: 'alone' })
    await alone.connect()
    const taken = alone.query(`select pg_advisory_lock(${0x706f_7374}, hashtext(coalesce(current_schema(), '')))`)
    const waiting = `select 1 from pg_stat_activity where application_name = 'alone' and wait_event = 'advisory' and datname = current_database()`
    await until(async () => (await ask(url, waiting)).length > 0, 'it waits for the lock')
    await ask(
      url,
      `select pg_terminate_backend(l.pid) from pg_locks l join pg_stat_activity a on a.pid = l.pid and a.datname = current_database()
       where l.locktype = 'advisory' and l.granted and a.application_name = 'posthouse gateway'`,
    )
    await taken
    assert.equal(await first.exited(), 1)
    assert.ok(first.log.some((line) => line.includes('has taken the database')))
    await assert.rejects(first.start(), /of an older version, or a copy of the database, has .* for itself \(from .*, server process \d+\)/)
    await alone.end()
  })

  it('says what is wrong with its database, and no password', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator()
    const url = new URL(withPassword(await newPlace()))
    await using posthouse = createPosthouse(configOf(telegram, model, url.href))
    const wrong: readonly (readonly [Partial<URL>, RegExp])[] = [
      [{ port: '1' }, /cannot be reached/],
      [{ pathname: '/nothing-here' }, /no such database/],
      [{ username: 'nobody-of-this-name' }, /does not let us in/],
      [{ pathname: '/' }, /expected postgres:\/\/user:password@host\/name/],
    ]
    for (const [change, expected] of wrong) {
      posthouse.configure(configOf(telegram, model, Object.assign(new URL(url), change).href))
      const [started, doctor] = [await posthouse.start().catch((error: Error) => error.message), await posthouse.cli('doctor')]
      assert.match(String(started), expected)
      assert.match(doctor.stdout, expected)
      assert.equal(`${started}${doctor.stdout}${doctor.stderr}`.includes(PASSWORD), false)
    }
  })
})

describe('posthouse database copy', { skip: noPostgres }, () => {
  it('moves a grown installation: refused while it runs, killed and taken up, compared; and the answers go on there', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    await using posthouse = createPosthouse(configOf(telegram, model))
    const place = await newPlace()
    const url = withPassword(place)
    const copy = () => posthouse.cli('database', 'copy', '--to', url, '--json')
    await posthouse.start()
    for (const chat of [7, 8, 9]) telegram.say({ text: `question of ${chat}`, chat, from: chat })
    await until(() => [7, 8, 9].every((chat) => says(telegram, `question of ${chat}`) === 1), 'answers')
    const busy = await copy()
    assert.deepEqual([busy.code, /Another Posthouse \(process \d+\) uses/.test(busy.stdout)], [1, true])
    await posthouse.stop()
    const { DatabaseSync } = await import('node:sqlite')
    const file = new DatabaseSync(join(posthouse.folder, 'data/posthouse.db'))
    // What an earlier version let in: a NUL, a time with a fraction; and enough to be killed in the middle of.
    file.exec(`insert into settings values ('odd' || char(0), 'a' || char(0) || 'b', 1.5);
      with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
      insert into settings select 'key ' || i, 'value', i from n`)
    file.close()

    const main = join(import.meta.dirname, '../../src/main.ts')
    const flags = ['--conditions=posthouse-source', '--disable-warning=ExperimentalWarning']
    const killed = spawn(process.execPath, [...flags, main, 'database', 'copy', '--to', url], { cwd: posthouse.folder, stdio: 'ignore' })
    const copied = async () => Number((await ask(place, 'select count(*)::int as n from settings').catch(() => []))[0]?.n ?? 0)
    await until(async () => (await copied()) > 0 || killed.exitCode !== null, 'the copy is under way')
    killed.kill('SIGKILL')
    if (killed.exitCode === null && killed.signalCode === null) await once(killed, 'exit')
    assert.ok((await copied()) < 20_000, 'it was killed in the middle')
    posthouse.configure(configOf(telegram, model, url))
    await assert.rejects(posthouse.start(), /was begun and did not end/)

    posthouse.configure(configOf(telegram, model))
    const done = await copy()
    assert.equal(done.code, 0, done.stdout + done.stderr)
    const { tables } = JSON.parse(done.stdout) as { tables: { name: string; rows: number }[] }
    const rows = (name: string) => tables.find((table) => table.name === name)?.rows
    assert.deepEqual([rows('messages'), rows('inbox'), rows('outbox'), rows('conversations')], [6, 3, 3, 3])
    assert.equal(rows('settings'), await copied())
    assert.deepEqual(await ask(place, `select value, updated_at::int as at from settings where key like 'odd%'`), [
      { value: 'a\uFFFDb', at: 2 },
    ])
    const again = await posthouse.cli('database', 'copy', '--to', url)
    assert.deepEqual([again.code, again.stdout.trimEnd().split('\n').at(-1)], [0, 'Next: posthouse start'])

    posthouse.configure(configOf(telegram, model, url))
    await posthouse.start()
    telegram.say({ text: 'still there?', chat: 7, from: 7 })
    await until(() => says(telegram, 'still there?') === 1, 'the answer')
    const history = JSON.stringify(model.calls.at(-1))
    assert.match(history, /question of 7/)
    await posthouse.stop()

    posthouse.configure(configOf(telegram, model))
    const used = await copy()
    assert.deepEqual([used.code, /differs between/.test(used.stdout)], [1, true])
    for (const text of [busy, done, again, used].map(({ stdout, stderr }) => stdout + stderr)) assert.equal(text.includes(PASSWORD), false)
  })

  it('refuses a target that holds something else, and a source that holds nothing', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    const [one, two] = [await newPlace(), await newPlace()]
    await using first = createPosthouse(configOf(telegram, model, one))
    await first.start()
    await first.stop()
    await using second = createPosthouse(configOf(telegram, model))
    const nothing = await second.cli('database', 'copy', '--to', one)
    assert.match(nothing.stderr, /holds nothing/)
    await second.start()
    await second.stop()
    const occupied = await second.cli('database', 'copy', '--to', one)
    assert.deepEqual([occupied.code, /holds something else/.test(occupied.stderr)], [1, true])
    const wrong = await second.cli('database', 'copy', '--to', 'mysql://x:secret@y/z')
    assert.deepEqual([wrong.code, wrong.stderr.includes('secret')], [2, false])
    const over = await second.cli('database', 'copy', '--to', 'env:NO_SUCH_VARIABLE')
    assert.match(over.stderr, /NO_SUCH_VARIABLE: not set/)
    // The other way round: from a server into a file.
    const back = await first.cli('database', 'copy', '--to', 'sqlite:back/posthouse.db', '--json')
    assert.equal(back.code, 0, back.stdout + back.stderr)
    const there = await second.cli('database', 'copy', '--to', two, '--json')
    assert.equal(there.code, 0, there.stdout + there.stderr)
    // Killed, it may be cut off and about to come back.
    await first.start()
    await first.kill()
    const lately = await first.cli('database', 'copy', '--to', 'sqlite:later/posthouse.db')
    assert.deepEqual([lately.code, /try again after half a minute/.test(lately.stderr)], [1, true])
  })
})
