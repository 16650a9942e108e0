import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { WecomCrypto, WSClient, type WsFrame } from '@wecom/aibot-node-sdk'
import { until } from '../../suites/channel.ts'
import { createWecomEmulator, openAsWecom, sealAsWecom, signAsWecom, type WecomEmulator, type WecomEmulatorOptions } from './index.ts'

const quiet = { error() {}, warn() {}, info() {}, debug() {} }

/** The official client on the long connection, until disposed. */
async function official({ bot_id, secret, ws_url }: WecomEmulator, more: object = {}): Promise<WSClient & Disposable> {
  const client = new WSClient({
    botId: bot_id,
    secret,
    wsUrl: ws_url,
    logger: quiet,
    maxReconnectAttempts: 0,
    maxAuthFailureAttempts: 0,
    ...more,
  })
  return Object.assign(client, { [Symbol.dispose]: () => client.disconnect() })
}

/** Resolves when it was let in. */
async function enter(client: WSClient): Promise<void> {
  const entered = new Promise<void>((resolve) => client.once('authenticated', resolve))
  client.connect()
  await entered
}

test('the official client talks with people: streams, messages of its own, files in both directions', async () => {
  await using emulator = await createWecomEmulator({ mode: 'bot' })
  using client = await official(emulator)
  client.on('message.text', (frame: WsFrame) => {
    void client
      .replyStream(frame, 'stream-1', 'echo:', false)
      .then(() => client.replyStream(frame, 'stream-1', `echo: **${frame.body.text.content}**`, true))
  })
  const files: Buffer[] = []
  client.on('message.file', (frame: WsFrame) => {
    void client.downloadFile(frame.body.file.url, frame.body.file.aeskey).then(({ buffer }) => files.push(buffer))
  })
  const events: string[] = []
  client.on('event.template_card_event', (frame: WsFrame) => events.push(frame.body.event.event_key))
  await enter(client)
  const said = emulator.say({ text: 'hello 你好', from: 'ann' })
  const post = await emulator.waitForPosted(({ text, streaming }) => text === 'echo: hello 你好' && !streaming)
  assert.equal(post.reply_to, said.msgid)
  assert.equal(post.edits.length, 1)
  emulator.say({ file: Buffer.from('bytes of a file') })
  await until(() => files[0]?.toString() === 'bytes of a file', 'the file is fetched and opened')
  emulator.press('yes')
  await until(() => events[0] === 'yes', 'the press is told')
  await client.sendMessage('ann', { msgtype: 'markdown', markdown: { content: '# news' } })
  const large = Buffer.alloc(1_300_000, 5)
  const { media_id } = await client.uploadMedia(large, { type: 'file', filename: 'large.bin' })
  await client.sendMediaMessage('ann', 'file', media_id)
  const shown = emulator.posted('ann')
  assert.deepEqual([shown[1]?.text, shown[2]?.file?.name, shown[2]?.file?.bytes.length], ['news', 'large.bin', large.length])
})

test('the official client is refused what the platform refuses', async () => {
  await using emulator = await createWecomEmulator({ mode: 'bot' })
  using client = await official(emulator)
  await enter(client)
  const refused = (code: number) => (frame: { errcode?: number }) => frame.errcode === code
  emulator.know('ann')
  const words = (content: string) => ({ msgtype: 'markdown' as const, markdown: { content } })
  await assert.rejects(client.sendMessage('nobody', words('x')), refused(40003))
  await assert.rejects(client.sendMessage('ann', words('x'.repeat(20_481))), refused(45002))
  await assert.rejects(client.sendMessage('ann', words('')), refused(44004))
  await assert.rejects(client.replyStream({ headers: { req_id: 'unknown' } }, 's', 'x', true), refused(846605))
  let question: WsFrame | undefined
  client.on('message.text', (frame: WsFrame) => {
    question = frame
  })
  emulator.say('hi')
  await until(() => question !== undefined, 'the question')
  assert.ok(question)
  await client.replyStream(question, 's', 'done', true)
  await assert.rejects(client.replyStream(question, 's', 'more', true), refused(846608))
})

