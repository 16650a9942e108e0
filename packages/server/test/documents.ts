/** Markdown and documents as bad as they come, for every channel that renders them; and what of them a person must be shown. */
import assert from 'node:assert/strict'
import { type Block, type Inline, plainInline } from '@posthouse/contract'
import fc from 'fast-check'

const MARKS = ['*', '**', '_', '~~', '`', '``', '\n```js\n', '\n```\n', '\n> ', '\n- ', '\n1. ', '\n   - ', '\n# ', '\n---\n']
const SPACES = ['\n\n', '\n', ' ', '  \n']
const LINKS = ['[', '](https://a.example/x)', '](http://localhost)', '](javascript:x)', '![', '](<a b>)', '&amp;', '<', '>', '"', '\\']
const ODD = [
  ...['\n\n|a|b|\n|-|-|\n|', '|', '|\n|', 'https://b.example/?q=<', 'a@b.example'],
  ...['\t', '\u0000', '\u202e', '\u200b', '\u2028', '\r\n', '\ud800'],
]
const WORDS = ['word', '中文', '。', 'שלום', '👩‍👩‍👧‍👦', '🇨🇳', 'e\u0301', 'नि']

/** `own`: what means something to the platform. `long`: what is longer than one of its messages when it comes a few times. */
export function hostileMarkdown({
  own,
  long,
}: {
  readonly own: readonly string[]
  readonly long: readonly string[]
}): fc.Arbitrary<string> {
  const fragment = fc.oneof(
    { arbitrary: fc.constantFrom(...MARKS, ...SPACES), weight: 5 },
    { arbitrary: fc.constantFrom(...LINKS, ...own), weight: 3 },
    { arbitrary: fc.constantFrom(...ODD), weight: 2 },
    { arbitrary: fc.constantFrom(...WORDS, ...long), weight: 4 },
  )
  return fc.array(fragment, { maxLength: 60, size: 'max' }).map((parts) => parts.join(''))
}

/** What must be seen of a text: no white space, nothing without a shape. */
export const seen = (text: string): string => text.toWellFormed().replace(/[\s\p{Cc}\p{Cf}\u2028-\u202e]/gu, '')

/** The words of a document, in order. */
function wordsOf(blocks: readonly Block[]): string {
  const ofInline = (part: Inline): string =>
    part.type === 'break' ? '' : part.type === 'image' ? part.alt : 'children' in part ? part.children.map(ofInline).join('') : part.text
  const ofBlock = (part: Block): string => {
    if (part.type === 'code') return part.text
    if (part.type === 'rule') return ''
    if (part.type === 'quote') return wordsOf(part.children)
    if (part.type === 'list') return part.items.map((item) => wordsOf(item.children)).join('')
    return part.type === 'table' ? part.rows.flat(2).map(ofInline).join('') : part.children.map(ofInline).join('')
  }
  return blocks.map(ofBlock).join('')
}

/** Fails unless every character that must be seen of the document is in `shown`, in its order. */
export function assertShown(shown: string, document: readonly Block[], visible: (text: string) => string = seen): void {
  const all = [...visible(shown)]
  let at = 0
  for (const character of visible(wordsOf(document))) {
    at = all.indexOf(character, at) + 1
    if (at === 0) assert.fail(`${JSON.stringify(character)} is lost in ${JSON.stringify(shown)}`)
  }
}

/** Links that a person can see. */
export function linksIn(blocks: readonly Block[]): readonly string[] {
  const found: string[] = []
  JSON.stringify(blocks, (_, value: Inline) => {
    if (value?.type === 'link' && seen(plainInline(value.children)) !== '') found.push(value.href)
    return value
  })
  return found
}

/** Runs of signs, some of which mean something somewhere. */
export const signs = fc.stringMatching(/^[\w*_~`[\]()#>|<&:!.+$\\"'@ -]{0,30}$/)

/** Documents of every form, nested. `own`: what means something to the platform. */
export function anyDocument(own: readonly string[]): fc.Arbitrary<readonly Block[]> {
  const texts = fc.oneof(signs, fc.constantFrom('![x](y)', '| a | b |\n| --- | --- |', '```', '\u0000\ud800', '你好', ...own))
  const inline: fc.Arbitrary<Inline> = fc.letrec<{ inline: Inline }>((tie) => ({
    inline: fc.oneof(
      { depthSize: 'small' },
      texts.map((text): Inline => ({ type: 'text', text })),
      texts.map((text): Inline => ({ type: 'code', text })),
      fc
        .tuple(fc.constantFrom('strong' as const, 'emphasis' as const, 'strike' as const), fc.array(tie('inline'), { maxLength: 3 }))
        .map(([type, children]): Inline => ({ type, children })),
      fc
        .tuple(fc.webUrl(), fc.array(tie('inline'), { maxLength: 2 }))
        .map(([href, children]): Inline => ({ type: 'link', href, children })),
      fc.tuple(texts, fc.webUrl()).map(([alt, src]): Inline => ({ type: 'image', alt, src })),
    ),
  })).inline
  const line = fc.array(inline, { maxLength: 4 })
  const block: fc.Arbitrary<Block> = fc.letrec<{ block: Block }>((tie) => ({
    block: fc.oneof(
      { depthSize: 'small' },
      line.map((children): Block => ({ type: 'paragraph', children })),
      fc.tuple(fc.integer({ min: 1, max: 6 }), line).map(([level, children]): Block => ({ type: 'heading', level, children })),
      fc.tuple(texts, texts).map(([language, text]): Block => ({ type: 'code', language, text })),
      fc.array(tie('block'), { maxLength: 3 }).map((children): Block => ({ type: 'quote', children })),
      fc
        .tuple(fc.boolean(), fc.array(fc.array(tie('block'), { maxLength: 2 }), { minLength: 1, maxLength: 3 }))
        .map(([ordered, items]): Block => ({ type: 'list', ordered, start: 1, items: items.map((children) => ({ children })) })),
      fc
        .tuple(fc.array(line, { minLength: 1, maxLength: 3 }), fc.array(fc.array(line, { maxLength: 3 }), { maxLength: 3 }))
        .map(([header, rows]): Block => ({ type: 'table', header, rows })),
    ),
  })).block
  return fc.array(block, { maxLength: 6 })
}
