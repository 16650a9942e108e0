import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Block, type Inline, type OutboundMessage, plainInline } from '@posthouse/contract'
import { parseTelegramHtml } from '@posthouse/testkit'
import fc from 'fast-check'
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

const fragment = fc.oneof(
  {
    arbitrary: fc.constantFrom(
      '*',
      '**',
      '_',
      '~~',
      '`',
      '``',
      '\n```js\n',
      '\n```\n',
      '\n> ',
      '\n- ',
      '\n1. ',
      '\n   - ',
      '\n# ',
      '\n---\n',
      '\n\n',
      '\n',
      ' ',
      '  \n',
    ),
    weight: 5,
  },
  {
    arbitrary: fc.constantFrom(
      '[',
      '](https://a.example/x)',
      '](http://localhost)',
      '](javascript:x)',
      '![',
      '](<a b>)',
      '<b>',
      '</i>',
      '&amp;',
      '&',
      '<',
      '>',
      '"',
      '\\',
    ),
    weight: 3,
  },
  {
    arbitrary: fc.constantFrom(
      '\n\n|a|b|\n|-|-|\n|',
      '|',
      '|\n|',
      'https://b.example/?q=<',
      'a@b.example',
      '\t',
      '\u0000',
      '\u202e',
      '\u200b',
      '\u2028',
      '\r\n',
      '\ud800',
    ),
    weight: 2,
  },
  {
    arbitrary: fc.constantFrom(
      'word',
      '中文',
      '。',
      'שלום',
      '👩‍👩‍👧‍👦',
      '🇨🇳',
      'e\u0301',
      '\u0333',
      'नि',
      'a'.repeat(500),
      '词'.repeat(900),
      'x y '.repeat(300),
    ),
    weight: 4,
  },
)
const markdown = fc.array(fragment, { maxLength: 60, size: 'max' }).map((parts) => parts.join(''))

/** What must be seen: no white space, nothing without a shape, nothing that Telegram itself removes. */
const seen = (text: string) => text.toWellFormed().replace(/[\s\p{Cc}\p{Cf}\u2028-\u202e]|\u0333|\u033f|\u030a/gu, '')

function leaves(blocks: readonly Block[]): string {
  const ofInline = (part: Inline): string =>
    part.type === 'break' ? '' : part.type === 'image' ? part.alt : 'children' in part ? part.children.map(ofInline).join('') : part.text
  const ofBlock = (part: Block): string => {
    if (part.type === 'code') return part.text
    if (part.type === 'rule') return ''
    if (part.type === 'quote') return leaves(part.children)
    if (part.type === 'list') return part.items.map((item) => leaves(item.children)).join('')
    return part.type === 'table' ? part.rows.flat(2).map(ofInline).join('') : part.children.map(ofInline).join('')
  }
  return blocks.map(ofBlock).join('')
}

function links(blocks: readonly Block[]): { href: string; label: string }[] {
  const found: { href: string; label: string }[] = []
  JSON.stringify(blocks, (_, value: Inline) => {
    if (value?.type === 'link') found.push({ href: value.href, label: plainInline(value.children) })
    return value
  })
  return found
}

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
      const shown = [...seen(pieces.map((piece) => piece.text).join(''))]
      let at = 0
      for (const character of seen(leaves(document))) {
        at = shown.indexOf(character, at) + 1
        assert.ok(at > 0, `${JSON.stringify(character)} is lost`)
      }
      const all = pieces.map((piece) => piece.text).join('')
      const urls = pieces.flatMap((piece) => piece.entities.map((entity) => (entity.type === 'text_link' ? entity.url : '')))
      for (const { href, label } of links(document)) {
        if (seen(label) !== '') assert.ok(urls.includes(href) || seen(all).includes(seen(href.replace(/^mailto:/, ''))), `${href} is lost`)
      }
    }),
    { numRuns: 800 },
  )
})
