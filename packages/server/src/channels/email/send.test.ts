import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DeliveryError, type OutboundMessage, type Place } from '@posthouse/contract'
import PostalMime from 'postal-mime'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { SmtpError } from './api.ts'
import { judge } from './receive.ts'
import { compose, render, toDeliveryError, toHtml } from './send.ts'

const US = { address: 'bot@mail.test', name: 'The "Bot"\r\nBcc: eve@example.com' }
const THREAD = 'A'.repeat(22)
const to: Place = { room: 'ann@example.com', thread: THREAD, type: 'direct' }

function message(text: string, more: Partial<OutboundMessage> = {}): OutboundMessage {
  return { id: 'm', to, text, document: parseMarkdown(text), ...more }
}

async function mailOf(sent: OutboundMessage, subject: string | undefined, place = to, key = 'm:0') {
  const [piece] = render(sent)
  assert.ok(piece)
  const mail = await compose(US, piece, { ...place, ...(subject === undefined ? {} : { title: subject }) }, key)
  const bytes = await mail.bytes()
  return { ...mail, raw: bytes.toString('latin1'), parsed: await PostalMime.parse(bytes), bytes }
}

describe('an answer', () => {
  test('stands in the thread of its question, in both forms, and says that a program wrote it', async () => {
    const { parsed, envelope, raw } = await mailOf(message('**Yes**, 好的', { replyTo: '<a@x> <b@x>' }), 'Shall we? 好吗')
    assert.equal(parsed.inReplyTo, '<b@x>')
    assert.equal(parsed.references, '<a@x> <b@x>')
    assert.equal(parsed.subject, 'Re: Shall we? 好吗')
    assert.equal(parsed.to?.[0]?.address, 'ann@example.com')
    assert.equal(parsed.from?.address, 'bot@mail.test')
    assert.match(parsed.html ?? '', /<strong>Yes<\/strong>, 好的/)
    assert.equal(parsed.text?.trim(), 'Yes, 好的')
    assert.match(raw, /^Content-Type: multipart\/alternative/m)
    assert.match(raw, /^Auto-Submitted: auto-replied\r$/m)
    assert.deepEqual(envelope, { from: 'bot@mail.test', to: 'ann@example.com' })
  })

  test('has the same Message-ID on every attempt, and another for every piece', async () => {
    const first = await mailOf(message('hi'), 's')
    assert.equal((await mailOf(message('hi'), 's')).messageId, first.messageId)
    assert.equal(first.parsed.messageId, first.messageId)
    assert.notEqual((await mailOf(message('hi'), 's', to, 'm:1')).messageId, first.messageId)
  })

  test('goes to the address behind the author, where there is one', async () => {
    assert.equal((await mailOf(message('hi'), 's', { ...to, room: 'ann@example.com desk@example.com' })).envelope.to, 'desk@example.com')
  })

  test('without a question it has its first line as subject', async () => {
    const { parsed } = await mailOf(message('# The report\n\nAll is well.'), undefined, { room: 'ann@example.com', type: 'direct' })
    assert.equal(parsed.subject, 'The report')
    assert.equal(parsed.inReplyTo, undefined)
  })

  test('nothing that others wrote makes a header', async () => {
    const evil = 'x\r\nBcc: eve@example.com\r\n\r\n<script>'
    const { raw, parsed } = await mailOf(message('hi', { replyTo: `<a@x> ${evil} <b@x>` }), evil)
    assert.doesNotMatch(raw, /^Bcc:/im)
    assert.equal(parsed.bcc, undefined)
    const judged = await judge(
      { uid: 1, arrivedAt: 1, header: Buffer.from(raw.slice(0, raw.indexOf('\r\n\r\n') + 4)) },
      { address: 'ann@example.com', trust_sender: true },
    )
    assert.equal(judged.kind, 'automatic')
  })

  for (const room of ['', 'nobody', 'a@b c', 'ann@example.com\r\nBcc: x', 'a@x,b@x', '<a@x>', 'ann@example.com>'])
    test(`the room ${JSON.stringify(room)} is no address`, async () => {
      await assert.rejects(
        mailOf(message('hi'), 's', { ...to, room }),
        (error: unknown) => error instanceof DeliveryError && error.kind === 'invalid',
      )
    })

  test('a file is a mail of its own, read when it is sent', async () => {
    const bytes = Buffer.from('a,b\n1,2\n')
    const file = {
      kind: 'file' as const,
      name: 'ta"ble\r\n.csv',
      mime: 'text/csv',
      size: bytes.length,
      open: async function* () {
        yield bytes
      },
    }
    const pieces = render(message('', { files: [file] }))
    assert.equal(pieces.length, 1)
    const mail = await compose(US, pieces[0] as never, to, 'k')
    const parsed = await PostalMime.parse(Buffer.concat((await mail.stream().toArray()) as Buffer[]))
    assert.deepEqual(Buffer.from(parsed.attachments[0]?.content as ArrayBuffer), bytes)
    assert.doesNotMatch(parsed.attachments[0]?.filename ?? '', /[\r\n]/)
    await assert.rejects(compose(US, { ...(pieces[0] as object), file: { ...file, size: 1e9 } } as never, to, 'k'), /15 MB/)
  })
})

