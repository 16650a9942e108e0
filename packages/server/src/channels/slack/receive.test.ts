import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Known, PosthouseError } from '@posthouse/contract'
import { platformCrypto } from '../../security/platform-crypto.ts'
import { readerOf, type SlackIdentity, type SlackReading } from './receive.ts'
import { readMrkdwn } from './text.ts'

const us: SlackIdentity = { id: 'U0BOT', team: 'T1', name: '@bot' }
const known: Known = { now: 99, us, crypto: platformCrypto }
const base_url = 'https://slack.com/api'
const reader = readerOf({ signing_secret: 'a-signing-secret-of-slack', app_token: 'xapp-1-A1-2-x', base_url })

const TS = '1700000000.000100'
const envelope = (event: unknown, more: object = {}) => ({
  type: 'event_callback',
  team_id: 'T1',
  api_app_id: 'A1',
  event_id: 'Ev1',
  event,
  ...more,
})
const bytes = (value: unknown) =>
  value instanceof Uint8Array ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const request = (body: Uint8Array): SlackReading => reader.request({ method: 'POST', headers: {}, query: {}, body }, known)
const read = (event: unknown, more: object = {}) => {
  const byCall = request(bytes(envelope(event, more)))
  const bySocket = reader.frame({ type: 'events_api', envelope_id: 'e', payload: envelope(event, more) }, known)
  assert.deepEqual(byCall, bySocket, 'both transports read alike')
  return byCall
}
const said = { type: 'message', channel: 'D7', channel_type: 'im', user: 'U7', text: 'hello', ts: TS, event_ts: TS, team: 'T1' }
const message = (more: object = {}) => read({ ...said, ...more }).messages[0]
const inChannel = (text: string, more: object = {}) => message({ channel: 'C7', channel_type: 'channel', text, ...more })

test('a direct message', () => {
  assert.deepEqual(message(), {
    kind: 'message',
    key: `message:D7:${TS}`,
    id: TS,
    place: { room: 'D7', type: 'direct' },
    author: { id: 'U7', isBot: false },
    parts: [{ type: 'text', text: 'hello' }],
    sentAt: 1_700_000_000_000,
    addressed: true,
    mentionsUs: false,
    mentionsAll: false,
    answersUs: false,
  })
  assert.equal(message({ thread_ts: '1600000000.000001' })?.place.thread, '1600000000.000001')
})

test('`message` and `app_mention` of one message are one, with all of its content', () => {
  const text = '<@U0BOT> look'
  const file = { id: 'F1', name: 'a.png', mimetype: 'image/png', size: 3, mode: 'hosted', url_private: 'https://files.slack.com/a' }
  const byMessage = inChannel(text, { subtype: 'file_share', files: [file] })
  const { channel_type: _, ...mention } = { ...said, type: 'app_mention', channel: 'C7', text, files: [file] }
  const byMention = read(mention, { event_id: 'Ev2' }).messages[0]
  assert.deepEqual(byMention, byMessage)
  assert.equal(byMessage?.key, `message:C7:${TS}`)
  assert.deepEqual(byMessage?.place, { room: 'C7', type: 'group', thread: TS })
})

test('in a channel: a mention, a thread of ours and a command are for us, the rest is not', () => {
  const addressed = (text: string, more: object = {}) => inChannel(text, more)?.addressed
  assert.equal(addressed('hello all'), false)
  assert.equal(addressed('<!channel> hello'), false)
  assert.equal(addressed('<@U0BOT> hello'), true)
  assert.equal(addressed('<@U0OTHER> hello'), false)
  assert.equal(addressed('x', { thread_ts: '1.000001', parent_user_id: 'U0BOT' }), true)
  assert.equal(addressed('x', { thread_ts: '1.000001', parent_user_id: 'U7' }), false)
  assert.equal(inChannel('<!here> hello')?.mentionsAll, true)
  assert.deepEqual(inChannel('<@U0BOT> /new')?.command, { name: 'new', argument: '' })
  // Who we are stands in the call, too.
  const other = read(
    { ...said, channel: 'C7', channel_type: 'channel', text: '<@U0NEW> hi' },
    { authorizations: [{ team_id: 'T1', user_id: 'U0NEW' }] },
  )
  assert.equal(other.messages[0]?.addressed, true)
})

