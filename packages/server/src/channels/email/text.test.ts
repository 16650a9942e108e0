import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { htmlToText, newText } from './text.ts'

/** As mail programs write an answer: [program, what it sends, what its author added]. */
const answers: readonly (readonly [string, string, string])[] = [
  ['Gmail', 'Yes.\n\nOn Mon, Jan 6, 2025 at 9:12 AM Bot <bot@x.org> wrote:\n\n> Shall I?\n> Really?\n', 'Yes.'],
  [
    'Gmail, wrapped',
    'Yes.\n\nOn Mon, Jan 6, 2025 at 9:12 AM A Very Long Name <a.very.long.name@example.org>\nwrote:\n\n> Shall I?',
    'Yes.',
  ],
  ['Gmail, Chinese', '好的。\n\nBot <bot@x.org> 于2025年1月6日周一 09:12写道：\n\n> 可以吗？', '好的。'],
  ['163', '好的。\n\n\n\n在 2025-01-06 09:12:00，"Bot" <bot@x.org> 写道：\n\n可以吗？\n谢谢', '好的。'],
  ['Apple Mail', 'Yes.\n\n> On 6 Jan 2025, at 09:12, Bot <bot@x.org> wrote:\n> \n> Shall I?\n', 'Yes.'],
  ['Apple Mail, Chinese', '好的。\n\n> 2025年1月6日 09:12，Bot <bot@x.org> 写道：\n> \n> 可以吗？', '好的。'],
  ['Thunderbird, German', 'Ja.\n\nAm 06.01.25 um 09:12 schrieb Bot:\n> Soll ich?\n', 'Ja.'],
  ['Thunderbird, French', 'Oui.\n\nLe 06/01/2025 à 09:12, Bot a écrit :\n> Alors ?\n', 'Oui.'],
  [
    'Outlook',
    'Yes.\n\n________________________________\nFrom: Bot <bot@x.org>\nSent: Monday, January 6, 2025 9:12\nTo: Ann\nSubject: Hi\n\nShall I?',
    'Yes.',
  ],
  ['Outlook, Chinese', '好的。\n\n发件人: Bot <bot@x.org>\n发送时间: 2025年1月6日 9:12\n收件人: 张三\n主题: 你好\n\n可以吗？', '好的。'],
  ['Outlook 2003', 'Yes.\n\n-----Original Message-----\nFrom: Bot\nSent: Monday\n\nShall I?', 'Yes.'],
  [
    'QQ',
    '好的。\n\n\n------------------ 原始邮件 ------------------\n发件人: "Bot" <bot@x.org>;\n发送时间: 2025年1月6日\n收件人: "张三"\n\n可以吗？',
    '好的。',
  ],
  ['QQ, English', 'Yes.\n\n------------------ Original ------------------\nFrom: "Bot"\n\nShall I?', 'Yes.'],
  ['163 on a phone', '好的。\n\n---- 回复的原邮件 ----\n| 发件人 | Bot |\n可以吗？', '好的。'],
  ['a signature', 'Yes.\n\n-- \nAnn Example\nhttp://example.com', 'Yes.'],
  ['a phone', 'Yes.\n\nSent from my iPhone', 'Yes.'],
  ['a phone, Chinese', '好的。\n\n发自我的iPhone', '好的。'],
  ['phone, then history', 'Yes.\n\nGet Outlook for iOS\n\nOn 6 Jan 2025 Bot <bot@x.org> wrote:\n> Shall I?', 'Yes.'],
  [
    'answers between the lines',
    'On 6 Jan 2025 Bot wrote:\n> First?\nYes.\n> Second?\nNo.',
    'On 6 Jan 2025 Bot wrote:\n> First?\nYes.\n> Second?\nNo.',
  ],
  ['answers below', 'On 6 Jan 2025 Bot wrote:\n> Shall I?\n\nYes.', 'On 6 Jan 2025 Bot wrote:\n> Shall I?\n\nYes.'],
  ['only a quote', '> Shall I?', '> Shall I?'],
  ['a bare quote below', 'Yes.\n\n> Shall I?\n> Really?', 'Yes.'],
  [
    'a forwarded mail',
    'See below\n\n---------- Forwarded message ---------\nFrom: C <c@x.org>\nDate: Mon\nSubject: S\nTo: A\n\nThe words',
    'See below\n\n---------- Forwarded message ---------\nFrom: C <c@x.org>\nDate: Mon\nSubject: S\nTo: A\n\nThe words',
  ],
  ['no history at all', 'What I wrote: nothing.\nFrom: here to there', 'What I wrote: nothing.\nFrom: here to there'],
  ['a table of dashes', 'a\n-----\nb', 'a\n-----\nb'],
]

