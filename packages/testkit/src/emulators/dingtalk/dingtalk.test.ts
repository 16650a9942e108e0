import assert from 'node:assert/strict'
import { test } from 'node:test'
import axios, { type InternalAxiosRequestConfig } from 'axios'
import { DWClient, type DWClientDownStream, EventAck, TOPIC_CARD, TOPIC_ROBOT } from 'dingtalk-stream'
import { WebSocket } from 'ws'
import { until } from '../../suites/channel.ts'
import { createDingtalkEmulator, type DingtalkEmulator, textOfDingtalkMarkdown } from './index.ts'

/** The official client has the platform's addresses in its code: what it asks there is asked here. */
function redirect({ url }: DingtalkEmulator): Disposable {
  const here = (config: InternalAxiosRequestConfig) => {
    if (config.url?.startsWith('https://api.dingtalk.com')) config.url = config.url.replace('https://api.dingtalk.com', url)
    return config
  }
  const id = axios.interceptors.request.use(here)
  return { [Symbol.dispose]: () => axios.interceptors.request.eject(id) }
}

const post = async (
  { url }: DingtalkEmulator,
  path: string,
  body: object,
  token = '',
  method = 'POST',
): Promise<[status: number, answer: Record<string, unknown>]> => {
  const headers = { 'content-type': 'application/json', 'x-acs-dingtalk-access-token': token }
  const response = await fetch(url + path, { method, headers, body: JSON.stringify(body) })
  return [response.status, (await response.json()) as Record<string, unknown>]
}

const tokenOf = async (emulator: DingtalkEmulator) => {
  const { client_id: appKey, client_secret: appSecret } = emulator
  const [, { accessToken }] = await post(emulator, '/v1.0/oauth2/accessToken', { appKey, appSecret })
  return String(accessToken)
}

test('the official client opens a connection, hears people, buttons and events, and answers', async (context) => {
  context.mock.method(console, 'info', () => undefined)
  await using emulator = await createDingtalkEmulator({ retryDelay: 5 })
  using _redirected = redirect(emulator)
  const { client_id: clientId, client_secret: clientSecret } = emulator
  const client = new DWClient({ clientId, clientSecret, keepAlive: true })
  const heard: DWClientDownStream[] = []
  client.registerCallbackListener(TOPIC_ROBOT, async (frame) => {
    heard.push(frame)
    const { text, sessionWebhook } = JSON.parse(frame.data) as { text: { content: string }; sessionWebhook: string }
    const { data } = await axios.post(sessionWebhook, {
      msgtype: 'markdown',
      markdown: { title: 'echo', text: `**echo** ${text.content}` },
    })
    client.socketCallBackResponse(frame.headers.messageId, data)
  })
  client.registerCallbackListener(TOPIC_CARD, (frame) => {
    heard.push(frame)
    client.socketCallBackResponse(frame.headers.messageId, {})
  })
  let events = 0
  client.registerAllEventListener(() => ({ status: ++events === 1 ? EventAck.LATER : EventAck.SUCCESS }))
  await client.connect()
  try {
    await until(() => emulator.connections === 1 && emulator.pongs === 1, 'it is connected, and answers a ping')
    emulator.say({ text: 'hello 你好', from: 'ann' })
    await emulator.waitForPosted(({ text }) => text === 'echo hello 你好')
    await until(() => emulator.pending === 0, 'it is acknowledged')
    assert.equal((JSON.parse(heard[0]?.data ?? '') as { senderStaffId: string }).senderStaffId, 'ann')
    const token = await tokenOf(emulator)
    const card = {
      cardTemplateId: emulator.card_template_id,
      outTrackId: 'card-1',
      callbackType: 'STREAM',
      cardData: { cardParamMap: { content: '…' } },
      userIdType: 1,
      openSpaceId: 'dtv1.card//IM_ROBOT.ann',
      imRobotOpenSpaceModel: {},
      imRobotOpenDeliverModel: { spaceType: 'IM_ROBOT' },
    }
    assert.equal((await post(emulator, '/v1.0/card/instances/createAndDeliver', card, token))[0], 200)
    emulator.press('card-1', { data: 'yes' })
    await until(() => heard.length === 2 && emulator.pending === 0, 'the button')
    assert.match((JSON.parse(heard[1]?.data ?? '') as { content: string }).content, /"data":"yes"/)
    emulator.emit('chat_update_title', { Title: 'x' })
    await until(() => events === 2 && emulator.pending === 0, 'an event comes again when it is to')
    // The official client closes nothing by itself: the platform does.
    emulator.dismiss()
    assert.equal(emulator.connections, 0)
  } finally {
    client.disconnect()
  }
})

