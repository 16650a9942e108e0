/** A row about the Redis that the nodes share: killed, emptied, out of memory, late. */
import { createFaultProxy, type FaultProxy } from '@posthouse/testkit'
import { type OwnRedis, startRedis } from '../../../cluster/servers.ts'
import { askOnPages } from '../../../deploy/people.ts'
import { until } from '../../../journeys/posthouse.ts'
import type { Row } from '../../row.ts'
import { SECRET } from '../../world.ts'
import { allReady, allSay, keepAsking, pause, waits } from '../probes.ts'
import { type Cluster, createCluster } from '../world.ts'

/** Calls a second that send for the account: fewer than are asked for. */
const RATE = 15
/** Of a direct chat, so that one chat is not what counts. */
const ROOM_RATE = 1000

interface Fault {
  begin(redis: OwnRedis, proxy: FaultProxy): Promise<unknown>
  end(redis: OwnRedis, proxy: FaultProxy): Promise<unknown>
  /** So many bursts may go out: the one that there is, one in halves when the nodes lose sight of each other, one when Redis is back and knows of none. */
  readonly bursts: number
}

const faults: Readonly<Record<string, Fault>> = {
  killed: { begin: (redis) => redis.stop(), end: (redis) => redis.start(), bursts: 3 },
  emptied: { begin: (redis) => redis.client.flushall(), end: async () => {}, bursts: 2 },
  'out of memory': {
    begin: (redis) => redis.client.config('SET', 'maxmemory', '1'),
    end: (redis) => redis.client.config('SET', 'maxmemory', '0'),
    bursts: 3,
  },
  'half a second late': {
    begin: async (_redis, proxy) => proxy.set({ latency: 250 }),
    end: async (_redis, proxy) => proxy.set({}),
    bursts: 3,
  },
}

/** How many calls went out beyond what the rate gives: the largest of any span of time. */
function burst({ telegram }: Cluster): number {
  const sends = telegram.ledger.filter(({ method }) => method === 'sendMessage' || method === 'editMessageText').map(({ at }) => at)
  let level = 0
  let most = 0
  let last = sends[0] ?? 0
  for (const at of sends) {
    level = Math.max(0, level - ((at - last) * RATE) / 1000) + 1
    last = at
    most = Math.max(most, level)
  }
  return Math.ceil(most)
}

/** The same updates once more, each to the node that the platform may not have taken. */
async function repeatAll(world: Cluster): Promise<number> {
  const headers = { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': SECRET }
  const taken = new Set(world.telegram.confirmations.map(({ update_id }) => update_id))
  const updates = world.asked.flatMap(({ update, said }) => (taken.has(update) ? [said] : []))
  const statuses = await Promise.all(
    updates.flatMap((update) =>
      world.nodes.map(async ({ url }) => {
        const response = await fetch(`${url}/api/webhook/telegram`, { method: 'POST', headers, body: JSON.stringify(update) })
        return response.status
      }),
    ),
  )
  return statuses.filter((status) => status !== 200).length
}

const fails: Row = {
  id: 'F22',
  title: 'Redis is gone, empty, out of memory, or late',
  injection:
    'while people ask over the platform, faster than may be sent, and on eight open pages of two nodes: kill -9 and a new one after 6 s, FLUSHALL, maxmemory 1, or 250 ms each way; each update is then posted again to both nodes',
  invariant:
    'a repeat is acknowledged and changes nothing; answers on pages come whole and once, whatever node writes them; both nodes stay ready; no more is sent than the rate, and a burst each when the nodes lose sight of each other and when they share again',
  bound: 'no question on a page waits longer than 10 s; every node has Redis again in 20 s; settled in 60 s',
  parts: Object.keys(faults),
  needs: ['redis'],
  async run({ seed, mutant, part, patience = 60_000 }) {
    const fault = faults[part]
    if (!fault) throw new Error(`there is no such part: ${part}`)
    await using redis = await startRedis()
    await using proxy = await createFaultProxy(redis.url)
    await using world = await createCluster({
      seed,
      mutant,
      patience,
      mode: 'webhook',
      redis: proxy.url.replace('http:', 'redis:'),
      account: { send_rate: RATE, room_send_rate: ROOM_RATE },
      config: () => ({ resources: { requests_per_minute: 100_000 } }),
    })
    // For a mutant that remembers there what was seen.
    await world.start(undefined, { MUTANT_REDIS: redis.url })
    const works = () => until(() => allSay(world, 'redis', undefined), 'every node has Redis', 20_000)
    await works()
    using asking = keepAsking(world)
    await using pages = askOnPages(await Promise.all(world.nodes.map(async ({ url }) => ({ url, token: await world.token() }))), 4)
    await until(() => pages.asked > 30, 'pages are answered')
    let unready = 0
    await fault.begin(redis, proxy)
    for (const end = performance.now() + 6000; performance.now() < end; await pause(200)) if (!(await allReady(world))) unready++
    asking.end()
    await fault.end(redis, proxy)
    await works()
    const before = pages.asked
    await until(() => pages.asked > before + 30, 'pages go on', 30_000)
    const refused = await repeatAll(world)
    const { asked, answered, doubled, cameBack, longest } = await pages.end()
    await world.settle(patience)
    const most = burst(world)
    return await world.outcome(
      [
        unready > 0 && `a node was not ready ${unready} times`,
        refused > 0 && `${refused} repeats were not acknowledged`,
        answered !== asked && `${answered} answers to ${asked} questions on pages`,
        doubled > 0 && `${doubled} answers came twice on a page`,
        longest > 10_000 && `a question on a page waited ${Math.round(longest)} ms`,
        most > RATE * fault.bursts * 1.2 && `${most} calls at once, of ${RATE} a second`,
      ],
      `${answered} answers on pages, the slowest in ${(longest / 1000).toFixed(1)} s, ${cameBack} came back; at most ${most} calls at once (${RATE}/s); platform: the longest wait ${((waits(world, 0).at(-1) ?? 0) / 1000).toFixed(1)} s`,
    )
  },
}

export const redisRows: readonly Row[] = [fails]
