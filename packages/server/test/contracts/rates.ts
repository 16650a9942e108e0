/** What all rates must do, as data. Periods are so long that no test comes near their end. */
import assert from 'node:assert/strict'
import type { CallKind, Place, RateLimits } from '@posthouse/contract'
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
      assert.equal(rates.used('bot', undefined, four), 0)
      const used = []
      for (let count = 0; count < 6; count++) {
        await rates.reserve('bot', direct('a'), { account: four }, 'send')
        used.push(Math.round(rates.used('bot', undefined, four) * 100))
      }
      assert.deepEqual(used, [25, 50, 75, 100, 100, 100])
      assert.equal(rates.used('another', undefined, four), 0)
    },
  },
  {
    name: 'lets a burst go, then one after the other',
    async run({ open }) {
      const rates = await open()
      const waits = []
      for (let count = 0; count < 6; count++) waits.push(await rates.reserve('bot', direct('a'), { account: four }, 'send'))
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
      for (let count = 0; count < 5; count++) trials.push(await rates.tryReserve('bot', direct('a'), set, 'send'))
      assert.deepEqual(trials, [true, true, false, false, false])
      near(await rates.reserve('bot', direct('a'), set, 'send'), HOUR / 2)
    },
  },
  {
    name: 'keeps rooms apart, groups to their own figure, and all of them to that of the account',
    async run({ open }) {
      const rates = await open()
      const set = { account: four, direct: { amount: 2, per: HOUR }, group: { amount: 1, per: HOUR } }
      const take = (place: Place) => rates.tryReserve('bot', place, set, 'send')
      assert.deepEqual([await take(direct('a')), await take(direct('a')), await take(direct('a'))], [true, true, false])
      assert.deepEqual([await take(group('g')), await take(group('g'))], [true, false])
      assert.deepEqual([await take(direct('b')), await take(direct('c'))], [true, false])
      assert.equal(await rates.tryReserve('other', direct('a'), set, 'send'), true)
    },
  },
  {
    name: 'waits out a pause: of a room, of an account, the longer of two',
    async run({ open }) {
      const rates = await open()
      rates.pause('bot', 'a', HOUR)
      rates.pause('bot', 'a', 1000)
      near(await rates.reserve('bot', direct('a'), {}, 'send'), HOUR)
      assert.equal(await rates.reserve('bot', direct('b'), {}, 'send'), 0)
      rates.pause('bot', undefined, HOUR / 2)
      near(await rates.reserve('bot', direct('b'), {}, 'send'), HOUR / 2)
      near(await rates.reserve('bot', direct('a'), {}, 'send'), HOUR)
      assert.equal(await rates.tryReserve('bot', direct('b'), {}, 'send'), false)
      assert.equal(await rates.reserve('other', direct('b'), {}, 'send'), 0)
    },
  },
  {
    name: "counts a call in each bucket that names it: messages, and the platform's methods",
    async run({ open }) {
      const rates = await open()
      const limits: RateLimits = {
        account: four,
        methods: {
          start: { calls: ['send'], account: { amount: 1, per: HOUR } },
          change: { calls: ['finish'], direct: { amount: 1, per: HOUR }, group: { amount: 2, per: HOUR } },
        },
      }
      const take = (place: Place, call: CallKind) => rates.tryReserve('bot', place, limits, call)
      assert.deepEqual([await take(direct('a'), 'send'), await take(direct('b'), 'send')], [true, false])
      assert.deepEqual([await take(direct('a'), 'finish'), await take(direct('a'), 'finish')], [true, false])
      const ends = [await take(group('g'), 'finish'), await take(group('g'), 'finish'), await take(group('h'), 'finish')]
      assert.deepEqual(ends, [true, true, false], 'messages are four')
      assert.equal(await take(direct('b'), 'edit'), true, 'nothing counts it')
      near(rates.used('bot', undefined, four), 1)
      assert.ok(rates.used('bot', 'start', four) > 0 && rates.used('bot', 'change', four) === 0)
      assert.equal(await rates.reserve('other', direct('a'), limits, 'send'), 0)
      near(await rates.reserve('other', direct('a'), limits, 'send'), HOUR)
    },
  },
  {
    name: 'counts as messages what a channel says',
    async run({ open }) {
      const rates = await open()
      const limits: RateLimits = { calls: ['send', 'edit'], group: { amount: 1, per: HOUR } }
      const take = (call: CallKind) => rates.tryReserve('bot', group('g'), limits, call)
      assert.deepEqual([await take('finish'), await take('edit'), await take('send'), await take('finish')], [true, true, false, true])
    },
  },
  {
    name: 'leaves half of a bucket to what must go',
    async run({ open }) {
      const rates = await open()
      const limits: RateLimits = { methods: { any: { calls: ['edit', 'typing', 'draft', 'finish'], account: { amount: 8, per: HOUR } } } }
      const take = async (call: CallKind) => {
        let taken = 0
        while (taken < 20 && (await rates.tryReserve('bot', direct('a'), limits, call))) taken++
        return taken
      }
      assert.deepEqual([await take('edit'), await take('typing'), await take('draft'), await take('finish')], [4, 0, 0, 4])
      near(await rates.reserve('bot', direct('a'), limits, 'finish'), HOUR / 8)
    },
  },
  {
    name: 'without a figure nothing waits',
    async run({ open }) {
      const rates = await open()
      for (let count = 0; count < 100; count++) assert.equal(await rates.reserve('bot', group('a'), {}, 'send'), 0)
    },
  },
  {
    name: 'counts what other nodes send, and keeps to their pauses',
    shared: true,
    async run({ open }) {
      const [here, there] = [await open(), await open()]
      const trials = []
      for (let count = 0; count < 3; count++)
        for (const node of [here, there]) trials.push(await node.tryReserve('bot', direct('a'), { account: four }, 'send'))
      assert.deepEqual(trials, [true, true, true, true, false, false])
      near(await there.reserve('bot', direct('a'), { account: four }, 'send'), HOUR / 4)
      const limits: RateLimits = { methods: { start: { calls: ['draft'], account: { amount: 4, per: HOUR } } } }
      const drafts = []
      for (const node of [here, there, here, there]) drafts.push(await node.tryReserve('third', direct('a'), limits, 'draft'))
      assert.deepEqual(drafts, [true, true, false, false])
      here.pause('other', 'a', HOUR)
      await here.reserve('other', direct('b'), {}, 'send')
      near(await there.reserve('other', direct('a'), {}, 'send'), HOUR)
    },
  },
]
