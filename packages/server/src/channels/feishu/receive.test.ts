import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPosthouseError, type Known, type Reading, showMessage, type WebhookRequest } from '@posthouse/contract'
import { sealAsFeishu, signAsFeishu } from '@posthouse/testkit'
import fc from 'fast-check'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { verifyWebhook } from '../../security/webhook.ts'
import { createReader } from './receive.ts'
import { createAssembly, decodeFrame, encodeFrame, type Frame } from './socket.ts'
import { nameMentions } from './text.ts'

const APP = 'cli_a000000000000001'
const KEY = 'the-key-of-this-app'
const TOKEN = 'token-of-this-app'
const known: Known = { now: 1_700_000_000_000, crypto: platformCrypto, us: { id: 'ou_bot', name: 'Bot' } }
const reader = createReader({ app_id: APP })

const envelope = (type: string, event: object, header: object = {}) => ({
  schema: '2.0',
  header: { event_id: 'e1', event_type: type, create_time: '1700000000123', token: TOKEN, app_id: APP, ...header },
  event,
})
const received = (message: object, sender: object = {}) =>
  envelope('im.message.receive_v1', {
    sender: { sender_id: { open_id: 'ou_ann' }, sender_type: 'user', ...sender },
    message: {
      message_id: 'om_1',
      chat_id: 'oc_1',
      chat_type: 'p2p',
      create_time: '1700000000001',
      message_type: 'text',
      content: '{"text":"hi"}',
      ...message,
    },
  })
const read = (value: unknown): Reading => reader.frame?.(value, known) as Reading
const one = (value: unknown) => read(value).messages[0]
const said = (message_type: string, content: object, more: object = {}) =>
  one(received({ message_type, content: JSON.stringify(content), ...more }))
const words = (value: ReturnType<typeof one>) =>
  value?.parts.map((part) => (part.type === 'text' ? part.text : part.type === 'file' ? `${part.file.kind} ${part.file.name}` : part))

test('each type of content', () => {
  assert.deepEqual(words(said('text', { text: 'hi' })), ['hi'])
  assert.deepEqual(words(said('image', { image_key: 'img_1' })), ['image image'])
  assert.deepEqual(words(said('file', { file_key: 'f', file_name: 'a.pdf' })), ['file a.pdf'])
  assert.deepEqual(words(said('audio', { file_key: 'f', duration: 1 })), ['voice voice.opus'])
  assert.deepEqual(words(said('media', { file_key: 'f', file_name: 'a.mp4' })), ['video a.mp4'])
  assert.deepEqual(words(said('sticker', { file_key: 'f' })), ['[sticker]'])
  assert.deepEqual(words(said('share_user', { user_id: 'ou_x' })), ['[shared contact: ou_x]'])
  assert.deepEqual(words(said('merge_forward', {})), ['[forwarded messages, which a bot is not shown]'])
  assert.deepEqual(words(said('video_chat', {})), ['[video_chat]'])
  assert.deepEqual(said('location', { name: 'Here', longitude: '116.3', latitude: '39.9' })?.parts, [
    { type: 'location', latitude: 39.9, longitude: 116.3, title: 'Here' },
  ])
  assert.deepEqual(
    words(
      said('interactive', {
        title: 'A card',
        elements: [
          [
            { tag: 'text', text: 'one ' },
            { tag: 'a', text: 'two' },
          ],
        ],
      }),
    ),
    ['A card\none \ntwo'],
  )
  const [image] = said('image', { image_key: 'img_1' })?.parts ?? []
  assert.deepEqual(JSON.parse((image?.type === 'file' && image.file.ref) || ''), { message: 'om_1', key: 'img_1', type: 'image' })
})

test('rich text, with and without a language', () => {
  const body = {
    title: 'Plan',
    content: [
      [
        { tag: 'text', text: 'see ' },
        { tag: 'a', text: 'this', href: 'https://a.example' },
        { tag: 'at', user_id: '@_user_1', user_name: 'Bot' },
      ],
      [{ tag: 'img', image_key: 'img_1' }],
      [{ tag: 'code_block', language: 'GO', text: 'x := 1' }],
    ],
  }
  const mentions = [{ key: '@_user_1', id: { open_id: 'ou_bot' }, name: 'Bot' }]
  for (const content of [body, { zh_cn: body }, { ja_jp: body }]) {
    const message = said('post', content, { mentions, chat_type: 'group' })
    assert.deepEqual(words(message), ['Plan\nsee this (https://a.example)\n\n\n```go\nx := 1\n```', 'image image'])
    assert.deepEqual([message?.mentionsUs, message?.addressed], [true, true])
  }
})