test('a newer connection ends the older, and a wrong secret none', async () => {
  await using emulator = await createWecomEmulator({ mode: 'bot' })
  using first = await official(emulator)
  await enter(first)
  let told = false
  first.on('event.disconnected_event', () => {
    told = true
  })
  using second = await official(emulator)
  await enter(second)
  await until(() => told && !first.isConnected, 'the older is told, and ends')
  using third = await official(emulator, { secret: 'wrong' })
  const errors: string[] = []
  third.on('error', (error: Error) => errors.push(error.message))
  third.connect()
  await until(() => errors.some((words) => words.includes('853000')), 'it is refused')
  assert.equal(second.isConnected, true)
})

test('what the emulator seals and signs, the official client opens and proves, and the other way round', () => {
  const [token, key, corp] = ['token', 'emulatedKey0123456789abcdefghijklmnopqrstuv', 'ww1']
  const crypto = new WecomCrypto(token, key, corp)
  for (const text of ['', 'x', '<xml>你好</xml>', 'y'.repeat(100)]) {
    const sealed = sealAsWecom(key, text, corp)
    const { msg_signature = '', timestamp = '', nonce = '' } = signAsWecom(token, sealed)
    assert.ok(crypto.verifySignature(msg_signature, timestamp, nonce, sealed))
    assert.equal(crypto.decrypt(sealed), text)
    assert.equal(openAsWecom(key, crypto.encrypt(text, '1', '2').encrypt), text)
  }
  assert.throws(() => new WecomCrypto(token, key, 'ww2').decrypt(sealAsWecom(key, 'x', corp)))
})

test('the verbs for people without code', async () => {
  await using emulator = await createWecomEmulator({ mode: 'bot', control: true })
  const control = async (verb: string, body?: object) => {
    const response = await fetch(`${emulator.url}/control/${verb}`, body ? { method: 'POST', body: JSON.stringify(body) } : {})
    return (await response.json()) as { result?: unknown; error?: string }
  }
  assert.ok((await control('say', { text: 'hi' })).result)
  assert.ok((await control('press', { key: 'yes' })).result)
  assert.deepEqual((await control('posted')).result, [])
  assert.ok((await control('nothing')).error)
})

