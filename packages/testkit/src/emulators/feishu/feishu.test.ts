import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppType, Client, EventDispatcher, LoggerLevel, WSClient } from '@larksuiteoapi/node-sdk'
import { WebSocket } from 'ws'
import { until } from '../../suites/channel.ts'
import { createFeishuEmulator, decodeFeishuFrame, encodeFeishuFrame, type FeishuEmulator, type FeishuFrame } from './index.ts'

const quiet = { error() {}, warn() {}, info() {}, debug() {}, trace() {} }
/** With a memory of its own: the official client shares tokens between all that have the same app id. */
function client({ app_id, app_secret, url }: FeishuEmulator): Client {
  const tokens = new Map<unknown, unknown>()
  const cache = {
    get: async (key: unknown) => tokens.get(key),
    set: async (key: unknown, value: unknown) => tokens.set(key, value).size > 0,
  }
  const how = { logger: quiet, loggerLevel: LoggerLevel.fatal, cache: cache as never }
  return new Client({ appId: app_id, appSecret: app_secret, domain: url, appType: AppType.SelfBuild, ...how })
}

/** What the official client throws for an answer of 400. */
const refused = (code: number) => (error: { response?: { data?: { code?: number } } }) => error.response?.data?.code === code

/** The official client on the long connection, until disposed. */
function listenWith(emulator: FeishuEmulator, handles: Record<string, (event: never) => unknown>): Disposable {
  const { app_id, app_secret, url } = emulator
  const sockets = new WSClient({ appId: app_id, appSecret: app_secret, domain: url, logger: quiet, loggerLevel: LoggerLevel.fatal })
  const dispatcher = new EventDispatcher({ logger: quiet, loggerLevel: LoggerLevel.fatal })
  void sockets.start({ eventDispatcher: dispatcher.register(handles as never) })
  return { [Symbol.dispose]: () => sockets.close({ force: true }) }
}

interface Received {
  readonly event_id: string
  readonly sender: { readonly sender_id: { readonly open_id: string } }
  readonly message: { readonly message_id: string; readonly chat_id: string; readonly content: string; readonly message_type: string }
}

test('the official client talks with people over the long connection', async () => {
  await using emulator = await createFeishuEmulator({ partSize: 50, retryDelay: 5 })
  const api = client(emulator)
  const seen: Received[] = []
  let refusals = 1
  using _sockets = listenWith(emulator, {
    'im.message.receive_v1': async (event: Received) => {
      seen.push(event)
      if (refusals-- > 0) throw new Error('not now')
      const { text } = JSON.parse(event.message.content) as { text: string }
      await api.im.v1.message.reply({
        path: { message_id: event.message.message_id },
        data: { msg_type: 'text', content: JSON.stringify({ text: `echo: ${text}` }) },
      })
    },
    'card.action.trigger': (event: { action: { value: object } }) => ({
      toast: { type: 'info', content: JSON.stringify(event.action.value) },
    }),
  })
  // It reads what comes only some time after the connection is open.
  await until(() => emulator.pings > 0, 'it is connected')
  const said = emulator.say({ text: 'hello 你好', from: { open_id: 'ou_ann', name: 'Ann' } })
  const post = await emulator.waitForPosted(({ text }) => text === 'echo: hello 你好')
  assert.equal(post.reply_to, said.message_id)
  await until(() => emulator.pending === 0, 'it is acknowledged')
  // Refused once (500), so it came twice: in parts of 50 bytes, put together by the client.
  assert.deepEqual(
    emulator.attempts.map(({ status }) => status),
    [500, 200],
  )
  assert.equal(seen[1]?.sender.sender_id.open_id, 'ou_ann')
  emulator.press(post.message_id, { data: 'yes' })
  await until(() => emulator.pending === 0 && emulator.attempts.length === 3, 'the pressed button is acknowledged')
  assert.deepEqual(JSON.parse(emulator.attempts[2]?.body ?? ''), { toast: { type: 'info', content: '{"data":"yes"}' } })
  assert.ok(emulator.pings > 0)
})

