import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Message, Update } from '@grammyjs/types'
import type { InboundMessage, Part } from '@posthouse/contract'
import { decode } from './receive.ts'

const us = { id: 42, username: 'Our_Bot' }
const ann = { id: 7, is_bot: false, first_name: 'Ann', last_name: 'Lee', username: 'ann', language_code: 'zh-hans' }
const direct = { id: 7, type: 'private', first_name: 'Ann' }
const group = { id: -100, type: 'supergroup', title: 'Team' }
const base = { message_id: 5, date: 1_700_000_000, from: ann, chat: direct }

const read = (update: object) => decode({ update_id: 1, ...update } as unknown as Update, us, 99)
const message = (fields: object) => read({ message: { ...base, ...fields } })
const inGroup = (text: string, fields: object = {}) => message({ chat: group, text, ...mentions(text), ...fields })
const mentions = (text: string) => ({
  entities: [...text.matchAll(/@\w+/g)].map((match) => ({ type: 'mention', offset: match.index, length: match[0].length })),
})
const parts = (decoded: InboundMessage | undefined) => decoded?.parts
const fileOf = (decoded: InboundMessage | undefined) =>
  decoded?.parts.find((part): part is Extract<Part, { type: 'file' }> => part.type === 'file')?.file

test('a direct message', () => {
  assert.deepEqual(message({ text: 'hello' }), {
    kind: 'message',
    key: 'message:7:5',
    id: '5',
    place: { room: '7', type: 'direct' },
    author: { id: '7', isBot: false, name: 'Ann Lee', username: 'ann', language: 'zh-hans' },
    parts: [{ type: 'text', text: 'hello' }],
    sentAt: 1_700_000_000_000,
    addressed: true,
    answersUs: false,
  })
})

test('the key is the message, however it comes; two edits in one second are two', () => {
  const keyOf = (update: object) => read(update)?.key
  const said = { ...base, text: 'x' }
  assert.equal(keyOf({ update_id: 1, message: said }), keyOf({ update_id: 900, message: said }))
  assert.notEqual(keyOf({ message: said }), keyOf({ message: { ...said, message_id: 6 } }))
  const edited = { ...said, edit_date: 1_700_000_009 }
  assert.equal(keyOf({ update_id: 3, edited_message: edited }), keyOf({ update_id: 3, edited_message: edited }))
  assert.notEqual(keyOf({ update_id: 3, edited_message: edited }), keyOf({ update_id: 4, edited_message: edited }))
  assert.notEqual(keyOf({ update_id: 3, edited_message: edited }), keyOf({ update_id: 3, edited_message: { ...edited, edit_date: 1 } }))
  const { kind, sentAt, id } = read({ edited_message: edited }) ?? {}
  assert.deepEqual([kind, sentAt, id], ['edit', 1_700_000_009_000, '5'])
})

test('in a group: mention, reply and command are for us, the rest is not', () => {
  const addressed = (decoded: InboundMessage | undefined) => decoded?.addressed
  assert.equal(addressed(inGroup('hello all')), false)
  assert.equal(addressed(inGroup('hello @our_bot')), true)
  assert.equal(addressed(inGroup('hello @our_bot_2')), false)
  assert.equal(addressed(inGroup('x', { reply_to_message: { message_id: 3, from: { id: 42 } } })), true)
  assert.equal(addressed(inGroup('x', { reply_to_message: { message_id: 3, from: { id: 8 } } })), false)
  assert.equal(addressed(inGroup('/new')), true)
  assert.equal(addressed(inGroup('/new@our_bot')), true)
  assert.equal(addressed(inGroup('/new@other_bot')), false)
  assert.deepEqual(inGroup('/New@Our_Bot  a b')?.command, { name: 'new', argument: 'a b' })
  assert.equal(inGroup('/new@other_bot')?.command, undefined)
  const text = { type: 'text_mention', offset: 0, length: 3, user: { id: 42 } }
  assert.equal(addressed(inGroup('bot help', { entities: [text] })), true)
})

test('the mention of us is taken out, that of others stays', () => {
  const text = (source: string, fields = {}) => parts(inGroup(source, fields))
  assert.deepEqual(text('@our_bot hello'), [{ type: 'text', text: 'hello' }])
  assert.deepEqual(text('@our_bot, hello'), [{ type: 'text', text: 'hello' }])
  assert.deepEqual(text('hello @our_bot, @ann'), [{ type: 'text', text: 'hello , @ann' }])
  assert.deepEqual(text('ask @our_bot about 👍🏽 @OUR_BOT now'), [{ type: 'text', text: 'ask about 👍🏽 now' }])
  assert.deepEqual(text('@our_bot'), [])
  assert.equal(inGroup('@our_bot')?.addressed, true)
})

test('topics are threads; what merely refers to the topic is no reply', () => {
  const topic = { message_thread_id: 9, is_topic_message: true }
  const opened = inGroup('x', { ...topic, reply_to_message: { message_id: 9, from: { id: 42 } } })
  assert.deepEqual([opened?.place.thread, opened?.replyTo, opened?.addressed], ['9', undefined, false])
  const reply = inGroup('x', { ...topic, reply_to_message: { message_id: 10, from: { id: 42 } } })
  assert.deepEqual([reply?.replyTo, reply?.addressed], ['10', true])
  // Outside of forums the field names a chain of replies, which is no place of its own.
  assert.equal(inGroup('x', { message_thread_id: 9 })?.place.thread, undefined)
})

