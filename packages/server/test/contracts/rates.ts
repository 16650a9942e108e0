/** What all rates must do, as data. Periods are so long that no test comes near their end. */
import assert from 'node:assert/strict'
import type { Place } from '@posthouse/contract'
import type { Rates } from '../../src/ports/rates.ts'

export interface RatesHarness {
  /** A node's rates, ready to work. They go with the harness. */
  open(): Promise<Rates>
}

interface Behaviour {
  readonly name: string
  /** Whether it takes more than one process. */
  readonly shared?: true
  run(harness: RatesHarness): Promise<void>
}

const HOUR = 3_600_000
const direct = (room: string): Place => ({ room, type: 'direct' })
const group = (room: string): Place => ({ room, type: 'group' })
const four = { amount: 4, per: HOUR }
/** A little less, since time went by. */
const near = (wait: number, expected: number) => assert.ok(wait > expected * 0.95 && wait <= expected, `${wait} is not near ${expected}`)

export const rateBehaviours: readonly Behaviour[] = [
  {
    name: 'tells how much of a rate is in use, up to all of it',
    async run({ open }) {
      const rates = await open()
      assert.equal(rates.used('bot', four), 0)
      const used = []
      for (let count = 0; count < 6; count++) {
        await rates.reserve('bot', direct('a'), { account: four })
        used.push(Math.round(rates.used('bot', four) * 100))
      }
      assert.deepEqual(used, [25, 50, 75, 100, 100, 100])
      assert.equal(rates.used('another', four), 0)
    },
  },
  {
    name: 'lets a burst go, then one after the other',
    async run({ open }) {
      const rates = await open()
      const waits = []
      for (let count = 0; count < 6; count++) waits.push(await rates.reserve('bot', direct('a'), { account: four }))
      assert.deepEqual(waits.slice(0, 4), [0, 0, 0, 0])
      near(waits[4] ?? 0, HOUR / 4)
      near(waits[5] ?? 0, HOUR / 2)
    },
  },
  {
    name: 'takes a place on trial only where there is no wait',
    async run({ open }) {
      const rates = await open()
      const set = { account: { amount: 2, per: HOUR } }
      const trials = []
      for (let count = 0; count < 5; count++) trials.push(await rates.tryReserve('bot', direct('a'), set))
      assert.deepEqual(trials, [true, true, false, false, false])
      near(await rates.reserve('bot', direct('a'), set), HOUR / 2)
    },
  },
  {
    name: 'keeps rooms apart, groups to their own figure, and all of them to that of the account',
    async run({ open }) {
      const rates = await open()
      const set = { account: four, direct: { amount: 2, per: HOUR }, group: { amount: 1, per: HOUR } }
      const take = (place: Place) => rates.tryReserve('bot', place, set)
      assert.deepEqual([await take(direct('a')), await take(direct('a')), await take(direct('a'))], [true, true, false])
      assert.deepEqual([await take(group('g')), await take(group('g'))], [true, false])
      assert.deepEqual([await take(direct('b')), await take(direct('c'))], [true, false])
      assert.equal(await rates.tryReserve('other', direct('a'), set), true)
    },
  },
  {
    name: 'waits out a pause: of a room, of an account, the longer of two',
    async run({ open }) {
      const rates = await open()
      rates.pause('bot', 'a', HOUR)
      rates.pause('bot', 'a', 1000)
      near(await rates.reserve('bot', direct('a'), {}), HOUR)
      assert.equal(await rates.reserve('bot', direct('b'), {}), 0)
      rates.pause('bot', undefined, HOUR / 2)
      near(await rates.reserve('bot', direct('b'), {}), HOUR / 2)
      near(await rates.reserve('bot', direct('a'), {}), HOUR)
      assert.equal(await rates.tryReserve('bot', direct('b'), {}), false)
      assert.equal(await rates.reserve('other', direct('b'), {}), 0)
    },
  },
  {
    name: 'without a figure nothing waits',
    async run({ open }) {
      const rates = await open()
      for (let count = 0; count < 100; count++) assert.equal(await rates.reserve('bot', group('a'), {}), 0)
    },
  },
  {
    name: 'counts what other nodes send, and keeps to their pauses',
    shared: true,
    async run({ open }) {
      const [here, there] = [await open(), await open()]
      const trials = []
      for (let count = 0; count < 3; count++)
        for (const node of [here, there]) trials.push(await node.tryReserve('bot', direct('a'), { account: four }))
      assert.deepEqual(trials, [true, true, true, true, false, false])
      near(await there.reserve('bot', direct('a'), { account: four }), HOUR / 4)
      here.pause('other', 'a', HOUR)
      await here.reserve('other', direct('b'), {})
      near(await there.reserve('other', direct('a'), {}), HOUR)
    },
  },
]
