/** The web chat's socket: what was sent is admitted once, what was missed comes after, and nobody hears what is not theirs. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import type { ServerFrame } from '@posthouse/contract/http'
import { until } from '../journeys/posthouse.ts'
import { type Caller, type Gateway, type LiveSocket, startGateway } from './gateway.ts'

let gateway: Gateway
let eve: Caller
before(async () => {
  gateway = await startGateway()
  eve = await gateway.person('Eve')
})
after(() => gateway[Symbol.asyncDispose]())

const words = (count: number) => Array.from({ length: count }, (_, index) => `word${index}`).join(' ')
const asked = (text: string) => gateway.model.calls.filter((call) => call.question?.text === text).length
const isAnswer = (text: string) => (frame: Extract<ServerFrame, { type: 'message' }>) =>
  frame.message.role === 'assistant' && frame.message.text === `You said: ${text}`

/** What a page shows of one conversation, by the rules of the frames. */
function page(frames: readonly ServerFrame[], conversation: string) {
  const messages = new Map<number, string>()
  let draft: { turn: string; text: string } | undefined
  const torn: string[] = []
  for (const frame of frames) {
    if (frame.type === 'message' && frame.message.conversation_id === conversation) {
      messages.set(frame.message.seq, `${frame.message.role}: ${frame.message.text}`)
    } else if (frame.type === 'synced' && frame.conversation_id === conversation) {
      draft = frame.turn && { turn: frame.turn.id, text: frame.turn.draft ?? '' }
    } else if (frame.type === 'turn' && frame.conversation_id === conversation) {
      draft = frame.turn.state === 'running' ? { turn: frame.turn.id, text: frame.turn.draft ?? '' } : undefined
    } else if (frame.type === 'delta' && frame.conversation_id === conversation) {
      if (draft?.turn !== frame.turn_id || frame.offset > draft.text.length) torn.push(`${frame.turn_id}@${frame.offset}`)
      else draft.text += frame.text.slice(draft.text.length - frame.offset)
    }
  }
  return { messages: [...messages].sort(([a], [b]) => a - b).map(([, text]) => text), draft, torn }
}

function begin(socket: LiveSocket, text: string, conversation = randomUUID(), id = randomUUID()) {
  socket.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
  socket.send({ type: 'send', id, conversation_id: conversation, text })
  return { conversation, id }
}

