/**
 * The tier of the cache that nodes share. It is only worth asking while it is quick: after an answer that was late, or none, nobody asks for a
 * while, so that a slow Redis is not paid for by each question.
 */
import type { Clock } from '../base/clock.ts'
import type { SharedTier } from '../ports/cache.ts'
import type { Bus, Script } from './bus.ts'

const GET: Script = { name: 'posthouseGet', lua: `return redis.call('GET', KEYS[1])` }
const SET: Script = { name: 'posthouseSet', lua: `return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])` }

const LATE = 50
const QUIET = 5000

export function createSharedTier(parts: {
  readonly bus: Pick<Bus, 'run'>
  readonly prefix: string
  readonly clock: Pick<Clock, 'elapsed'>
}): SharedTier {
  const { bus, prefix, clock } = parts
  let quietUntil = Number.NEGATIVE_INFINITY
  const run = async (script: Script, name: string, values: readonly (string | number)[]) => {
    const asked = clock.elapsed()
    if (asked < quietUntil) throw new Error('Redis is too slow to be asked')
    try {
      return await bus.run(script, [`${prefix}:cache:${name}`], values)
    } finally {
      if (clock.elapsed() - asked > LATE) quietUntil = clock.elapsed() + QUIET
    }
  }
  return {
    async get(name) {
      const value = await run(GET, name, [])
      return typeof value === 'string' ? Buffer.from(value, 'base64') : undefined
    },
    async set(name, value, lifetime) {
      await run(SET, name, [Buffer.from(value).toString('base64'), Math.ceil(lifetime)])
    },
  }
}