test('mrkdwn is read as people see it', () => {
  const text = (source: string) => readMrkdwn(source, 'U0BOT').text
  assert.equal(text('a &lt;b&gt; &amp;amp; c'), 'a <b> &amp; c')
  assert.equal(text('<@U0BOT>, hello'), 'hello')
  assert.equal(text('hello <@U0BOT> there'), 'hello there')
  assert.equal(text('<@U0BOT>'), '')
  assert.equal(text('ask <@U9|ann> or <@U8>'), 'ask @ann or @U8')
  assert.equal(text('<#C1|general> <#C2|>'), '#general #C2')
  assert.equal(text('<!here> <!channel> <!everyone> <!subteam^S1|@team> <!date^1^{date}|today>'), '@here @channel @everyone @team today')
  assert.equal(text('<https://a.example/?x=1&amp;y=2>'), 'https://a.example/?x=1&y=2')
  assert.equal(
    text('<https://a.example|a label> <http://b.example|b.example> <mailto:c@d.example|c@d.example>'),
    'a label (https://a.example) b.example c@d.example',
  )
  assert.equal(text('1 &lt; 2 <'), '1 < 2 <')
})

test('bots, we ourselves among them, are decoded as such: the gateway leaves them out', () => {
  for (const more of [
    { bot_id: 'B1' },
    { subtype: 'bot_message', bot_id: 'B2', user: undefined },
    { user: 'U0BOT' },
    { user: 'USLACKBOT' },
  ]) {
    assert.equal(message(more)?.author.isBot, true, JSON.stringify(more))
  }
})

test('what people did not write is nothing for us', () => {
  for (const subtype of ['channel_join', 'channel_leave', 'channel_topic', 'message_replied', 'ekm_access_denied', 'huddle_thread']) {
    const { messages, reason } = read({ ...said, subtype })
    assert.deepEqual([messages, reason], [[], `a message of the kind "${subtype}"`])
  }
  assert.equal(message({ subtype: 'me_message' })?.kind, 'message')
  assert.equal(message({ subtype: 'thread_broadcast', thread_ts: '1.000001', root: {} })?.kind, 'message')
  assert.match(read({ ...said, text: '' }).reason ?? '', /without content/)
  assert.match(read({ type: 'channel_created' }).reason ?? '', /channel_created/)
  assert.deepEqual(read({ type: 'app_home_opened', user: 'U7', tab: 'home' }).home, { user: 'U7' })
})

test('edits, previews of links, and what was taken back', () => {
  const changed = (now: object, before: object = {}) =>
    read({
      type: 'message',
      subtype: 'message_changed',
      channel: 'D7',
      channel_type: 'im',
      ts: '1700000009.000000',
      event_ts: '1700000009.000000',
      message: { type: 'message', user: 'U7', text: 'new', ts: TS, ...now },
      previous_message: { type: 'message', user: 'U7', text: 'old', ts: TS, ...before },
    })
  const [edited] = changed({ edited: { user: 'U7', ts: '1700000008.000000' } }).messages
  assert.deepEqual(
    [edited?.kind, edited?.id, edited?.key, edited?.sentAt],
    ['edit', TS, `edit:D7:${TS}:1700000008.000000`, 1_700_000_008_000],
  )
  assert.deepEqual(edited?.parts, [{ type: 'text', text: 'new' }])
  const edit = { edited: { user: 'U7', ts: '1700000008.000000' } }
  assert.match(changed({ ...edit, attachments: [{}] }, edit).reason ?? '', /shown in another way/)
  assert.match(changed({ attachments: [{}] }).reason ?? '', /shown in another way/)
  assert.equal(changed({ subtype: 'tombstone', user: 'USLACKBOT' }).messages[0]?.kind, 'delete')
  const [deleted] = read({
    ...said,
    subtype: 'message_deleted',
    deleted_ts: TS,
    previous_message: { user: 'U7', text: 'hello', ts: TS },
  }).messages
  assert.deepEqual([deleted?.kind, deleted?.id, deleted?.key, deleted?.addressed], ['delete', TS, `delete:D7:${TS}`, true])
  assert.deepEqual(deleted?.author, { id: 'U7', isBot: false })
})

