/** A short walk through the fault matrix, with every commit, without limits of time. `npm run chaos` plays all of it, with them. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { missing } from './needs.ts'
import { needsOf, PATIENCE, problemsOf } from './row.ts'
import { rows } from './rows.ts'

const rowOf = (id: string) => {
  const row = rows.find((one) => one.id === id)
  assert.ok(row, `there is no row ${id}`)
  return row
}

/** What is played here: the quickest of what has hurt gateways most. */
const short: readonly (readonly [id: string, seeds: readonly number[], part?: string])[] = [
  ['F01', [1, 2]],
  ['F02', [1], 'sent'],
  ['F02', [1], 'preview noted'],
  ['F02', [1], 'calls taken over'],
  ['F02', [1], 'mail handed over'],
  ['F02', [1], 'mail committed'],
  ['F03', [1]],
  ['F04', [1], 'claims on their way'],
  ['F12', [1]],
  ['F13', [1], 'a flipped byte in the log'],
  ['F25', [1]],
  ['F32', [1]],
  ['F35', [1]],
]
describe('chaos', () => {
  for (const [id, seeds, part = ''] of short) {
    const row = rowOf(id)
    const lacking = missing(needsOf(row, part))
    const skip = lacking.length > 0 && process.env.CI !== 'true' ? `this machine has no ${lacking.join(', no ')}` : false
    for (const seed of seeds) {
      it(`${id} ${row.title}${part ? `: ${part}` : ''}, seed ${seed}`, { skip }, async () => {
        assert.deepEqual(lacking, [])
        assert.deepEqual(problemsOf(row, await row.run({ seed, part, patience: PATIENCE })), [])
      })
    }
  }
})
