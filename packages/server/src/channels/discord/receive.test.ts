import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FileRef, type InboundMessage, isPosthouseError, type Part } from '@posthouse/contract'
import fc from 'fast-check'
import { createReader, type DiscordKnown, idOfTime, readFrame, timeOfId } from './receive.ts'

const us = { id: '42', name: 'Our Bot', username: 'our_bot' }
const known: DiscordKnown = { now: 99, us, roles: new Set(['77']) }
const ID = '1300000000000000000'
const ann = { id: '7', username: 'ann', global_name: 'Ann', discriminator: '0', avatar: null }
const base = {
  id: ID,
  channel_id: '5',
  author: ann,
  content: '',
  timestamp: 'x',
  edited_timestamp: null,
  type: 0,
  mentions: [],
  mention_roles: [],
  mention_everyone: false,
  attachments: [],
  embeds: [],
}
const group = { guild_id: '1', member: { nick: 'Annie', roles: [] } }

const frame = (t: string, d: unknown) => readFrame({ op: 0, t, s: 1, d }, known)
const read = (fields: object, t = 'MESSAGE_CREATE') => frame(t, { ...base, ...fields })
const message = (fields: object): InboundMessage => {
  const [found] = read(fields).messages
  assert.ok(found)
  return found
}
const inGroup = (content: string, fields: object = {}) => message({ ...group, content, ...fields })
const textOf = ({ parts }: InboundMessage) => parts.map((part) => (part.type === 'text' ? part.text : '')).join('\n')
const fileOf = ({ parts }: InboundMessage) => parts.find((part): part is Extract<Part, { type: 'file' }> => part.type === 'file')?.file

test('a direct message', () => {
  assert.deepEqual(message({ content: 'hello' }), {
    kind: 'message',
    key: `message:${ID}`,
    id: ID,
    place: { room: '5', type: 'direct' },
    author: { id: '7', isBot: false, name: 'Ann', username: 'ann' },
    parts: [{ type: 'text', text: 'hello' }],
    sentAt: timeOfId(ID),
    addressed: true,
    answersUs: false,
  })
  assert.equal(new Date(timeOfId('175928847299117063')).toISOString(), '2016-04-30T11:18:25.796Z')
  assert.equal(timeOfId(idOfTime(1_700_000_000_000)), 1_700_000_000_000)
})

test('in a server: a mention of us or of a role of ours, and a reply to us, are for us', () => {
  const of = (found: InboundMessage) => [found.addressed, found.mentionsUs, found.mentionsAll, found.answersUs]
  assert.deepEqual(of(inGroup('hello all')), [false, undefined, undefined, false])
  assert.deepEqual(of(inGroup('<@42> hello')), [true, true, undefined, false])
  assert.deepEqual(of(inGroup('hello <@!42>')), [true, true, undefined, false])
  assert.deepEqual(of(inGroup('<@421> hello')), [false, undefined, undefined, false])
  assert.deepEqual(of(inGroup('<@&77> hello', { mention_roles: ['77'] })), [true, true, undefined, false])
  assert.deepEqual(of(inGroup('<@&78> hello', { mention_roles: ['78'] })), [false, undefined, undefined, false])
  assert.deepEqual(of(inGroup('@everyone', { mention_everyone: true })), [false, undefined, true, false])
  const reply = (author: object) => ({
    type: 19,
    message_reference: { message_id: '3', channel_id: '5' },
    referenced_message: { ...base, id: '3', author },
  })
  assert.deepEqual(of(inGroup('x', reply({ id: '42', username: 'our_bot', bot: true }))), [true, undefined, undefined, true])
  assert.deepEqual(of(inGroup('x', reply(ann))), [false, undefined, undefined, false])
  const untold = { type: 19, message_reference: { message_id: '3', channel_id: '5' } }
  assert.deepEqual(of(inGroup('x', untold)), [false, undefined, undefined, undefined], 'the receipts will tell')
  assert.deepEqual(of(inGroup('x', { ...untold, referenced_message: null })), [false, undefined, undefined, false], 'it was deleted')
  assert.equal(inGroup('x', reply(ann)).replyTo, '3')
  // A direct message of several people.
  assert.equal(message({ content: 'x', channel_type: 3 }).addressed, false)
  assert.equal(inGroup('x').author.name, 'Annie')
})