test('files by kind, and those that lie elsewhere', () => {
  const of = (file: object) => message({ subtype: 'file_share', text: '', files: [{ id: 'F1', mode: 'hosted', ...file }] })?.parts[0]
  const url = 'https://files.slack.com/files-pri/T1-F1/a'
  assert.deepEqual(of({ name: 'a.png', mimetype: 'image/png', size: 9, url_private: url }), {
    type: 'file',
    file: { kind: 'image', name: 'a.png', mime: 'image/png', size: 9, ref: JSON.stringify({ id: 'F1', url }) },
  })
  const kind = (file: object) => {
    const part = of(file)
    return part?.type === 'file' ? part.file.kind : part?.type
  }
  assert.equal(kind({ subtype: 'slack_audio', mimetype: 'audio/mp4' }), 'voice')
  assert.equal(kind({ mimetype: 'video/mp4' }), 'video')
  assert.equal(kind({ mimetype: 'text/plain' }), 'file')
  // Of a shared channel: by its id alone.
  const checked = of({ file_access: 'check_file_info' })
  assert.equal(checked?.type === 'file' && checked.file.ref, '{"id":"F1"}')
  assert.deepEqual(of({ name: 'plan', is_external: true, url_private: 'https://drive.example/x' }), {
    type: 'text',
    text: 'plan: https://drive.example/x',
  })
  assert.equal(of({ mode: 'tombstone' }), undefined)
})

test('slash commands are shown to all and are questions or built-in commands', () => {
  const fields = {
    token: 'x',
    team_id: 'T1',
    api_app_id: 'A1',
    channel_id: 'C7',
    user_id: 'U7',
    user_name: 'ann',
    command: '/posthouse',
    text: 'what is tea?',
    trigger_id: '1.2.x',
  }
  const command = (more: object = {}) => {
    const payload = { ...fields, ...more }
    const reading = request(bytes(new URLSearchParams(payload).toString()))
    assert.deepEqual(reading, reader.frame({ type: 'slash_commands', envelope_id: 'e', payload }, known))
    return reading
  }
  const { messages, response } = command()
  assert.equal(response?.body, '{"response_type":"in_channel"}')
  assert.deepEqual(
    [messages[0]?.key, messages[0]?.place, messages[0]?.author.name, messages[0]?.parts, messages[0]?.command],
    ['command:1.2.x', { room: 'C7', type: 'group' }, 'ann', [{ type: 'text', text: 'what is tea?' }], undefined],
  )
  const named = (more: object) => command(more).messages[0]?.command
  assert.deepEqual(named({ text: 'new' }), { name: 'new', argument: '' })
  assert.deepEqual(named({ text: 'model spare' }), { name: 'model', argument: 'spare' })
  assert.equal(named({ text: 'help me with my taxes' }), undefined)
  assert.deepEqual(named({ text: '' }), { name: 'help', argument: '' })
  assert.deepEqual(named({ command: '/model', text: 'spare' }), { name: 'model', argument: 'spare' })
})

