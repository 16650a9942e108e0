import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Block, Inline } from './document.ts'
import { type Dialect, tableColumns, writeMarkup } from './markup.ts'

const text = (value: string): Inline => ({ type: 'text', text: value })
const paragraph = (...children: Inline[]): Block => ({ type: 'paragraph', children })
const strong = (...children: Inline[]): Inline => ({ type: 'strong', children })

const dialect: Dialect = {
  text: (plain) => plain.replace(/[*_`]/g, '\\$&'),
  strong: (inner) => `**${inner}**`,
  emphasis: (inner) => `_${inner}_`,
  code: (code) => `\`${code}\``,
  link: (inner, href) => (href.startsWith('https:') ? `[${inner}](${href})` : undefined),
  heading: (inner, level) => `${'#'.repeat(level)} ${inner}`,
  fence: (code, language) => `\`\`\`${language}\n${code}\n\`\`\``,
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '- ',
  rule: '---',
}
const written = (...document: Block[]) => writeMarkup(document, dialect)

describe('markup', () => {
  it('marks never stand beside white space, and never around nothing', () => {
    assert.equal(written(paragraph(strong(text(' a ')), text('b'))), ' **a** b')
    assert.equal(written(paragraph(text('x'), strong(text('  ')), text('y'))), 'x  y')
    assert.equal(written(paragraph(strong())), '')
  })

  it('marks that touch are set apart, where the dialect wants it', () => {
    const touching = [paragraph(strong(text('a')), strong(text('b')), text('c'), strong(text('d')))]
    assert.equal(writeMarkup(touching, dialect), '**a****b**c**d**')
    assert.equal(writeMarkup(touching, { ...dialect, apart: '|' }), '**a**|**b**c**d**')
  })

  it('code beside code is one piece of code', () => {
    const code = (value: string): Inline => ({ type: 'code', text: value })
    assert.equal(written(paragraph(code('a'), code('b'), text('c'), code('d'))), '`ab`c`d`')
  })

  it('a table without a word is nothing', () => {
    assert.equal(written({ type: 'table', header: [[]], rows: [] }), '')
  })

  it('a mark that the dialect lacks leaves its words', () => {
    assert.equal(written(paragraph({ type: 'strike', children: [text('gone')] })), 'gone')
  })

  it('an address that makes no link is written behind its label', () => {
    const link = (href: string, label: string) => written(paragraph({ type: 'link', href, children: [text(label)] }))
    assert.equal(link('https://a.example', 'here'), '[here](https://a.example)')
    assert.equal(link('ftp://a_b.example', 'here'), 'here (ftp://a\\_b.example)')
    assert.equal(link('mailto:ann@example.com', 'ann@example.com'), 'ann@example.com')
    assert.equal(written(paragraph({ type: 'image', src: 'https://a.example/i.png', alt: 'cat' })), '[🖼 cat](https://a.example/i.png)')
  })

  it('lists nest, are numbered on, and hold other blocks', () => {
    const inner: Block = { type: 'list', ordered: false, start: 1, items: [{ checked: true, children: [paragraph(text('done'))] }] }
    const list: Block = {
      type: 'list',
      ordered: true,
      start: 9,
      items: [
        { children: [paragraph(text('one')), inner] },
        { children: [paragraph(text('two')), { type: 'code', language: 'js', text: 'a\nb' }] },
      ],
    }
    assert.equal(written(list), '9. one\n   - ☑ done\n10. two\n   ```js\n   a\n   b\n   ```')
  })

  it('quotes in quotes, blank blocks left out', () => {
    const quote: Block = { type: 'quote', children: [paragraph(text('a')), { type: 'quote', children: [paragraph(text('b'))] }] }
    assert.equal(written(quote, paragraph(), { type: 'heading', level: 2, children: [] }, { type: 'rule' }), '> a\n> > b\n\n---')
  })

  it('a narrow table stands in columns, wide characters counted twice; a wide one becomes lists', () => {
    const header = [[text('名')], [text('n')]]
    const narrow = { type: 'table', header, rows: [[[text('a')], [text('1')]]] } as const
    assert.equal(tableColumns(narrow), '名 │ n\n───┼──\na  │ 1')
    const wide = {
      type: 'table',
      header,
      rows: [
        [[text('a'.repeat(50))], []],
        [[text('b')], [text('2')]],
      ],
    } as const
    assert.equal(written(wide), `- **名**: ${'a'.repeat(50)}\n   **n**\n- **名**: b\n   **n**: 2`)
    const linked = { type: 'table', header, rows: [[[{ type: 'link', href: 'https://a.example', children: [text('a')] }], []]] } as const
    assert.equal(tableColumns(linked as never), undefined)
  })
})