test('commands as text only where they are for us', () => {
  assert.deepEqual(message({ content: '/New  a b' }).command, { name: 'new', argument: 'a b' })
  assert.deepEqual(inGroup('<@42> /model deep').command, { name: 'model', argument: 'deep' })
  assert.equal(inGroup('/new').command, undefined)
})

test('the mention of us is taken out, others are made readable', () => {
  assert.equal(textOf(inGroup('<@42>, hello')), 'hello')
  assert.equal(textOf(inGroup('ask <@42> about <@7> in <#9> <@!42>', { mentions: [ann] })), 'ask about @Ann in #channel')
  assert.equal(
    textOf(inGroup('<@&77> tea <:cup:123> <a:hot:4> </ask:5> <t:0:R> <t:99999999999999>', { mention_roles: ['77'] })),
    'tea :cup: :hot: /ask 1970-01-01T00:00:00Z <t:99999999999999>',
  )
  assert.deepEqual(inGroup('<@42>').parts, [])
})

test('files of every kind', () => {
  const file = { id: '8', filename: 'a.bin', size: 3, url: 'https://cdn.discordapp.com/attachments/5/8/a.bin', proxy_url: 'x' }
  const kind = (fields: object, flags = 0) => fileOf(message({ attachments: [{ ...file, ...fields }], flags })) as FileRef
  assert.deepEqual(kind({}), {
    kind: 'file',
    name: 'a.bin',
    ref: JSON.stringify({ url: file.url, channel: '5', message: ID, id: '8' }),
    size: 3,
  })
  assert.deepEqual(
    [kind({ content_type: 'image/png' }).kind, kind({ content_type: 'text/plain; charset=utf-8' }).mime],
    ['image', 'text/plain'],
  )
  assert.equal(kind({ content_type: 'audio/ogg' }, 1 << 13).kind, 'voice')
  assert.equal(kind({ content_type: 'video/mp4', title: 'Röad' }).name, 'a.bin')
  assert.equal(kind({ title: 'Röad.mp4' }).name, 'Röad.mp4')
  assert.equal(message({ attachments: Array.from({ length: 50 }, () => file) }).parts.length, 20)
})

test('stickers, polls and forwarded messages are told in words', () => {
  assert.equal(textOf(message({ sticker_items: [{ id: '1', name: 'Wave', format_type: 1 }] })), '[sticker: Wave]')
  const poll = { question: { text: 'Tea?' }, answers: [{ poll_media: { text: 'Yes' } }, { poll_media: { text: 'No' } }] }
  assert.equal(textOf(message({ poll })), 'Tea?\n- Yes\n- No')
  const forwarded = {
    content: 'said <@7>\nelsewhere',
    mentions: [ann],
    attachments: [{ id: '8', filename: 'f', url: 'u', size: 1 }],
    embeds: [{ title: 'T', url: 'https://a.example' }],
  }
  const found = message({ content: '', message_reference: { type: 1, message_id: '3' }, message_snapshots: [{ message: forwarded }] })
  assert.equal(textOf(found).trim(), '> said @Ann\n> elsewhere\n> T\n> https://a.example')
  assert.deepEqual([found.replyTo, fileOf(found)?.name], [undefined, 'f'])
})

