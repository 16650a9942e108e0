/** Rows about nodes that stand still and go on as if nothing had been. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../../journeys/posthouse.ts'
import { preloading } from '../../preload/edit.ts'
import type { Row } from '../../row.ts'
import { askRound, keepAsking, pause } from '../load.ts'
import { type Cluster, createCluster } from '../world.ts'

export const FENCED = 'this node stops its work'
export const BACK = 'this node is back at work'
const OFFSET = 'before it keeps an offset'

/** The one that receives, and the other one. */
export async function rolesIn(world: Cluster) {
  const lease = await world.lease()
  const holder = world.nodes.find(({ name }) => name === lease?.node)
  const other = world.nodes.find(({ name }) => name !== lease?.node)
  if (!lease || !holder || !other) throw new Error('nobody receives')
  return { holder, other, epoch: lease.epoch }
}

const isStopped = (pid: number) => /\) [Tt] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

/** Polls that ask for what was confirmed before: whoever asked so had an offset of earlier. */
function turnedBack({ ledger }: Cluster['telegram']): number {
  const offsets = ledger.filter(({ method }) => method === 'getUpdates').map(({ params }) => Number(params.offset ?? 0))
  return offsets.filter((offset, at) => offsets.slice(0, at).some((earlier) => earlier > offset)).length
}

const frozen: Row = {
  id: 'F06',
  title: 'The one that receives is frozen for 40 s, and goes on',
  injection:
    'kill -STOP of the node with the lease in the midst of answers, for 40 s, then -CONT; the same with hurried nodes; and by itself, between asking whether the lease is its own and keeping an offset; people go on writing',
  invariant:
    'the lease is elsewhere, with the next epoch; whatever the frozen one still wants to write is refused; no poll ever asks for what was taken before; nothing is doubled without its mark',
  bound: 'taken over in 45 s; settled in 45 s',
  parts: ['40 s', 'hurried nodes', OFFSET],
  needs: ['linux'],
  // Previews whose id could not be written down: nobody finds them again.
  strays: 12,
  async run({ seed, mutant, part, patience }) {
    const real = part === '40 s'
    await using world = await createCluster({ seed, mutant, hurried: !real, patience })
    await world.start(undefined, part === OFFSET ? preloading({}, 'freeze') : {})
    await until(async () => (await world.lease()) !== undefined, 'one of them receives')
    const { holder, other, epoch } = await rolesIn(world)
    using people = keepAsking(world)
    await until(() => world.asked.filter(world.isAnswered).length > 5, 'answers come')
    if (part === OFFSET) writeFileSync(join(holder.folder, 'freeze'), '')
    else holder.signal('SIGSTOP')
    await until(() => isStopped(holder.pid), 'it is frozen')
    const began = performance.now()
    await until(async () => (await world.lease())?.node === other.name, 'the other one receives', 60_000)
    world.recovered(performance.now() - began)
    if (real) await pause(40_000 - (performance.now() - began))
    const served = world.asked.length
    await until(() => world.asked.slice(served).filter(world.isAnswered).length > 5, 'the other one serves')
    const said = holder.log.length
    holder.signal('SIGCONT')
    await until(() => holder.log.slice(said).some((line) => line.includes(BACK)), 'it is back')
    people.stop()
    await world.settle(patience ?? 45_000)
    const after = await world.lease()
    if (part === OFFSET) {
      // Whoever receives next begins where the offset is.
      await other.kill()
      await until(async () => (await world.lease())?.node === holder.name, 'the first one receives again')
      askRound(world)
      await world.settle(patience ?? 45_000)
    }
    const back = turnedBack(world.telegram)
    const refused = await world.metric(holder.name, 'posthouse_fenced_writes_total')
    return await world.outcome(
      [
        after?.node !== other.name && 'the lease went back',
        real && after?.epoch !== epoch + 1 && `the epoch went from ${epoch} to ${after?.epoch}`,
        back > 0 && `${back} polls asked for what was taken before`,
        part === OFFSET && refused === 0 && 'nothing of the frozen one was refused',
      ],
      `${refused} late writes refused`,
    )
  },
}

const blocked: Row = {
  id: 'F07',
  title: 'The event loop of one of two nodes stands still',
  injection: 'the event loop of one node stands still for 20 s in the midst of answers (a wait in its own thread), webhooks go to both',
  invariant: 'the other one serves: what it takes meanwhile is answered meanwhile; afterwards everything is answered once, in order',
  bound: 'answered by the other one in 10 s; settled 45 s after it goes on',
  async run({ seed, mutant, patience }) {
    await using world = await createCluster({ seed, mutant, mode: 'webhook', patience })
    const { telegram, model } = world
    await world.start(undefined, preloading({}, 'stand-still'))
    await until(() => telegram.webhook !== undefined, 'the webhook is set')
    askRound(world, 24, 'slow')
    await until(() => model.calls.length >= 10, 'answers are being written')
    world.node('a').signal('SIGUSR2')
    const began = performance.now()
    const standing = async () =>
      await fetch(`${world.node('a').url}/healthz`, { signal: AbortSignal.timeout(500) }).then(
        () => false,
        () => true,
      )
    await until(standing, 'it stands still')
    const before = new Set(telegram.confirmations.map(({ update_id }) => update_id))
    const fresh = Array.from({ length: 24 }, (_, chat) => world.ask({ chat: 4001 + chat }))
    await pause(2000)
    const taken = fresh.filter(({ update }) => telegram.confirmations.some((one) => one.update_id === update && !before.has(update)))
    await until(() => taken.every(world.isAnswered), 'what was taken is answered', 10_000).catch(() => {})
    const left = taken.filter((question) => !world.isAnswered(question)).length
    const stood = await standing()
    await pause(20_000 - (performance.now() - began))
    await world.settle(patience ?? 45_000)
    return await world.outcome(
      [
        !stood && 'it stood still for too short a time',
        taken.length === 0 && 'nothing was taken while one stood still',
        left > 0 && `${left} of ${taken.length} were not answered while one stood still`,
      ],
      `${taken.length} taken and answered meanwhile`,
    )
  },
}

export const frozenRows: readonly Row[] = [frozen, blocked]
