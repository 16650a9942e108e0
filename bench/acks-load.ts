/** The load of the acknowledgements, as a thread of its own: what plays the platforms must not make its measuring late. */
import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { Agent, request } from 'undici'
import type { Acks, Offer } from './acks.ts'

const { url, kind, rate, seconds, from, rooms, encryptKey, appId } = workerData as Offer

interface Call {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const telegramCall = (id: number): Call => ({
  path: '/api/webhook/telegram',
  headers: { 'x-telegram-bot-api-secret-token': 'bench-secret' },
  body: JSON.stringify({
    update_id: id,
    message: {
      message_id: id,
      date: Math.floor(Date.now() / 1000),
      chat: { id: 500_000 + (id % rooms), type: 'private', first_name: 'P' },
      from: { id: 500_000 + (id % rooms), is_bot: false, first_name: 'P' },
      text: `question ${id}`,
    },
  }),
})

/** Signed over the raw body, as Feishu does. */
const feishuCall = (id: number): Call => {
  const body = JSON.stringify({
    schema: '2.0',
    header: { event_id: `event-${id}`, event_type: 'im.message.receive_v1', app_id: appId, create_time: String(Date.now()) },
    event: {
      sender: { sender_id: { open_id: `ou_${id % rooms}` }, sender_type: 'user' },
      message: {
        message_id: `om_${id}`,
        create_time: String(Date.now()),
        chat_id: `oc_${id % rooms}`,
        chat_type: 'p2p',
        message_type: 'text',
        content: JSON.stringify({ text: `question ${id}` }),
      },
    },
  })
  const time = String(Math.floor(Date.now() / 1000))
  const signature = createHash('sha256').update(`${time}nonce${encryptKey}${body}`).digest('hex')
  return {
    path: '/api/webhook/feishu',
    headers: { 'x-lark-request-timestamp': time, 'x-lark-request-nonce': 'nonce', 'x-lark-signature': signature },
    body,
  }
}

let count = from

/** A platform has so many lines to one address, and keeps them: Telegram 100 at most. What finds none free waits on its side. */
const LINES = 256

async function offer(): Promise<Acks> {
  const agent = new Agent({ connections: LINES, pipelining: 1 })
  const taken: number[] = []
  const refused: number[] = []
  let failed = 0
  let waiting = 0
  const call = async () => {
    const { path, headers, body } = kind === 'feishu' ? feishuCall(++count) : telegramCall(++count)
    const started = performance.now()
    try {
      const answer = await request(url + path, {
        method: 'POST',
        dispatcher: agent,
        headers: { 'content-type': 'application/json', ...headers },
        body,
      })
      await answer.body.dump()
      const took = performance.now() - started
      if (answer.statusCode === 200) taken.push(took)
      else if (answer.statusCode === 429 || answer.statusCode === 503) refused.push(took)
      else failed++
    } catch {
      failed++
    }
  }
  const line = async (over: () => boolean) => {
    while (!over()) {
      if (waiting > 0) {
        waiting--
        await call()
      } else await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  // The lines are there before the load is: a new one is let in with each turn of the gateway's loop only.
  await Promise.all(Array.from({ length: LINES }, call))
  taken.length = 0
  let offered = 0
  const lines = Array.from({ length: LINES }, () => line(() => offered >= rate * seconds && waiting === 0))
  const began = performance.now()
  while (offered < rate * seconds) {
    const due = Math.min(Math.floor(((performance.now() - began) / 1000) * rate), rate * seconds)
    waiting += due - offered
    offered = due
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  const late = waiting
  await Promise.all(lines)
  await agent.close()
  return { taken, refused, failed, late }
}

parentPort?.postMessage(await offer())
