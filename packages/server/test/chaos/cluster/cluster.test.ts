/** A short walk through the fault matrix of several nodes, with every commit. `npm run chaos -- --cluster` plays all of it. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { noRabbit, noRedis, skipWithout } from '../../cluster/servers.ts'
import { noPostgres } from '../../contracts/postgres-server.ts'
import { PATIENCE, problemsOf } from '../row.ts'
import { clusterRows } from './rows.ts'

/** The quickest of what is most likely to break. */
const short: readonly (readonly [id: string, part?: string])[] = [
  ['F32'],
  ['F06', 'before it keeps an offset'],
  ['F18', 'serialization failures'],
  ['F31', 'hurried nodes'],
]

describe('chaos with several nodes', { skip: skipWithout(noPostgres, noRabbit, noRedis) }, () => {
  for (const [id, part = ''] of short) {
    const row = clusterRows.find((one) => one.id === id && (part === '' || one.parts?.includes(part)))
    it(`${id} ${row?.title}${part ? `: ${part}` : ''}, seed 1`, async () => {
      assert.deepEqual([noPostgres, noRabbit, noRedis], [undefined, undefined, undefined])
      assert.ok(row)
      assert.deepEqual(problemsOf(row, await row.run({ seed: 1, part, patience: PATIENCE })), [])
    })
  }
})
