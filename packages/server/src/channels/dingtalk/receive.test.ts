import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPosthouseError, type Known, type WebhookRequest } from '@posthouse/contract'
import { sealAsDingtalk, signAsDingtalk, signAsDingtalkEvent, unsealAsDingtalk } from '@posthouse/testkit'
import fc from 'fast-check'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createReader, sessionOf } from './receive.ts'

const APP = { client_id: 'dingapp0001', client_secret: 'the-secret-of-this-app' }
const KEYS = { token: 'token-of-this-app', aes_key: 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG' }
const known: Known = { now: Date.now(), crypto: platformCrypto }
const reader = createReader({ ...APP, ...KEYS })

const message = (more: object = {}) => ({
  msgId: 'msg1',
  createAt: 1_700_000_000_123,
  conversationType: '1',
  conversationId: 'cid_ann',
  senderId: '$:ann',
  senderStaffId: 'ann',
  senderNick: 'Ann',
  chatbotUserId: '$:bot',
  robotCode: APP.client_id,
  msgtype: 'text',
  text: { content: 'hi' },
  ...more,
})
const frame = (data: unknown, topic = '/v1.0/im/bot/messages/get') => ({
  specVersion: '1.0',
  type: 'CALLBACK',
  headers: { topic, messageId: 'm1', contentType: 'application/json' },
  data: JSON.stringify(data),
})
const read = (value: unknown) => reader.frame?.(value, known)
const one = (more: object) => read(frame(message(more)))?.messages[0]
const words = (value: ReturnType<typeof one>) =>
  value?.parts.map((part) => (part.type === 'text' ? part.text : part.type === 'file' ? `${part.file.kind} ${part.file.name}` : ''))

test('a message: the same by a frame, by its text, by a call, and alone', () => {
  const wanted = read(frame(message()))?.messages
  assert.deepEqual(wanted, [
    {
      kind: 'message',
      key: 'message:msg1',
      id: 'msg1',
      place: { room: 'ann', type: 'direct' },
      author: { id: 'ann', name: 'Ann' },
      parts: [{ type: 'text', text: 'hi' }],
      sentAt: 1_700_000_000_123,
      addressed: true,
      mentionsUs: false,
      mentionsAll: false,
      answersUs: false,
    },
  ])
  assert.deepEqual(read(JSON.stringify(frame(message())))?.messages, wanted)
  assert.deepEqual(read(message())?.messages, wanted)
  assert.deepEqual(reader.request?.(request(JSON.stringify(message())), known).messages, wanted)
})

test('commands, everybody, ourselves, and what there is nothing of', () => {
  assert.deepEqual(one({ text: { content: ' /model spare ' } })?.command, { name: 'model', argument: 'spare' })
  const all = one({ conversationType: '2', text: { content: '@所有人 tea?' } })
  assert.deepEqual([all?.mentionsAll, all?.addressed, all?.place.room], [true, false, 'cid_ann'])
  assert.equal(one({ senderId: '$:bot', senderStaffId: undefined })?.author.isBot, true)
  assert.match(read(frame(message({ text: { content: ' ' } })))?.reason ?? '', /nothing in it/)
  assert.equal(one({ conversationType: '2', isInAtList: true, text: {} })?.addressed, true)
  assert.deepEqual(words(one({ msgtype: 'chatRecord', content: {} })), ['[chatRecord]'])
  assert.deepEqual(words(one({ msgtype: 'file', content: '{"downloadCode":"c","fileName":"a.pdf"}' })), ['file a.pdf'])
})

test('a quoted picture comes along; a command stays one behind a quote', () => {
  const quoting = (repliedMsg: object, content = 'what is it?') => one({ text: { content, isReplyMsg: true, repliedMsg } })
  const picture = quoting({ msgId: 'm0', msgType: 'picture', senderId: '$:bob', content: { downloadCode: 'code' } })
  assert.deepEqual([words(picture), picture?.replyTo], [['image picture', 'what is it?'], 'm0'])
  const command = quoting({ msgId: 'm0', msgType: 'text', senderId: '$:bob', content: '{"text":"one\\ntwo"}' }, '/new')
  assert.deepEqual([command?.command?.name, words(command)], ['new', ['> one\n> two', '/new']])
  assert.deepEqual(words(quoting({ msgId: 'm0', senderId: '$:bot', content: { text: 'ours' } })), ['what is it?'])
})

test('the address to answer at is one of the platform’s own', () => {
  const root = 'https://oapi.dingtalk.com'
  const good = `${root}/robot/sendBySession?session=1`
  const session = (sessionWebhook: unknown, sessionWebhookExpiredTime: unknown = 5) =>
    sessionOf(message({ sessionWebhook, sessionWebhookExpiredTime }), `${root}/`)
  assert.deepEqual(session(good), { room: 'ann', url: good, until: 5 })
  for (const other of [
    'http://oapi.dingtalk.com/robot/sendBySession?session=1',
    'https://oapi.dingtalk.com.evil/robot/sendBySession?x',
    7,
    '',
  ])
    assert.equal(session(other), undefined)
  for (const until of [undefined, 'soon', -1, {}])
    assert.equal(sessionOf(message({ sessionWebhook: good, sessionWebhookExpiredTime: until }), root), undefined)
})

test('buttons: the key is that of the delivery, the place that of the card', () => {
  const press = (more: object, card = 'other') =>
    read(
      frame(
        { outTrackId: card, userId: 'bob', content: '{"cardPrivateData":{"actionIds":["a"],"params":{"x":"1"}}}', ...more },
        '/v1.0/card/instances/callback',
      ),
    )?.messages[0]
  assert.deepEqual([press({})?.key, press({})?.place], ['callback:m1', { room: 'bob', type: 'direct' }])
  assert.equal(press({})?.callbackData, '{"actionIds":["a"],"params":{"x":"1"}}')
  assert.deepEqual(press({ spaceType: 'IM_GROUP', spaceId: 'dtv1.card//IM_GROUP.cid1' })?.place, { room: 'cid1', type: 'group' })
  assert.deepEqual(press({ spaceType: 'im', spaceId: 'cid1' }, 'posthouse-g-1')?.place, { room: 'cid1', type: 'group' })
  assert.deepEqual(press({ spaceType: 'group', spaceId: 'cid1' }, 'posthouse-d-1')?.place, { room: 'bob', type: 'direct' })
})

// ---- Bad inputs -------------------------------------------------------------------------------------------------------

const NOW = Date.now()
const HOUR = 3_600_000
const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`

function request(body: string | Uint8Array, headers: Record<string, string> = {}, query: Record<string, string> = {}): WebhookRequest {
  return { method: 'POST', headers, query, body: typeof body === 'string' ? Buffer.from(body) : body }
}

/** What the door answers: 401 without a proof, 400 for what is not as promised. */
function statusOf(call: WebhookRequest, by = reader): number {
  if (!by.verification?.some((verification) => verifyWebhook(verification, call, NOW))) return 401
  try {
    return by.request?.(call, known).response?.status ?? 200
  } catch (error) {
    assert.ok(isPosthouseError(error) && error.code === 'invalid', String(error))
    return 400
  }
}

test('calls of the robot', () => {
  const signed = signAsDingtalk(APP.client_secret, NOW)
  const body = (more: object = {}) => JSON.stringify(message(more))
  for (const [what, status, sent, headers] of [
    ['right', 200, body(), signed],
    ['almost an hour old', 200, body(), signAsDingtalk(APP.client_secret, NOW - HOUR + 1000)],
    ['prototypes and depth', 200, `{"__proto__":{"polluted":1},"deep":${deep},${body().slice(1)}`, signed],
    ['odd types', 200, body({ createAt: {}, senderNick: 7, atUsers: 'x', content: [], originalMsgId: {} }), signed],
    ['no signature', 401, body(), {}],
    ['a wrong one', 401, body(), { ...signed, sign: signAsDingtalk('other', NOW).sign ?? '' }],
    ['a short one', 401, body(), { ...signed, sign: 'AAAA' }],
    ['one of another time', 401, body(), { ...signed, timestamp: String(NOW - 1) }],
    ['a stale one', 401, body(), signAsDingtalk(APP.client_secret, NOW - HOUR - 1000)],
    ['one from tomorrow', 401, body(), signAsDingtalk(APP.client_secret, NOW + 24 * HOUR)],
    ['no time', 401, body(), { ...signed, timestamp: 'now' }],
    ['another robot’s', 400, body({ robotCode: 'dingother' }), signed],
    ['no UTF-8', 400, Uint8Array.from([0x7b, 0xff, 0x7d]), signed],
    ['no JSON', 400, '{"msgId":', signed],
    ['a list', 400, '[1]', signed],
    ['null', 400, 'null', signed],
    ['deep', 400, deep, signed],
    ['no id', 400, body({ msgId: 7 }), signed],
    ['a long id', 400, body({ msgId: 'x'.repeat(300) }), signed],
    ['nobody', 400, body({ senderStaffId: null, senderId: {} }), signed],
    ['a group without an id', 400, body({ conversationType: '2', conversationId: [] }), signed],
  ] as const)
    assert.equal(statusOf(request(sent, headers)), status, what)
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
  const other = createReader({ ...APP, robot_code: 'dingother' })
  assert.equal(statusOf(request(body({ robotCode: 'dingother' }), signed), other), 200)
})

test('sealed events', () => {
  const seal = (text: string, owner = APP.client_id, keys = KEYS) => sealAsDingtalk(keys, text, owner)
  const sealed = seal('{"EventType":"user_add_org"}')
  const queryOf = (encrypt: string, token = KEYS.token, at = NOW) => ({
    signature: signAsDingtalkEvent({ token }, encrypt, String(at), 'n'),
    timestamp: String(at),
    nonce: 'n',
  })
  const call = (encrypt: string, query: object = queryOf(encrypt)) => request(JSON.stringify({ encrypt }), {}, { ...query })
  const answered = reader.request?.(call(sealed), known)
  assert.deepEqual([answered?.messages, answered?.reason], [[], 'user_add_org is nothing that is answered'])
  const { encrypt, msg_signature, timeStamp, nonce } = JSON.parse(answered?.response?.body ?? '') as Record<string, string>
  assert.deepEqual(unsealAsDingtalk(KEYS, encrypt ?? ''), { text: 'success', owner: APP.client_id })
  assert.equal(msg_signature, signAsDingtalkEvent(KEYS, encrypt ?? '', timeStamp ?? '', nonce ?? ''))
  assert.equal(reader.request?.(call(seal('{"EventType":"check_url"}')), known).challenge, true)
  const anothers = seal('{}', 'dingotherapp')
  const [noJson, tooShort] = [seal('nothing'), Buffer.alloc(16).toString('base64')]
  for (const [what, status, sent] of [
    ['right', 200, call(sealed)],
    ['of the organization', 200, call(seal('{}', 'ding0123456789abcdef0123456789abcdef'))],
    ['another token', 401, call(sealed, queryOf(sealed, 'other'))],
    ['stale', 401, call(sealed, queryOf(sealed, KEYS.token, NOW - 2 * HOUR))],
    ['tampered', 401, call(`${sealed.slice(0, -4)}AAA=`, queryOf(sealed))],
    ['no nonce', 401, call(sealed, { ...queryOf(sealed), nonce: undefined })],
    ['another app’s', 400, call(anothers)],
    ['no JSON inside', 400, call(noJson)],
    ['short', 400, call(tooShort)],
    // A captured proof of an event must not carry a message.
    ['beside a message', 400, request(`{"x":{"encrypt":"${sealed}"},${JSON.stringify(message()).slice(1)}`, {}, queryOf(sealed))],
    // Nor that of a message an event.
    ['by the proof of a message', 400, request('{"encrypt":"AAAA"}', signAsDingtalk(APP.client_secret, NOW), { signature: 'x' })],
    ['sealed and no signature beside', 400, request(`{"encrypt":"${sealed}"}`, signAsDingtalk(APP.client_secret, NOW))],
  ] as const)
    assert.equal(statusOf(sent), status, what)
  assert.equal(statusOf(call(sealed), createReader(APP)), 401)
})

test('frames that are none', () => {
  const nothing = '{"type":"CALLBACK","headers":{"topic":"/v1.0/other"},"data":"{}"}'
  for (const sent of ['', '{', '[]', 'null', '7', nothing, '['.repeat(10_000), frame('x'), frame(null), { ...frame({}), data: '{' }])
    assert.throws(
      () => read(sent),
      (error) => isPosthouseError(error) && error.code === 'invalid',
    )
  assert.match(read({ type: 'EVENT', headers: { topic: '*', eventType: 'user_add_org' }, data: '{}' })?.reason ?? '', /user_add_org/)
  assert.match(read({ type: 'SYSTEM', headers: { topic: 'ping' }, data: '{"opaque":"1"}' })?.reason ?? '', /ping/)
})

test('any JSON is read or refused, and nothing else happens', () => {
  const types = fc.constantFrom('text', 'richText', 'picture', 'audio', 'file', 'reply', 'unknownMsgType', '__proto__')
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), types, fc.boolean(), (content, replied, msgtype, bare) => {
      for (const data of [
        content,
        message({ msgtype, content, text: { content, isReplyMsg: true, repliedMsg: replied } }),
        message({ msgtype, text: content }),
      ]) {
        for (const topic of ['/v1.0/im/bot/messages/get', '/v1.0/card/instances/callback']) {
          try {
            read(bare ? data : frame(data, topic))
          } catch (error) {
            assert.ok(isPosthouseError(error) && error.code === 'invalid', String(error))
          }
        }
      }
    }),
  )
})
