/** Markdown, as models and operators write it, to the tree that every channel renders. */
import type { Block, Inline, ListItem } from '@posthouse/contract'
import MarkdownIt, { type StateBlock, type Token } from 'markdown-it'
import cjkFriendly from 'markdown-it-cjk-friendly'

/** Quotes and lists nested deeper than this (a list counts twice) stay as they were written. */
const BLOCK_DEPTH = 24
/** Marks nested deeper than this are left out, their text stays. */
const INLINE_DEPTH = 16
/** Longer addresses are shown instead of linked: platforms refuse them, and a piece must be able to hold them. */
const LONG_HREF = 2048

const parser = new MarkdownIt({ html: false, linkify: true }).use(cjkFriendly)
// A definition without a use would vanish, and so would the text of a model that lists its sources that way.
parser.disable('reference')
// Only addresses that say what they are: `main.py` and `a.b` are no links.
parser.linkify.set({ fuzzyLink: false, fuzzyIP: false }).add('//', null)
// The parser drops what is nested deeper than its limit; nothing may be dropped.
parser.block.ruler.before('table', 'too-deep', keepDeepLines)

/** Parses once for all channels. Raw HTML stays text. A line break is a line break, as people expect in a chat. */
export function parseMarkdown(text: string): readonly Block[] {
  return SPECIAL.test(text) ? readBlocks({ tokens: parser.parse(text, {}), at: 0 }) : plainParagraphs(text)
}

