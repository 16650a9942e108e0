import { describe, expect, it } from 'vitest'
import { emptyStream, growStream, parseMarkdown, plainText, type Token } from './markdown.ts'

const flat = (tokens: readonly Token[]): Token[] => tokens.flatMap((token) => [token, ...flat(token.children ?? [])])
const tokensOf = (text: string) => parseMarkdown(text).flatMap((block) => flat(block.tokens))
const formulas = (text: string) =>
  tokensOf(text)
    .filter(({ type }) => type === 'math_inline' || type === 'math_block')
    .map(({ content }) => content.trim())
const types = (text: string) => tokensOf(text).map(({ type }) => type)

describe('money is no formula', () => {
  it.each([
    'It costs $5.',
    'Between $5 and $10.',
    'From $1,000 to $2,000 a month.',
    '$20/month or $200/year',
    'Revenue rose from $3.2M to $4.1M.',
    'US$5, HK$40, A$8',
    'A $100 bill and a $50 bill make $150.',
    'Save $$$ today!',
    'He paid $5, she paid $6, they paid $7.',
    'The price is $9.99 (was $19.99).',
    '一共 $5，另付 $10 运费。',
    '$HOME and $PATH are variables.',
    '`$5` and `$10`',
    'cost = $5 * 3 = $15',
    '**$5** and *$10*',
    '| Item | Price |\n| --- | --- |\n| Tea | $3 |\n| Cake | $4 |',
    '- $1\n- $2',
    '$5 - $3 = $2',
    'Is it $5? No, $6!',
    'Escaped \\$5 and \\$6',
    'The total is $$, not more.',
  ])('%s', (text) => {
    expect(formulas(text)).toEqual([])
  })
})

describe('formulas', () => {
  it.each([
    ['$$x$$', 'x'],
    ['$$a^2 + b^2 = c^2$$', 'a^2 + b^2 = c^2'],
    ['$$\n\\frac{1}{2}\n$$', '\\frac{1}{2}'],
    ['before $$x + y$$ after', 'x + y'],
    ['\\(x\\)', 'x'],
    ['so \\(a_1\\), then', 'a_1'],
    ['中文\\(x_i\\)后文', 'x_i'],
    ['\\[x\\]', 'x'],
    ['\\[\n\\sum_{i=1}^n i\n\\]', '\\sum_{i=1}^n i'],
    ['text \\[ y = mx + b \\] text', 'y = mx + b'],
    ['$$a * b * c$$', 'a * b * c'],
    ['$$x_1 _ y_2$$', 'x_1 _ y_2'],
    ['\\(a < b\\)', 'a < b'],
    ['\\(\\text{cost} = \\$5\\)', '\\text{cost} = \\$5'],
    ['- item \\(x\\)', 'x'],
    ['> $$q$$', 'q'],
    ['1. first\n\n   $$\n   z\n   $$', 'z'],
    ['| a |\n| --- |\n| \\(c\\) |', 'c'],
    ['$$速度 = \\frac{路程}{时间}$$', '速度 = \\frac{路程}{时间}'],
    ['**bold \\(x\\)**', 'x'],
    ['$$\na\n- b\n$$', 'a\n- b'],
    ['costs $5 and \\(x\\) and $6', 'x'],
  ])('%j', (text, formula) => {
    expect(formulas(text)).toEqual([formula])
  })

  it.each([
    '$$x',
    '\\[ never closed',
    '\\( open',
    '$$\nx + y\n\nA new paragraph with $$',
    '\\\\(x\\\\)',
    '`\\(x\\)`',
    '```\n$$x$$\n```',
    '$$$$',
    '$$ $$',
    '\\(\\)',
  ])('without both delimiters is text: %j', (text) => {
    expect(formulas(text)).toEqual([])
  })

  it('that is not closed swallows nothing', () => {
    expect(plainText('Before.\n\n$$ open\n\n**After** it.')).toBe('Before.\n$$ open\nAfter it.')
  })
})

