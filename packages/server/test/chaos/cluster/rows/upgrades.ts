/** Rows about versions: nodes are upgraded one by one while people write, and taken back. */
import { until } from '../../../journeys/posthouse.ts'
import { preloading } from '../../preload/edit.ts'
import type { Row } from '../../row.ts'
import { askRound, keepAsking } from '../load.ts'
import { type Cluster, createCluster } from '../world.ts'

const next = preloading({ CHAOS_NEXT: 'expand' }, 'next-version')
const afterNext = preloading({ CHAOS_NEXT: 'contract' }, 'next-version')

/** Tells a node to end and starts it again, as another version; the others serve on. Answers what went wrong. */
async function exchange(world: Cluster, name: string, version: NodeJS.ProcessEnv): Promise<string | false> {
  const code = await world.node(name).stop()
  await world.start(name, version)
  const answered = world.asked.filter(world.isAnswered).length
  await until(() => world.asked.filter(world.isAnswered).length > answered + 10, 'people are answered', 30_000)
  return code !== 0 && `${name} ended with ${code}`
}

/** Why a node does not start as this version. */
const refusal = (world: Cluster, name: string, version: NodeJS.ProcessEnv) =>
  world.start(name, version).then(
    () => undefined,
    (error: Error) => error.message,
  )

const upgrade: Row = {
  id: 'F45',
  title: 'Nodes are upgraded one by one, and taken back',
  injection:
    'the next version is this one with a migration that adds columns to five tables, a table and an index: both nodes become it, one after the other, and then this one again; then a version that takes a column away',
  invariant:
    'both versions work beside each other, after the migration and after the way back; who takes something away waits until nobody is at work that needs it, and keeps those out then',
  bound: 'settled in 45 s',
  parts: ['one by one, and back', 'what the older cannot bear'],
  async run({ seed, mutant, part, patience }) {
    await using world = await createCluster({ seed, mutant, mode: 'webhook', patience })
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    // The commands, too, are of this version, which is kept out at the end.
    await world.status()
    using people = keepAsking(world, 15)
    if (part === 'one by one, and back') {
      const broken: (string | false)[] = []
      for (const version of [next, {}]) for (const name of ['a', 'b']) broken.push(await exchange(world, name, version))
      people.stop()
      await world.settle(patience ?? 45_000)
      const loud = world.nodes.flatMap(({ log }) => log.filter((line) => line.includes('"level":"error"')))
      return await world.outcome([...broken, loud.length > 0 && `${loud.length} errors in the logs: ${loud[0]}`])
    }
    await world.node('a').stop()
    const waits = await refusal(world, 'a', afterNext)
    const serves = await exchange(world, 'b', next)
    const goes = await refusal(world, 'a', afterNext)
    await world.node('b').stop()
    const late = await refusal(world, 'b', {})
    people.stop()
    askRound(world)
    await world.settle(patience ?? 45_000)
    return await world.outcome([
      serves,
      !/older version \(b\)/.test(waits ?? '') && `it did not wait for the older one: ${waits}`,
      goes !== undefined && `it did not start beside one that bears it: ${goes}`,
      !/newer version/.test(late ?? '') && `the older one was let in: ${late}`,
    ])
  },
}

export const upgradeRows: readonly Row[] = [upgrade]
