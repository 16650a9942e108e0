/** What idle web chats cost: a thousand open sockets, each subscribed to a conversation. */
import { randomUUID } from 'node:crypto'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { WebSocket } from 'undici'
import { signUp } from './person.ts'
import { startTarget, usage } from './target.ts'

const SOCKETS = 1000
const AT_ONCE = 50
/** Longer than a heartbeat: what it costs belongs to an idle socket. */
const QUIET = 35_000

export async function measureSockets(): Promise<void> {
  await using telegram = await createTelegramEmulator({ keep: 10 })
  await using model = await createModelEmulator({ keep: 10 })
  await using target = await startTarget('gateway', { telegram, model })
  const headers = await signUp(target)
  const sockets: WebSocket[] = []
  const open = async () => {
    const socket = new WebSocket(`${target.url.replace('http', 'ws')}/ws`, { headers })
    sockets.push(socket)
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', ({ error }) => reject(error instanceof Error ? error : new Error('a socket was refused')))
    })
    socket.send(JSON.stringify({ type: 'subscribe', conversation_id: randomUUID(), after: 0 }))
  }
  // What the first ones load is not what one costs.
  for (let count = 0; count < 20; count++) await open()
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const before = usage(target.child.pid)
  for (let count = 0; count < SOCKETS; count += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, open))
  await new Promise((resolve) => setTimeout(resolve, QUIET))
  const after = usage(target.child.pid)
  const alive = sockets.filter((socket) => socket.readyState === WebSocket.OPEN).length
  console.log(
    `${SOCKETS} idle sockets (${alive - 20} still open after ${QUIET / 1000} s): RSS ${before.rss.toFixed(0)} -> ${after.rss.toFixed(0)} MB, ${(after.rss - before.rss).toFixed(0)} MB more`,
  )
  for (const socket of sockets) socket.close()
}
