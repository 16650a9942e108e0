import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import { modelFailures } from '@posthouse/contract'
import { providers } from './index.ts'
import { failureEffects } from './router/endpoint.ts'

const page = readFileSync(new URL('../../../../docs/subsystems/models.md', import.meta.url), 'utf8')

it('the page tells what each failure does, in the order of the contract', () => {
  const rows = [...page.matchAll(/^\| `([\w-]+)` \| (\w+) \| (\w+) \|$/gm)].map(([, kind, endpoint, call]) => [kind, endpoint, call])
  assert.deepEqual(
    rows,
    modelFailures.map((kind) => [kind, failureEffects[kind].endpoint, failureEffects[kind].call]),
  )
})

it('the page names each provider, and each setting is described in both languages', () => {
  for (const [id, { settings }] of Object.entries(providers)) {
    assert.ok(page.includes(`\`${id}\``), id)
    for (const [name, { description }] of Object.entries(settings.fields)) {
      assert.match(name, /^[a-z]+(_[a-z]+)*$/)
      assert.match(description.en, /\.$/, name)
      assert.match(description.zh, /\p{Script=Han}/u, name)
    }
    for (const name of settings.required) assert.ok(settings.fields[name], name)
  }
})
