import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Asked, audit, type Ledgers } from './auditor.ts'

const ask = (number: number, chat = 1, parts = 1): Asked => ({ number, chat, parts, update: 100 + number, text: `m${number}p1` })
const say = (text: string, chat = 1) => ({ chat, text })
const look = (change: Partial<Ledgers>) => {
  const asked = change.asked ?? [ask(1), ask(2)]
  const confirmed = new Set(asked.map(({ update }) => update))
  return audit({ asked, confirmed, posted: [say('m1p1'), say('m2p1')], toolRuns: [], dead: [], maybe: [], ...change })
}

describe('the auditor', () => {
  it('finds nothing where nothing is wrong', () => {
    const { lost, doubled, outOfOrder, rerun, strays, answered } = look({})
    assert.deepEqual(
      { lost, doubled, outOfOrder, rerun, strays, answered },
      { lost: [], doubled: [], outOfOrder: [], rerun: [], strays: [], answered: 2 },
    )
  })

  it('misses what was admitted and not answered, and only that', () => {
    assert.deepEqual(look({ posted: [say('m1p1')] }).lost, ['m2p1'])
    assert.deepEqual(look({ posted: [say('m1p1')], confirmed: new Set([101]) }).lost, [])
    assert.deepEqual(look({ posted: [say('m1p1'), say('m2p1', 7)] }).lost, ['m2p1'], 'an answer in another chat is none')
    assert.deepEqual(look({ asked: [ask(1, 1, 3)], posted: [say('m1p1'), say('m1p3')] }).lost, ['m1p1'], 'nor is one with a hole')
  })

  it('takes a notice for one message, that of a flood for all, a dead letter for its own', () => {
    const three = [ask(1), ask(2), ask(3)]
    assert.deepEqual(look({ asked: three, posted: [say('m1p1'), say('No model could answer')] }).lost, ['m3p1'])
    assert.deepEqual(look({ asked: three, posted: [say('m1p1'), say('That was too much at once')] }).lost, [])
    assert.deepEqual(look({ asked: three, posted: [say('m1p1')], dead: ['m3p1'] }).lost, ['m2p1'])
    const setAside = { posted: [say('m1p1'), say('It was set aside')], dead: ['m3p1'], setAside: ['m3p1'] }
    assert.deepEqual(look({ asked: three, ...setAside }).lost, ['m2p1'], 'its notice tells of nothing else')
  })

  it('counts an answer that came twice, unless it is marked; thrice is never right', () => {
    const twice = [say('m1p1'), say('m2p1'), say('m2p1')]
    assert.deepEqual(look({ posted: twice }).doubled, ['m2p1: 2 times'])
    assert.deepEqual([look({ posted: twice, maybe: ['m2p1'] }).doubled, look({ posted: twice, maybe: ['m2p1'] }).marked], [[], 1])
    assert.deepEqual(look({ posted: [...twice, say('m2p1')], maybe: ['m2p1'] }).doubled, ['m2p1: 3 times, marked'])
    assert.deepEqual(look({ posted: twice, maybe: ['m1p1'] }).doubled, ['m2p1: 2 times'], 'the mark of another is none')
    assert.deepEqual(look({ asked: [ask(1, 1, 2)], posted: [say('m1p1'), say('m1p2'), say('m1p2')] }).doubled, ['m1p1: 2 times'])
  })

  it('sees what is out of order, run again, or left behind', () => {
    assert.deepEqual(look({ posted: [say('m2p1'), say('m1p1')] }).outOfOrder, ['m2p1'])
    assert.deepEqual(look({ toolRuns: ['a seat', 'a table', 'a seat'] }).rerun, ['a seat'])
    const left = look({ posted: [say('m1p1 and then…'), say('m1p1 and then home'), say('m2p1')] })
    assert.deepEqual([left.strays.length, left.doubled], [1, []])
  })
})
