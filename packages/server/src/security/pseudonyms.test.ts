import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { loadKey } from './key.ts'
import { createPseudonyms } from './pseudonyms.ts'

it('a pseudonym is the same for the same name under the same key only', () => {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-names-'))
  const [one, again, other] = ['a.key', 'a.key', 'b.key'].map((file) => createPseudonyms(loadKey(join(folder, file), false)))
  const names = ['ann@example.com', 'ann@example.con', 'Ann@example.com', '', '张三']
  assert.deepEqual(
    names.map((name) => one?.(name)),
    names.map((name) => again?.(name)),
  )
  assert.equal(new Set([...names.map((name) => one?.(name)), ...names.map((name) => other?.(name))]).size, names.length * 2)
  for (const name of names) assert.match(one?.(name) ?? '', /^[\w-]{22}$/)
  rmSync(folder, { recursive: true })
})