test('a pressed button, and a mark', () => {
  const press = {
    type: 'block_actions',
    user: { id: 'U7', name: 'ann' },
    api_app_id: 'A1',
    team: { id: 'T1' },
    container: { type: 'message', message_ts: TS, channel_id: 'C7' },
    trigger_id: 't',
    actions: [{ action_id: 'a', value: 'yes', action_ts: '1700000005.000000' }],
  }
  const [pressed] = request(bytes(new URLSearchParams({ payload: JSON.stringify(press) }).toString())).messages
  assert.deepEqual(
    [pressed?.kind, pressed?.id, pressed?.callbackData, pressed?.place, pressed?.key],
    ['callback', TS, 'yes', { room: 'C7', type: 'group', thread: TS }, `callback:C7:${TS}:U7:1700000005.000000`],
  )
  const item = { type: 'message', channel: 'C7', ts: TS }
  const [marked] = read({ type: 'reaction_added', user: 'U7', reaction: 'tada', item, item_user: 'U0BOT', event_ts: TS }).messages
  assert.deepEqual([marked?.kind, marked?.id, marked?.callbackData, marked?.answersUs], ['reaction', TS, 'tada', true])
})

test('questions of Slack itself, other apps and other workspaces', () => {
  const asked = request(bytes({ type: 'url_verification', challenge: 'c4a11e', token: 'x' }))
  assert.deepEqual([asked.challenge, asked.response?.body], [true, 'c4a11e'])
  assert.match(request(bytes('ssl_check=1&token=x')).reason ?? '', /certificate/)
  assert.match(read(said, { api_app_id: 'A2' }).reason ?? '', /another app/)
  assert.match(read(said, { team_id: 'T2' }).reason ?? '', /workspace/)
  // In a shared channel the event is another workspace's, and the installation is ours.
  assert.equal(read(said, { team_id: 'T2', authorizations: [{ team_id: 'T1', user_id: 'U0BOT' }] }).messages.length, 1)
  assert.match(reader.frame({ type: 'hello' }, known).reason ?? '', /connection/)
  assert.match(reader.frame({ type: 'odd' }, known).reason ?? '', /unknown/)
})

test('what Slack would not send is refused, whatever it is', () => {
  const bodies: (string | Uint8Array)[] = [
    '',
    'no form',
    '{',
    '[]',
    'null',
    Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d),
    JSON.stringify(envelope(7)),
    JSON.stringify(envelope({})),
    JSON.stringify(envelope({ ...said, ts: 'x' })),
    JSON.stringify(envelope({ ...said, ts: 7 })),
    JSON.stringify(envelope({ ...said, channel: undefined })),
    JSON.stringify(envelope({ ...said, text: {} })),
    JSON.stringify(envelope({ ...said, subtype: 'message_changed' })),
    JSON.stringify(envelope({ ...said, files: [{ name: 'x' }] })),
    JSON.stringify({ type: 'block_actions', actions: [] }),
    'payload=%7B',
    'command=/x&channel_id=C1',
    JSON.stringify({ type: 'url_verification' }),
    JSON.stringify({ odd: true }),
  ]
  for (const body of bodies) {
    assert.throws(
      () => request(bytes(body)),
      (error: unknown) => error instanceof PosthouseError && error.code === 'invalid',
      String(body),
    )
  }
  for (const frame of [undefined, 7, [], { type: 'events_api' }, { type: 'events_api', payload: [] }])
    assert.throws(() => reader.frame(frame, known), PosthouseError)
  // Neither depth nor names do harm.
  const deep = `{"type":"event_callback","team_id":"T1","event":{"type":"message","channel":"D7","ts":"${TS}","text":"x","blocks":${'['.repeat(10_000)}${']'.repeat(10_000)}}}`
  assert.equal(request(bytes(deep)).messages.length, 1)
  const polluted = `{"__proto__":{"addressed":true},"type":"event_callback","team_id":"T1","event":{"__proto__":{"bot_id":"B1"},"constructor":1,"type":"message","channel":"D7","channel_type":"im","ts":"${TS}","user":"U7","text":"x"}}`
  assert.equal(request(bytes(polluted)).messages[0]?.author.isBot, false)
  assert.equal(({} as { bot_id?: string }).bot_id, undefined)
})