describe('GET /ws', () => {
  it('admits, streams and ends in the promised order', async () => {
    gateway.model.setPace({ interval: 5, chunks: 20 })
    using socket = await gateway.socket(gateway.admin)
    const { conversation, id } = begin(socket, words(40))
    await socket.wait('message', isAnswer(words(40)))
    await socket.wait('turn', ({ turn }) => turn.state === 'ended')
    const kinds = socket.frames
      .filter(({ type }) => type !== 'conversation')
      .map((frame) => (frame.type === 'turn' ? `turn ${frame.turn.state}` : frame.type === 'message' ? frame.message.role : frame.type))
    const order = kinds.filter((kind, index) => kind !== kinds[index - 1])
    assert.deepEqual(
      // The delivery tells the pages once more of what they have.
      order.filter((kind) => kind !== 'accepted').slice(0, 7),
      ['welcome', 'synced', 'user', 'turn running', 'delta', 'assistant', 'turn ended'],
    )
    const accepted = await socket.wait('accepted', (frame) => frame.id === id)
    assert.equal(accepted.message.client_id, id)
    assert.ok(kinds.indexOf('accepted') < kinds.indexOf('assistant'))
    assert.deepEqual(page(socket.frames, conversation).torn, [])
  })

  it('answers a repeated id with the same admission, on any socket', async () => {
    gateway.model.setPace({})
    using first = await gateway.socket(gateway.admin)
    const text = `once ${randomUUID()}`
    const { conversation, id } = begin(first, text)
    const { message } = await first.wait('accepted')
    await first.wait('message', isAnswer(text))
    using second = await gateway.socket(gateway.admin)
    for (let time = 0; time < 3; time++) second.send({ type: 'send', id, conversation_id: conversation, text })
    second.send({ type: 'ping' })
    await second.wait('pong')
    const accepted = second.frames.filter((frame) => frame.type === 'accepted')
    assert.deepEqual(
      accepted.map((frame) => frame.message.id),
      [message.id, message.id, message.id],
    )
    assert.equal(asked(text), 1)
  })

  it('keeps two sockets in step, also one that joins in the middle of an answer', async () => {
    gateway.model.setPace({ interval: 10, chunks: 60 })
    using first = await gateway.socket(gateway.admin)
    using second = await gateway.socket(gateway.admin)
    const text = words(100)
    const conversation = randomUUID()
    second.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    await second.wait('synced')
    begin(first, text, conversation)
    await first.wait('delta', ({ offset }) => offset > 100)
    using late = await gateway.socket(gateway.admin)
    late.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    const { turn } = await late.wait('synced')
    assert.ok((turn?.draft?.length ?? 0) > 100, 'the draft is there')
    for (const socket of [first, second, late]) {
      await socket.wait('turn', (frame) => frame.turn.state === 'ended')
      const shown = page(socket.frames, conversation)
      assert.deepEqual(shown.messages, [`user: ${text}`, `assistant: You said: ${text}`])
      assert.deepEqual(shown.torn, [])
      const deltas = socket.frames.filter((frame) => frame.type === 'delta')
      const drafted = (socket === late ? (turn?.draft ?? '') : '').length
      const end = deltas.at(-1)
      assert.ok(end && end.offset + end.text.length >= `You said: ${text}`.length && (deltas[0]?.offset ?? 0) <= drafted)
    }
  })

  it('sends what was missed, all of it, in order', async () => {
    gateway.model.setPace({})
    using socket = await gateway.socket(gateway.admin)
    const { conversation } = begin(socket, 'first')
    const { message } = await socket.wait('message', isAnswer('first'))
    socket.raw.terminate()
    using again = await gateway.socket(gateway.admin)
    for (let index = 0; index < 150; index++) {
      again.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text: `/help ${index}` })
      await again.wait('accepted', (frame) => frame.message.text === `/help ${index}`)
    }
    const answered = async () =>
      (await gateway.call(`/api/v1/history?conversation_id=${conversation}&limit=200`, { token: gateway.admin.token })).body.messages.at(-1)
    await until(async () => (await answered()).role !== 'user', 'all are answered')
    using last = await gateway.socket(gateway.admin)
    last.send({ type: 'subscribe', conversation_id: conversation, after: message.seq })
    await last.wait('synced')
    // A message that is committed meanwhile may come twice; it has its number.
    const seqs = last.frames.flatMap((frame) => (frame.type === 'message' ? [frame.message.seq] : []))
    const own = new Map(last.frames.flatMap((frame) => (frame.type === 'message' ? [[frame.message.seq, frame.message.role]] : [])))
    assert.equal([...own.values()].filter((role) => role === 'user').length, 150)
    assert.ok(seqs.every((seq) => seq > message.seq))
    assert.deepEqual(
      [...new Set(seqs)],
      [...own.keys()].sort((a, b) => a - b),
    )
  })

  it('stops the provider within 300 ms, and keeps and marks what was there', async () => {
    gateway.model.setPace({ interval: 20, chunks: 500 })
    using socket = await gateway.socket(gateway.admin)
    const text = words(600)
    const { conversation } = begin(socket, text)
    await socket.wait('delta')
    const call = gateway.model.calls.find(({ question }) => question?.text === text)
    const stopped = Date.now()
    socket.send({ type: 'stop', conversation_id: conversation })
    const { message } = await socket.wait('message', ({ message }) => message.role === 'assistant')
    await gateway.model.waitForCall((line) => line === call && line.ended !== undefined)
    assert.equal(call?.ended?.how, 'client-closed')
    assert.ok(call.ended.at - stopped < 300, `${call.ended.at - stopped} ms`)
    assert.equal(message.status, 'stopped')
    assert.ok(message.text.length > 0 && `You said: ${text}`.startsWith(message.text))
  })

  it('stops before the first token, too', async () => {
    gateway.model.setPace({ firstToken: 5000 })
    using socket = await gateway.socket(gateway.admin)
    const text = `slow ${randomUUID()}`
    const { conversation } = begin(socket, text)
    const call = await gateway.model.waitForCall(({ question }) => question?.text === text)
    const stopped = Date.now()
    socket.send({ type: 'stop', conversation_id: conversation })
    await gateway.model.waitForCall((line) => line === call && line.ended !== undefined)
    assert.ok((call.ended?.at ?? Number.NaN) - stopped < 300)
    await socket.wait('message', ({ message }) => message.status === 'stopped')
    gateway.model.setPace({})
  })

  it('is silent about a conversation that was left', async () => {
    using socket = await gateway.socket(gateway.admin)
    const { conversation } = begin(socket, 'heard')
    await socket.wait('message', isAnswer('heard'))
    socket.send({ type: 'unsubscribe', conversation_id: conversation })
    socket.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text: 'unheard' })
    await gateway.model.waitForCall(({ question, ended }) => question?.text === 'unheard' && ended !== undefined)
    using other = await gateway.socket(gateway.admin)
    other.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    await other.wait('message', isAnswer('unheard'))
    socket.send({ type: 'ping' })
    await socket.wait('pong')
    assert.ok(!socket.frames.some((frame) => frame.type === 'message' && frame.message.text.includes('unheard')))
  })

  it('never lets another person hear or touch a conversation, begun or yet to begin', async () => {
    using mine = await gateway.socket(gateway.admin)
    using hers = await gateway.socket(eve)
    const conversation = randomUUID()
    hers.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    await hers.wait('synced')
    begin(mine, 'secret words', conversation)
    await mine.wait('message', isAnswer('secret words'))
    const id = randomUUID()
    hers.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    hers.send({ type: 'send', id, conversation_id: conversation, text: 'mine now' })
    hers.send({ type: 'stop', conversation_id: conversation })
    assert.equal((await hers.wait('refused')).code, 'not-found')
    hers.send({ type: 'ping' })
    await hers.wait('pong')
    assert.equal(hers.frames.filter((frame) => frame.type === 'error' && frame.code === 'not-found').length, 2)
    assert.ok(!JSON.stringify(hers.frames).includes('secret words'))
    assert.ok(!JSON.stringify(mine.frames).includes('mine now'))
  })

  it('refuses to write into a conversation of the API by its socket', async () => {
    const { body } = await gateway.call('/api/v1/chat', { token: gateway.admin.token, json: { query: 'by REST' } })
    using socket = await gateway.socket(gateway.admin)
    socket.send({ type: 'subscribe', conversation_id: body.conversation_id, after: 0 })
    await socket.wait('message', isAnswer('by REST'))
    socket.send({ type: 'send', id: randomUUID(), conversation_id: body.conversation_id, text: 'x' })
    assert.equal((await socket.wait('refused')).code, 'not-found')
  })

  it('cuts a reader that does not read, who comes back and has everything', async () => {
    const long = 'x'.repeat(2 * 1024 * 1024)
    gateway.model.reply(({ text }) => (text.startsWith('long') ? { text: `${text} ${long}`, chunks: 4 } : `You said: ${text}`))
    using slow = await gateway.socket(gateway.admin)
    using fast = await gateway.socket(gateway.admin)
    const { conversation } = begin(fast, 'begin')
    await fast.wait('message', isAnswer('begin'))
    slow.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    await slow.wait('message', isAnswer('begin'))
    slow.raw.pause()
    for (let index = 0; index < 6; index++) {
      fast.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text: `long ${index}` })
      await fast.wait('message', ({ message }) => message.role === 'assistant' && message.text.startsWith(`long ${index} `))
    }
    slow.raw.resume()
    assert.equal((await slow.waitClosed()).code, 1012)
    using again = await gateway.socket(gateway.admin)
    again.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    await again.wait('synced')
    assert.equal(page(again.frames, conversation).messages.length, 14)
    gateway.model.reply(({ text }) => `You said: ${text}`)
  })

  it('survives a restart in the middle of an answer: one admission, one whole answer', async () => {
    await using gateway = await startGateway({ model: { pace: { interval: 10, chunks: 80 } } })
    const text = words(100)
    const conversation = randomUUID()
    const id = randomUUID()
    const first = await gateway.socket(gateway.admin)
    begin(first, text, conversation, id)
    await first.wait('delta', ({ offset }) => offset > 100)
    await gateway.posthouse.kill()
    await first.waitClosed()
    await gateway.posthouse.start()
    using second = await gateway.socket(gateway.admin)
    begin(second, text, conversation, id)
    await second.wait('message', isAnswer(text))
    const shown = page(second.frames, conversation)
    assert.deepEqual(shown.messages, [`user: ${text}`, `assistant: You said: ${text}`])
    assert.deepEqual(shown.torn, [])
    assert.equal((await second.wait('accepted')).id, id)
    const stopping = gateway.posthouse.stop()
    assert.equal((await second.waitClosed()).code, 1012, 'told to come back')
    assert.equal(await stopping, 0)
  })
})
