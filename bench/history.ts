/** Whether a long conversation is slower than a short one: 10,000 messages beside 10, asked in turns. */
import { join } from 'node:path'
import { createModelEmulator, createTelegramEmulator, type TelegramEmulator } from '@posthouse/testkit'
import { systemClock } from '../packages/server/src/base/clock.ts'
import { newId } from '../packages/server/src/base/ids.ts'
import { createSealer, loadKey } from '../packages/server/src/security/index.ts'
import { openStore } from '../packages/server/src/storage/index.ts'
import { newFolder, startTarget } from './target.ts'

const [SHORT, LONG] = [
  { chat: 100_001, messages: 10 },
  { chat: 100_002, messages: 10_000 },
] as const
const ROUNDS = 150

export async function measureHistory(): Promise<void> {
  const folder = newFolder()
  for (const conversation of [SHORT, LONG]) await fill(folder, conversation)
  await using telegram = await createTelegramEmulator({ keep: 100 })
  await using model = await createModelEmulator({ keep: 10 })
  await using _target = await startTarget('gateway', { telegram, model }, { folder })
  const first = await Promise.all([ask(telegram, LONG.chat), ask(telegram, SHORT.chat)])
  const took: Record<'short' | 'long', number[]> = { short: [], long: [] }
  for (let round = 0; round < ROUNDS; round++) {
    took.short.push(await ask(telegram, SHORT.chat))
    took.long.push(await ask(telegram, LONG.chat))
  }
  const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
  const [short, long] = [median(took.short), median(took.long)]
  console.log(
    `an answer in a conversation of ${SHORT.messages} messages ${short.toFixed(1)} ms, of ${LONG.messages} messages ${long.toFixed(1)} ms (medians of ${ROUNDS}): ratio ${(long / short).toFixed(2)}; the first one after the start ${first[0]?.toFixed(0)} ms`,
  )
}

async function fill(folder: string, { chat, messages }: { chat: number; messages: number }): Promise<void> {
  const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
  const store = await openStore({ url: `sqlite:${join(folder, 'data/posthouse.db')}`, sealer, clock: systemClock, newId })
  for (let count = 0; count < messages; count += 2) {
    const text = `question ${count} of the history`
    const recorded = await store.inbox.record({
      account: 'telegram',
      priority: 0,
      message: {
        kind: 'message',
        key: `history-${chat}-${count}`,
        id: String(count),
        place: { room: String(chat), type: 'direct' },
        author: { id: String(chat) },
        parts: [{ type: 'text', text }],
        sentAt: Date.now(),
        addressed: true,
      },
    })
    const turn = await store.turns.claim(recorded.conversationId, 'bench', 1)
    if (!turn) throw new Error('no turn')
    await store.turns.finish('bench', {
      turnId: turn.id,
      lane: recorded.conversationId,
      account: 'telegram',
      outcome: 'replied',
      inbox: 'done',
      messages: [{ id: newId(), role: 'assistant', parts: [{ type: 'text', text: `You said: ${text}` }], status: 'complete' }],
      deliveries: [],
    })
  }
  await store[Symbol.asyncDispose]()
}

let asked = 0

function ask(telegram: TelegramEmulator, chat: number): Promise<number> {
  const text = `question number ${asked++} to chat ${chat}`
  const started = performance.now()
  return new Promise((resolve) => {
    const watch = telegram.onPosted((message) => {
      if (message.chat !== chat || !message.text.includes(text)) return
      watch[Symbol.dispose]()
      resolve(performance.now() - started)
    })
    telegram.say({ text, chat, from: chat })
  })
}
