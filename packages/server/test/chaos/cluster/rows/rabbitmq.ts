/** Rows about the broker that the nodes share: killed, gone, out of memory; confirmations and tickets that get lost. */
import { startRabbit } from '../../../cluster/own-rabbit.ts'
import { wireTo } from '../../../cluster/servers.ts'
import { until } from '../../../journeys/posthouse.ts'
import type { Row } from '../../row.ts'
import { acknowledgedWithin } from '../../rows/network.ts'
import { allSay, keepAsking, pause, waits } from '../probes.ts'
import { type Cluster, createCluster } from '../world.ts'

/** Until the sweep has what a lost ticket stood for, and its answer is there: two seconds, and one for the turn. */
const TAKEN_OVER = 3000
/** Milliseconds in which ninety-nine of a hundred acknowledgements are there, broker or not. */
const ACKNOWLEDGED = 1000

const works = (world: Cluster) => until(() => allSay(world, 'broker', undefined), 'the broker works', 60_000)

/** What people noticed: the longest wait for an answer, and acknowledgements. */
function noticed(world: Cluster, since: number): { readonly broken: readonly (string | false)[]; readonly figures: string } {
  const waited = waits(world, since)
  const longest = waited.at(-1) ?? 0
  const usual = waited[Math.floor(waited.length / 2)] ?? 0
  const p99 = acknowledgedWithin(world, 0.99, since)
  world.recovered(longest)
  return {
    broken: [p99 > ACKNOWLEDGED && `one of a hundred acknowledgements took ${p99} ms`],
    figures: `acknowledged in ${p99} ms (p99), answered in ${usual} ms (half of them), ${longest} ms (all)`,
  }
}

const gone: Row = {
  id: 'F19',
  title: 'RabbitMQ is killed',
  injection: 'kill -9 of the broker under 25 messages a second to two nodes; it is started again at once, or after 60 s',
  invariant: 'the database is asked instead: nobody waits for the broker, nothing is lost or comes twice; it is used again when it is back',
  bound: 'no answer takes longer than 3 s (2 s for the sweep, 1 s for the turn), 99 of 100 acknowledgements 1 s; settled in 30 s',
  parts: ['started again', 'gone for 60 s'],
  needs: ['rabbitmq'],
  async run({ seed, mutant, part, patience = 30_000 }) {
    await using rabbit = await startRabbit()
    await using world = await createCluster({ seed, mutant, patience, mode: 'webhook', broker: rabbit.url, bound: TAKEN_OVER })
    await world.start()
    await works(world)
    using asking = keepAsking(world)
    await pause(2000)
    const since = Date.now()
    await rabbit.kill()
    await until(() => allSay(world, 'broker', 'unreachable'), 'every node says so')
    if (part === 'gone for 60 s') await pause(60_000)
    await rabbit.start()
    await works(world)
    await pause(2000)
    asking.end()
    await world.settle(patience)
    const { broken, figures } = noticed(world, since)
    return await world.outcome(broken, figures)
  },
}

/** A piece of AMQP 0-9-1 that begins with the method basic.ack: what the server confirms a ticket with. */
const isConfirmation = (piece: Buffer) => piece.length > 10 && piece[0] === 1 && piece.readUInt32BE(7) === (60 << 16) + 80

/** What gets lost between a node and the broker. */
const losses = {
  'the confirmation': { drop: isConfirmation },
  'the ticket': { mute: true },
} as const

const unconfirmed: Row = {
  id: 'F20',
  title: 'A confirmation of the broker, or a ticket, is lost',
  injection:
    'a proxy before the broker lets every confirmation to either node vanish, or all that the nodes say; until a node has made its connection anew',
  invariant: 'nobody waits for a confirmation; the connection is made anew; a ticket that came twice or never changes nothing',
  bound: 'no answer takes longer than 3 s; connections are made anew in 15 s; settled in 30 s',
  parts: Object.keys(losses),
  async run({ seed, mutant, part, patience = 30_000 }) {
    await using parts = new AsyncDisposableStack()
    const wires = { a: parts.use(await wireTo.rabbit()), b: parts.use(await wireTo.rabbit()) }
    const world = parts.use(
      await createCluster({ seed, mutant, patience, mode: 'webhook', broker: (node) => wires[node as 'a' | 'b'].url, bound: TAKEN_OVER }),
    )
    await world.start()
    await works(world)
    const proxies = [wires.a.proxy, wires.b.proxy]
    const made = proxies.map((proxy) => proxy.made)
    const since = Date.now()
    for (const proxy of proxies) proxy.set(losses[part as keyof typeof losses])
    // Few, so that most of them are known to both nodes.
    using asking = keepAsking(world, { chats: 6 })
    const anew = await until(() => proxies.every((proxy, index) => proxy.made > (made[index] ?? 0)), 'connections are made anew').then(
      () => true,
      () => false,
    )
    const hit = proxies.reduce((sum, proxy) => sum + proxy.hit, 0)
    for (const proxy of proxies) proxy.set({})
    await works(world)
    asking.end()
    await world.settle(patience)
    const { broken, figures } = noticed(world, since)
    return await world.outcome(
      [...broken, !anew && 'no connection was made anew', part === 'the confirmation' && hit === 0 && 'no confirmation was lost'],
      figures,
    )
  },
}

const blocked: Row = {
  id: 'F21',
  title: 'RabbitMQ is out of memory',
  injection:
    'rabbitmqctl set_vm_memory_high_watermark almost 0, under 25 messages a second: the server takes nothing more from who publishes, for 10 s',
  invariant: 'tickets are handed on without it; acknowledgements and answers do not wait; it is used again when it has memory',
  bound: 'every node says so in 15 s; no answer takes longer than 3 s, 99 of 100 acknowledgements 1 s; settled in 30 s',
  needs: ['rabbitmq'],
  async run({ seed, mutant, patience = 30_000 }) {
    await using rabbit = await startRabbit()
    await using world = await createCluster({ seed, mutant, patience, mode: 'webhook', broker: rabbit.url, bound: TAKEN_OVER })
    await world.start()
    await works(world)
    using asking = keepAsking(world)
    await pause(2000)
    const since = Date.now()
    rabbit.control('set_vm_memory_high_watermark', '0.00001')
    await until(() => allSay(world, 'broker', 'blocked'), 'every node says so')
    await pause(10_000)
    rabbit.control('set_vm_memory_high_watermark', '0.4')
    await works(world)
    await pause(1000)
    asking.end()
    await world.settle(patience)
    const { broken, figures } = noticed(world, since)
    return await world.outcome(broken, figures)
  },
}

export const rabbitRows: readonly Row[] = [gone, unconfirmed, blocked]
