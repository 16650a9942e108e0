/** Rows about the nodes themselves: told to end, killed, frozen, with clocks of their own. */
import { until } from '../../../journeys/posthouse.ts'
import type { Row } from '../../row.ts'
import { SECRET } from '../../world.ts'
import { createCluster } from '../world.ts'

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

export const nodeRows: readonly Row[] = [sameWebhook]
