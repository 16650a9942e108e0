import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createBreaker, type Pass } from './breaker.ts'

function setUp() {
  let time = 0
  const breaker = createBreaker({ threshold: 3, coolDown: 100, maxCoolDown: 350, elapsed: () => time })
  const enter = (): Pass => breaker.enter() ?? assert.fail('the breaker let nobody in')
  const fail = (times: number) => {
    for (let n = 0; n < times; n += 1) enter().failed()
  }
  return { breaker, enter, fail, pass: (ms: number) => (time += ms) }
}

describe('breaker', () => {
  it('opens after the threshold of failures in a row, not before', () => {
    const { breaker, enter, fail } = setUp()
    fail(2)
    enter().succeeded()
    fail(2)
    assert.equal(breaker.state, 'closed')
    fail(1)
    assert.equal(breaker.state, 'open')
    assert.equal(breaker.wait, 100)
    assert.equal(breaker.enter(), undefined)
  })

  it('lets one probe in after the cool-down, and closes when it works', () => {
    const { breaker, enter, fail, pass } = setUp()
    fail(3)
    pass(100)
    assert.equal(breaker.state, 'half-open')
    const probe = enter()
    assert.equal(breaker.enter(), undefined, 'one at a time')
    probe.succeeded()
    assert.equal(breaker.state, 'closed')
    fail(2)
    assert.equal(breaker.state, 'closed', 'the count began anew')
  })

  it('doubles the cool-down after each failed probe, up to the cap, and starts over once closed', () => {
    const { breaker, enter, fail, pass } = setUp()
    fail(3)
    for (const expected of [200, 350, 350]) {
      pass(breaker.wait)
      enter().failed()
      assert.equal(breaker.wait, expected)
    }
    pass(350)
    enter().succeeded()
    fail(3)
    assert.equal(breaker.wait, 100)
  })

  it('gives the probe to the next call when the first one was dropped', () => {
    const { breaker, enter, fail, pass } = setUp()
    fail(3)
    pass(100)
    enter().dropped()
    assert.equal(breaker.state, 'half-open')
    enter().succeeded()
    assert.equal(breaker.state, 'closed')
  })

  it('is not closed by a call that began before it opened, and counts an outcome once', () => {
    const { breaker, enter, fail } = setUp()
    const early = enter()
    fail(3)
    early.succeeded()
    assert.equal(breaker.state, 'open')
    const { breaker: other, enter: enterOther } = setUp()
    const one = enterOther()
    for (let n = 0; n < 5; n += 1) one.failed()
    assert.equal(other.state, 'closed')
  })
})
