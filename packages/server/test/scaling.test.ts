/** The tables of docs/scaling.md are what the script makes of what was measured. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pageWithTable, scale } from '../../../scripts/scaling.ts'

const docs = join(import.meta.dirname, '../../../docs')
const measured = { node: { cpu: 3000, memory: 200 }, database: { cpu: 500, log: 10_000, data: 5000 } }

describe('scaling', () => {
  it('has the tables of the script, in both languages', () => {
    const again = 'run scripts/scaling.ts'
    assert.equal(readFileSync(join(docs, 'scaling.md'), 'utf8'), pageWithTable('en'), again)
    assert.equal(readFileSync(join(docs, 'scaling.zh.md'), 'utf8'), pageWithTable('zh'), again)
  })

  it('counts one node more than the work needs, and parts the database when it is too large', () => {
    const small = scale(120, measured)
    assert.deepEqual([small.turns, small.nodes, small.databaseCores, small.shards], [0.1, 2, 1, 1])
    const large = scale(1_200_000, measured)
    assert.deepEqual([large.turns, large.nodes, large.databaseCores, large.shards], [1000, 7, 1, 1])
    assert.equal(scale(120_000_000, measured).shards, 4)
    assert.equal(large.log, 10)
  })
})
