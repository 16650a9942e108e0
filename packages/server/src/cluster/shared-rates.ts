/**
 * Rates that nodes share: the same buckets in Redis, by its clock, in one call. Every node keeps its own beside them, so that an emptied
 * Redis lets nobody go faster than one node may; while Redis is away, its own count for a share.
 */
import type { Rate } from '@posthouse/contract'
import type { RateSet, Rates } from '../ports/rates.ts'
import type { Bus, Script } from './bus.ts'
import type { LocalRates } from './rates.ts'

/** Keys: bucket of the account, bucket of the room, pause of each. Values: 1 to take a place only without a wait; period and amount of each. */
const RESERVE: Script = {
  name: 'posthouseReserve',
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local wait = 0
for i = 0, 1 do
  local per, amount = tonumber(ARGV[2 + i * 2]), tonumber(ARGV[3 + i * 2])
  if amount > 0 then
    local due = tonumber(redis.call('GET', KEYS[1 + i]) or '0')
    wait = math.max(wait, due - (per - per / amount) - now)
  end
  wait = math.max(wait, tonumber(redis.call('GET', KEYS[3 + i]) or '0') - now)
end
if ARGV[1] == '1' and wait > 0 then return tostring(wait) end
for i = 0, 1 do
  local per, amount = tonumber(ARGV[2 + i * 2]), tonumber(ARGV[3 + i * 2])
  if amount > 0 then
    local due = math.max(tonumber(redis.call('GET', KEYS[1 + i]) or '0'), now) + per / amount
    redis.call('SET', KEYS[1 + i], string.format('%.3f', due), 'PX', math.ceil(due - now) + 1000)
  end
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
  const keyOf = (kind: 'due' | 'pause', account: string, room: string | undefined) => {
    const own = pseudonym(`account ${account}`)
    return `${prefix}:rates:{${own}}:${kind}${room === undefined ? '' : `:${pseudonym(`room ${account} ${room}`)}`}`
  }
  const ask = async (account: string, room: string, rates: readonly (Rate | undefined)[], only: boolean): Promise<number | undefined> => {
    const keys = [
      keyOf('due', account, undefined),
      keyOf('due', account, room),
      keyOf('pause', account, undefined),
      keyOf('pause', account, room),
    ]
    try {
      const wait = Number(await bus.run(RESERVE, keys, [only ? 1 : 0, ...rates.flatMap((rate) => [rate?.per ?? 0, rate?.amount ?? 0])]))
      return Number.isFinite(wait) ? wait : undefined
    } catch {
      return undefined
    }
  }
  const ratesFor = (place: { type: string }, rates: RateSet) => [rates.account, place.type === 'direct' ? rates.direct : rates.group]

  return {
    async reserve(account, place, rates) {
      const wait = await ask(account, place.room, ratesFor(place, rates), false)
      if (wait === undefined) return local.reserve(account, place, shareOf(rates))
      return Math.max(wait, local.reserve(account, place, rates))
    },
    async tryReserve(account, place, rates) {
      const wait = await ask(account, place.room, ratesFor(place, rates), true)
      if (wait === undefined) return local.tryReserve(account, place, shareOf(rates))
      return wait === 0 && local.tryReserve(account, place, rates)
    },
    used: local.used,
    pause(account, room, ms) {
      local.pause(account, room, ms)
      bus.run(PAUSE, [keyOf('pause', account, room)], [ms]).catch(() => {})
    },
  }
}

function shareOf(rates: RateSet): RateSet {
  return Object.fromEntries(
    Object.entries(rates).map(([name, { amount, per }]: [string, Rate]) => {
      const less = Math.floor(amount * SHARE)
      return [name, less >= 1 ? { amount: less, per } : { amount, per: per / SHARE }]
    }),
  )
}
