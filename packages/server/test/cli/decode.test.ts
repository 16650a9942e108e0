/** `posthouse channel decode` and `render`: what is understood and what would be sent, without a gateway. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { sealAsWecom, signAsWecom } from '@posthouse/testkit'
import { createFolder } from './command.ts'

const folder = createFolder()
after(() => folder[Symbol.dispose]())
const write = (name: string, content: string) => {
  writeFileSync(join(folder.path, name), content)
  return name
}
const lines = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>)

async function decode(type: string, settings: string, units: readonly unknown[], ...more: string[]) {
  const requests = write('requests.jsonl', units.map((unit) => (typeof unit === 'string' ? unit : JSON.stringify(unit))).join('\n'))
  const { code, stdout, stderr } = await folder.posthouse(
    'channel',
    'decode',
    type,
    '--settings',
    write('settings.yaml', settings),
    '--requests',
    requests,
    ...more,
  )
  return { code, stderr, read: lines(stdout) }
}

const telegram = 'token: "123:abc"\nmode: webhook\nsecret_token: shh\n'
const headers = { 'X-Telegram-Bot-Api-Secret-Token': 'shh' }
const text = '@our_bot /new 1'
const update = {
  update_id: 1,
  message: {
    message_id: 5,
    date: 1_700_000_000,
    message_thread_id: 9,
    is_topic_message: true,
    chat: { id: -100, type: 'supergroup', title: 'T' },
    from: { id: 7, is_bot: false, first_name: 'A' },
    reply_to_message: { message_id: 3, date: 1, chat: { id: -100, type: 'supergroup' }, from: { id: 42, is_bot: true, first_name: 'us' } },
    text,
    entities: [{ type: 'mention', offset: 0, length: 8 }],
  },
}

describe('channel decode', () => {
  it('goes through the same guard and reader as the gateway', async () => {
    const { code, read } = await decode(
      'telegram',
      telegram,
      [
        { method: 'POST', headers, raw: JSON.stringify(update) },
        { method: 'post', headers, raw_base64: Buffer.from(JSON.stringify(update)).toString('base64') },
        { method: 'POST', headers: {}, raw: JSON.stringify(update) },
        { method: 'POST', headers: { ...headers, 'x-telegram-bot-api-secret-token': 'shh2' }, raw: '{}' },
        { method: 'POST', headers, raw_base64: Buffer.from([0x22, 0xff, 0x22]).toString('base64') },
        { method: 'POST', headers, raw: '['.repeat(10_000) },
        { method: 'POST', headers, raw: 'x'.repeat(1024 * 1024 + 1) },
        { method: 'POST', headers, raw: '{"update_id":2,"__proto__":{"polluted":1},"channel_post":{}}' },
        { frame: { ...update, message: { ...update.message, from: { id: 8, is_bot: true, first_name: 'B' } } } },
      ],
      '--bot',
      '{"id":42,"username":"our_bot"}',
    )
    assert.equal(code, 0)
    assert.deepEqual(
      read.map(({ verdict, status }) => [verdict, status]),
      [
        ['accept', 200],
        ['accept', 200],
        ['reject', 401],
        ['reject', 401],
        ['reject', 400],
        ['reject', 400],
        ['reject', 413],
        ['ignore', 200],
        ['ignore', 200],
      ],
    )
    const [first, second, , , , , , , bot] = read
    assert.deepEqual(first?.events, [
      {
        type: 'command',
        text: '/new 1',
        sender_id: '7',
        chat_id: '-100',
        message_id: '5',
        thread_id: '9',
        reply_to_id: '3',
        is_group: true,
        mentions_bot: true,
        mentions_all: false,
        replies_to_bot: true,
        sender_is_bot: false,
        attachments: [],
        callback_data: null,
      },
    ])
    assert.deepEqual(second, first)
    const [said] = (bot?.events ?? []) as { sender_is_bot: boolean }[]
    assert.equal(said?.sender_is_bot, true)
  })

  it('reads mails, judged as the mailbox judges them', async () => {
    const mail = (from: string, more = '') =>
      `From: ${from}\r\nMessage-ID: <1@example.com>\r\nSubject: =?utf-8?B?5L2g5aW9?=\r\n${more}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=gbk\r\nContent-Transfer-Encoding: base64\r\n\r\nxOO6ww==\r\n--b\r\nContent-Type: application/pdf; name="../x.pdf"\r\n\r\nPDF\r\n--b--\r\n`
    const proven = 'Authentication-Results: mx.example.com; dmarc=pass header.from=example.com\r\n'
    const { read, stderr } = await decode('email', 'address: us@example.com\nauthserv_id: mx.example.com\n', [
      { raw: proven + mail('Ann <ann@example.com>') },
      { raw: mail('Ann <ann@example.com>') },
      { raw: proven + mail('Ann <ann@example.com>', 'Auto-Submitted: auto-replied\r\n') },
      { raw: proven + mail('nobody') },
    ])
    assert.match(stderr, /imap\.host: missing/)
    assert.deepEqual(
      read.map(({ verdict, status }) => [verdict, status]),
      [
        ['accept', 200],
        ['reject', 401],
        ['ignore', 200],
        ['reject', 400],
      ],
    )
    const [letter] = (read[0]?.events ?? []) as { text: string; sender_id: string; attachments: { name: string; mime: string }[] }[]
    assert.equal(letter?.text, '你好')
    assert.equal(letter?.sender_id, 'ann@example.com')
    assert.deepEqual(
      letter?.attachments.map(({ name, mime }) => [name, mime]),
      [['x.pdf', 'application/pdf']],
    )
  })

  it('reads the web chat, which is proven by its sign-in', async () => {
    const { read } = await decode('web', '{}', [
      { method: 'POST', headers: {}, raw: '{"query":"hi","conversation_id":"c"}' },
      { frame: { type: 'send', id: 'm', conversation_id: 'c', text: '/help' } },
      { frame: { type: 'ping' } },
      { method: 'POST', headers: {}, raw: '{"query":3}' },
    ])
    assert.deepEqual(
      read.map(({ verdict, status }) => [verdict, status]),
      [
        ['accept', 200],
        ['accept', 200],
        ['ignore', 200],
        ['reject', 400],
      ],
    )
  })

  it('opens the sealed calls of an AI bot, and renders for it', async () => {
    const [token, key] = ['shh', 'a'.repeat(43)]
    const settings = `mode: bot-webhook\ntoken: ${token}\nencoding_aes_key: ${key}\nbot_id: aib\n`
    const about = { msgid: 'm', aibotid: 'aib', chatid: 'wr_1', chattype: 'group', from: { userid: 'ann' } }
    const request = (inner: object, seal = key) => {
      const encrypt = sealAsWecom(seal, JSON.stringify({ ...about, ...inner }), '')
      return { method: 'POST', query: signAsWecom(token, encrypt), headers: {}, raw: JSON.stringify({ encrypt }) }
    }
    const text = { msgtype: 'text', text: { content: '@Bot /new' } }
    const { read } = await decode('wecom', settings, [
      request(text),
      request({ msgtype: 'stream', stream: { id: 's' } }),
      request({ ...text, aibotid: 'other' }),
      request(text, 'b'.repeat(43)),
      { ...request(text), raw: '{"encrypt":"AAAA"}' },
    ])
    assert.deepEqual(
      read.map(({ verdict, status }) => [verdict, status]),
      [
        ['accept', 200],
        ['ignore', 200],
        ['reject', 400],
        ['reject', 400],
        ['reject', 401],
      ],
    )
    const [event] = (read[0]?.events ?? []) as { type: string; text: string; chat_id: string; is_group: boolean }[]
    assert.deepEqual([event?.type, event?.text, event?.chat_id, event?.is_group], ['command', '/new', 'wr_1', true])
    const shown = await folder.posthouse(
      ...['channel', 'render', 'wecom', '--settings', write('settings.yaml', settings), '--markdown', write('text.md', '# T\n\n~~gone~~')],
    )
    assert.equal(shown.code, 0, shown.stderr)
    assert.deepEqual(
      lines(shown.stdout).map(({ payload }) => payload),
      [{ content: '# T\n\n~~gone~~' }],
    )
  })

  it('takes invented secrets with a notice, and names no thread that is only opened', async () => {
    const said = { type: 'message', user: 'U1', text: 'hey', ts: '1700000000.000400', channel: 'C1', channel_type: 'channel' }
    const frame = (event: object) => ({
      frame: {
        type: 'events_api',
        envelope_id: 'e',
        payload: { type: 'event_callback', team_id: 'T1', event_id: 'E1', event_time: 1, event },
      },
    })
    const { stderr, read } = await decode('slack', 'signing_secret: sec\nbot_token: x\n', [
      frame(said),
      frame({ ...said, thread_ts: '1.2' }),
    ])
    assert.match(stderr, /signing_secret: the value does not have the expected form/)
    const threads = read.map(({ events }) => (events as { thread_id: string | null }[])[0]?.thread_id)
    assert.deepEqual(threads, [null, '1.2'])
  })

  it("reads a connector's description from its own file, where a constant is one", async () => {
    write(
      'pigeon.yaml',
      'receive: { proof: { kind: field, field: token }, message: { id: body.id, room: body.room, author: body.by, text: body.text, is_group: "true", mentions_us: "false" } }',
    )
    const settings = 'connector: ./pigeon.yaml\nreceive: { proof: { secret: shh } }\n'
    const call = { method: 'POST', headers: {}, raw: { token: 'shh', id: 1, room: 'r', by: 'ann', text: 'hi' } }
    const { read, stderr } = await decode('webhook', settings, [call, { ...call, raw: { ...call.raw, token: 'no' } }])
    assert.deepEqual(
      read.map(({ verdict, events }) => [
        verdict,
        (events as { is_group: boolean; mentions_bot: boolean }[]).map((event) => [event.is_group, event.mentions_bot]),
      ]),
      [
        ['accept', [[true, false]]],
        ['reject', []],
      ],
      stderr,
    )
    const { code, stderr: problem } = await decode('webhook', 'connector: ./gone.yaml\n', [call])
    assert.equal(code, 2)
    assert.match(problem, /connector: there is no such file/)
  })

  it('a malformed expression is named by the check of the configuration', async () => {
    write(
      'broken.yaml',
      'receive: { proof: { kind: loopback }, message: { id: body.id, room: body.room, author: body.by, sent_at: "body.timestamp +" } }',
    )
    write('posthouse.yaml', 'channels: { pigeon: { type: webhook, connector: ./broken.yaml } }')
    const { code, stdout, stderr } = await folder.posthouse('config', 'check', '--strict')
    assert.equal(code, 2)
    assert.match(stdout + stderr, /channels\.pigeon\.receive\.message\.sent_at: body\.timestamp \+: .* \(the account pigeon stays closed\)/)
  })

  it('says what it cannot use', async () => {
    const failures: [string, string, readonly unknown[], RegExp][] = [
      ['telegramm', '{}', [], /Did you mean "telegram"\?/],
      ['telegram', 'mode: pull', [], /settings\.yaml:1:\d mode: /],
      ['telegram', telegram, ['nonsense'], /requests\.jsonl:1: not JSON/],
      ['telegram', telegram, [{ method: 'PUT' }], /requests\.jsonl:1: \{method/],
    ]
    for (const [type, settings, units, words] of failures) {
      const { code, stderr } = await decode(type, settings, units)
      assert.equal(code, 2)
      assert.match(stderr, words)
    }
    const missing = await folder.posthouse('channel', 'decode', 'telegram', '--requests', 'none')
    assert.equal(missing.code, 2)
    assert.match(missing.stderr, /none: there is no such file/)
  })
})

describe('channel render', () => {
  it('prints what would be sent, for every channel', async () => {
    const markdown = write('text.md', `# Title\n\n**bold** and \`code\`\n\n${'long '.repeat(2000)}`)
    for (const type of ['telegram', 'email', 'web']) {
      const { code, stdout, stderr } = await folder.posthouse('channel', 'render', type, '--markdown', markdown)
      assert.equal(code, 0, stderr)
      const pieces = lines(stdout)
      assert.ok(pieces.length >= (type === 'telegram' ? 3 : 1), type)
      for (const piece of pieces) {
        assert.deepEqual(Object.keys(piece), ['text', 'format', 'payload'])
        assert.equal(typeof piece.text, 'string')
        assert.equal(typeof piece.payload, 'object')
      }
      const words = pieces.map(({ text: said }) => String(said)).join(' ')
      assert.equal(words.match(/long/g)?.length, 2000, type)
    }
  })
})