test('a secret that is wrong, a ticket that was used, an answer that is none', async () => {
  await using emulator = await createDingtalkEmulator()
  const { client_id: clientId, client_secret: clientSecret } = emulator
  const open = (body: object) => post(emulator, '/v1.0/gateway/connections/open', body)
  const subscriptions = [{ type: 'CALLBACK', topic: TOPIC_ROBOT }]
  assert.deepEqual((await open({ clientId, clientSecret: 'x', subscriptions }))[0], 401)
  assert.deepEqual((await open({ clientId, clientSecret, subscriptions: [] }))[0], 400)
  const [, { endpoint, ticket }] = await open({ clientId, clientSecret, subscriptions })
  const socket = new WebSocket(`${endpoint}?ticket=${ticket}`)
  const closed = new Promise<number>((resolve) => socket.once('close', resolve))
  await new Promise((resolve) => socket.once('open', resolve))
  const second = new WebSocket(`${endpoint}?ticket=${ticket}`)
  assert.equal(await new Promise((resolve) => second.once('unexpected-response', (_, { statusCode }) => resolve(statusCode))), 401)
  socket.send(JSON.stringify({ code: 200, headers: {} }))
  assert.equal(await closed, 1002)
  const wrong = await post(emulator, '/v1.0/oauth2/accessToken', { appKey: clientId, appSecret: 'x' })
  assert.deepEqual([wrong[0], wrong[1].code], [400, 'invalidClientIdOrSecret'])
})

test('messages and cards within the limits, refused beyond them', async () => {
  await using emulator = await createDingtalkEmulator()
  emulator.know('ann')
  const token = await tokenOf(emulator)
  const { robot_code: robotCode } = emulator
  const send = async (more: object, with_ = token) => {
    const msgParam = JSON.stringify({ title: 't', text: 'x' })
    const body = { robotCode, userIds: ['ann'], msgKey: 'sampleMarkdown', msgParam, ...more }
    const [status, { code }] = await post(emulator, '/v1.0/robot/oToMessages/batchSend', body, with_)
    return [status, code]
  }
  assert.deepEqual(await send({}), [200, undefined])
  for (const [more, code] of [
    [{ robotCode: 'other' }, 'invalidParameter.robotCode.auth'],
    [{ userIds: [] }, 'invalidParameter.userIds.empty'],
    [{ userIds: Array.from({ length: 21 }, String) }, 'invalidParameter.userIds.overMax'],
    [{ userIds: ['nobody'] }, 'staffId.notExisted'],
    [{ msgKey: 'other' }, 'invalidParameter.msgKey.invalid'],
    [{ msgParam: '{"title":"","text":"x"}' }, 'invalidParameter.msgParam.invalid'],
    [{ msgParam: JSON.stringify({ title: 't', text: 'x'.repeat(20_000) }) }, 'invalidParameter.msgParam.invalid'],
    [{ msgKey: 'sampleFile', msgParam: '{"mediaId":"@x","fileName":"a.pdf","fileType":"pdf"}' }, 'invalidParameter.msgParam.invalid'],
  ] as const)
    assert.deepEqual(await send(more), [400, code])
  assert.deepEqual(await send({}, 'wrong'), [400, 'InvalidAuthentication'])
  emulator.expireTokens()
  assert.deepEqual(await send({}), [400, 'InvalidAuthentication'])
  emulator.withdraw('Robot.Message.Send')
  assert.deepEqual(await send({}, await tokenOf(emulator)), [403, 'Forbidden.AccessDenied.AccessTokenPermissionDenied'])
  const [status, { errcode }] = await post(emulator, '/robot/sendBySession?session=none', { msgtype: 'markdown' })
  assert.deepEqual([status, errcode], [200, 300001])
  const update = { outTrackId: 'none', guid: 'g', key: 'content', content: 'x', isFull: true, isFinalize: false, isError: false }
  const [, { code }] = await post(emulator, '/v1.0/card/streaming', update, await tokenOf(emulator), 'PUT')
  assert.equal(code, 'param.cardNotExist')
})

test('what people read of Markdown', () => {
  assert.equal(textOfDingtalkMarkdown('# a **b** *c*\n> q  \n> r\n- [l](https://a.example) `x*y`'), 'a b c\nq\nr\n- l x*y')
  assert.equal(textOfDingtalkMarkdown('2 * 3 \\*no\\* snake_case &lt;b> \\`x\\`'), '2 * 3 *no* snake_case <b> `x`')
  assert.equal(textOfDingtalkMarkdown('```js\na  \n**b**\n```'), 'a  \n**b**')
})
