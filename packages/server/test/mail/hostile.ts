/** Mails that break mail programs, as data, and what must become of each. */

export interface HostileMail {
  readonly name: string
  readonly raw: string | Buffer
  /** Words of the text that must be admitted; undefined: the mail is turned away, and flagged. */
  readonly text?: RegExp
  readonly files?: readonly string[]
}

const head = ['From: Ann <ann@example.com>', 'Subject: Re: x', 'MIME-Version: 1.0']
const mail = (lines: readonly string[], body: string) => [...head, ...lines, '', body].join('\n')
const part = (type: string, body: string, ...more: string[]) => [`Content-Type: ${type}`, ...more, '', body].join('\n')
const multipart = (type: string, parts: readonly string[], boundary = 'b') =>
  mail([`Content-Type: ${type}; boundary="${boundary}"`], `${parts.map((one) => `--${boundary}\n${one}\n`).join('')}--${boundary}--\n`)
const bytes = (lines: readonly string[], body: Buffer) => Buffer.concat([Buffer.from(`${[...head, ...lines].join('\r\n')}\r\n\r\n`), body])

const nested = (depth: number): string =>
  depth === 0
    ? part('text/plain', 'at the bottom')
    : part(`multipart/mixed; boundary=b${depth}`, `--b${depth}\n${nested(depth - 1)}\n--b${depth}--`)
const forwarded = (depth: number): string =>
  depth === 0
    ? 'From: c@example.com\nSubject: inner\n\nat the bottom'
    : `From: c@example.com\nSubject: s${depth}\n${part('message/rfc822', forwarded(depth - 1))}`

const gbk = Buffer.from([0xc4, 0xe3, 0xba, 0xc3])
const TEXT = part('text/plain', 'see here')

