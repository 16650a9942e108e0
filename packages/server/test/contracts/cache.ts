/** What the cache must do in every form, as data. */
import assert from 'node:assert/strict'
import type { Cache, CacheResult, CacheTier } from '../../src/ports/cache.ts'
import { until } from '../journeys/posthouse.ts'

export interface CacheHarness {
  /** The cache of another process; it goes with the harness. */
  open(): Promise<Cache>
  /** Moves the time of every process. */
  wait(ms: number): void
  /** What was told so far, of all processes. */
  readonly told: readonly `${CacheTier} ${CacheResult}`[]
  /** Changes what is kept outside of the processes, if anything is. */
  readonly outside?: {
    all(): Promise<ReadonlyMap<string, Buffer>>
    put(name: string, value: Buffer | string): Promise<void>
  }
}

interface Behaviour {
  readonly name: string
  readonly shared?: true
  run(harness: CacheHarness): Promise<void>
}

export const HOUR = 3_600_000
/** Bytes that memory may take in these behaviours. */
export const LIMIT = 200_000
const QUESTION = 'canary question: 营业时间?'
const ANSWER = 'canary answer: 九点 to six'
const never = new AbortController().signal

/** What is found; nobody is left at work on it. */
const look = async (cache: Cache, key = QUESTION) => {
  using found = await cache.find(key, never)
  return found.value
}

export const cacheBehaviours: readonly Behaviour[] = [
  {
    name: 'finds what was kept, under its key only, until its time is over',
    async run({ open, wait }) {
      const cache = await open()
      assert.equal(await look(cache), undefined)
      cache.keep(QUESTION, ANSWER, HOUR)
      assert.deepEqual([await look(cache), await look(cache, `${QUESTION}!`)], [ANSWER, undefined])
      wait(HOUR - 1)
      assert.equal(await look(cache), ANSWER)
      wait(1)
      assert.equal(await look(cache), undefined)
      cache.keep(QUESTION, 'another', HOUR)
      assert.equal(await look(cache), 'another', 'the newest counts')
    },
  },
  {
    name: 'is bounded by bytes',
    async run({ open, told }) {
      const cache = await open()
      for (let index = 0; index < 400; index++) cache.keep(`question ${index}`, 'x'.repeat(1000), HOUR)
      const hits = () => told.filter((one) => one === 'memory hit').length
      // The newest first: what is brought back from outside pushes others out.
      for (let index = 399; index >= 0; index--) await look(cache, `question ${index}`)
      assert.ok(hits() > 20 && hits() <= LIMIT / 2000, String(hits()))
    },
  },
  {
    name: 'lets one work for all who ask at once',
    async run({ open, told }) {
      const cache = await open()
      using first = await cache.find(QUESTION, never)
      assert.equal(first.value, undefined)
      const others = Array.from({ length: 99 }, () => look(cache))
      cache.keep(QUESTION, ANSWER, HOUR)
      assert.deepEqual(new Set(await Promise.all(others)), new Set([ANSWER]))
      assert.equal(told.filter((one) => one === 'memory joined').length, 99)
    },
  },
  {
    name: 'lets each work for itself when the one fails, takes too long, or nobody waits any more',
    async run({ open, wait }) {
      const cache = await open()
      const failing = await cache.find(QUESTION, never)
      const others = [look(cache), look(cache)]
      failing[Symbol.dispose]()
      assert.deepEqual(await Promise.all(others), [undefined, undefined])
      using _slow = await cache.find(QUESTION, never)
      const patient = look(cache)
      const stopping = new AbortController()
      const stopped = cache.find(QUESTION, stopping.signal)
      stopping.abort()
      assert.equal((await stopped).value, undefined)
      wait(60_000)
      assert.equal(await patient, undefined)
    },
  },
  {
    name: 'gives another process what was kept, no longer than it was to be kept',
    shared: true,
    async run({ open, wait, told }) {
      const [here, there, late] = [await open(), await open(), await open()]
      here.keep(QUESTION, ANSWER, HOUR)
      await until(async () => (await look(there)) === ANSWER, 'it is found')
      assert.ok(told.includes('redis hit'))
      wait(HOUR)
      assert.deepEqual([await look(there), await look(late)], [undefined, undefined])
    },
  },
  {
    name: 'takes nothing that is large beyond measure',
    shared: true,
    async run({ open }) {
      const [here, there] = [await open(), await open()]
      here.keep('huge', '驿'.repeat(100_000), HOUR)
      here.keep('large', 'x'.repeat(80_000), HOUR)
      await until(async () => (await look(there, 'large')) !== undefined, 'what came behind it is found')
      assert.deepEqual([await look(there, 'huge'), await look(here, 'huge')], [undefined, undefined])
    },
  },
  {
    name: 'shows nothing of question and answer outside, and believes nothing that was changed or moved there',
    shared: true,
    async run({ open, told, outside }) {
      assert.ok(outside)
      const here = await open()
      here.keep(QUESTION, ANSWER, HOUR)
      here.keep('another question', 'another answer', HOUR)
      await until(async () => (await outside.all()).size === 2, 'both are kept')
      const kept = [...(await outside.all())]
      for (const [name, value] of kept) {
        const bytes = Buffer.concat([Buffer.from(name), value, Buffer.from(value.toString(), 'base64')]).toString('utf8')
        for (const word of ['canary', 'question', 'answer', '营业', '九点']) assert.ok(!bytes.includes(word), `${word} can be read`)
      }
      const [[first, one], [second, two]] = kept as [[string, Buffer], [string, Buffer]]
      const foreign = () => told.filter((result) => result === 'redis foreign').length
      const damaged = Buffer.from(one.toString(), 'base64')
      damaged[damaged.length - 20] = (damaged[damaged.length - 20] ?? 0) ^ 1
      for (const [index, wrong] of [two, 'garbage', '', JSON.stringify({ value: 'x' }), damaged.toString('base64')].entries()) {
        await outside.put(first, wrong)
        await outside.put(second, 'garbage')
        const fresh = await open()
        assert.deepEqual([await look(fresh), await look(fresh, 'another question')], [undefined, undefined])
        assert.equal(foreign(), (index + 1) * 2)
      }
    },
  },
]