test('messages, cards, marks, files and names by the official client, within the limits', async () => {
  await using emulator = await createFeishuEmulator()
  const api = client(emulator)
  const chat = emulator.know('ou_ann', 'Ann')
  const to = { params: { receive_id_type: 'chat_id' as const } }
  const text = (words: string, uuid?: string) => ({
    ...to,
    data: { receive_id: chat, msg_type: 'text', content: JSON.stringify({ text: words }), ...(uuid ? { uuid } : {}) },
  })
  const first = await api.im.v1.message.create(text('once', 'key-1'))
  const again = await api.im.v1.message.create(text('once', 'key-1'))
  assert.equal(first.data?.message_id, again.data?.message_id)
  assert.equal(emulator.posted(chat).length, 1)
  await assert.rejects(api.im.v1.message.create(text('x', 'k'.repeat(51))), refused(230001))
  await assert.rejects(api.im.v1.message.create(text('')), refused(230001))
  await assert.rejects(api.im.v1.message.create(text('x'.repeat(151 * 1024))), refused(230025))
  await assert.rejects(api.im.v1.message.create({ ...to, data: { ...text('x').data, receive_id: 'oc_nobody' } }), refused(230034))

  const card = (content: string, config: object = {}) =>
    JSON.stringify({ schema: '2.0', config, body: { elements: [{ tag: 'markdown', element_id: 'answer', content }] } })
  const sendCard = (content: string) => api.im.v1.message.create({ ...to, data: { receive_id: chat, msg_type: 'interactive', content } })
  const posted = await sendCard(card('**bold** &lt;b&#42; [label](https://a.example)\n```js\na < b && **c**\n```'))
  assert.equal(emulator.posted(chat).at(-1)?.text, 'bold <b* label\na < b && **c**')
  await api.im.v1.message.patch({ path: { message_id: posted.data?.message_id ?? '' }, data: { content: card('changed') } })
  assert.equal(emulator.posted(chat).at(-1)?.text, 'changed')
  await assert.rejects(sendCard(card('x'.repeat(31 * 1024))), refused(230025))
  await assert.rejects(sendCard(card('![a](https://a.example/i.png)')), refused(230099))
  await assert.rejects(sendCard(card('<at id=nobody></at>')), refused(230099))
  await assert.rejects(sendCard(card(Array.from({ length: 6 }, () => '| a | b |\n| --- | --- |\n| 1 | 2 |').join('\n\n'))), refused(230099))
  await assert.rejects(sendCard('{"elements":[]}'), refused(230099))

  const { data: entity } = await api.cardkit.v1.card.create({ data: { type: 'card_json', data: card('…', { streaming_mode: true }) } })
  const path = { card_id: entity?.card_id ?? '' }
  const byId = JSON.stringify({ type: 'card', data: { card_id: path.card_id } })
  await sendCard(byId)
  await assert.rejects(sendCard(byId), refused(230099))
  const stream = (content: string, sequence: number) =>
    api.cardkit.v1.cardElement.content({ path: { ...path, element_id: 'answer' }, data: { content, sequence } })
  await stream('one', 1)
  await stream('one two', 5)
  await assert.rejects(stream('one two three', 5), refused(300317))
  assert.deepEqual([emulator.posted(chat).at(-1)?.text, emulator.posted(chat).at(-1)?.streaming], ['one two', true])
  await api.cardkit.v1.card.settings({ path, data: { settings: '{"config":{"streaming_mode":false}}', sequence: 6 } })
  await assert.rejects(stream('late', 7), refused(300309))
  await api.cardkit.v1.card.update({ path, data: { card: { type: 'card_json', data: card('one two three') }, sequence: 8 } })
  assert.deepEqual([emulator.posted(chat).at(-1)?.text, emulator.posted(chat).at(-1)?.streaming], ['one two three', false])

  const said = emulator.say({ file: { name: 'a.txt', bytes: Buffer.from('abc') }, from: 'ou_ann' })
  const mark = await api.im.v1.messageReaction.create({
    path: { message_id: said.message_id },
    data: { reaction_type: { emoji_type: 'Typing' } },
  })
  assert.deepEqual(emulator.marks(said.message_id), ['Typing'])
  await api.im.v1.messageReaction.delete({ path: { message_id: said.message_id, reaction_id: mark.data?.reaction_id ?? '' } })
  assert.deepEqual(emulator.marks(said.message_id), [])
  const upload = await api.im.v1.file.create({ data: { file_type: 'stream', file_name: 'b.bin', file: Buffer.from('bytes') } })
  await api.im.v1.message.create({
    ...to,
    data: { receive_id: chat, msg_type: 'file', content: JSON.stringify({ file_key: upload?.file_key }) },
  })
  assert.equal(Buffer.from(emulator.posted(chat).at(-1)?.file?.bytes ?? []).toString(), 'bytes')
  await assert.rejects(api.im.v1.image.create({ data: { image_type: 'message', image: Buffer.from('no image') } }), refused(234011))
  assert.equal(
    (await api.contact.v3.user.get({ path: { user_id: 'ou_ann' }, params: { user_id_type: 'open_id' } })).data?.user?.name,
    'Ann',
  )
  assert.equal((await api.im.v1.chat.get({ path: { chat_id: chat } })).data?.chat_mode, 'p2p')
  emulator.close(chat)
  await assert.rejects(api.im.v1.message.create(text('x')), refused(230013))
})