/** A bot that is called, which answers as it is told; what comes is opened and answers are sealed by the official code. */
async function calledBot(more: WecomEmulatorOptions = {}) {
  const emulator = await createWecomEmulator({ mode: 'bot-webhook', pollEvery: 2, retryDelay: 2, maxRetryDelay: 5, attempts: 3, ...more })
  const crypto = new WecomCrypto(emulator.token, emulator.encoding_aes_key, '')
  const heard: Record<string, unknown>[] = []
  let answer: (body: Record<string, unknown>) => object | string = () => ''
  const server = createServer(async (request, response) => {
    const query = new URL(request.url ?? '', 'http://localhost').searchParams
    const [signature, timestamp, nonce] = ['msg_signature', 'timestamp', 'nonce'].map((name) => query.get(name) ?? '') as [
      string,
      string,
      string,
    ]
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const sealed = query.get('echostr') ?? (JSON.parse(Buffer.concat(chunks).toString()) as { encrypt: string }).encrypt
    assert.ok(crypto.verifySignature(signature, timestamp, nonce, sealed))
    if (request.method === 'GET') return response.end(crypto.decrypt(sealed))
    const body = JSON.parse(crypto.decrypt(sealed)) as Record<string, unknown>
    heard.push(body)
    const said = answer(body)
    if (typeof said === 'string') return response.end(said)
    const { encrypt, signature: msgsignature } = crypto.encrypt(JSON.stringify(said), timestamp, nonce)
    response.end(JSON.stringify({ encrypt, msgsignature, timestamp: Number(timestamp), nonce }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  await emulator.subscribe(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  return {
    emulator,
    heard,
    answers: (next: typeof answer) => {
      answer = next
    },
    async [Symbol.asyncDispose]() {
      await emulator[Symbol.asyncDispose]()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const streamOf = (id: string, content: string, finish: boolean) => ({ msgtype: 'stream', stream: { id, content, finish } })

test('a bot that is called: it is asked until it is finished, with what the official code seals and opens', async () => {
  await using bot = await calledBot()
  const { emulator, heard } = bot
  let polls = 0
  bot.answers(({ msgtype }) => (msgtype === 'stream' ? streamOf('s', `part ${++polls}`, polls === 3) : streamOf('s', 'so', false)))
  const said = emulator.say({ text: 'hi', chat: 'wr_1' })
  const post = await emulator.waitForPosted(({ streaming }) => !streaming)
  assert.deepEqual([post.room, post.text, post.reply_to], ['wr_1', 'part 3', said.msgid])
  assert.deepEqual(
    heard.slice(1).map(({ msgtype, stream, chatid }) => [msgtype, (stream as { id: string }).id, chatid]),
    Array.from({ length: 3 }, () => ['stream', 's', 'wr_1']),
  )
  assert.deepEqual(emulator.refused, [])
})

test('a bot that is called is refused what the platform does not take, and given up in the end', async () => {
  await using bot = await calledBot({ streamLife: 60 })
  const { emulator } = bot
  const refused: (readonly [object | string, RegExp])[] = [
    ['hello', /JSON/],
    [{ msgtype: 'text', text: { content: 'x' } }, /msgtype/],
    [streamOf('', 'x', false), /stream\.id/],
    [streamOf('s', 'x'.repeat(20_481), false), /too long/],
    [streamOf('s', ' ', true), /finish/],
  ]
  for (const [index, [answer, words]] of refused.entries()) {
    bot.answers(() => answer)
    emulator.say({ text: 'x', from: `p${index}` })
    await until(() => emulator.pending === 0, 'it is given up')
    assert.match(emulator.refused.at(-1) ?? '', words)
  }
  bot.answers(() => streamOf('same', 'x', false))
  emulator.say({ text: 'x', from: 'ann' })
  emulator.say({ text: 'x', from: 'bob' })
  await until(() => emulator.pending === 0, 'the second one is given up')
  assert.match(emulator.refused.at(-1) ?? '', /another message/)
  await emulator.waitForPosted(({ room, streaming }) => room === 'ann' && !streaming)
  assert.equal(emulator.posted('bob').length, 0)
})

test('the address of a message takes one message, for a while', async () => {
  await using bot = await calledBot()
  const { emulator, heard } = bot
  emulator.say('hi')
  await until(() => heard.length === 1 && emulator.pending === 0, 'it is taken')
  const post = async (body: unknown, url = String(heard[0]?.response_url)) =>
    ((await (await fetch(url, { method: 'POST', body: JSON.stringify(body) })).json()) as { errcode: number }).errcode
  const markdown = (content: string) => ({ msgtype: 'markdown', markdown: { content } })
  assert.notEqual(await post({ msgtype: 'text', text: { content: 'x' } }), 0)
  assert.notEqual(await post(markdown('x'.repeat(20_481))), 0)
  assert.notEqual(await post(markdown('x'), `${emulator.url}/cgi-bin/aibot/response?response_code=other`), 0)
  assert.equal(await post(markdown('once')), 0)
  assert.notEqual(await post(markdown('twice')), 0)
  assert.deepEqual(
    emulator.posted().map(({ text }) => text),
    ['once'],
  )
  await using brief = await calledBot({ urlLife: 0 })
  brief.emulator.say('hi')
  await until(() => brief.heard.length === 1, 'it is taken')
  assert.notEqual(await post(markdown('late'), String(brief.heard[0]?.response_url)), 0)
})
