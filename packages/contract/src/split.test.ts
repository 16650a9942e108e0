import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Block, Inline, ListItem } from './document.ts'
import { measure, plainText, splitDocument } from './split.ts'

const text = (value: string): Inline => ({ type: 'text', text: value })
const paragraph = (...children: Inline[]): Block => ({ type: 'paragraph', children })
const fitting = (limit: number) => (blocks: readonly Block[]) => plainText(blocks).length <= limit
const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' })
const clustersOf = (value: string) => [...segmenter.segment(value)].map((part) => part.segment)

fc.configureGlobal({ baseSize: 'medium' })
const HEADER = '§'
const words = fc.string({
  unit: fc.constantFrom(
    'a',
    'b',
    ' ',
    ' ',
    '. ',
    '。',
    '中',
    '文',
    '\u00e9',
    'e\u0301',
    '👍🏽',
    '👩‍👩‍👧‍👦',
    '🇨🇳',
    'ש',
    'नि',
    '<',
    '&',
    '*',
    'longerword',
  ),
  maxLength: 60,
})
const { inline } = fc.letrec<{ inline: Inline; inlines: Inline[] }>((tie) => ({
  inline: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    words.map(text),
    words.map((value): Inline => ({ type: 'code', text: value })),
    fc.constant<Inline>({ type: 'break' }),
    words.map((alt): Inline => ({ type: 'image', src: 'https://example.com/a.png', alt })),
    fc.tuple(fc.constantFrom('strong', 'emphasis', 'strike'), tie('inlines')).map(([type, children]): Inline => ({ type, children })),
    tie('inlines').map((children): Inline => ({ type: 'link', href: 'u', children })),
  ),
  inlines: fc.array(tie('inline'), { maxLength: 5 }),
}))
const inlines = fc.array(inline, { maxLength: 6 })
const { block } = fc.letrec<{ block: Block; blocks: Block[] }>((tie) => ({
  block: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    inlines.map((children): Block => ({ type: 'paragraph', children })),
    inlines.map((children): Block => ({ type: 'heading', level: 2, children })),
    fc.array(words, { maxLength: 12 }).map((lines): Block => ({ type: 'code', language: 'js', text: lines.join('\n') })),
    fc.constant<Block>({ type: 'rule' }),
    tie('blocks').map((children): Block => ({ type: 'quote', children })),
    fc
      .tuple(fc.boolean(), fc.array(tie('blocks'), { maxLength: 5 }))
      .map(([ordered, items]): Block => ({ type: 'list', ordered, start: 1, items: items.map((children): ListItem => ({ children })) })),
    fc
      .array(fc.tuple(inlines, inlines), { maxLength: 6 })
      .map((rows): Block => ({ type: 'table', header: [[text(HEADER)], [text(HEADER)]], rows })),
  ),
  blocks: fc.array(tie('block'), { maxLength: 4 }),
}))

/** Everything visible, in order; headers (which may be repeated) and white space left out. */
function visible(blocks: readonly Block[]): string {
  const ofInline = (part: Inline): string => {
    if (part.type === 'break') return ''
    if (part.type === 'image') return part.alt
    return 'children' in part ? part.children.map(ofInline).join('') : part.text
  }
  const ofBlock = (part: Block): string => {
    if (part.type === 'code') return part.text
    if (part.type === 'rule') return '─'
    if (part.type === 'list') return part.items.map((item) => visible(item.children)).join('')
    if (part.type === 'table') return part.rows.flat(2).map(ofInline).join('')
    return part.type === 'quote' ? visible(part.children) : part.children.map(ofInline).join('')
  }
  return blocks.map(ofBlock).join('').replace(/\s|§/g, '')
}

test('everything arrives in order and every part fits', () => {
  fc.assert(
    fc.property(fc.array(block, { maxLength: 6 }), fc.integer({ min: 160, max: 600 }), (document, limit) => {
      const parts = splitDocument(document, fitting(limit))
      for (const part of parts) assert.ok(plainText(part).length <= limit, `a part of ${plainText(part).length}, limit ${limit}`)
      assert.equal(parts.map(visible).join(''), visible(document))
    }),
    { numRuns: 500 },
  )
})

test('no grapheme cluster is cut', () => {
  fc.assert(
    fc.property(fc.array(inline, { minLength: 4, maxLength: 12 }), fc.integer({ min: 90, max: 120 }), (children, limit) => {
      const document = [paragraph(...children.filter((part) => JSON.stringify(part).includes('image') === false))]
      const parts = splitDocument(document, fitting(limit))
      assert.deepEqual(
        parts.flatMap((part) => clustersOf(visible(part))),
        clustersOf(visible(document)),
      )
    }),
    { numRuns: 500 },
  )
})