describe('HTML', () => {
  const cases: readonly (readonly [string, RegExp, RegExp?])[] = [
    ['<script>alert(1)</script>', /&lt;script&gt;/, /<script/],
    ['[x](javascript:alert(1))', /javascript:/, /href/],
    ['[x](data:text/html,x)', /x/, /href="data/],
    ['[x](https://a.example/"onclick=y)', /./, /" ?onclick/],
    ['![a pixel](https://evil.example/p.png)', /<a href="https:\/\/evil.example\/p.png"/, /<img/],
    ['`<b>`', /<code>&lt;b&gt;<\/code>/, /<b>/],
    ['```\n</pre><script>\n```', /&lt;\/pre&gt;&lt;script&gt;/, /<script/],
    ['| a | b |\n|---|---|\n| 1 | <i> |', /<th [^>]*>a<\/th>/, /<i>/],
    ['1. one\n2. two\n   - inner', /<ol start="1"><li>one<\/li><li>two<ul><li>inner/],
    ['a\u0007b', /a b/],
  ]
  for (const [markdown, wanted, never] of cases)
    test(JSON.stringify(markdown), () => {
      const html = toHtml(parseMarkdown(markdown))
      assert.match(html, wanted)
      if (never) assert.doesNotMatch(html, never)
    })
})

test('an address of a kind that does harm is no link, whoever made the document', () => {
  for (const href of [
    'javascript:alert(1)',
    'data:text/html,x',
    'vbscript:x',
    'file:///etc/passwd',
    '//evil.example',
    'https://',
    ' javascript:x',
  ]) {
    const html = toHtml([{ type: 'paragraph', children: [{ type: 'link', href, children: [{ type: 'text', text: 'x' }] }] }])
    assert.doesNotMatch(html, /href/, href)
  }
})

describe('failures', () => {
  const cases: readonly (readonly [string, ConstructorParameters<typeof SmtpError>[1], string])[] = [
    ['connect ECONNREFUSED', { command: 'CONN' }, 'transient'],
    ['Connection closed unexpectedly', { command: 'CONN', complete: false }, 'transient'],
    ['Connection closed unexpectedly', { command: 'CONN', complete: true }, 'unknown'],
    ['450 4.2.0 mailbox busy', { code: 450, command: 'RCPT TO' }, 'transient'],
    ['451 greylisted, try again in 5 minutes', { code: 451, command: 'RCPT TO' }, 'transient'],
    ['452 4.2.2 mailbox full', { code: 452, command: 'RCPT TO' }, 'transient'],
    ['421 4.7.28 unusual rate of mail', { code: 421, command: 'DATA' }, 'rate-limited'],
    ['450 4.4.2 too many messages', { code: 450, command: 'MAIL FROM' }, 'rate-limited'],
    ['502 5.5.1 no STARTTLS here', { code: 502, command: 'STARTTLS' }, 'transient'],
    ['554 no service', { code: 554, command: 'CONN' }, 'transient'],
    ['535 5.7.8 bad credentials', { code: 535, command: 'AUTH' }, 'auth'],
    ['530 authentication required', { code: 530, command: 'MAIL FROM' }, 'auth'],
    ['550 5.1.1 user unknown', { code: 550, command: 'RCPT TO' }, 'not-found'],
    ['550 no such user here', { code: 550, command: 'RCPT TO' }, 'not-found'],
    ['550 5.1.10 null MX', { code: 550, command: 'RCPT TO' }, 'not-found'],
    ['550 5.7.1 relaying denied', { code: 550, command: 'RCPT TO' }, 'permission'],
    ['553 5.7.1 not your address', { code: 553, command: 'MAIL FROM' }, 'permission'],
    ['552 5.3.4 message too large', { code: 552, command: 'DATA' }, 'invalid'],
    ['554 5.6.0 looks like spam', { code: 554, command: 'DATA' }, 'invalid'],
    ['554 5.7.1 blocked', { code: 554, command: 'DATA' }, 'permission'],
  ]
  for (const [text, details, kind] of cases)
    test(`${text}, ${JSON.stringify(details)}`, () => assert.equal(toDeliveryError(new SmtpError(text, details)).kind, kind))

  test('what is no failure of SMTP may have been sent', () => assert.equal(toDeliveryError(new TypeError('bug')).kind, 'unknown'))
  test('no address of a person is in a failure', () => {
    assert.doesNotMatch(
      toDeliveryError(new SmtpError('550 5.1.1 <ann@example.com>: ann@example.com unknown', { code: 550 })).message,
      /ann/,
    )
  })
})
