import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { after, together } from './query.ts'

describe('after', () => {
  it('goes on at once where the answer is there at once', () => {
    assert.equal(
      after(2, (value) => value * 2),
      4,
    )
  })

  it('goes on later where it comes later', async () => {
    const answer = after(Promise.resolve(2), (value) => value * 2)
    assert.ok(answer instanceof Promise)
    assert.equal(await answer, 4)
  })
})

describe('together', () => {
  it('answers at once where all answers are there at once', () => {
    assert.deepEqual(
      together(
        () => 1,
        () => 'two',
      ),
      [1, 'two'],
    )
  })

  it('answers in the order of the asks, whichever comes first', async () => {
    const late = Promise.withResolvers<string>()
    const answers = together(
      () => late.promise,
      () => 2,
      () => Promise.resolve(3),
    )
    late.resolve('one')
    assert.deepEqual(await answers, ['one', 2, 3])
  })

  it('rejects with the first error in order, and only when nothing is under way any more', async () => {
    const last = Promise.withResolvers<string>()
    let over = false
    const answers = Promise.resolve(
      together(
        () => last.promise.then(() => Promise.reject(new Error('first in order'))),
        () => Promise.reject(new Error('first in time')),
      ),
    ).finally(() => {
      over = true
    })
    answers.catch(() => {})
    await new Promise(setImmediate)
    assert.equal(over, false, 'what goes on behind a rollback would write into the next transaction')
    last.resolve('')
    await assert.rejects(answers, /first in order/)
  })

  it('asks nothing behind what throws at once, and waits for what was asked before it', async () => {
    const first = Promise.withResolvers<string>()
    const asked: string[] = []
    let over = false
    const answers = Promise.resolve(
      together(
        () => first.promise,
        () => {
          throw new TypeError('cannot be stored')
        },
        () => asked.push('third'),
      ),
    ).finally(() => {
      over = true
    })
    answers.catch(() => {})
    await new Promise(setImmediate)
    assert.equal(over, false)
    first.resolve('')
    await assert.rejects(answers, TypeError)
    assert.deepEqual(asked, [])
  })
})
