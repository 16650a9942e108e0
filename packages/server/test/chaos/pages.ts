/** Open pages of the web chat: each has one conversation, writes in it and hears what comes. */
import { randomUUID } from 'node:crypto'
import { WebSocket } from 'ws'

interface Frame {
  readonly type: string
  readonly id?: string
  readonly message?: { readonly role: string; readonly text: string }
}

export interface Page {
  say(number: number): void
  close(): void
}

/** What the pages saw: numbers of the messages that were accepted, and the answers as texts of a chat. */
export interface Seen {
  readonly accepted: Set<number>
  readonly posted: { readonly chat: number; readonly text: string }[]
}

/** Opens a page; `chat` is what its conversation is called in the ledger. */
export async function openPage(url: string, token: string, chat: number, seen: Seen): Promise<Page> {
  const conversation = randomUUID()
  const said = new Map<string, number>()
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers: { authorization: `Bearer ${token}` } })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data)) as Frame
    const number = frame.type === 'accepted' ? said.get(frame.id ?? '') : undefined
    if (number !== undefined) seen.accepted.add(number)
    const { message } = frame
    if (frame.type === 'message' && message?.role === 'assistant') seen.posted.push({ chat, text: message.text })
  })
  socket.send(JSON.stringify({ type: 'subscribe', conversation_id: conversation, after: 0 }))
  return {
    say(number) {
      const id = randomUUID()
      said.set(id, number)
      socket.send(JSON.stringify({ type: 'send', id, conversation_id: conversation, text: `m${number}p1` }))
    },
    close: () => socket.close(),
  }
}