test('files of every kind', () => {
  const file = { file_id: 'f', file_size: 10, mime_type: 'a/b' }
  const kind = (fields: object) => fileOf(message(fields))
  const sizes = [
    { file_id: 's', width: 1, height: 1 },
    { file_id: 'l', width: 9, height: 9, file_size: 3 },
    { file_id: 'm', width: 5, height: 5 },
  ]
  assert.deepEqual(kind({ photo: sizes }), { kind: 'image', name: 'photo.jpg', mime: 'image/jpeg', ref: 'l', size: 3 })
  assert.deepEqual(kind({ document: { ...file, file_name: 'a.txt' } }), { kind: 'file', name: 'a.txt', mime: 'a/b', ref: 'f', size: 10 })
  assert.equal(kind({ document: { ...file, mime_type: 'image/png' } })?.kind, 'image')
  assert.deepEqual(kind({ voice: { file_id: 'v' } }), { kind: 'voice', name: 'voice.ogg', mime: 'audio/ogg', ref: 'v' })
  assert.equal(kind({ audio: file })?.kind, 'audio')
  assert.equal(kind({ video: file })?.kind, 'video')
  assert.equal(kind({ video_note: file })?.name, 'video-note.mp4')
  assert.deepEqual(parts(message({ animation: file, document: file }))?.length, 1)
  assert.deepEqual(parts(message({ sticker: { ...file, emoji: '😀' } }))?.[0], { type: 'text', text: '😀' })
  assert.deepEqual(
    parts(message({ caption: 'look', photo: sizes, media_group_id: '1' }))?.map((part) => part.type),
    ['text', 'file'],
  )
  assert.deepEqual(parts(message({ location: { latitude: 1, longitude: 2 }, venue: { title: 'Inn' } })), [
    { type: 'location', latitude: 1, longitude: 2, title: 'Inn' },
  ])
  assert.deepEqual(parts(message({ contact: { first_name: 'B', last_name: 'C', phone_number: '+1' } })), [
    { type: 'contact', name: 'B C', phone: '+1' },
  ])
})

test('a caption in a group can mention us', () => {
  const caption = 'see @our_bot'
  const decoded = message({ chat: group, caption, caption_entities: mentions(caption).entities, voice: { file_id: 'v' } })
  assert.deepEqual([decoded?.addressed, decoded?.parts[0]], [true, { type: 'text', text: 'see' }])
})

test('a pressed button', () => {
  const pressed = { id: '77', from: ann, chat_instance: '1', data: 'yes', message: { message_id: 3, date: 1, chat: group, text: 'choose' } }
  assert.deepEqual(read({ callback_query: pressed }), {
    kind: 'callback',
    key: 'callback:77',
    id: '3',
    place: { room: '-100', type: 'group', title: 'Team' },
    author: { id: '7', isBot: false, name: 'Ann Lee', username: 'ann', language: 'zh-hans' },
    parts: [],
    sentAt: 99,
    addressed: true,
    callbackData: 'yes',
  })
})

test('what is not for us to read is left out', () => {
  assert.equal(read({ channel_post: { ...base, text: 'x' } }), undefined)
  assert.equal(message({ text: 'x', chat: { id: -1, type: 'channel' } }), undefined)
  assert.equal(message({ new_chat_members: [ann] }), undefined)
  assert.equal(message({ text: 'x', is_automatic_forward: true, sender_chat: { id: -1, type: 'channel' } }), undefined)
})

test('what bots write is known for it, so that nobody answers', () => {
  assert.equal(message({ text: 'x', from: { ...ann, is_bot: true } })?.author.isBot, true)
  assert.equal(message({ text: 'x', from: { id: 42, is_bot: true, first_name: 'us' } })?.author.isBot, true)
})

test('a reaction is understood, and nothing comes of it', () => {
  const set = { chat: group, message_id: 3, user: ann, date: 7, old_reaction: [], new_reaction: [{ type: 'emoji', emoji: '👍' }] }
  const decoded = read({ message_reaction: set })
  assert.deepEqual([decoded?.kind, decoded?.id, decoded?.callbackData, decoded?.addressed], ['reaction', '3', '👍', false])
  assert.equal(read({ message_reaction: { ...set, new_reaction: [] } }), undefined)
})

test('who writes as the group is known by the group', () => {
  const anonymous = { from: { id: 1087968824, is_bot: true, first_name: 'Group' }, sender_chat: group }
  assert.deepEqual(inGroup('hi', anonymous)?.author, { id: '-100', name: 'Team' })
})

test('an update that is not what the Bot API promises throws', () => {
  const bad: object[] = [
    { update_id: 'x' },
    { message: { ...base, chat: undefined } },
    { message: { ...base, message_id: 1.5 } },
    { message: { ...base, text: 3 } },
  ]
  for (const update of [...bad, { message: { ...base, text: 'x', from: { id: 'y' } } } as unknown as Message]) {
    assert.throws(() => read(update), TypeError)
  }
})