test('a cluster that cannot fit is cut between code points and arrives whole', () => {
  const monster = `e${'\u0301'.repeat(50)}👩${'\u200d👩'.repeat(20)}`
  const parts = splitDocument([paragraph(text(monster))], fitting(10))
  assert.equal(parts.map(plainText).join(''), monster)
  for (const part of parts) {
    assert.ok(plainText(part).length <= 10)
    assert.equal(plainText(part).isWellFormed(), true)
  }
})

test('what fits is one part after one question', () => {
  let asked = 0
  const document = [paragraph(text('short'))]
  const parts = splitDocument(document, () => {
    asked++
    return true
  })
  assert.deepEqual([parts, asked], [[document], 1])
})

test('cuts at the end of a sentence before a word before a cluster', () => {
  const cut = (value: string, limit: number) => splitDocument([paragraph(text(value))], fitting(limit)).map(plainText)
  assert.deepEqual(cut('One sentence here. Another begins and goes on', 30), ['One sentence here. ', 'Another begins and goes on'])
  assert.deepEqual(cut('第一句话到这里结束。第二句话从这里开始', 14), ['第一句话到这里结束。', '第二句话从这里开始'])
  assert.deepEqual(cut('several words without an end', 15), ['several words ', 'without an end'])
  assert.deepEqual(cut('x'.repeat(25), 10), ['x'.repeat(10), 'x'.repeat(10), 'x'.repeat(5)])
})

test('reopens marks, fences, numbering and headers', () => {
  const strong = paragraph({ type: 'strong', children: [text('aaaa bbbb cccc')] })
  assert.deepEqual(splitDocument([strong], fitting(10)), [
    [paragraph({ type: 'strong', children: [text('aaaa bbbb ')] })],
    [paragraph({ type: 'strong', children: [text('cccc')] })],
  ])
  const code: Block = { type: 'code', language: 'sh', text: 'one\ntwo\nthree' }
  assert.deepEqual(splitDocument([code], fitting(8)), [[{ ...code, text: 'one\ntwo' }], [{ ...code, text: 'three' }]])
  const item = (value: string): ListItem => ({ children: [paragraph(text(value))] })
  const list: Block = { type: 'list', ordered: true, start: 3, items: [item('aa'), item('bb'), item('cc')] }
  assert.deepEqual(splitDocument([list], fitting(12)), [
    [{ ...list, items: [item('aa'), item('bb')] }],
    [{ ...list, start: 5, items: [item('cc')] }],
  ])
  const table: Block = { type: 'table', header: [[text('h')]], rows: [[[text('aaaa')]], [[text('bbbb')]]] }
  assert.deepEqual(splitDocument([table], fitting(8)), [[{ ...table, rows: [[[text('aaaa')]]] }], [{ ...table, rows: [[[text('bbbb')]]] }]])
})

test('the rest of a long item carries no second number', () => {
  const list: Block = { type: 'list', ordered: true, start: 1, items: [{ children: [paragraph(text('aaaa bbbb cccc dddd'))] }] }
  const parts = splitDocument([list, paragraph(text('end'))], fitting(13))
  assert.deepEqual(parts.map(plainText), ['1. aaaa bbbb ', 'cccc dddd', 'end'])
})

test('megabytes cost calls in proportion to their length', () => {
  const long = (size: number): Record<string, Block[]> => ({
    words: [paragraph(text('word '.repeat(size / 5)))],
    line: [{ type: 'code', language: '', text: 'x'.repeat(size) }],
    rows: [{ type: 'table', header: [[text('h')]], rows: Array.from({ length: size / 20 }, () => [[text('y'.repeat(16))]]) }],
    blocks: Array.from({ length: size / 50 }, () => paragraph(text('z'.repeat(48)))),
    quoted: [{ type: 'quote', children: [{ type: 'quote', children: [paragraph(text('q。'.repeat(size / 2)))] }] }],
  })
  for (const [name, document] of Object.entries(long(1_000_000))) {
    let asked = 0
    const parts = splitDocument(document, (blocks) => {
      asked++
      return plainText(blocks).length <= 4096
    })
    assert.ok(parts.length >= 200 && parts.length < 400, `${name}: ${parts.length} parts`)
    assert.ok(asked < parts.length * 40, `${name}: ${asked} questions for ${parts.length} parts`)
    assert.equal(parts.map(visible).join('').length, visible(document).length)
  }
})

test('measures in the unit of the platform', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (value) => {
      assert.equal(measure(value, 'bytes'), Buffer.byteLength(value))
      assert.equal(measure(value, 'code-points'), [...value].length)
      assert.equal(measure(value, 'utf16'), value.length)
    }),
  )
})
