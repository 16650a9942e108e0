import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WecomCrypto, WSClient, type WsFrame } from '@wecom/aibot-node-sdk'
import { until } from '../../suites/channel.ts'
import { createWecomEmulator, openAsWecom, sealAsWecom, signAsWecom, type WecomEmulator } from './index.ts'

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