describe('Markdown', () => {
  it('keeps HTML as text', () => {
    expect(plainText('<b>x</b> <script>alert(1)</script>')).toBe('<b>x</b> <script>alert(1)</script>')
    expect(types('<img src=x onerror=alert(1)>').some((type) => type.startsWith('html'))).toBe(false)
  })

  it('knows where Chinese emphasis ends', () => {
    expect(types('**中文（注）。**后文')).toContain('strong_open')
    expect(types('这是**“引号”**，后文')).toContain('strong_open')
  })

  it('links bare addresses with a scheme only', () => {
    expect(types('see https://example.org now')).toContain('link_open')
    expect(types('see readme.md and example.org')).not.toContain('link_open')
    expect(types('[x](javascript:alert(1))')).not.toContain('link_open')
  })

  it('has tables, strikes and footnotes', () => {
    expect(types('| a |\n| --- |\n| b |')).toContain('table_open')
    expect(types('~~x~~')).toContain('s_open')
    expect(types('x[^1]\n\n[^1]: note')).toEqual(expect.arrayContaining(['footnote_ref', 'footnote_open']))
  })
})

const samples = [
  '# Title\n\nFirst *paragraph*\nsecond line.\n\n- a\n- b\n  - c\n\n1. x\n\n2. y\n\n> quote\n\n| h |\n| --- |\n| c |\n\n```js\nlet a = 1\n\nlet b = 2\n```\n\nEnd.',
  'Math:\n\n$$\na\n- b\n$$\n\nthen \\(x\\) and \\[\ny\n\\]\n\nand $5 to $10.\n\n$$ never closed\n\nmore',
  '中文段落。\n\n**加粗（注）。**后文\n\n- 一\n- 二\n\n```\n未关闭的代码\n\n还有一行',
  'a\r\n\r\nb\r\n\r\n- c\r\n',
  'Setext\n===\n\ntext\n---\n\n    indented\n\n    more\n\n***\n\n[ref]: https://example.org\n\nSee [ref].',
  '\n\n  leading blank lines\n\n\n\nand trailing\n\n\n',
]

describe('a text that grows', () => {
  it.each(samples)('is neither lost nor doubled: %j', (sample) => {
    const text = sample.replace(/\r\n?/g, '\n')
    let stream = emptyStream
    for (let end = 0; end <= text.length; end++) {
      const before = stream.done
      stream = growStream(stream, text.slice(0, end))
      expect(stream.done.map(({ source }) => source).join('') + stream.rest).toBe(text.slice(0, end))
      // What is finished stays the very same object: it is never parsed or drawn again.
      expect(stream.done.slice(0, before.length).every((block, index) => block === before[index])).toBe(true)
    }
    const words = (blocks: readonly { tokens: readonly Token[] }[]) =>
      blocks
        .flatMap((block) => flat(block.tokens))
        .filter((token) => token.children === null)
        .map((token) => token.content)
        .join('')
    expect(words([...stream.done, ...stream.open])).toBe(words(parseMarkdown(text)))
  })

  it('reads the same in pieces of any size', () => {
    const text = samples[0] ?? ''
    for (const size of [1, 3, 7, 20, 200]) {
      let stream = emptyStream
      for (let end = size; end < text.length + size; end += size) stream = growStream(stream, text.slice(0, end))
      expect(stream.done.map(({ source }) => source).join('') + stream.rest).toBe(text)
    }
  })

  it('finishes blocks early: a long answer is not parsed as a whole', () => {
    const text = Array.from({ length: 200 }, (_, index) => `Paragraph ${index} with some words.`).join('\n\n')
    let stream = emptyStream
    for (let end = 0; end <= text.length; end += 50) stream = growStream(stream, text.slice(0, end))
    expect(stream.done.length).toBeGreaterThan(190)
    expect(stream.rest.length).toBeLessThan(150)
  })

  it('that begins anew forgets the old one', () => {
    const stream = growStream(growStream(emptyStream, 'old text\n\nmore old text\n\n'), 'New')
    expect(stream).toMatchObject({ done: [], rest: 'New' })
  })
})