test('mentions: ours goes, others become names, everybody is nobody in particular', () => {
  const mentions = [
    { key: '@_user_1', id: { open_id: 'ou_bot' }, name: 'Bot' },
    { key: '@_user_2', id: { open_id: 'ou_bob' }, name: 'Bob' },
    { key: '@_all', id: {}, name: 'all' },
  ]
  const message = said('text', { text: '@_user_1, ask @_user_2 and @_user_9' }, { mentions, chat_type: 'group' })
  assert.deepEqual(words(message), ['ask @Bob and @_user_9'])
  assert.deepEqual([message?.addressed, message?.mentionsUs, message?.mentionsAll], [true, true, true])
  const all = said('text', { text: '@_all tea?' }, { mentions: [mentions[2]], chat_type: 'group' })
  assert.deepEqual([all?.addressed, all?.mentionsAll, words(all)], [false, true, ['@all tea?']])
  assert.deepEqual(said('text', { text: '@_user_1 /model spare' }, { mentions, chat_type: 'group' })?.command, {
    name: 'model',
    argument: 'spare',
  })
  assert.equal(nameMentions('a @_user_1 b', [{ key: '@_user_1', id: 'ou_bot', name: 'Bot' }], 'ou_bot'), 'a b')
})

test('places, threads, replies, bots', () => {
  assert.deepEqual(one(received({ chat_type: 'p2p', parent_id: 'om_0', root_id: 'om_0' }))?.replyTo, 'om_0')
  const first = one(received({ chat_type: 'group', thread_id: 'omt_1' }))
  const later = one(received({ message_id: 'om_2', chat_type: 'topic_group', thread_id: 'omt_1', root_id: 'om_1', parent_id: 'om_1' }))
  assert.deepEqual([first?.place.thread, later?.place.thread, later?.replyTo], ['om_1', 'om_1', undefined])
  // An answer goes to the message that it hangs on; people are shown the platform's own name of it.
  const shown = [first, later, one(received({}))].map((message) => message && showMessage(message).thread_id)
  assert.deepEqual(shown, ['omt_1', 'omt_1', null])
  assert.equal(one(received({}, { sender_type: 'app', sender_id: null }))?.author.isBot, true)
  assert.equal(read(received({ content: '{"text":""}' })).reason, 'there is nothing in it to read')
  assert.match(read(envelope('im.chat.updated_v1', {})).reason ?? '', /nothing that is answered/)
})

test('keys are of the message, not of the event; edits, recalls, marks and buttons have their own', () => {
  const again = (header: object) => one({ ...received({}), header: { ...received({}).header, ...header } })?.key
  assert.equal(again({ event_id: 'e1' }), again({ event_id: 'e2' }))
  const v1 = {
    uuid: 'u',
    token: TOKEN,
    ts: '1700000000.5',
    type: 'event_callback',
    event: {
      type: 'message',
      app_id: APP,
      open_id: 'ou_ann',
      open_message_id: 'om_1',
      open_chat_id: 'oc_1',
      chat_type: 'private',
      msg_type: 'text',
      text: 'hi',
      text_without_at_bot: 'hi',
    },
  }
  assert.deepEqual([one(v1)?.key, one(v1)?.sentAt, words(one(v1))], ['message:om_1', 1_700_000_000_500, ['hi']])
  const edit = { ...received({ update_time: '1700000009000' }), header: { ...received({}).header, event_type: 'im.message.updated_v1' } }
  assert.deepEqual([one(edit)?.kind, one(edit)?.key], ['edit', 'edit:om_1:1700000009000'])
  const recall = one(envelope('im.message.recalled_v1', { message_id: 'om_1', chat_id: 'oc_1', recall_time: '1700000000999' }))
  assert.deepEqual([recall?.kind, recall?.key, recall?.sentAt], ['delete', 'recall:om_1', 1_700_000_000_999])
  const press = read(
    envelope('card.action.trigger', {
      operator: { open_id: 'ou_ann' },
      action: { value: { a: 1 } },
      context: { open_message_id: 'om_1', open_chat_id: 'oc_1' },
    }),
  )
  assert.deepEqual([press.messages[0]?.callbackData, press.response?.body], ['{"a":1}', '{}'])
})

