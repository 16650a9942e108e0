import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createWriter, type Verdict, type WriteConnection } from './writer.ts'

class Refused extends Error {
  readonly verdict: Verdict
  constructor(verdict: Verdict) {
    super(verdict)
    this.verdict = verdict
  }
}

/** A database that keeps a list, and writes down what is done with it. */
function connection(change: Partial<WriteConnection> = {}) {
  const done: string[] = []
  const line: WriteConnection = {
    interleaves: false,
    begin: () => void done.push('begin'),
    commit: () => void done.push('commit'),
    rollback: () => void done.push('rollback'),
    judge: (error) => (error instanceof Refused ? error.verdict : 'work'),
    all: () => [],
    run: () => 0,
    insert: () => 0,
    ...change,
  }
  return { done, line }
}

const count = (done: readonly string[], what: string) => done.filter((each) => each === what).length

describe('writer', () => {
  it('commits together what was asked together', async () => {
    const { done, line } = connection()
    const { write } = createWriter(line)
    assert.deepEqual(await Promise.all([write(() => 1), write(() => 2), write(() => 3)]), [1, 2, 3])
    assert.deepEqual(done, ['begin', 'commit'])
  })

  it('tells the commit whether others wait: their transaction is begun in the same way to the database', async () => {
    const told: boolean[] = []
    const { line } = connection({ commit: (more) => void told.push(more) })
    const { write } = createWriter(line)
    const behind: Promise<unknown>[] = []
    await write(
      () =>
        void behind.push(
          write(() => 2),
          write(() => 3),
        ),
    )
    await Promise.all(behind)
    assert.deepEqual(told, [true, false])
  })

  it('lets nobody pay for the mistake of another', async () => {
    const { line } = connection()
    const { write } = createWriter(line)
    const broken = () => {
      throw new RangeError('mine')
    }
    const ends = await Promise.allSettled([write(() => 1), write(broken), write(() => 3)])
    assert.deepEqual(
      ends.map((end) => (end.status === 'fulfilled' ? end.value : end.reason.message)),
      [1, 'mine', 3],
    )
  })

  it('tries a conflict again, but not for ever', async () => {
    const { done, line } = connection()
    const { write } = createWriter(line)
    let left = 3
    const work = () => {
      if (left-- > 0) throw new Refused('conflict')
      return 'through'
    }
    assert.equal(await write(work), 'through')
    left = Number.POSITIVE_INFINITY
    done.length = 0
    await assert.rejects(write(work), { code: 'unavailable', retryAfter: 2000 })
    assert.equal(count(done, 'begin'), 5)
  })

  it('refuses all when nobody is there, without asking for each', async () => {
    let tries = 0
    const { line } = connection({
      begin() {
        tries++
        throw new Error('no line')
      },
    })
    const { write } = createWriter(line)
    const ends = await Promise.allSettled(Array.from({ length: 50 }, () => write(() => 1)))
    assert.ok(ends.every((end) => end.status === 'rejected' && end.reason.code === 'unavailable'))
    assert.equal(tries, 1)
  })

  it('refuses the rest of a batch when the line goes dead within it', async () => {
    const { done, line } = connection()
    const { write } = createWriter(line)
    const dead = () => {
      throw new Refused('lost')
    }
    const ends = await Promise.allSettled([write(() => 1), write(dead), write(() => 3)])
    assert.ok(ends.every((end) => end.status === 'rejected' && end.reason.code === 'unavailable'))
    assert.equal(count(done, 'begin'), 1)
  })

  it('tries the rest of a batch only as long as anybody would wait', async () => {
    let now = 0
    const { done, line } = connection({
      commit() {
        now += 1000
        throw new Refused('busy')
      },
    })
    const { write } = createWriter(line, () => now)
    const ends = await Promise.allSettled(Array.from({ length: 50 }, () => write(() => 1)))
    assert.ok(ends.every((end) => end.status === 'rejected' && end.reason.code === 'unavailable'))
    assert.equal(count(done, 'begin'), 1 + 4)
  })

  it('lets nobody wait behind a batch that does not end', async ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    const known = Promise.withResolvers<void>()
    let commits = 0
    const { line } = connection({ commit: () => (commits++ === 0 ? known.promise : undefined) })
    const { write, idle } = createWriter(line)
    const unknown = write(() => 'unknown')
    while (commits === 0) await new Promise((resolve) => setImmediate(resolve))
    const behind = assert.rejects(
      write(() => 'behind'),
      { code: 'unavailable' },
    )
    mock.timers.tick(5000)
    await behind
    await assert.rejects(
      write(() => 'later'),
      { code: 'unavailable' },
    )
    known.resolve()
    assert.equal(await unknown, 'unknown')
    await idle()
    assert.equal(await write(() => 'again'), 'again')
    assert.equal(commits, 2)
  })

  it('runs lanes side by side where the line can, each in its order, and alone what has no lane', async () => {
    const { done, line } = connection({ interleaves: true })
    const { write } = createWriter(line)
    const said: string[] = []
    const work = (name: string) => async () => {
      said.push(`${name} begins`)
      await new Promise<void>((resolve) => setImmediate(resolve))
      said.push(`${name} ends`)
    }
    await Promise.all([write(work('none')), write(work('a1'), 'a'), write(work('b1'), 'b'), write(work('a2'), 'a')])
    assert.deepEqual(said, ['a1 begins', 'b1 begins', 'a1 ends', 'a2 begins', 'b1 ends', 'a2 ends', 'none begins', 'none ends'])
    assert.deepEqual(done, ['begin', 'commit'])
  })

  it('waits for every lane before it rolls back', async () => {
    const { done, line } = connection({ interleaves: true })
    const { write } = createWriter(line)
    let first = true
    const slow = async () => {
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (first) done.push('slow ended')
      first = false
    }
    const broken = async () => {
      throw new RangeError('mine')
    }
    await Promise.allSettled([write(slow, 'a'), write(broken, 'b')])
    assert.deepEqual(done.slice(0, 3), ['begin', 'slow ended', 'rollback'])
  })
})
