/**
 * Rates that nodes share: the same buckets in Redis, by its clock, in one call. Every node keeps its own beside them, so that an emptied
 * Redis lets nobody go faster than one node may; while Redis is away, its own count for a share.
 */
import type { Rate } from '@posthouse/contract'
import type { Rates } from '../ports/rates.ts'
import type { Bus, Script } from './bus.ts'
import { type Bucket, bucketsOf, type LocalRates } from './rates.ts'

/** Keys: each bucket, then two pauses. Values: 1 to take a place only without a wait; of each bucket, what a place takes and how far use may run ahead. */
const RESERVE: Script = {
  name: 'posthouseReserve',
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local wait = 0
local count = #KEYS - 2
for i = 1, count do
  local due = tonumber(redis.call('GET', KEYS[i]) or '0')
  wait = math.max(wait, due - tonumber(ARGV[1 + i * 2]) - now)
end
for i = count + 1, #KEYS do
  wait = math.max(wait, tonumber(redis.call('GET', KEYS[i]) or '0') - now)
end
if ARGV[1] == '1' and wait > 0 then return tostring(wait) end
for i = 1, count do
  local due = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), now) + tonumber(ARGV[i * 2])
  redis.call('SET', KEYS[i], string.format('%.3f', due), 'PX', math.ceil(due - now) + 1000)
end
return tostring(wait)`,
}

/** Keys: a pause. Values: its milliseconds. A longer one stays. */
const PAUSE: Script = {
  name: 'posthousePause',
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local till = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now + tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.3f', till), 'PX', math.ceil(till - now) + 1000)
return 1`,
}

/** While Redis is away each node keeps to this part of a rate: two together to all of it. */
const SHARE = 0.5

export function createSharedRates(parts: {
  readonly bus: Pick<Bus, 'run'>
  readonly local: LocalRates
  readonly prefix: string
  /** Rooms are people's addresses as like as not: Redis sees pseudonyms. */
  readonly pseudonym: (name: string) => string
}): Rates {
  const { bus, local, prefix, pseudonym } = parts
  // One hash tag for each account: a cluster of Redis keeps its keys together.
  const keyOf = (kind: 'due' | 'pause', account: string, room: string | undefined, method?: string) => {
    const own = pseudonym(`account ${account}`)
    const of = room === undefined ? '' : `:${pseudonym(`room ${account} ${room}`)}`
    return `${prefix}:rates:{${own}}:${kind}${of}${method === undefined ? '' : `:${method}`}`
  }
  const ask = async (account: string, room: string, buckets: readonly Bucket[], only: boolean): Promise<number | undefined> => {
    const keys = [
      ...buckets.map(({ method, ofRoom }) => keyOf('due', account, ofRoom ? room : undefined, method)),
      keyOf('pause', account, undefined),
      keyOf('pause', account, room),
    ]
    try {
      const wait = Number(await bus.run(RESERVE, keys, [only ? 1 : 0, ...buckets.flatMap(({ step, ahead }) => [step, ahead])]))
      return Number.isFinite(wait) ? wait : undefined
    } catch {
      return undefined
    }
  }

  return {
    async reserve(account, place, limits, call) {
      const wait = await ask(account, place.room, bucketsOf(limits, place, call), false)
      if (wait === undefined) return local.reserve(account, place, limits, call, shareOf)
      return Math.max(wait, local.reserve(account, place, limits, call))
    },
    async tryReserve(account, place, limits, call) {
      const wait = await ask(account, place.room, bucketsOf(limits, place, call), true)
      if (wait === undefined) return local.tryReserve(account, place, limits, call, shareOf)
      return wait === 0 && local.tryReserve(account, place, limits, call)
    },
    used: local.used,
    pause(account, room, ms) {
      local.pause(account, room, ms)
      bus.run(PAUSE, [keyOf('pause', account, room)], [ms]).catch(() => {})
    },
  }
}

function shareOf({ amount, per }: Rate): Rate {
  const less = Math.floor(amount * SHARE)
  return less >= 1 ? { amount: less, per } : { amount, per: per / SHARE }
}
