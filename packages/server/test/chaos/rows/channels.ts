/** The gateway dies under load, on each of the tools of the first wave. */
import { type ChannelWorld, createChannelWorld, tools } from '../channels.ts'
import type { Row } from '../row.ts'

const LOAD = { every: 100, chats: 12 }
/** Of so many messages one has its send refused as too fast, one its confirmation lost, one a slow answer, so that it has a preview. */
const ONE_OF = { busy: 12, unconfirmed: 10, slow: 15 }

/** People write, and the platform stumbles now and then, until it is ended. */
function write({ emulator, send, busy, random, ask }: ChannelWorld): AsyncDisposable & { end(): Promise<void> } {
  let ended = false
  const writing = (async () => {
    for (let n = 1; !ended; n++) {
      if (n % ONE_OF.busy === 0) emulator.failNext(send, busy)
      if (n % ONE_OF.unconfirmed === 0) emulator.dropReplyOf(send)
      ask({ chat: 1 + Math.floor(random() * LOAD.chats), wish: n % ONE_OF.slow === 0 ? 'slow' : '' })
      await new Promise((resolve) => setTimeout(resolve, LOAD.every))
    }
  })()
  const end = async () => {
    ended = true
    await writing
  }
  return { end, [Symbol.asyncDispose]: end }
}

const channels: Row = {
  id: 'F48',
  title: 'The gateway dies at random, on each chat tool',
  injection: `three times kill -9 under 10 messages/s, each after 0.2 to 1.7 s; of one send in ${ONE_OF.unconfirmed} the confirmation is lost, one in ${ONE_OF.busy} is refused as too fast; the platform repeats what it handed over before`,
  invariant:
    'nothing lost that the platform was told is taken, nothing doubled without its mark, answers in the order in which they were worked on',
  bound: 'serving again in 5 s; the backlog is answered in 45 s',
  parts: Object.keys(tools),
  seeds: 5,
  // A preview whose id was not written down yet cannot be found again.
  strays: 3,
  async run(play) {
    await using world = await createChannelWorld(play)
    await world.start()
    await using people = write(world)
    for (let kill = 0; kill < 3; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 200 + world.random() * 1500))
      const recent = world.asked.slice(-5)
      await world.kill()
      await world.start()
      for (const { said } of recent) said.repeat()
    }
    await people.end()
    await world.settle(play.patience ?? 45_000)
    const { dead } = await world.admin<{ dead: { reason: string; text: string }[] }>('/api/admin/dead?limit=500')
    // A message that was in hand at each of three crashes, and an answer that twice nobody knew the end of.
    const strange = dead.filter(({ reason }) => reason !== 'quarantined' && (world.knowsRepeats || reason !== 'unknown'))
    return await world.outcome(strange.map(({ reason, text }) => `a dead letter: ${reason} ${text.slice(0, 60)}`))
  },
}

export const channelRows: readonly Row[] = [channels]
