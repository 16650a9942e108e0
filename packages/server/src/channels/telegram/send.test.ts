import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OutboundMessage } from '@posthouse/contract'
import { parseTelegramHtml } from '@posthouse/testkit'
import fc from 'fast-check'
import { assertShown, hostileMarkdown, linksIn, seen as visible } from '../../../test/documents.ts'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { MAX_TEXT, render, toHtml } from './send.ts'

const message = (text: string, document = parseMarkdown(text)): OutboundMessage => ({
  id: '1',
  to: { room: '1', type: 'direct' },
  text,
  document,
})
const html = (text: string) => toHtml(parseMarkdown(text)).html

test('writes each form in the tags that Telegram knows', () => {
  assert.equal(html('# A *b*\n\nc **d *e*** ~~f~~ `g<`'), '<b>A <i>b</i></b>\n\nc <b>d <i>e</i></b> <s>f</s> <code>g&lt;</code>')
  assert.equal(html('```c++\na < b\n```'), '<pre><code class="language-c++">a &lt; b</code></pre>')
  assert.equal(html('```"><script>\nx\n```'), '<pre>x</pre>')
  assert.equal(html('> a\n> > b\n> c'), '<blockquote>a\n&gt; b\n&gt; c</blockquote>')
  assert.equal(html('- a\n  - b\n- [x] c\n\n7. d\n8. e'), '• a\n   • b\n☑ c\n\n7. d\n8. e')
  assert.equal(html('[a](https://a.example/?x=1&y="2")'), '<a href="https://a.example/?x=1&amp;y=%222%22">a</a>')
  assert.equal(html('![i](https://a.example/i.png)'), '<a href="https://a.example/i.png">🖼 i</a>')
  assert.equal(html('a\n\n---\n\nb'), 'a\n\n──────────\n\nb')
})

test('flattens what Telegram does not nest', () => {
  assert.equal(html('**a `b` c**'), '<b>a </b><code>b</code><b> c</b>')
  assert.equal(html('**a *b `c` d* e**'), '<b>a <i>b </i></b><code>c</code><b><i> d</i> e</b>')
  assert.equal(html('# a **b**'), '<b>a b</b>')
  assert.equal(html('[`a`](https://a.example)'), '<a href="https://a.example">a</a>')
  assert.equal(html('> ```\n> a\n> ```'), '<blockquote><pre>a</pre></blockquote>')
})

test('an address that Telegram would drop is written out', () => {
  assert.equal(html('[open](http://localhost:3000)'), 'open (http://localhost:3000)')
  assert.equal(html('[file](./a.md)'), 'file (./a.md)')
  assert.equal(html('[mail](mailto:a@b.example)'), 'mail (a@b.example)')
  assert.equal(html('a@b.example'), 'a@b.example')
  // It removes this line below a letter: nobody would see a link.
  assert.equal(html('[\u0333](https://a.example)'), '\u0333 (https://a.example)')
})

test('tables are columns where a phone has room, else lists', () => {
  assert.equal(html('|a|中文|\n|-|-|\n|1|2|\n|长的|4|'), '<pre>a    │ 中文\n─────┼─────\n1    │ 2   \n长的 │ 4   </pre>')
  const wide = 'x'.repeat(50)
  assert.equal(html(`|a|b|\n|-|-|\n|1|${wide}|\n|2|**y**|`), `• <b>a</b>: 1\n  <b>b</b>: ${wide}\n• <b>a</b>: 2\n  <b>b</b>: <b>y</b>`)
  assert.equal(html('|a|\n|-|\n|[x](https://a.example)|'), '• <b>a</b>: <a href="https://a.example">x</a>')
})

test('splits at 4096 units of what is seen, not of the markup', () => {
  const bold = '**&&&&** '.repeat(512)
  assert.ok(toHtml(parseMarkdown(bold)).text.length < MAX_TEXT)
  // 512 entities are more than Telegram keeps in one message.
  assert.equal(render(message(bold)).length, 6)
  assert.equal(render(message('&'.repeat(4096))).length, 1)
  assert.deepEqual(
    render(message('&'.repeat(4097))).map((piece) => piece.text.length),
    [4096, 1],
  )
  const emoji = render(message('👍🏽'.repeat(2000)))
  assert.deepEqual(
    emoji.map((piece) => piece.text.length % 4),
    [0, 0],
  )
})

test('a large fence is reopened with its language', () => {
  const pieces = render(message(`before\n\n\`\`\`js\n${'let a = 1\n'.repeat(1000)}\`\`\`\nafter`))
  assert.ok(pieces.length >= 3)
  for (const piece of pieces) assert.match(String(piece.payload.text), /<pre><code class="language-js">[^<]+<\/code><\/pre>/)
})

test('hostile inputs take bounded time and stay acceptable', () => {
  const inputs = [
    `${'>'.repeat(10_000)} x`,
    `|a|b|\n|-|-|\n${'|x|y|\n'.repeat(50_000)}`,
    'x'.repeat(1_000_000),
    `\`\`\`\n${'y'.repeat(1_000_000)}`,
    '*a **b '.repeat(50_000),
    `- ${'- '.repeat(500)}x`,
  ]
  for (const input of inputs) {
    const started = process.cpuUsage()
    for (const piece of render(message(input))) assert.ok(parseTelegramHtml(String(piece.payload.text)).text.length <= MAX_TEXT)
    const { user } = process.cpuUsage(started)
    assert.ok(user < 20_000_000, `${input.slice(0, 20)}: ${user / 1e6} s`)
  }
})

// ---- Any Markdown -----------------------------------------------------------------------------------------------------

const markdown = hostileMarkdown({
  own: ['<b>', '</i>', '&', '\u0333'],
  long: ['a'.repeat(500), '词'.repeat(900), 'x y '.repeat(300)],
})

/** Telegram itself removes these. */
const seen = (text: string) => visible(text).replace(/\u0333|\u033f|\u030a/gu, '')

test('whatever the Markdown, Telegram takes every piece and nothing visible is lost', () => {
  fc.assert(
    fc.property(markdown, (source) => {
      const document = parseMarkdown(source)
      const pieces = render(message(source, document)).map((piece) => {
        // Throws what Telegram would refuse.
        const parsed = parseTelegramHtml(String(piece.payload.text))
        assert.ok(parsed.text.length > 0 && parsed.text.length <= piece.text.length && piece.text.length <= MAX_TEXT)
        assert.equal(seen(parsed.text), seen(piece.text))
        return parsed
      })
      const all = pieces.map((piece) => piece.text).join('')
      assertShown(all, document, seen)
      const urls = pieces.flatMap((piece) => piece.entities.map((entity) => (entity.type === 'text_link' ? entity.url : '')))
      for (const href of linksIn(document))
        assert.ok(urls.includes(href) || seen(all).includes(seen(href.replace(/^mailto:/, ''))), `${href} is lost`)
    }),
    { numRuns: 800 },
  )
})
