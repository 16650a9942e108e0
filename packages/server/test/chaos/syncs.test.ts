import assert from 'node:assert/strict'
import { it } from 'node:test'
import { lostWrites } from './syncs.ts'

const wal = '/data/posthouse.db-wal'
const write = (at: number, thread = 1) => `${thread} pwrite64(21<${wal}>, ""..., 4120, ${at}) = 4120`

it('a power cut takes what was written since the last sync, and nothing else', () => {
  const trace = [write(0), `1 fdatasync(21<${wal}>) = 0`, write(4120), '1 pwrite64(20</data/posthouse.db>, ""..., 4096, 0) = 4096'].join(
    '\n',
  )
  assert.deepEqual(lostWrites(trace), [
    { path: wal, at: 4120, length: 4120 },
    { path: '/data/posthouse.db', at: 0, length: 4096 },
  ])
})

it('a sync that failed keeps nothing; one that is told in two lines keeps what was written before it', () => {
  assert.equal(lostWrites([write(0), `1 fdatasync(21<${wal}>) = -1 EIO (Input/output error) (INJECTED)`].join('\n')).length, 1)
  const split = [write(0), `1 fdatasync(21<${wal}> <unfinished ...>`, write(4120, 2), '1 <... fdatasync resumed>) = 0']
  assert.deepEqual(
    lostWrites(split.join('\n')).map(({ at }) => at),
    [4120],
  )
  assert.equal(lostWrites(split.slice(0, 2).join('\n')).length, 1, 'a sync that never came back')
})
