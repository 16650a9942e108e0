/** What the storage alone carries: the calls of a turn, for 200 lanes at once, on each database in one run. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../packages/server/src/base/clock.ts'
import { newId } from '../packages/server/src/base/ids.ts'
import type { Store } from '../packages/server/src/ports/store.ts'
import { createSealer, loadKey } from '../packages/server/src/security/index.ts'
import { openStore } from '../packages/server/src/storage/index.ts'
import { newFolder } from './target.ts'

const LANES = 200
const SECONDS = Number(process.env.BENCH_SECONDS ?? 6)
const WARM_UP = 2

/** `BENCH_POSTGRES` names an empty database that may be filled. */
export async function measureStorage(): Promise<void> {
  const folder = newFolder()
  const sqlite = await measure('SQLite', `sqlite:${join(folder, 'data/posthouse.db')}`, folder)
  const server = process.env.BENCH_POSTGRES
  if (server) console.log(`PostgreSQL/SQLite: ${((await measure('PostgreSQL', server, folder)) / sqlite).toFixed(2)}`)
  else console.log('PostgreSQL: not measured; BENCH_POSTGRES=postgres://... names an empty database')
  rmSync(folder, { recursive: true })
}

async function measure(name: string, url: string, folder: string): Promise<number> {
  const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
  await using store = await openStore({ url, sealer, clock: systemClock, newId })
  const state = { turns: 0, running: true }
  const lanes = Array.from({ length: LANES }, (_, lane) => work(store, lane, state))
  await new Promise((resolve) => setTimeout(resolve, WARM_UP * 1000))
  const [before, cpu, started] = [state.turns, process.cpuUsage(), performance.now()]
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000))
  const turns = state.turns - before
  const { user, system } = process.cpuUsage(cpu)
  const rate = turns / ((performance.now() - started) / 1000)
  state.running = false
  await Promise.all(lanes)
  console.log(
    `storage on ${name.padEnd(11)} ${rate.toFixed(0).padStart(6)} turns/s  ${((user + system) / turns).toFixed(0).padStart(5)} us CPU/turn here`,
  )
  return rate
}

/** Record, claim, context, finish, confirm, again and again. */
async function work(store: Store, lane: number, state: { turns: number; running: boolean }): Promise<void> {
  while (state.running) {
    const key = newId()
    const { conversationId } = await store.inbox.record({
      account: 'bench',
      priority: 0,
      message: {
        kind: 'message',
        key,
        id: key,
        place: { room: `room ${lane}`, type: 'direct' },
        author: { id: 'ann' },
        parts: [{ type: 'text', text: 'Which way to Luoyang?' }],
        sentAt: Date.now(),
        addressed: true,
      },
    })
    const turn = await store.turns.claim(conversationId, 'bench', 10)
    if (!turn) throw new Error('no turn')
    await store.conversations.context(turn.conversation, turn.messages[0]?.seq ?? 0, 40)
    const id = newId()
    await store.turns.finish('bench', {
      turnId: turn.id,
      lane: conversationId,
      account: 'bench',
      outcome: 'replied',
      inbox: 'done',
      messages: [{ id, role: 'assistant', parts: [{ type: 'text', text: 'Follow the river.' }], status: 'complete' }],
      deliveries: [{ id, begun: true }],
    })
    await store.outbox.confirm('bench', id, { id: key, room: `room ${lane}` }, true)
    state.turns++
  }
}