/** Text with a mark at its end: in the last line, unless that closes a code block; it would be open again. */
export function withMark(text: string, mark: string): string {
  return `${text}${/^[\s>]*(?:`{3,}|~{3,})\s*$/m.test(text.slice(text.trimEnd().lastIndexOf('\n') + 1)) ? '\n\n' : ' '}${mark}`
}

/** What may begin anything but a paragraph of plain text. */
const SPECIAL = /[\\`*_~[\]<>&|@\t\r\0]|:\/\/|mailto:|^ {0,3}(?:[-+=#]|\d{1,9}[.)])|^ {4}/im

function plainParagraphs(text: string): readonly Block[] {
  const blocks: Block[] = []
  let children: Inline[] = []
  for (const line of text.split('\n')) {
    const trimmed = trimSpaces(line)
    if (trimmed !== '') {
      if (children.length > 0) children.push({ type: 'break' })
      children.push({ type: 'text', text: trimmed })
    } else if (children.length > 0) {
      blocks.push({ type: 'paragraph', children })
      children = []
    }
  }
  if (children.length > 0) blocks.push({ type: 'paragraph', children })
  return blocks
}

/** Spaces only: an ideographic space in front of a paragraph is content. */
function trimSpaces(line: string): string {
  let start = 0
  let end = line.length
  while (line.charCodeAt(start) === 32) start++
  while (end > start && line.charCodeAt(end - 1) === 32) end--
  return line.slice(start, end)
}

function keepDeepLines(state: StateBlock, start: number, end: number, silent: boolean): boolean {
  if (silent || state.level < BLOCK_DEPTH) return false
  let next = start + 1
  while (next < end && (state.isEmpty(next) || (state.sCount[next] ?? 0) >= state.blkIndent)) next++
  state.push('paragraph_open', 'p', 1)
  const inline = state.push('inline', '', 0)
  inline.content = state.getLines(start, next, state.blkIndent, false).trim()
  inline.children = []
  state.push('paragraph_close', 'p', -1)
  state.line = next
  return true
}

interface Cursor {
  readonly tokens: readonly Token[]
  at: number
}

/** Reads blocks up to the token that closes their container. */
function readBlocks(cursor: Cursor, close?: string): readonly Block[] {
  const blocks: Block[] = []
  for (let token = next(cursor); token && token.type !== close; token = next(cursor)) {
    const block = readBlock(token, cursor)
    if (block) blocks.push(block)
  }
  return blocks
}

function next(cursor: Cursor): Token | undefined {
  return cursor.tokens[cursor.at++]
}

function readBlock(token: Token, cursor: Cursor): Block | undefined {
  switch (token.type) {
    case 'paragraph_open':
      return { type: 'paragraph', children: readContent(cursor) }
    case 'heading_open':
      return { type: 'heading', level: Number(token.tag.slice(1)), children: readContent(cursor) }
    case 'fence':
    case 'code_block':
      return { type: 'code', language: token.info.trim().split(/\s/, 1)[0] ?? '', text: token.content.replace(/\n$/, '') }
    case 'blockquote_open':
      return { type: 'quote', children: readBlocks(cursor, 'blockquote_close') }
    case 'bullet_list_open':
      return { type: 'list', ordered: false, start: 1, items: readItems(cursor) }
    case 'ordered_list_open':
      return { type: 'list', ordered: true, start: Number(token.attrGet('start') ?? 1), items: readItems(cursor) }
    case 'table_open':
      return readTable(cursor)
    case 'hr':
      return { type: 'rule' }
    default:
      return undefined
  }
}

/** The inline token behind the one just read, and past the closing one. */
function readContent(cursor: Cursor): readonly Inline[] {
  const inline = next(cursor)
  cursor.at++
  return readInlines(inline?.children ?? [])
}

function readItems(cursor: Cursor): readonly ListItem[] {
  const items: ListItem[] = []
  for (let token = next(cursor); token?.type === 'list_item_open'; token = next(cursor)) {
    items.push(readTask(readBlocks(cursor, 'list_item_close')))
  }
  return items
}

/** `[ ] ` and `[x] ` in front of an item make it a task. */
function readTask(children: readonly Block[]): ListItem {
  const [first, ...rest] = children
  if (first?.type !== 'paragraph') return { children }
  const [head, ...tail] = first.children
  const box = head?.type === 'text' ? /^\[([ xX])\] /.exec(head.text) : null
  if (head?.type !== 'text' || !box) return { children }
  const text: Inline = { type: 'text', text: head.text.slice(box[0].length) }
  return { checked: box[1] !== ' ', children: [{ type: 'paragraph', children: [text, ...tail] }, ...rest] }
}

function readTable(cursor: Cursor): Block {
  const rows: (readonly Inline[])[][] = []
  for (let token = next(cursor); token && token.type !== 'table_close'; token = next(cursor)) {
    if (token.type === 'tr_open') rows.push([])
    else if (token.type === 'th_open' || token.type === 'td_open') rows.at(-1)?.push(readContent(cursor))
  }
  const [header = [], ...body] = rows
  return { type: 'table', header, rows: body }
}

type Mark = 'strong' | 'emphasis' | 'strike'
const MARKS: Readonly<Record<string, Mark>> = { strong_open: 'strong', em_open: 'emphasis', s_open: 'strike' }

/** Marks come as opening and closing tokens, correctly nested; the innermost open one is on top of the stack. */
function readInlines(tokens: readonly Token[]): readonly Inline[] {
  const root: Inline[] = []
  const open: { readonly children: Inline[]; readonly close: (children: Inline[]) => readonly Inline[] }[] = []
  for (const token of tokens) {
    const children = open.at(-1)?.children ?? root
    const mark = MARKS[token.type]
    if (mark || token.type === 'link_open') {
      const close = mark ? (inside: Inline[]) => [{ type: mark, children: inside }] : (inside: Inline[]) => link(token, inside)
      open.push(open.length < INLINE_DEPTH ? { children: [], close } : { children, close: () => [] })
    } else if (token.nesting === -1) {
      const closed = open.pop()
      if (closed) (open.at(-1)?.children ?? root).push(...closed.close(closed.children))
    } else {
      const leaf = readLeaf(token)
      if (leaf) children.push(leaf)
    }
  }
  return root
}

function readLeaf(token: Token): Inline | undefined {
  if (token.type === 'softbreak' || token.type === 'hardbreak') return { type: 'break' }
  if (token.type === 'code_inline') return { type: 'code', text: token.content }
  if (token.type === 'image') return image(token)
  return token.content === '' ? undefined : { type: 'text', text: token.content }
}

function link(token: Token, children: readonly Inline[]): readonly Inline[] {
  const href = String(token.attrGet('href') ?? '')
  if (href === '') return children
  if (href.length <= LONG_HREF) return [{ type: 'link', href, children: children.length > 0 ? children : [{ type: 'text', text: href }] }]
  const isItsOwnLabel = token.info === 'auto' || token.markup === 'autolink' || token.markup === 'linkify'
  return isItsOwnLabel ? children : [...children, { type: 'text', text: ` (${href})` }]
}

/** A picture inside of the text (`data:`) has no address to show. */
function image(token: Token): Inline {
  const src = String(token.attrGet('src') ?? '')
  if (src.length > LONG_HREF || src.startsWith('data:')) return { type: 'text', text: token.content || '🖼' }
  return { type: 'image', src, alt: token.content }
}
