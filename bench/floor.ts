/**
 * The floor: what the same work costs with nothing around it. Webhook in, model asked, answer sent; no storage, no promises. With `JOURNAL`, each question is
 * written and synced before it is acknowledged, and each answer before it is sent, as the least that a bot which loses nothing must do.
 */
import { createServer } from 'node:http'
import { DatabaseSync } from 'node:sqlite'
import { Agent, request } from 'undici'

const { TELEGRAM = '', MODEL = '', TOKEN = '', SECRET = '', HISTORY = '0', JOURNAL } = process.env
/** Messages of each chat that a request carries beside the question, from memory; the plain floor carries none. */
const kept = Number(HISTORY)
const histories = new Map<number, { readonly role: string; readonly content: string }[]>()
const agent = new Agent({ connections: 512, pipelining: 1 })

/** Resolves when it is on the disk; what is asked for in one round of the event loop shares one sync. */
const keep = JOURNAL ? openJournal(JOURNAL) : undefined

function openJournal(path: string): (chat: number, text: string) => Promise<void> {
  const database = new DatabaseSync(path)
  database.exec(
    'pragma journal_mode = wal; pragma synchronous = full; create table journal (id integer primary key, chat integer, text text)',
  )
  const insert = database.prepare('insert into journal (chat, text) values (?, ?)')
  let waiting: { chat: number; text: string; kept: () => void }[] = []
  const flush = () => {
    const batch = waiting
    waiting = []
    database.exec('begin immediate')
    for (const { chat, text } of batch) insert.run(chat, text)
    database.exec('commit')
    for (const { kept } of batch) kept()
  }
  return (chat, text) =>
    new Promise((kept) => {
      if (waiting.push({ chat, text, kept }) === 1) setImmediate(flush)
    })
}

async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<string> {
  const { body: answer } = await request(url, {
    method: 'POST',
    dispatcher: agent,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return await answer.text()
}

async function turn(chat: number, text: string): Promise<void> {
  const history = histories.get(chat) ?? []
  const question = { role: 'user', content: text }
  const stream = await post(
    `${MODEL}/v1/chat/completions`,
    { model: 'test-model', stream: true, stream_options: { include_usage: true }, messages: [...history, question] },
    { authorization: 'Bearer test-key' },
  )
  let answer = ''
  for (const line of stream.split('\n')) {
    if (!line.startsWith('data: {')) continue
    const chunk = JSON.parse(line.slice(6)) as { choices: { delta?: { content?: string } }[] }
    answer += chunk.choices[0]?.delta?.content ?? ''
  }
  await keep?.(chat, answer)
  if (kept > 0) histories.set(chat, [...history, question, { role: 'assistant', content: answer }].slice(-kept))
  await post(`${TELEGRAM}/bot${TOKEN}/sendMessage`, { chat_id: chat, text: answer })
}

const server = createServer((incoming, outgoing) => {
  const chunks: Buffer[] = []
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
  incoming.on('end', () => {
    const { message } = JSON.parse(Buffer.concat(chunks).toString()) as { message?: { chat: { id: number }; text: string } }
    if (!message || incoming.headers['x-telegram-bot-api-secret-token'] !== SECRET) return outgoing.end()
    const { chat, text } = message
    const take = async () => {
      await keep?.(chat.id, text)
      outgoing.end()
      await turn(chat.id, text)
    }
    take().catch(console.error)
  })
})
server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address() as { port: number }
  await post(`${TELEGRAM}/bot${TOKEN}/setWebhook`, { url: `http://127.0.0.1:${port}/`, secret_token: SECRET, max_connections: 100 })
  console.log('ready')
})
