/** What the fault matrix itself is tested with: every point is passed, and broken versions are noticed. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { severalNodes } from './cluster/rows.ts'
import { mutants } from './mutants.ts'
import { missing } from './needs.ts'
import { points } from './points.ts'
import { needsOf, problemsOf } from './row.ts'
import { crashAt } from './rows/process.ts'
import { missingRows, oneNode, rows } from './rows.ts'

const server = join(import.meta.dirname, '../..')
const rowOf = (id: string) => {
  const row = rows.find((one) => one.id === id)
  assert.ok(row, `there is no row ${id}`)
  return row
}

/** The rest is played by `npm run chaos -- --mutants`. */
const noticed: readonly (readonly [name: string, id: string, part: string])[] = [
  ['acknowledge before commit', 'F02', 'offset kept'],
  ['dedupe in memory', 'F25', ''],
  ['resend without a journal', 'F02', 'sent'],
  ['flag moved before commit', 'F02', 'mail handed over'],
  ['dedupe in memory', 'F02', 'mail committed'],
]

describe('the fault matrix', () => {
  for (const [mutant, id, part] of noticed) {
    const row = rowOf(id)
    const lacking = missing(needsOf(row, part))
    const skip = lacking.length > 0 && process.env.CI !== 'true' ? `this machine has no ${lacking.join(', no ')}` : false
    it(`${id}${part ? ` "${part}"` : ''} turns red for the mutant "${mutant}"`, { skip }, async () => {
      assert.notDeepEqual(problemsOf(row, await row.run({ seed: 1, part, mutant, patience: 6000 })), [], 'nobody noticed')
    })
  }

  it('every named point is passed on a tour', async () => {
    const reached = new Set<string>()
    // The first without a crash: one may come between a call and its result, and that call then has none.
    for (const part of ['', 'calls taken over', 'pruned']) {
      const { world, reached: passed } = await crashAt({ seed: 1, part })
      await world[Symbol.asyncDispose]()
      for (const name of passed) reached.add(name)
    }
    assert.deepEqual(
      points.map(({ name }) => name).filter((name) => !reached.has(name)),
      [],
    )
  })

  it('mutants and rows name what is there', () => {
    for (const { name, rows: wanted, edits, notYet } of mutants) {
      for (const { file, find } of edits)
        assert.ok(readFileSync(join(server, file), 'utf8').includes(find), `${name}: its place is gone from ${file}`)
      for (const spot of notYet ? [] : wanted) {
        const [id = '', part] = spot.split(':')
        assert.ok(part === undefined || rowOf(id).parts?.includes(part), `${name} names ${spot}`)
      }
    }
    const page = readFileSync(join(server, '../../docs/reliability.md'), 'utf8')
    for (const { rows: all, begin, end } of [oneNode, severalNodes]) {
      const part = page.split(begin)[1]?.split(end)[0] ?? ''
      for (const { id, title, injection, bound } of all) {
        assert.ok(part.includes(`| ${id} |`) && part.includes(`### ${id} ${title}`), `${id} is not on the page: npm run chaos -- --write`)
        assert.ok(
          part.includes(injection) && part.includes(bound),
          `${id} stands on the page in other words: npm run chaos -- --row ${id} --write`,
        )
      }
    }
    for (const { id, notYet } of missingRows) assert.ok(page.includes(`| ${id} | not yet: ${notYet} |`), id)
    const ids = [...rows, ...missingRows].map(({ id }) => id)
    assert.equal(new Set(ids).size, ids.length, 'a row stands twice')
    const promised = [
      1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 25, 27, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 48,
    ]
    assert.deepEqual(
      ids.toSorted(),
      promised.map((number) => `F${String(number).padStart(2, '0')}`),
    )
  })
})
