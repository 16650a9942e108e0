import type { ClientFrame, HistoryResponse, MeResponse, MessageView, ServerFrame } from '@posthouse/contract/http'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Socket } from '../shared/connection.ts'
import { memoryStorage } from '../shared/storage.ts'
import { type Chat, createChat } from './chat.ts'

const me: MeResponse = { id: 'u', name: 'Lin', role: 'user' }
const C = 'c1'

class FakeSocket implements Socket {
  sent: ClientFrame[] = []
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  onerror: Socket['onerror'] = null
  send(text: string) {
    this.sent.push(JSON.parse(text) as ClientFrame)
  }
  close() {}
  say(frame: ServerFrame) {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }
  welcome(more: Partial<Extract<ServerFrame, { type: 'welcome' }>> = {}) {
    this.say({ type: 'welcome', user: me, version: '1', heartbeat: 30_000, ...more })
  }
}

let sockets: FakeSocket[]
let history: MessageView[]
let asked: string[]
let chat: Chat
const onUpdate = vi.fn()
const onOtherOwner = vi.fn()

const socket = () => sockets.at(-1) as FakeSocket
const settled = () => new Promise((resolve) => setTimeout(resolve))
const sentOf = <T extends ClientFrame['type']>(type: T) =>
  socket().sent.filter((frame): frame is Extract<ClientFrame, { type: T }> => frame.type === type)
const conversation = () => chat.snapshot().conversations.get(C)

function message(seq: number, more: Partial<MessageView> = {}): MessageView {
  const role = seq % 2 === 1 ? 'user' : 'assistant'
  return { id: `m${seq}`, seq, conversation_id: C, role, text: `text ${seq}`, status: 'complete', created_at: seq, files: [], ...more }
}

function lose() {
  socket().onclose?.({ code: 1006 })
  chat.wake()
}

beforeEach(() => {
  sockets = []
  history = []
  asked = []
  onUpdate.mockClear()
  onOtherOwner.mockClear()
  vi.stubGlobal('fetch', async (path: string) => {
    asked.push(path)
    if (history.length === 0) return Response.json({ error: { code: 'not-found', message: '' } }, { status: 404 })
    return Response.json({ conversation_id: C, messages: history } satisfies HistoryResponse)
  })
  chat = createChat({
    owner: me,
    storage: memoryStorage(),
    connect: {
      openSocket: () => {
        const fresh = new FakeSocket()
        sockets.push(fresh)
        return fresh
      },
      probe: async () => 'signed-in',
      now: Date.now,
      after: () => () => {},
      random: () => 0,
    },
    onConversation: () => {},
    onConversationDeleted: () => {},
    onUpdate,
    onOtherOwner,
    onError: () => {},
    beforePaint: (action) => action(),
  })
  chat.start()
})

afterEach(() => {
  chat.close()
  vi.unstubAllGlobals()
})

it('subscribes a new conversation before its first message goes out', async () => {
  socket().welcome()
  await chat.open(C, true)
  await chat.send({ conversation: C, text: 'hello', files: [] })
  await settled()
  expect(socket().sent.map(({ type }) => type)).toEqual(['subscribe', 'send'])
  expect(asked).toEqual([])
})

it('reads a known conversation from the history, then resumes behind it', async () => {
  history = [message(1), message(2)]
  socket().welcome()
  await chat.open(C)
  await vi.waitFor(() => expect(sentOf('subscribe')).toEqual([{ type: 'subscribe', conversation_id: C, after: 2 }]))
  expect(conversation()?.messages).toHaveLength(2)
})

it('resumes behind the last message that it saw after a loss, and sends what was not confirmed under the same id', async () => {
  socket().welcome()
  await chat.open(C, true)
  await chat.send({ conversation: C, text: 'hello', files: [] })
  const first = sentOf('send')[0]
  socket().say({ type: 'message', message: message(7, { client_id: 'somebody' }) })
  lose()
  expect(sockets).toHaveLength(2)
  socket().welcome()
  await settled()
  expect(sentOf('subscribe')).toEqual([{ type: 'subscribe', conversation_id: C, after: 7 }])
  expect(sentOf('send')).toEqual([first])
  socket().say({ type: 'accepted', id: first?.id ?? '', message: message(9, { client_id: first?.id ?? '' }) })
  await settled()
  expect(chat.snapshot().outgoing).toEqual([])
  lose()
  socket().welcome()
  expect(sentOf('send')).toEqual([])
})

