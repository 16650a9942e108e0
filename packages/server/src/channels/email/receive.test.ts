import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { addressOf, isProven, judge, MOST_HEADER, ourMessageId, withCharset } from './receive.ts'

const US = { address: 'bot@mail.test', authserv_id: 'mx.mail.test', trust_sender: true }

function judged(lines: readonly string[], trust: Partial<typeof US> = {}) {
  return judge({ uid: 1, arrivedAt: 5, header: Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1') }, { ...US, ...trust })
}

async function letter(lines: readonly string[], trust: Partial<typeof US> = {}) {
  const found = await judged(lines, trust)
  assert.ok(found.kind === 'letter', JSON.stringify(found))
  return found.letter
}

const ANN = 'From: Ann <ann@example.com>'

describe('mail of programs is never answered', () => {
  const automatic: readonly (readonly [string, ...string[]])[] = [
    ['Auto-Submitted: auto-replied'],
    ['Auto-Submitted: auto-generated; x=y'],
    ['Precedence: bulk'],
    ['Precedence: list'],
    ['Precedence: auto_reply'],
    ['List-Id: <team.example.com>'],
    ['List-Unsubscribe: <mailto:x@example.com>'],
    ['X-Auto-Response-Suppress: DR, OOF, AutoReply'],
    ['X-Auto-Response-Suppress: All'],
    ['X-Autoreply: yes'],
    ['X-Failed-Recipients: x@example.com'],
    ['Content-Type: multipart/report; report-type=delivery-status; boundary=b'],
    ['Return-Path: <>'],
  ]
  for (const lines of automatic) test(lines.join(), async () => assert.equal((await judged([ANN, ...lines])).kind, 'automatic'))
  for (const from of [
    'MAILER-DAEMON@example.com',
    'postmaster@example.com',
    'no-reply@example.com',
    'noreply+x@example.com',
    'bot@mail.test',
    'Bot@Mail.Test',
  ])
    test(from, async () => assert.equal((await judged([`From: ${from}`])).kind, 'automatic'))
  test('ours is recognized by what it carries, too', async () => {
    assert.equal((await judged([ANN, 'Auto-Submitted: auto-replied', 'X-Auto-Response-Suppress: All'])).kind, 'automatic')
  })
  for (const lines of [
    ['Auto-Submitted: no'],
    ['Precedence: first-class'],
    ['X-Auto-Response-Suppress: RN'],
    ['Return-Path: <ann@example.com>'],
  ])
    test(`a person: ${lines}`, async () => assert.equal((await judged([ANN, ...lines])).kind, 'letter'))
})

describe('who wrote', () => {
  const refused = [
    '',
    'From: ',
    'From: nobody',
    'From: a@x.org, b@x.org',
    'From: a@x.org\r\nFrom: b@x.org',
    'From: team:;',
    'From: "a b"@x.org',
    'From: <a@x.org@y.org>',
    `From: ${'a'.repeat(65)}@x.org`,
  ]
  for (const from of refused) test(JSON.stringify(from), async () => assert.equal((await judged([from, 'X-A: b'])).kind, 'refused'))

  test('a name is decoded, and carries no line break and no turned-around text', async () => {
    const { name, from } = await letter(['From: =?gb18030?B?1cXI/Q==?= =?utf-8?Q?=0D=0ABcc=3A_x=E2=80=AE?= <Zhang@Example.com>'])
    assert.equal(from, 'zhang@example.com')
    assert.match(name, /^张三/)
    assert.doesNotMatch(name, /[\r\n\u202e]/)
  })

  test('answers go to Reply-To, in a room that nobody else comes into', async () => {
    assert.equal((await letter([ANN, 'Reply-To: Desk <desk@example.com>'])).replyTo, 'desk@example.com')
    assert.equal((await letter([ANN, 'Reply-To: nonsense'])).replyTo, 'ann@example.com')
  })
})

describe('a sender is proven by our own border server alone', () => {
  const from = 'ann@mail.example.com'
  const cases: readonly (readonly [boolean, string, readonly string[]])[] = [
    [true, 'DMARC', ['mx.mail.test; dmarc=pass header.from=mail.example.com']],
    [true, 'DMARC without a domain', ['mx.mail.test; dmarc=pass (p=reject)']],
    [true, 'capitals', ['MX.Mail.Test 1; DMARC=Pass header.From=Mail.Example.Com']],
    [true, 'DKIM of the domain', ['mx.mail.test; dkim=pass header.d=mail.example.com header.s=x']],
    [true, 'DKIM of the domain above', ['mx.mail.test; dkim=pass header.i=@example.com']],
    [true, 'the second DKIM', ['mx.mail.test; dkim=pass header.d=list.org; dkim=pass header.d=example.com']],
    [true, 'SPF', ['mx.mail.test; spf=pass smtp.mailfrom=bounce@example.com']],
    [false, 'nothing', []],
    [false, 'another server', ['mx.evil.test; dmarc=pass header.from=mail.example.com']],
    [false, 'a server whose name begins alike', ['mx.mail.test.evil.test; dmarc=pass']],
    [false, 'below our own result', ['mx.mail.test; dmarc=fail', 'mx.mail.test; dmarc=pass header.from=mail.example.com']],
    [false, 'DMARC of another domain', ['mx.mail.test; dmarc=pass header.from=evil.test']],
    [false, 'DMARC that failed', ['mx.mail.test; dmarc=fail header.from=mail.example.com; spf=none']],
    [false, 'DKIM of another domain', ['mx.mail.test; dkim=pass header.d=evil.test']],
    [false, 'DKIM of a domain that ends alike', ['mx.mail.test; dkim=pass header.d=ample.com']],
    [false, 'DKIM of a top domain', ['mx.mail.test; dkim=pass header.d=com']],
    [false, 'DKIM of a domain below', ['mx.mail.test; dkim=pass header.d=a.mail.example.com']],
    [false, 'SPF of another domain', ['mx.mail.test; spf=pass smtp.mailfrom=x@evil.test']],
    [false, 'a comment', ['mx.mail.test; dmarc=fail (dmarc=pass header.from=mail.example.com)']],
    [false, 'a nested comment', ['mx.mail.test; dmarc=none (a (b); dmarc=pass)']],
    [false, 'a quoted result', ['mx.mail.test; dmarc=fail reason="x; dmarc=pass header.from=mail.example.com"']],
    [false, 'a word of its own', ['mx.mail.test; x-dmarc=pass; dmarc=passed']],
  ]
  for (const [proven, name, results] of cases) test(name, () => assert.equal(isProven(results, from, 'mx.mail.test'), proven))
  test('a server that writes no name', () => {
    assert.equal(isProven(['spf=fail smtp.mailfrom=x.org; dmarc=pass header.from=mail.example.com'], from, '-'), true)
    assert.equal(isProven(['spf=fail smtp.mailfrom=x.org; dmarc=pass header.from=mail.example.com'], from, 'mx.mail.test'), false)
  })
  test('without proof the mail is not taken', async () => {
    const { authserv_id } = US
    assert.equal((await judged([ANN], { trust_sender: false })).kind, 'unproven')
    assert.equal(
      (await judged([`Authentication-Results: ${authserv_id}; dmarc=pass header.from=example.com`, ANN], { trust_sender: false })).kind,
      'letter',
    )
  })
})

describe('threads', () => {
  test('by the first of References, then In-Reply-To, then itself', async () => {
    const first = await letter([ANN, 'Message-ID: <a@x>'])
    const second = await letter([ANN, 'Message-ID: <b@x>', 'In-Reply-To: <a@x>'])
    const third = await letter([ANN, 'Message-ID: <c@x>', 'References: <a@x>', ' <b@x>', 'In-Reply-To: <b@x>'])
    assert.equal(new Set([first, second, third].map(({ thread }) => thread)).size, 1)
    assert.deepEqual(third.path, ['<a@x>', '<b@x>', '<c@x>'])
  })

  test('an answer to ours finds the thread though its program forgot the rest', async () => {
    const { thread } = await letter([ANN, 'Message-ID: <a@x>'])
    assert.equal((await letter([ANN, 'Message-ID: <z@x>', `In-Reply-To: ${ourMessageId(thread, 'k', 'mail.test')}`])).thread, thread)
  })

  test('the key is that of sender and Message-ID, else of the header', async () => {
    const { key } = await letter([ANN, 'Message-ID: <a@x>', 'Received: by one'])
    assert.equal((await letter([ANN, 'Message-ID: <a@x>', 'Received: by two'])).key, key)
    assert.notEqual((await letter(['From: eve@example.com', 'Message-ID: <a@x>'])).key, key)
    const without = await letter([ANN, 'Date: now'])
    assert.equal((await letter([ANN, 'Date: now'])).key, without.key)
    assert.notEqual((await letter([ANN, 'Date: later'])).key, without.key)
  })

  test('what is no id is none, and a long way is shortened in the middle', async () => {
    assert.equal((await letter([ANN, 'Message-ID: nonsense'])).messageId, undefined)
    assert.equal((await letter([ANN, `Message-ID: <${'a'.repeat(600)}@x>`])).messageId, undefined)
    const many = Array.from({ length: 500 }, (_, index) => `<${index}@x>`)
    const { path } = await letter([ANN, 'Message-ID: <last@x>', `References: ${many.join(' ')}`])
    assert.equal(path.length, 12)
    assert.equal(path[0], '<0@x>')
    assert.equal(path.at(-1), '<last@x>')
  })

  for (const [subject, bare, reply] of [
    ['Re: Re: hi', 'hi', true],
    ['RE：答复: 你好', '你好', true],
    ['回复：你好', '你好', true],
    ['Aw: Re[2]: hi', 'hi', true],
    ['Fwd: hi', 'Fwd: hi', false],
    ['Really: hi', 'Really: hi', false],
  ] as const)
    test(`subject ${subject}`, async () => {
      const header = `Subject: =?utf-8?B?${Buffer.from(subject).toString('base64')}?=`
      const found = await letter([ANN, 'Message-ID: <a@x>', header])
      assert.deepEqual([found.subject, found.reply], [bare, reply])
    })
})

describe('charsets', () => {
  const gbk = Buffer.from([0xc4, 0xe3, 0xba, 0xc3])
  const cases: readonly (readonly [string, Uint8Array, string, string])[] = [
    ['GBK', gbk, 'gbk', '你好'],
    ['GB2312', gbk, 'GB2312', '你好'],
    ['a code page', gbk, 'cp936', '你好'],
    ['GB18030', Buffer.from([0x81, 0x39, 0xee, 0x39, 0xc4, 0xe3]), 'gb18030', '㐀你'],
    ['Big5', Buffer.from([0xa7, 0x41, 0xa6, 0x6e]), 'big5', '你好'],
    ['ISO-2022-JP', Buffer.from('\x1b$B$3$s\x1b(B'), 'iso-2022-jp', 'こん'],
    ['GBK that says UTF-8', gbk, 'utf-8', '你好'],
    ['GBK that says nothing', gbk, '', '你好'],
    ['UTF-8 that says Latin-1', Buffer.from('grüße 你'), 'iso-8859-1', 'grüße 你'],
    ['Latin-1 that says UTF-8', Buffer.from('gr\xfc\xdfe ', 'latin1'), 'utf-8', 'grüße '],
    ['Latin-1', Buffer.from('gr\xfc\xdfe ', 'latin1'), 'iso-8859-1', 'grüße '],
    ['a charset that nobody knows', Buffer.from('grüße'), 'x-klingon', 'grüße'],
    ['cut within a character', Buffer.from('grüß').subarray(0, -1), 'utf-8', 'grü'],
  ]
  for (const [name, bytes, charset, said] of cases)
    test(name, () =>
      assert.equal(
        withCharset(bytes, charset),
        said.replace('㐎', new TextDecoder('gb18030').decode(Buffer.from([0x82, 0x35, 0x8f, 0x33]))),
      ),
    )
})

test('an address can end no header and begin no other', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const address = addressOf(`${text}@example.com`)
      assert.ok(address === undefined || !/[\s<>,;:"()\\\p{Cc}]/u.test(address))
    }),
  )
})

test('no header breaks it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (junk) => {
      const found = await judge(
        { uid: 1, arrivedAt: 5, header: Buffer.concat([Buffer.from(`${ANN}\r\nSubject: `), junk, Buffer.from('\r\n\r\n')]) },
        US,
      )
      assert.ok(['letter', 'automatic', 'refused'].includes(found.kind))
    }),
  )
  assert.equal((await judged([ANN, `X-Big: ${'x'.repeat(MOST_HEADER)}`])).kind, 'refused')
})