export const hostileMails: readonly HostileMail[] = [
  {
    name: 'quoted-printable',
    raw: mail(['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: quoted-printable'], 'gr=C3=BC=\nn 1=3D1'),
    text: /^grün 1=1$/,
  },
  {
    name: 'base64 in GBK',
    raw: mail(['Content-Type: text/plain; charset=gbk', 'Content-Transfer-Encoding: base64'], gbk.toString('base64')),
    text: /^你好$/,
  },
  {
    name: 'base64 with rubbish in it',
    raw: mail(['Content-Transfer-Encoding: base64'], `${Buffer.from('hello there').toString('base64')}\n!!!\n`),
    text: /hello there/,
  },
  { name: 'Big5', raw: bytes(['Content-Type: text/plain; charset=big5'], Buffer.from([0xa7, 0x41, 0xa6, 0x6e])), text: /^你好$/ },
  { name: 'ISO-2022-JP', raw: bytes(['Content-Type: text/plain; charset=iso-2022-jp'], Buffer.from('\x1b$B$3$s\x1b(B')), text: /^こん$/ },
  { name: 'a charset that lies', raw: bytes(['Content-Type: text/plain; charset=utf-8'], gbk), text: /^你好$/ },
  {
    name: 'a charset that is an attack',
    raw: bytes(['Content-Type: text/plain; charset="x\\";y=../../etc/passwd"'], Buffer.from('words')),
    text: /^words$/,
  },
  {
    name: 'eight-bit junk',
    raw: bytes(
      [],
      Buffer.from(Array.from({ length: 1000 }, (_, index) => (index * 7919) % 256).filter((byte) => byte !== 10 && byte !== 13)),
    ),
    text: /./,
  },
  { name: 'a NUL in the text', raw: bytes([], Buffer.from('be\0fore')), text: /before|be/ },
  { name: 'no MIME at all', raw: 'From: ann@example.com\n\nplain words', text: /^plain words$/ },
  { name: 'no body', raw: mail([], ''), text: /x/ },
  {
    name: 'alternatives',
    raw: multipart('multipart/alternative', [part('text/plain', 'the plain one'), part('text/html', '<b>the other</b>')]),
    text: /^the plain one$/,
  },
  { name: 'only HTML', raw: mail(['Content-Type: text/html'], '<p>one</p><script>evil()</script><p>two</p>'), text: /^one\n\ntwo$/ },
  {
    name: 'HTML with an inline image',
    raw: multipart('multipart/related', [
      part('text/html', 'look <img src="cid:i">'),
      part('image/png; name="a.png"', 'aGk=', 'Content-ID: <i>', 'Content-Disposition: inline', 'Content-Transfer-Encoding: base64'),
    ]),
    text: /^look$/,
    files: ['a.png'],
  },
  {
    name: 'alternatives whose HTML has an image',
    raw: multipart('multipart/alternative', [
      part('text/plain', 'words'),
      part(
        'multipart/related; boundary=r',
        `--r\n${part('text/html', 'words <img src="cid:i">')}\n--r\n${part('image/png; name=i.png', 'x', 'Content-ID: <i>')}\n--r--`,
      ),
    ]),
    text: /^words$/,
    files: ['i.png'],
  },
  {
    name: 'a forwarded mail within',
    raw: multipart('multipart/mixed', [TEXT, part('message/rfc822', 'From: c@example.com\nSubject: inner\n\nthe inner words')]),
    text: /see here[\s\S]*the inner words/,
  },
  {
    name: 'a signed mail',
    raw: multipart('multipart/signed', [TEXT, part('application/pgp-signature; name=signature.asc', 'x')]),
    text: /^see here$/,
    files: [],
  },
  {
    name: 'winmail.dat',
    raw: multipart('multipart/mixed', [TEXT, part('application/ms-tnef; name="winmail.dat"', 'eJ8+', 'Content-Transfer-Encoding: base64')]),
    text: /^see here$/,
    files: ['winmail.dat'],
  },
  {
    name: 'a zip bomb',
    raw: multipart('multipart/mixed', [
      TEXT,
      part('application/zip; name="42.zip"', Buffer.alloc(40_000).toString('base64'), 'Content-Transfer-Encoding: base64'),
    ]),
    files: ['42.zip'],
    text: /see here/,
  },
  {
    name: 'names of files that are paths, lie, or end a header',
    raw: multipart('multipart/mixed', [
      TEXT,
      part('application/pdf', 'x', 'Content-Disposition: attachment; filename="../../../etc/passwd"'),
      part('application/pdf', 'x', 'Content-Disposition: attachment; filename="=?utf-8?Q?a=0D=0AX-Evil=3A_b.pdf?="'),
      part('application/pdf', 'x', 'Content-Disposition: attachment; filename="harmless\u202efdp.exe"'),
      part('application/pdf', 'x', "Content-Disposition: attachment; filename*=utf-8''%E4%BD%A0%E5%A5%BD.pdf"),
      part('application/x-thing', 'x', 'Content-Disposition: attachment'),
    ]),
    text: /see here/,
    files: ['passwd', 'a X-Evil: b.pdf', 'harmless fdp.exe', '你好.pdf', 'file.x-thing'],
  },
  { name: 'a boundary that never comes', raw: mail(['Content-Type: multipart/mixed; boundary=never'], 'words in the preamble'), text: /./ },
  { name: 'a boundary of its own part', raw: multipart('multipart/mixed', [part('multipart/mixed; boundary=b', 'words')]), text: /./ },
  {
    name: 'a thousand parts',
    raw: multipart('multipart/mixed', [TEXT, ...Array.from({ length: 1000 }, (_, index) => part(`image/png; name="${index}.png"`, 'x'))]),
    text: /see here/,
  },
  { name: 'nested 100 deep', raw: [...head, nested(100)].join('\n') },
  { name: 'forwarded 100 times', raw: [...head, part('message/rfc822', forwarded(100))].join('\n') },
  { name: 'a header of 10 MB', raw: [...head, `X-Big: ${'x'.repeat(10_000_000)}`, '', 'words'].join('\n') },
  {
    name: 'ten thousand headers',
    raw: [...head, ...Array.from({ length: 10_000 }, (_, index) => `X-${index}: ${index}`), '', 'words'].join('\n'),
  },
  {
    name: 'a file name of 9 MB',
    raw: multipart('multipart/mixed', [
      TEXT,
      part('application/pdf', 'x', `Content-Disposition: attachment; filename="${'x'.repeat(9_000_000)}"`),
    ]),
  },
  { name: 'a header without end', raw: 'From: ann@example.com\nSubject: x\n no end', text: /x/ },
  { name: 'two senders', raw: 'From: ann@example.com\nFrom: eve@example.com\n\nwords' },
  { name: 'no sender', raw: 'Subject: x\n\nwords' },
  { name: 'not a mail', raw: Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 31) % 256)) },
  { name: 'a text of 3 MB', raw: mail([], 'a long line of words, and on it goes\n'.repeat(80_000)), text: /cut here/ },
  {
    name: 'ten texts of 300 KB',
    raw: multipart(
      'multipart/mixed',
      Array.from({ length: 10 }, () => part('text/plain', 'words, and on it goes\n'.repeat(15_000))),
    ),
    text: /^[\s\S]{500000,530000}cut here/,
  },
  {
    name: 'line breaks in the subject',
    raw: ['From: ann@example.com', 'Subject: =?utf-8?B?aGkNCkJjYzogZXZl?=', '', 'words'].join('\n'),
    text: /^hi Bcc: eve\n\nwords$/,
  },
  { name: 'a command', raw: mail([], '/help'), text: /^\/help$/ },
]
