import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Block, type Inline, plainText } from '@posthouse/contract'
import fc from 'fast-check'
import { parseMarkdown, withMark } from './markdown.ts'

const text = (value: string): Inline => ({ type: 'text', text: value })
const paragraph = (...children: Inline[]): Block => ({ type: 'paragraph', children })

test('reads every form', () => {
  const source = [
    '# Title with `code`',
    'one **two *three*** ~~four~~\nfive [six](https://a.example/b "t") ![alt](https://a.example/i.png)',
    '```js\nlet a\n\nlet b\n```',
    '> quoted\n> > twice',
    '- [x] done\n- [ ] open\n  1. deep',
    '3. three\n4. four',
    '| h | i |\n|---|---|\n| a | **b** |',
    '---',
    '    indented',
  ].join('\n\n')
  const item = (...children: Block[]) => ({ children })
  assert.deepEqual(parseMarkdown(source), [
    { type: 'heading', level: 1, children: [text('Title with '), { type: 'code', text: 'code' }] },
    paragraph(
      text('one '),
      { type: 'strong', children: [text('two '), { type: 'emphasis', children: [text('three')] }] },
      text(' '),
      { type: 'strike', children: [text('four')] },
      { type: 'break' },
      text('five '),
      { type: 'link', href: 'https://a.example/b', children: [text('six')] },
      text(' '),
      { type: 'image', src: 'https://a.example/i.png', alt: 'alt' },
    ),
    { type: 'code', language: 'js', text: 'let a\n\nlet b' },
    { type: 'quote', children: [paragraph(text('quoted')), { type: 'quote', children: [paragraph(text('twice'))] }] },
    {
      type: 'list',
      ordered: false,
      start: 1,
      items: [
        { checked: true, children: [paragraph(text('done'))] },
        {
          checked: false,
          children: [paragraph(text('open')), { type: 'list', ordered: true, start: 1, items: [item(paragraph(text('deep')))] }],
        },
      ],
    },
    { type: 'list', ordered: true, start: 3, items: [item(paragraph(text('three'))), item(paragraph(text('four')))] },
    {
      type: 'table',
      header: [[text('h')], [text('i')]],
      rows: [[[text('a')], [{ type: 'strong', children: [text('b')] }]]],
    },
    { type: 'rule' },
    { type: 'code', language: '', text: 'indented' },
  ])
})

test('emphasis works between Chinese characters and punctuation', () => {
  assert.deepEqual(parseMarkdown('这是**“重点”**内容'), [
    paragraph(text('这是'), { type: 'strong', children: [text('“重点”')] }, text('内容')),
  ])
})

test('raw HTML, entities and scripts stay text', () => {
  assert.deepEqual(parseMarkdown('<script>alert(1)</script> <b>x</b>'), [paragraph(text('<script>alert(1)</script> <b>x</b>'))])
  assert.equal(plainText(parseMarkdown('[x](javascript:alert(1))')), '[x](javascript:alert(1))')
})

test('links what says that it is an address, and nothing else', () => {
  const links = (source: string) => JSON.stringify(parseMarkdown(source)).match(/"href":"[^"]*"/g) ?? []
  assert.deepEqual(links('see https://example.com/a, main.py, README.md and //b.example'), ['"href":"https://example.com/a"'])
  assert.deepEqual(links('write to a@example.com'), ['"href":"mailto:a@example.com"'])
})

test('an address too long to link is shown', () => {
  const href = `https://example.com/${'a'.repeat(3000)}`
  assert.deepEqual(parseMarkdown(`[x](${href})`), [paragraph(text('x'), text(` (${href})`))])
  assert.equal(plainText(parseMarkdown(`see ${href} here`)), `see ${href} here`)
})

test('a definition of a link that nobody uses is not lost', () => {
  assert.match(plainText(parseMarkdown('[1]: https://example.com/source')), /https:\/\/example\.com\/source/)
})

test('plain text takes the short way to the same tree', () => {
  const unit = fc.constantFrom(
    'a',
    'B',
    '中',
    '。',
    ' ',
    ' ',
    '\n',
    '\n',
    '.',
    ',',
    '!',
    '-',
    '+',
    '1',
    '2.',
    '3)',
    '#',
    ':',
    '=',
    '\u3000',
    '\u00a0',
    '?',
    '(',
  )
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 40 }), (source) => {
      // An escaped star in a paragraph of its own makes the parser take the long way, and is then removed.
      const long = parseMarkdown(`${source}\n\n\\*`).slice(0, -1)
      assert.deepEqual(parseMarkdown(source), long)
    }),
    { numRuns: 3000 },
  )
})

test('hostile nesting is bounded and loses nothing', () => {
  const depth = (blocks: readonly Block[]): number => {
    const inside = (block: Block): number =>
      block.type === 'quote'
        ? depth(block.children)
        : block.type === 'list'
          ? Math.max(...block.items.map((item) => depth(item.children)))
          : 0
    return blocks.length === 0 ? 0 : 1 + Math.max(...blocks.map(inside))
  }
  const quotes = parseMarkdown(`${'>'.repeat(10_000)} bottom\nnext`)
  assert.ok(depth(quotes) < 40)
  assert.match(plainText(quotes), /bottom/)
  assert.match(plainText(quotes), /next/)
  const lists = parseMarkdown(`${'- '.repeat(2000)}bottom\n\nafter`)
  assert.ok(depth(lists) < 40)
  assert.match(plainText(lists), /bottom[\s\S]*after/)
  const source = `${'*a '.repeat(2000)}${' b*'.repeat(2000)}`
  const marks = JSON.stringify(parseMarkdown(source))
  assert.equal(marks.match(/"type":"emphasis"/g)?.length, 16)
  assert.equal(plainText(parseMarkdown(source)).match(/a/g)?.length, 2000)
})

test('a mark behind a code block stays outside of it', () => {
  const marked = (text: string) => parseMarkdown(withMark(text, '⏹'))
  assert.deepEqual(marked('so'), [paragraph(text('so ⏹'))])
  for (const fence of ['```', '~~~~', '```\n']) {
    const blocks = marked(`before\n\n${fence.trim()}\nlet a\n${fence}`)
    assert.deepEqual(
      [blocks.map(({ type }) => type), plainText(blocks)],
      [['paragraph', 'code', 'paragraph'], 'before\n\nlet a\n\n⏹'],
      fence,
    )
  }
})

test('large inputs are read to the end', () => {
  const table = parseMarkdown(`|a|b|\n|-|-|\n${'|x|y|\n'.repeat(50_000)}`)
  assert.equal(table[0]?.type === 'table' && table[0].rows.length, 50_000)
  for (const source of ['x'.repeat(1_000_000), '['.repeat(300_000), '<'.repeat(1_000_000), '**a '.repeat(100_000)]) {
    assert.equal(plainText(parseMarkdown(source)).length, source.trimEnd().length)
  }
})
