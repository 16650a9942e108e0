/** A backup and a restore as a person makes them: from a server that works into a file elsewhere, with files and deletions. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { copyFileSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { newPlace, noPostgres } from '../contracts/postgres.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

/** What a program of the person does over the API. */
function client({ posthouse, token }: { posthouse: Posthouse; token: string }) {
  const headers = { authorization: `Bearer ${token}` }
  const call = (path: string, init: RequestInit = {}) =>
    fetch(`${posthouse.url}${path}`, { ...init, headers: { ...headers, ...init.headers } })
  return {
    call,
    async upload(bytes: Buffer): Promise<string> {
      const form = new FormData()
      form.set('file', new Blob([new Uint8Array(bytes)]), 'a.bin')
      return ((await (await call('/api/v1/files', { method: 'POST', body: form })).json()) as { id: string }).id
    },
    async ask(query: string): Promise<string> {
      const body = JSON.stringify({ query })
      const response = await call('/api/v1/chat', { method: 'POST', body, headers: { 'content-type': 'application/json' } })
      return ((await response.json()) as { conversation_id: string }).conversation_id
    },
  }
}

describe('backup and restore', { skip: noPostgres }, () => {
  it('takes a working installation from PostgreSQL into a file elsewhere', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    const config = (url?: string) => ({
      ...(url ? { database: { url } } : {}),
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      channels: { telegram: { token: telegram.token, api_root: telegram.url } },
    })
    await using posthouse = createPosthouse(config(await newPlace()))
    await posthouse.start()
    const { token } = JSON.parse((await posthouse.cli('token', 'create', '--scopes', 'chat,admin', '--json')).stdout) as { token: string }
    const { call, upload, ask } = client({ posthouse, token })
    const bytes = randomBytes(900_000)
    const file = await upload(bytes)
    const [kept, deleted] = [await ask('keep this'), await ask('delete this')]
    telegram.say({ text: 'before', chat: 7, from: 7 })
    await until(() => telegram.posted().some(({ text }) => text === 'You said: before'), 'the answer')

    const path = join(posthouse.folder, 'kept.backup')
    const made = await posthouse.cli('backup', 'create', '--to', 'kept.backup')
    assert.deepEqual([made.code, made.stdout.trimEnd().split('\n').at(-1)], [0, `Next: posthouse backup verify ${path}`])
    assert.match(made.stdout, /The key is not in it/)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(readFileSync(path).includes('keep this'), false)
    const again = await posthouse.cli('backup', 'create', '--to', 'kept.backup')
    assert.deepEqual([again.code, /is there already/.test(again.stderr)], [2, true])
    const verified = await posthouse.cli('backup', 'verify', 'kept.backup', '--json')
    const { manifest, opened } = JSON.parse(verified.stdout) as { manifest: { files: { count: number } }; opened: { files: number } }
    assert.deepEqual([verified.code, manifest.files.count, opened.files], [0, 1, 1])

    // After the backup.
    assert.equal((await call(`/api/v1/conversations/${deleted}`, { method: 'DELETE' })).status, 204)
    telegram.say({ text: 'after', chat: 7, from: 7 })
    await until(() => telegram.posted().some(({ text }) => text === 'You said: after'), 'the answer')
    assert.equal((await posthouse.cli('backup', 'erasures', '--to', 'deleted.jsonl')).code, 0)
    const busy = await posthouse.cli('backup', 'restore', '--from', 'kept.backup', '--replace')
    assert.deepEqual([busy.code, /Another Posthouse .* uses the database/.test(busy.stderr)], [1, true])
    await posthouse.stop()

    // Another machine: its own folder and key file, and no database server.
    await using other = createPosthouse(config())
    const from = ['--from', path, '--erasures', join(posthouse.folder, 'deleted.jsonl')]
    const keyless = await other.cli('backup', 'restore', ...from)
    assert.deepEqual([keyless.code, /key file .* is missing/.test(keyless.stderr)], [1, true])
    assert.match((await other.cli('backup', 'verify', path)).stdout, /There is no key file here; it needs the key [0-9a-f]{8}/)
    copyFileSync(join(posthouse.folder, 'posthouse.key'), join(other.folder, 'posthouse.key'))
    writeFileSync(join(other.folder, 'wrong.jsonl'), '{"kind":"user"}\n')
    const wrong = await other.cli('backup', 'restore', '--from', path, '--erasures', 'wrong.jsonl')
    assert.deepEqual([wrong.code, /wrong.jsonl:1 is no line of/.test(wrong.stderr)], [2, true])
    const restored = await other.cli('backup', 'restore', ...from, '--json')
    assert.equal(restored.code, 0, restored.stdout + restored.stderr)
    assert.deepEqual((JSON.parse(restored.stdout) as { erasures: number }).erasures, 1)

    await other.start()
    assert.match(other.said, /Paused, so that nothing is received or sent: telegram/)
    assert.ok(other.log.some((line) => line.includes('accounts are paused')))
    const here = client({ posthouse: other, token })
    const downloaded = Buffer.from(await (await here.call(`/api/v1/files/${file}`)).arrayBuffer())
    assert.ok(downloaded.equals(bytes))
    const history = await here.call(`/api/v1/history?conversation_id=${kept}`)
    assert.match(await history.text(), /You said: keep this/)
    assert.equal((await here.call(`/api/v1/history?conversation_id=${deleted}`)).status, 404)
    assert.match((await other.cli('status')).stdout, /Paused, receiving and sending nothing: telegram/)
    assert.match((await other.cli('doctor')).stdout, /! paused: telegram: nothing is received or sent/)
    const listed = JSON.parse((await other.cli('channel', 'list', '--json')).stdout) as { paused?: number }[]
    assert.equal(typeof listed[0]?.paused, 'number')

    const posted = telegram.posted().length
    telegram.say({ text: 'anybody?', chat: 7, from: 7 })
    assert.deepEqual([(await other.cli('channel', 'resume')).code, (await other.cli('channel', 'resume', 'nobody')).code], [2, 2])
    assert.equal(telegram.posted().length, posted)
    assert.equal((await other.cli('channel', 'resume', 'telegram')).code, 0)
    await until(() => telegram.posted().length > posted, 'it goes on')
    assert.equal(telegram.posted().at(-1)?.text, 'You said: anybody?')

    // By hand, and while it runs.
    assert.equal((await other.cli('channel', 'pause', '--all')).code, 0)
    const state = async () =>
      ((await (await here.call('/api/admin/status')).json()) as { channels: { id: string; state: string }[] }).channels.at(-1)
    await until(async () => (await state())?.state === 'paused', 'it is paused')
    await other.kill()
    await other.start()
    assert.equal((await state())?.state, 'paused')
    await other.stop()

    // What is there is kept, and a damaged backup changes nothing.
    const data = readFileSync(path)
    writeFileSync(path, Buffer.concat([data.subarray(0, 30_000), Buffer.alloc(20_000, 1), data.subarray(50_000)]))
    const damaged = await other.cli('backup', 'restore', '--from', path, '--replace')
    assert.deepEqual([damaged.code, /is damaged: \w+ is not what was written|is damaged/.test(damaged.stderr)], [1, true], damaged.stderr)
    writeFileSync(path, data)
    const occupied = await other.cli('backup', 'restore', '--from', path)
    assert.deepEqual([occupied.code, /holds data already/.test(occupied.stderr)], [1, true])
    const replaced = JSON.parse((await other.cli('backup', 'restore', '--from', path, '--replace', '--json')).stdout) as { old: string }
    renameSync(join(replaced.old, 'posthouse.db'), join(other.folder, 'old.db'))
    assert.ok(statSync(join(other.folder, 'old.db')).size > 0)
  })
})