it('knows its own message by its id when the confirmation was lost', async () => {
  socket().welcome()
  await chat.open(C, true)
  await chat.send({ conversation: C, text: 'hello', files: [] })
  const id = sentOf('send')[0]?.id ?? ''
  socket().say({ type: 'message', message: message(1, { client_id: id }) })
  await settled()
  expect(chat.snapshot().outgoing).toEqual([])
  expect(conversation()?.messages).toHaveLength(1)
})

it('marks what its message took the place of', async () => {
  history = [message(1), message(2)]
  socket().welcome()
  await chat.open(C)
  await vi.waitFor(() => expect(conversation()?.messages).toHaveLength(2))
  await chat.send({ conversation: C, text: 'again', files: [], replaces: 'm1' })
  const frame = sentOf('send')[0]
  expect(frame?.replaces).toBe('m1')
  socket().say({ type: 'accepted', id: frame?.id ?? '', message: message(3) })
  expect(conversation()?.messages[0]?.replaced_by).toBe('m3')
})

it('reads the history again when another tab wrote: only there stands what was replaced', async () => {
  history = [message(1), message(2)]
  socket().welcome()
  await chat.open(C)
  await vi.waitFor(() => expect(conversation()?.messages).toHaveLength(2))
  history = [message(1, { replaced_by: 'm3' }), message(2), message(3)]
  socket().say({ type: 'message', message: message(3) })
  await vi.waitFor(() => expect(conversation()?.messages[0]?.replaced_by).toBe('m3'))
})

it('subscribes again when the draft has a gap', async () => {
  socket().welcome()
  await chat.open(C, true)
  socket().say({ type: 'synced', conversation_id: C, turn: { id: 't', state: 'running', answers: [], draft: 'ab' } })
  const before = sentOf('subscribe').length
  socket().say({ type: 'delta', conversation_id: C, turn_id: 't', offset: 5, text: 'f' })
  socket().say({ type: 'delta', conversation_id: C, turn_id: 't', offset: 6, text: 'g' })
  expect(sentOf('subscribe').length).toBe(before + 1)
})

describe('stop', () => {
  beforeEach(async () => {
    socket().welcome()
    await chat.open(C, true)
    await chat.send({ conversation: C, text: 'hello', files: [] })
    chat.stop(C)
  })
  const accept = () => socket().say({ type: 'accepted', id: sentOf('send')[0]?.id ?? '', message: message(1) })

  it('is said at once, and again where it might have come too early', () => {
    expect(sentOf('stop')).toHaveLength(1)
    accept()
    expect(sentOf('stop')).toHaveLength(2)
    socket().say({ type: 'turn', conversation_id: C, turn: { id: 't', state: 'running', answers: ['m1'], draft: '' } })
    expect(sentOf('stop')).toHaveLength(3)
  })

  it('outlives a lost connection', () => {
    accept()
    lose()
    socket().welcome()
    socket().say({ type: 'synced', conversation_id: C, turn: { id: 't', state: 'running', answers: ['m1'], draft: '' } })
    expect(sentOf('stop')).toHaveLength(1)
  })

  it('ends with its turn: the next one is not stopped', async () => {
    accept()
    socket().say({ type: 'turn', conversation_id: C, turn: { id: 't', state: 'running', answers: ['m1'], draft: '' } })
    socket().say({ type: 'message', message: message(2, { reply_to: 'm1', status: 'stopped' }) })
    socket().say({ type: 'turn', conversation_id: C, turn: { id: 't', state: 'ended', answers: ['m1'] } })
    const before = sentOf('stop').length
    await chat.send({ conversation: C, text: 'next', files: [] })
    socket().say({ type: 'turn', conversation_id: C, turn: { id: 't2', state: 'running', answers: ['m3'], draft: '' } })
    expect(sentOf('stop')).toHaveLength(before)
    expect(chat.snapshot().stopping.has(C)).toBe(false)
  })
})

it('shows nothing to somebody else', () => {
  socket().welcome({ user: { id: 'other', name: 'Wu', role: 'user' } })
  expect(onOtherOwner).toHaveBeenCalledOnce()
})

it('says when the server was updated', () => {
  socket().welcome()
  lose()
  socket().welcome()
  expect(onUpdate).not.toHaveBeenCalled()
  lose()
  socket().welcome({ version: '2' })
  expect(onUpdate).toHaveBeenCalledOnce()
})
