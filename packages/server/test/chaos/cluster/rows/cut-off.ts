/** Rows about nodes whose line to the database or to the platform is dead. */

import { wireTo } from '../../../cluster/servers.ts'
import { newDatabase } from '../../../contracts/postgres-server.ts'
import { until } from '../../../journeys/posthouse.ts'
import { freePorts } from '../../../ports.ts'
import type { Row } from '../../row.ts'
import { askRound, keepAsking, pause } from '../load.ts'
import { createCluster } from '../world.ts'
import { BACK, FENCED } from './frozen.ts'

/** A node fences itself so long after its last sign of life; a timer may be late. */
const FENCE = 25_500
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`

interface Options {
  readonly seed: number
  readonly mutant?: string | undefined
  readonly patience?: number | undefined
}

/** Asks a node again and again whether it is ready; knows the longest time that it was not. */
function watchReady(url: string) {
  let [since, longest, ended] = [performance.now(), 0, false]
  const look = async () => {
    while (!ended) {
      const ready = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1000) }).then(
        ({ ok }) => ok,
        () => false,
      )
      longest = Math.max(longest, performance.now() - since)
      if (ready) since = performance.now()
      await pause(200)
    }
  }
  void look()
  return {
    longest: () => longest,
    [Symbol.dispose]: () => {
      ended = true
    },
  }
}

/** Two nodes, of which `a` receives and has wires of its own to the database and to the platform. */
async function withWires({ bound, ...options }: Options & { readonly bound?: number }) {
  await using parts = new AsyncDisposableStack()
  const database = parts.use(await newDatabase())
  const [port = 0] = await freePorts(1)
  const [toDatabase, toPlatform] = [
    parts.use(await wireTo.server(database.url, 5432)),
    parts.use(await wireTo.server(`http://127.0.0.1:${port}`, 80)),
  ]
  const world = parts.use(
    await createCluster({
      ...options,
      ...(bound ? { bound } : {}),
      // The one that is cut off is asked last.
      names: ['b', 'a'],
      telegram: { port },
      database: (node) => (node === 'a' ? toDatabase.url : database.url),
      apiRoot: ({ url }, node) => (node === 'a' ? toPlatform.url : url),
    }),
  )
  await world.start('a')
  await world.start('b')
  await until(async () => (await world.lease())?.node === 'a', 'the first one receives')
  const held = parts.move()
  return {
    world,
    a: world.node('a'),
    database: toDatabase.proxy,
    platform: toPlatform.proxy,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

const blackhole: Row = {
  id: 'F23',
  title: 'The line to the database is frozen',
  injection:
    'the wire between the one that receives and PostgreSQL carries nothing any more, and nothing is closed; it heals after the other one took over, and what was said into it arrives late',
  invariant: 'it fences itself, is not ready, and writes nothing that is another’s by now; nothing is lost or doubled without its mark',
  bound: 'fenced in 25 s, taken over in 45 s; settled in 45 s',
  // Previews whose id could not be written down: nobody finds them again.
  strays: 12,
  async run(play) {
    await using cut = await withWires(play)
    const { world, a, database } = cut
    using people = keepAsking(world)
    await until(() => world.asked.filter(world.isAnswered).length > 5, 'answers come')
    using ready = watchReady(world.node('b').url)
    database.set({ freeze: true })
    const began = performance.now()
    await until(() => a.log.some((line) => line.includes(FENCED)), 'it fences itself', 40_000)
    const fenced = performance.now() - began
    await until(async () => (await world.lease())?.node === 'b', 'the other one receives', 60_000)
    world.recovered(performance.now() - began)
    const served = world.asked.length
    await until(() => world.asked.slice(served).filter(world.isAnswered).length > 5, 'the other one serves')
    database.set({})
    await until(() => a.log.some((line) => line.includes(BACK)), 'it is back', 30_000)
    await pause(1000)
    people.stop()
    await world.settle(play.patience ?? 45_000)
    return await world.outcome(
      [fenced > FENCE && `it fenced itself only after ${seconds(fenced)}`],
      `fenced after ${seconds(fenced)}; the other one was not ready for ${seconds(ready.longest())}`,
    )
  },
}

const noDatabase: Row = {
  id: 'F24',
  title: 'The platform is reached, the database is not',
  injection: 'connections of the one that receives to PostgreSQL are ended and refused; its line to the platform is well; people write',
  invariant: 'its polling confirms nothing and stops; the other one takes over, from the same offset; nothing is lost or doubled',
  bound: 'fenced in 25 s, no poll after that; taken over in 45 s',
  async run(play) {
    await using cut = await withWires(play)
    const { world, a, database } = cut
    const polls = () => world.telegram.ledger.filter(({ method }) => method === 'getUpdates').length
    askRound(world)
    await world.settle()
    database.down()
    const [began, first] = [performance.now(), polls()]
    const before = world.telegram.confirmations.length
    askRound(world)
    await until(() => a.log.some((line) => line.includes(FENCED)), 'it fences itself', 40_000)
    const fenced = performance.now() - began
    const confirmed = world.telegram.confirmations.length - before
    const tried = polls()
    // Until the lease is free, nobody polls.
    await pause(1500)
    const late = polls() - tried
    await until(async () => (await world.lease())?.node === 'b', 'the other one receives', 60_000)
    world.recovered(performance.now() - began)
    askRound(world)
    await world.settle(play.patience ?? 45_000)
    database.set({})
    await until(() => a.log.some((line) => line.includes(BACK)), 'it is back', 30_000)
    askRound(world)
    await world.settle(play.patience ?? 45_000)
    return await world.outcome(
      [
        confirmed > 0 && `${confirmed} were confirmed that nobody could keep`,
        late > 0 && `${late} polls after it had fenced itself`,
        fenced > FENCE && `it fenced itself only after ${seconds(fenced)}`,
      ],
      `fenced after ${seconds(fenced)}, ${tried - first} polls until then`,
    )
  },
}

const silence: Row = {
  id: 'F26',
  title: 'A long connection dies without a word',
  injection:
    'what is open between the one that receives and the platform carries nothing any more, and nothing is closed; what is opened anew is well; people write',
  invariant: 'the silence is noticed, one poll follows the other; nothing is lost or doubled without its mark',
  bound: 'received again in 90 s (a poll waits 30 s, and 15 s more for its answer); one poll at a time',
  async run(play) {
    await using cut = await withWires({ ...play, bound: 90_000 })
    const { world, platform } = cut
    const { telegram } = world
    askRound(world)
    await world.settle()
    platform.strand()
    const [began, made, calls] = [performance.now(), platform.made, telegram.ledger.length]
    const before = telegram.confirmations.length
    askRound(world)
    await until(() => telegram.confirmations.length > before, 'it receives again', 120_000)
    world.recovered(performance.now() - began)
    askRound(world)
    await world.settle(play.patience ?? 60_000)
    const polls = telegram.ledger.slice(calls).filter(({ method }) => method === 'getUpdates')
    const conflicts = polls.filter(({ outcome }) => outcome.code === 409).length
    const anew = platform.made - made
    const lease = await world.lease()
    return await world.outcome(
      [
        lease?.node !== 'a' && 'the lease wandered',
        // That of the dead connection, which nobody hears.
        conflicts > 1 && `${conflicts} polls met another one`,
        polls.length > 20 && `${polls.length} polls`,
      ],
      `${anew} connections made anew`,
    )
  },
}

export const cutOffRows: readonly Row[] = [blackhole, noDatabase, silence]