/** The same in HTML. */
const pages: readonly (readonly [string, string, string])[] = [
  [
    'Gmail',
    '<div dir="ltr">Yes.</div><br><div class="gmail_quote"><div class="gmail_attr">On Mon Bot wrote:<br></div><blockquote>Shall I?</blockquote></div>',
    'Yes.',
  ],
  [
    'Outlook on the web',
    '<div>Yes.</div><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Bot<br><b>Sent:</b> Mon</div><div>Shall I?</div>',
    'Yes.',
  ],
  [
    'Outlook',
    '<p class=MsoNormal>Yes.</p><div style="border:none;border-top:solid #E1E1E1 1.0pt"><p><b>From:</b> Bot<br><b>Sent:</b> Mon<br><b>To:</b> Ann<br><b>Subject:</b> Hi</p></div><p>Shall I?</p>',
    'Yes.',
  ],
  [
    'QQ',
    '<div>好的。</div><div><br></div><div style="font-size:12px">------------------&nbsp;原始邮件&nbsp;------------------</div><div>发件人: Bot</div>',
    '好的。',
  ],
  ['163', '<div>好的。</div><div id="isReplyContent">在 2025-01-06，Bot 写道：<br><blockquote>可以吗？</blockquote></div>', '好的。'],
  [
    'Apple Mail',
    'Yes.<br><div><blockquote type="cite"><div>On 6 Jan 2025, at 09:12, Bot &lt;bot@x.org&gt; wrote:</div><div>Shall I?</div></blockquote></div>',
    'Yes.',
  ],
  [
    'Thunderbird',
    '<p>Yes.</p><div class="moz-cite-prefix">On 06.01.25 Bot wrote:<br></div><blockquote cite="mid:x">Shall I?</blockquote>',
    'Yes.',
  ],
]

describe('the new text of an answer', () => {
  for (const [program, sent, added] of answers) test(program, () => assert.equal(newText(sent, true), added))
  for (const [program, sent, added] of pages) test(`${program}, HTML`, () => assert.equal(newText(htmlToText(sent), true), added))

  test('a first mail has no history, whatever it looks like', () => {
    const text = 'Please look at this:\n\n-----Original Message-----\nFrom: C\nSent: Monday\nTo: A\n\nThe words'
    assert.equal(newText(text, false), text)
  })

  test('forwarded by Gmail as HTML, it stays', () => {
    const html = '<div>See</div><div class="gmail_quote"><div>---------- Forwarded message ---------<br>From: C</div>The words</div>'
    assert.match(newText(htmlToText(html), true), /The words/)
  })
})

describe('HTML as text', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['<p>one</p><p>two</p>', 'one\n\ntwo'],
    ['a<br>b<br><br>c', 'a\nb\n\nc'],
    ['<ul><li>one<li>two</ul>', '- one\n- two'],
    ['<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>', 'a  b\nc'],
    ['5 &lt; 6 &amp;&amp; 7 &gt; 6 &#x4e2d;&#25991; &nbsp;x &unknown; &#0;&#xd800;', '5 < 6 && 7 > 6 中文  x &unknown;'],
    ['<style>p{}</style><script>alert(1)</script><title>t</title>seen', 'seen'],
    ['<!-- hidden <p>x</p> -->seen<![CDATA[y]]>', 'seen'],
    ['a < b and c > d', 'a < b and c > d'],
    ['<blockquote>q<blockquote>r</blockquote></blockquote>', '> q\n> > r'],
    ['never closed <a href="x', 'never closed <a href="x'],
    ['never closed <!-- x', 'never closed'],
  ]
  for (const [html, text] of cases) test(JSON.stringify(html.slice(0, 50)), () => assert.equal(htmlToText(html), text))
})

test('no text breaks it, and what has words keeps words', () => {
  const pieces = fc.constantFrom(
    '> ',
    '\n',
    '--',
    '-- \n',
    'On 1 x wrote:',
    'From: a',
    'Sent: b',
    'To: c',
    '<',
    '>',
    '<div class="gmail_quote">',
    '<!--',
    ' ',
    'word',
    '原始邮件',
    '-----',
  )
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), fc.boolean(), (parts, reply) => {
      const text = parts.join('')
      const kept = newText(text, reply)
      assert.equal(kept === '', text.trim() === '')
      htmlToText(text)
    }),
  )
})