test('a frame is the same to the official client and to the emulator', async () => {
  await using emulator = await createFeishuEmulator({ pingInterval: 1 })
  const frame: FeishuFrame = {
    seq: 2n ** 63n,
    log: 7n,
    service: 33,
    method: 1,
    headers: { type: 'event', sum: '1' },
    payload: Buffer.from('{"a":"你好"}'),
  }
  assert.deepEqual({ ...decodeFeishuFrame(encodeFeishuFrame(frame)), payload: frame.payload }, frame)
  for (const cut of [1, 5, 20]) assert.throws(() => decodeFeishuFrame(encodeFeishuFrame(frame).subarray(0, cut)), RangeError)
  // What it cannot read ends the connection, and a ticket opens one only.
  const given = await fetch(`${emulator.url}/callback/ws/endpoint`, {
    method: 'POST',
    body: JSON.stringify({ AppID: emulator.app_id, AppSecret: emulator.app_secret }),
  })
  const { data } = (await given.json()) as { data: { URL: string } }
  const socket = new WebSocket(data.URL)
  const closed = new Promise<number>((resolve) => socket.once('close', resolve))
  await new Promise((resolve) => socket.once('open', resolve))
  socket.send(Buffer.from([0xff]))
  assert.equal(await closed, 1002)
  const second = new WebSocket(data.URL)
  const status = await new Promise((resolve) => second.once('unexpected-response', (_request, response) => resolve(response.statusCode)))
  assert.equal(status, 403)
})

test('calls without a good token, and apps without a right, are refused', async () => {
  await using emulator = await createFeishuEmulator({ encrypt_key: 'key' })
  const get = async (headers: Record<string, string>) => {
    const response = await fetch(`${emulator.url}/open-apis/bot/v3/info`, { headers })
    return [response.status, ((await response.json()) as { code: number }).code]
  }
  assert.deepEqual(await get({}), [400, 99991661])
  assert.deepEqual(await get({ authorization: 'Bearer t-wrong' }), [400, 99991663])
  const api = client(emulator)
  emulator.withdraw('im:message:send_as_bot')
  const chat = emulator.know('ou_ann')
  const send = () =>
    api.im.v1.message.create({
      params: { receive_id_type: 'chat_id' },
      data: { receive_id: chat, msg_type: 'text', content: '{"text":"x"}' },
    })
  await assert.rejects(send(), refused(99991672))
  emulator.failNext('im.message.create', { status: 429, retryAfter: 3 })
  await assert.rejects(
    send(),
    (error: { response?: { status?: number; headers?: Record<string, string> } }) =>
      error.response?.status === 429 && error.response.headers?.['x-ogw-ratelimit-reset'] === '3',
  )
})
