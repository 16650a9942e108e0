/** A start without the right key stops with the remedy, and changes nothing. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { createPosthouse } from '../journeys/posthouse.ts'

it('the gateway does not start over data without its key, whatever the database is called', async () => {
  await using posthouse = createPosthouse({ database: { url: 'sqlite:data/another-name.db' } })
  await posthouse.start()
  await posthouse.stop()
  const key = join(posthouse.folder, 'posthouse.key')
  const kept = readFileSync(key, 'utf8')

  renameSync(key, `${key}.away`)
  await assert.rejects(posthouse.start(), /ended with 1[\s\S]*posthouse\.key is missing[\s\S]*Put it back/)
  assert.ok(!existsSync(key), 'no new key is made over data')

  const foreign = `posthouse-key-1:${Buffer.alloc(32, 7).toString('base64')}\n`
  writeFileSync(key, foreign)
  await assert.rejects(posthouse.start(), /ended with 1[\s\S]*does not fit the data/)
  assert.equal(readFileSync(key, 'utf8'), foreign)

  writeFileSync(key, 'nonsense')
  await assert.rejects(posthouse.start(), /ended with 1[\s\S]*not a Posthouse key file/)

  writeFileSync(key, kept)
  await posthouse.start()
  assert.equal(await posthouse.stop(), 0)
})