test('edits, and what is only Discord’s own', () => {
  const edited = { content: 'x', edited_timestamp: '2026-01-01T00:00:00.123456+00:00' }
  const [found] = read(edited, 'MESSAGE_UPDATE').messages
  assert.deepEqual(
    [found?.kind, found?.key, found?.sentAt],
    ['edit', `edit:${ID}:${edited.edited_timestamp}`, Date.UTC(2026, 0, 1, 0, 0, 0, 123)],
  )
  assert.match(read({ content: 'x' }, 'MESSAGE_UPDATE').reason ?? '', /not edited/)
  assert.match(read({ type: 7 }).reason ?? '', /Discord's own/)
  assert.match(read({}).reason ?? '', /nothing to read/)
  assert.match(frame('TYPING_START', {}).reason ?? '', /carries no message/)
  assert.match(readFrame('{"op":11}', known).reason ?? '', /opcode 11/)
})

test('bots, webhooks and we ourselves are known for it', () => {
  for (const fields of [
    { author: { ...ann, bot: true } },
    { author: { ...ann, system: true } },
    { webhook_id: '3' },
    { author: { id: '42', username: 'our_bot', bot: true } },
  ]) {
    const reading = read({ content: 'x', ...fields })
    assert.deepEqual([reading.messages[0]?.author.isBot, reading.reason], [true, 'written by a bot'])
  }
})

test('deletions and reactions', () => {
  const [one] = frame('MESSAGE_DELETE', { id: '3', channel_id: '5', guild_id: '1' }).messages
  assert.deepEqual([one?.kind, one?.key, one?.place], ['delete', 'delete:3', { room: '5', type: 'group' }])
  assert.deepEqual(
    frame('MESSAGE_DELETE_BULK', { ids: ['3', '4'], channel_id: '5' }).messages.map(({ id, place }) => [id, place.type]),
    [
      ['3', 'direct'],
      ['4', 'direct'],
    ],
  )
  const [set] = frame('MESSAGE_REACTION_ADD', {
    user_id: '7',
    channel_id: '5',
    message_id: '3',
    emoji: { id: null, name: '👍' },
    guild_id: '1',
    member: { user: ann },
  }).messages
  assert.deepEqual(
    [set?.kind, set?.key, set?.callbackData, set?.addressed, set?.author.name],
    ['reaction', 'reaction:3:7:👍', '👍', false, 'Ann'],
  )
})

test('an interaction has the same key by both ways', () => {
  const interaction = {
    id: ID,
    application_id: '1',
    type: 2,
    token: 't',
    channel_id: '5',
    guild_id: '1',
    member: { user: ann, nick: null },
    channel: { name: 'general' },
    locale: 'zh-CN',
    data: { id: '1', type: 1, name: 'ask', options: [{ name: 'prompt', type: 3, value: 'hi <@7>' }] },
  }
  const [byGateway] = frame('INTERACTION_CREATE', interaction).messages
  const body = Buffer.from(JSON.stringify(interaction))
  const reading = createReader({ public_key: 'ab'.repeat(32), application_id: '1' }).request?.(
    { method: 'POST', headers: {}, query: {}, body },
    { now: 1, crypto: {} as never },
  )
  assert.deepEqual(byGateway, reading?.messages[0])
  assert.deepEqual(byGateway, {
    kind: 'message',
    key: `interaction:${ID}`,
    id: `interaction:${ID}`,
    place: { room: '5', type: 'group', title: 'general' },
    author: { id: '7', isBot: false, name: 'Ann', username: 'ann', language: 'zh-CN' },
    parts: [{ type: 'text', text: 'hi @7' }],
    sentAt: timeOfId(ID),
    addressed: true,
  })
  assert.deepEqual(JSON.parse(reading?.response?.body ?? ''), { type: 5 })
})

test('whatever comes, it is read or refused as invalid', () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, 7, -1, 1e300, '', '7', ID, 'x', '<@42>', '2026-01-01', [], {}),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom(
          'id',
          'channel_id',
          'author',
          'content',
          'type',
          'mentions',
          'attachments',
          'data',
          'options',
          'name',
          'value',
          'user',
          'member',
          'emoji',
          'message',
          'ids',
          'guild_id',
          'token',
          '__proto__',
          'url',
          'filename',
          'message_snapshots',
          'poll',
          'question',
          'text',
          'edited_timestamp',
          'custom_id',
          'values',
          'locale',
          'context',
          'webhook_id',
          'message_reference',
        ),
        tie('any'),
        { maxKeys: 8 },
      ),
    ),
  })).any
  const names = fc.constantFrom(
    'MESSAGE_CREATE',
    'MESSAGE_UPDATE',
    'MESSAGE_DELETE',
    'MESSAGE_DELETE_BULK',
    'MESSAGE_REACTION_ADD',
    'INTERACTION_CREATE',
  )
  fc.assert(
    fc.property(names, value, value, (t, d, inside) => {
      try {
        for (const { id, place, key } of frame(
          t,
          typeof d === 'object' && d !== null && !Array.isArray(d) ? { ...base, type: 2, ...d, data: inside } : d,
        ).messages) {
          assert.match(id, /^(interaction:)?\d{1,20}$/)
          assert.match(place.room, /^\d{1,20}$/)
          assert.ok(key.length < 200)
        }
      } catch (error) {
        assert.ok(isPosthouseError(error) && error.code === 'invalid', String(error))
      }
    }),
    { numRuns: 3000 },
  )
})
