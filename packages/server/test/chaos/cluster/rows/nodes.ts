/** Rows about the nodes themselves: the same work for two, one of them killed, clocks that are wrong. */

import { makeCertificate, startBalancer } from '../../../deploy/balancers.ts'
import { until } from '../../../journeys/posthouse.ts'
import { freePorts } from '../../../ports.ts'
import { faketimeLibrary } from '../../needs.ts'
import type { Row } from '../../row.ts'
import { SECRET } from '../../world.ts'
import { askRound, keepAsking, pause } from '../load.ts'
import { createCluster } from '../world.ts'
import { rolesIn } from './frozen.ts'

const sameWebhook: Row = {
  id: 'F32',
  title: 'The same webhook five times, on two nodes',
  injection: 'each of twelve updates is posted five times in the same moment, to two nodes in turn',
  invariant: 'five times 200, one answer',
  bound: 'settled in 20 s',
  async run({ seed, mutant }) {
    await using world = await createCluster({ seed, mutant, mode: 'webhook' })
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    const headers = { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': SECRET }
    const statuses: number[] = []
    for (let message = 0; message < 12; message++) {
      const { said } = world.ask({ chat: 9000 + (message % 4) })
      const body = JSON.stringify(said)
      const post = async (time: number) => {
        const { url } = world.nodes[time % 2] ?? world.node('a')
        statuses.push((await fetch(`${url}/api/webhook/telegram`, { method: 'POST', headers, body })).status)
      }
      await Promise.all([0, 1, 2, 3, 4].map(post))
    }
    await world.settle(20_000)
    const refused = statuses.filter((status) => status !== 200).length
    return await world.outcome([refused > 0 && `${refused} of ${statuses.length} posts were not answered 200`])
  },
}

const BALANCER = 'behind HAProxy'
const NAME = 'by a name with two addresses'

const killed: Row = {
  id: 'F30',
  title: 'One of two nodes is killed under load',
  injection:
    'kill -9 of the node that looks after the webhook, under 30 messages/s by webhook to both, through HAProxy or by a name with two addresses; it starts again after its work was taken over',
  invariant: 'what it had in hand is answered by the other one; nothing is lost, nothing doubled without its mark',
  bound: 'behind HAProxy less than 0.5 % of the calls of a minute fail, none later than 6 s after; what it had in hand is answered in 45 s',
  parts: [BALANCER, NAME],
  partNeeds: { [BALANCER]: ['haproxy'] },
  async run({ seed, mutant, part, patience }) {
    await using parts = new AsyncDisposableStack()
    const balanced = part === BALANCER
    const ports = await freePorts(2)
    const certificate = makeCertificate()
    let calls = 0
    let addresses: readonly string[] = []
    const counted = () => {
      calls++
      return balanced ? [] : addresses
    }
    const world = parts.use(
      await createCluster({
        seed,
        mutant,
        patience,
        mode: 'webhook',
        telegram: { ca: certificate.certificate, addresses: counted },
        ...(balanced ? { publicUrl: `https://127.0.0.1:${ports[1]}` } : {}),
      }),
    )
    addresses = world.nodes.map(({ port }) => `127.0.0.1:${port}`)
    const [one = '', two = ''] = addresses
    const [plain = 0, secure = 0] = ports
    if (balanced) parts.use(await startBalancer({ name: 'haproxy/active-active', certificate, nodes: [one, two], ports: [plain, secure] }))
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    const { holder } = await rolesIn(world)
    const failed = () => calls - world.telegram.confirmations.length
    using people = keepAsking(world, 30)
    await pause(10_000)
    const before = [...world.asked]
    const began = performance.now()
    const killedAt = Date.now()
    await holder.kill()
    await until(() => before.every(world.isAnswered), 'what it had in hand is answered', 60_000)
    world.recovered(performance.now() - began)
    await pause(45_000 - (performance.now() - began))
    const last = (world.telegram.webhook?.lastError?.at ?? killedAt) - killedAt
    await world.start(holder.name)
    await pause(5000)
    people.stop()
    await world.settle(patience ?? 45_000)
    const rate = failed() / calls
    return await world.outcome(
      [
        balanced && rate >= 0.005 && `${(rate * 100).toFixed(2)} % of the calls failed`,
        balanced && last > 6000 && `a call failed ${last} ms after`,
      ],
      `${part}: ${(rate * 100).toFixed(2)} % of ${calls} calls failed`,
    )
  },
}

const clocks: Row = {
  id: 'F31',
  title: 'The clocks of two nodes are twenty minutes apart',
  injection: 'one node runs ten minutes ahead and the other one ten behind (faketime), under load; then the one that receives is killed',
  invariant:
    'leases go by the clock of the database: nobody is taken for dead who lives, and who is dead is taken over; nothing is lost or doubled',
  bound: 'the lease stays where it is while both live; settled in 45 s',
  parts: ['hurried nodes', 'as they are'],
  needs: ['linux', 'faketime'],
  async run({ seed, mutant, part, patience }) {
    const hurried = part === 'hurried nodes'
    await using world = await createCluster({ seed, mutant, patience, hurried })
    const skewed = (minutes: number) => ({
      LD_PRELOAD: faketimeLibrary,
      FAKETIME: `${minutes > 0 ? '+' : '-'}${Math.abs(minutes)}m`,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      CHAOS_SKEW: String(minutes * 60_000),
    })
    await world.start('a', skewed(10))
    await until(async () => (await world.lease())?.node === 'a', 'the first one receives')
    await world.start('b', skewed(-10))
    using people = keepAsking(world)
    const { epoch } = await rolesIn(world)
    // Longer than it takes to be buried by mistake.
    await pause(hurried ? 4000 : 40_000)
    const alive = (await world.status()).nodes.filter((node) => node.alive).length
    const lease = await world.lease()
    const began = performance.now()
    await world.node('a').kill()
    await until(async () => (await world.lease())?.node === 'b', 'the other one receives', 60_000)
    world.recovered(performance.now() - began)
    people.stop()
    askRound(world)
    await world.settle(patience ?? 45_000)
    return await world.outcome([
      alive !== 2 && `${alive} of two nodes live`,
      (lease?.node !== 'a' || lease.epoch !== epoch) && `the lease wandered: epoch ${epoch}, then ${lease?.epoch} with ${lease?.node}`,
    ])
  },
}

export const nodeRows: readonly Row[] = [killed, clocks, sameWebhook]