// ---- Bad inputs -------------------------------------------------------------------------------------------------------

const NOW = Date.now()
const request = (body: string | Uint8Array, headers: Record<string, string> = {}): WebhookRequest => ({
  method: 'POST',
  headers,
  query: {},
  body: typeof body === 'string' ? Buffer.from(body) : body,
})
const sealedReader = createReader({ app_id: APP, encrypt_key: KEY, verification_token: TOKEN })
const sealed = (value: unknown, key = KEY) =>
  JSON.stringify({ encrypt: sealAsFeishu(key, typeof value === 'string' ? value : JSON.stringify(value)) })
const isProven = (call: WebhookRequest, { verification = [] } = sealedReader) => verification.some((each) => verifyWebhook(each, call, NOW))

test('only what was signed with the key, lately, is the platform’s own', () => {
  const body = sealed(received({}))
  const signed = signAsFeishu(KEY, body)
  const at = Math.floor(NOW / 1000)
  assert.ok(isProven(request(body, signed)))
  assert.ok(isProven(request(body, signAsFeishu(KEY, body, at - 7.5 * 3600))), 'the last of the repetitions')
  const { 'x-lark-signature': signature = '', ...without } = signed
  for (const [what, headers, sent] of [
    ['tampered', signed, body.replace(/.{3}"}$/, 'AAA"}')],
    ['missing', without, body],
    ['wrong', { ...signed, 'x-lark-signature': '0'.repeat(64) }, body],
    ['short', { ...signed, 'x-lark-signature': signature.slice(2) }, body],
    ['another nonce', { ...signed, 'x-lark-request-nonce': 'x' }, body],
    ['another key', signAsFeishu('x', body), body],
    ['stale', signAsFeishu(KEY, body, at - 9 * 3600), body],
    ['from tomorrow', signAsFeishu(KEY, body, at + 86_400), body],
    ['no time', { ...signed, 'x-lark-request-timestamp': 'now' }, body],
  ] as const)
    assert.ok(!isProven(request(sent, headers)), what)
})

test('without a key the token proves it', () => {
  const byToken = createReader({ app_id: APP, verification_token: TOKEN })
  assert.ok(isProven(request(JSON.stringify(received({}))), byToken))
  assert.ok(!isProven(request(JSON.stringify(received({})).replace(TOKEN, 'guess')), byToken))
  assert.ok(!isProven(request('{}'), byToken))
  assert.equal(byToken.challenge, undefined)
  const answer = byToken.request?.(request(JSON.stringify({ type: 'url_verification', token: TOKEN, challenge: 'c' })), known)
  assert.deepEqual([answer?.challenge, answer?.response?.body], [true, '{"challenge":"c"}'])
})

test('the sealed question is answered without a signature, and nothing else is', () => {
  const ask = (value: unknown, key = KEY) => sealedReader.challenge?.(request(sealed(value, key)), known)
  const question = { type: 'url_verification', token: TOKEN, challenge: 'c"' }
  assert.equal(ask(question)?.body, '{"challenge":"c\\""}')
  assert.equal(ask({ ...question, token: 'guess' }), undefined)
  assert.equal(ask(question, 'another key'), undefined)
  assert.equal(ask(received({})), undefined)
  assert.equal(sealedReader.challenge?.(request(JSON.stringify(question)), known), undefined)
})

const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`

test('what is not as promised is refused, and harms nothing', () => {
  const body = (value: unknown) => request(sealed(value))
  const bad: readonly [string, WebhookRequest][] = [
    ['another app’s', body({ ...received({}), header: { ...received({}).header, app_id: 'cli_other' } })],
    ['another token', body({ ...received({}), header: { ...received({}).header, token: 'guess' } })],
    ['sealed with another key', request(sealed(received({}), 'other'))],
    ['sealed and short', request('{"encrypt":"AAAA"}')],
    ['no UTF-8', request(Uint8Array.from([0x7b, 0xff, 0x7d]))],
    ['no JSON', request('{"encrypt":')],
    ['no JSON inside', request(sealed('nothing'))],
    ['deep', request(sealed(deep))],
    ['deep outside', request(deep)],
    ['a list', body([received({})])],
    ['null', body('null')],
    ['no message_id', body(received({ message_id: 7 }))],
    ['no chat', body(received({ chat_id: null }))],
    ['no author', body(received({}, { sender_id: null }))],
    ['content of another kind', body(received({ content: '{"text"' }))],
  ]
  for (const [what, call] of bad) {
    assert.throws(
      () => sealedReader.request?.(call, known),
      (error) => isPosthouseError(error) && error.code === 'invalid',
      what,
    )
  }
})

test('depth, prototypes and numbers in odd places change nothing', () => {
  assert.deepEqual(words(one(received({ content: `{"text":"hi","__proto__":{"polluted":1},"x":${deep}}` }))), ['hi'])
  assert.deepEqual(words(one(received({ message_type: 'interactive', content: `{"elements":${deep}}` }))), ['[card]'])
  assert.deepEqual(words(one(received({ message_type: 'post', content: `{"content":${deep}}` }))) ?? [], [])
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
  const wide = { text: 'x', mentions: Array.from({ length: 100_000 }, () => ({ key: '@_user_1' })) }
  assert.deepEqual(words(one(received({ ...wide, content: '{"text":"@_user_1"}' }))), ['@_user_1'])
  assert.equal(one(received({ create_time: { a: 1 }, mentions: 'x', parent_id: 5, thread_id: [] }))?.sentAt, known.now)
})

test('any JSON is read or refused, and nothing else happens', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.constantFrom(
        'im.message.receive_v1',
        'im.message.updated_v1',
        'im.message.recalled_v1',
        'card.action.trigger',
        'im.message.reaction.created_v1',
      ),
      (event, type) => {
        try {
          read(envelope(type, event as object))
        } catch (error) {
          assert.ok(isPosthouseError(error) && error.code === 'invalid', String(error))
        }
      },
    ),
  )
})

// ---- Frames -----------------------------------------------------------------------------------------------------------

const frame = (headers: Record<string, string>, payload: Uint8Array): Frame => ({
  seq: 1n,
  log: 2n ** 63n,
  service: 33n,
  method: 1n,
  headers: new Map(Object.entries(headers)),
  payload,
  notes: new Map([[9, 'log']]),
})

test('frames are read as they were written; what is none is refused', () => {
  const given = frame({ type: 'event', message_id: 'm' }, Buffer.from(JSON.stringify(received({}))))
  const bytes = encodeFrame(given)
  assert.deepEqual({ ...decodeFrame(bytes), payload: given.payload }, given)
  assert.deepEqual(words(one(bytes)), ['hi'])
  assert.deepEqual(words(one(Buffer.from(bytes).toString('base64'))), ['hi'])
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: bytes.length }), (noise, cut) => {
      for (const broken of [noise, Buffer.concat([bytes.subarray(0, cut), noise])]) {
        try {
          decodeFrame(broken)
        } catch (error) {
          assert.ok(isPosthouseError(error), String(error))
        }
      }
    }),
  )
})

test('parts in any order make the whole; what is never whole is forgotten', () => {
  let now = 0
  const assemble = createAssembly(() => now)
  const part = (id: string, seq: number, sum: number, text: string) =>
    assemble(frame({ message_id: id, seq: String(seq), sum: String(sum) }, Buffer.from(text)))
  assert.equal(part('a', 2, 3, 'c'), undefined)
  assert.equal(part('a', 0, 3, 'a'), undefined)
  assert.equal(Buffer.from(part('a', 1, 3, 'b') ?? []).toString(), 'abc')
  for (let index = 0; index < 1000; index++) part(`lost${index}`, 0, 2, 'x')
  assert.equal(part('lost999', 1, 2, 'y')?.length, 2)
  assert.equal(part('lost1', 1, 2, 'y'), undefined)
  part('late', 0, 2, 'x')
  now = 60_000
  part('other', 0, 2, 'x')
  assert.equal(part('late', 1, 2, 'y'), undefined)
  for (const [seq, sum] of [
    [5, 3],
    [-1, 3],
    [0, 1e9],
    [Number.NaN, 3],
  ])
    assert.throws(() => part('bad', seq as number, sum as number, 'x'), isPosthouseError)
  assert.throws(() => {
    for (let seq = 0; seq < 255; seq++) part('huge', seq, 256, 'x'.repeat(20_000))
  }, isPosthouseError)
})
