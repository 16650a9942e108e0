/** A person comes between the assistant and the people it talks with. */
import { marksIn } from '../auditor.ts'
import type { Row } from '../row.ts'
import { createWorld, type World } from '../world.ts'

const CHATS = 8
const ROUNDS = 3
/** What every answer of the model has, and no word of a person. */
const MODELS_WORDS = /and on/

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Takes a chat over in mid-answer, answers what is open, and gives it back; answers what came of the assistant's meanwhile. */
async function takeOnce(world: World, chat: number, post: (path: string, body: object) => Promise<void>): Promise<readonly string[]> {
  const { telegram } = world
  world.ask({ chat, wish: 'slow' })
  await pause(200 + world.random() * 2600)
  const room = `/api/admin/conversations?account=telegram&room=${chat}`
  const { conversations } = await world.admin<{ conversations: { id: string }[] }>(room)
  const path = `/api/admin/conversations/${conversations[0]?.id}`
  await post(`${path}/take`, {})
  const clicked = telegram.ledger.length
  const byHand = new Set<number>()
  const answer = async () => {
    const open = world.asked.filter((asked) => asked.chat === chat && !byHand.has(asked.number) && !world.isAnswered(asked))
    for (const { number } of open) byHand.add(number)
    if (open.length > 0) await post(`${path}/messages`, { text: open.map(({ number }) => `m${number}p1 by hand`).join('\n') })
  }
  await answer()
  world.ask({ chat, wish: 'slow' })
  await pause(400)
  await answer()
  await pause(300)
  const late = telegram.ledger.slice(clicked).flatMap(({ params }) => {
    const { chat_id: to, text = '' } = params as { chat_id?: unknown; text?: string }
    return Number(to) === chat && MODELS_WORDS.test(text) ? [`${text.slice(0, 40)} to ${chat}`] : []
  })
  await post(`${path}/return`, {})
  return late
}

const takeOver: Row = {
  id: 'F46',
  title: 'A human takes over while the model writes',
  injection: `${CHATS} conversations with answers that grow for three seconds; in each a person takes over in the middle, ${ROUNDS} times, answers, and gives back`,
  invariant: "nothing of the assistant's comes after the person's click; every question has one answer, of the one or the other",
  bound: 'settled in 30 s',
  seeds: 3,
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: seed % 2 === 0 ? 'polling' : 'webhook' })
    const { telegram, posthouse } = world
    await world.start()
    const headers = { authorization: `Bearer ${await world.token()}`, 'content-type': 'application/json' }
    const post = async (path: string, body: object) => {
      const response = await fetch(posthouse.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
      if (!response.ok) throw new Error(`${path} answered ${response.status}`)
    }
    const late: string[] = []
    const talk = async (chat: number) => {
      for (let round = 0; round < ROUNDS; round++) late.push(...(await takeOnce(world, chat, post)))
      world.ask({ chat })
    }
    await Promise.all(Array.from({ length: CHATS }, (_, index) => talk(1001 + index)))
    await world.settle(patience ?? 30_000)
    const hands = telegram.posted().reduce((sum, { text }) => sum + (/by hand/.test(text) ? marksIn(text).length : 0), 0)
    return await world.outcome(
      [late.length > 0 && `after the person's click: ${late.slice(0, 3).join(' | ')}`, hands === 0 && 'nobody answered by hand'],
      `${CHATS * ROUNDS} times taken over, ${hands} questions answered by hand`,
    )
  },
}

export const peopleRows: readonly Row[] = [takeOver]
