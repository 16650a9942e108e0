/** Lossless splitting: a long document becomes several that fit, cut at the best edges, nothing dropped. */
import type { Block, Inline, ListItem } from './document.ts'

/** Length of `text` in a platform's unit. */
export function measure(text: string, unit: 'bytes' | 'utf16' | 'code-points'): number {
  if (unit === 'utf16') return text.length
  let count = 0
  for (let at = 0; at < text.length; at++) {
    const point = text.codePointAt(at) ?? 0
    if (point > 0xffff) at++
    count += unit === 'code-points' ? 1 : point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
  }
  return count
}

/**
 * Splits so that `fits` holds for every part, in order, greedily.
 *
 * Cuts between blocks where it can. A block too large for a part of its own is cut inside: text at the end of a line, a sentence or a
 * word, else between grapheme clusters, with its marks reopened; code between lines, each part its own fence; a list between items,
 * numbering continued; a table between rows, header repeated (a row too large becomes paragraphs). Only a code point (or a rule, or an
 * image) that doesn't fit alone makes a part that doesn't fit.
 *
 * `fits` must be monotone: what holds for a document holds for less of it. A document that fits costs one call; a long one costs a
 * number of calls that grows with its length, each with about two parts' worth of content.
 */
export function splitDocument(document: readonly Block[], fits: (blocks: readonly Block[]) => boolean): readonly (readonly Block[])[] {
  if (fits(document)) return [document]
  const parts: (readonly Block[])[] = []
  let current: readonly Block[] = []
  const page: Page = {
    room: (blocks) => fits(current.length > 0 ? current.concat(blocks) : blocks),
    fresh: fits,
    isEmpty: () => current.length === 0,
    add: (blocks) => {
      current = current.concat(blocks)
    },
    turn: () => {
      if (current.length > 0) parts.push(current)
      current = []
    },
  }
  pour(document, page)
  page.turn()
  return parts
}

/** The part that is being filled. */
interface Page {
  /** Would these fit behind what is here? */
  room(blocks: readonly Block[]): boolean
  /** Would these fit on a part of their own? */
  fresh(blocks: readonly Block[]): boolean
  isEmpty(): boolean
  add(blocks: readonly Block[]): void
  turn(): void
}

/** The inside of a quote or a list item as a page of its own. */
function within(page: Page, wrap: (blocks: readonly Block[], continued: boolean) => readonly Block[]): Page & { close(): void } {
  let inner: readonly Block[] = []
  let continued = false
  const close = () => {
    if (inner.length === 0) return
    page.add(wrap(inner, continued))
    inner = []
    continued = true
  }
  return {
    room: (blocks) => page.room(wrap(inner.concat(blocks), continued)),
    fresh: (blocks) => page.fresh(wrap(blocks, continued)),
    isEmpty: () => inner.length === 0 && page.isEmpty(),
    add: (blocks) => {
      inner = inner.concat(blocks)
    },
    turn: () => {
      close()
      page.turn()
    },
    close,
  }
}

/** Pours `count` things onto pages, as many at a time as fit; `pourOne` takes what is too large for a page of its own. */
function pourRun(count: number, blocks: (from: number, to: number) => readonly Block[], page: Page, pourOne: (at: number) => void): void {
  let hint = 1
  for (let at = 0; at < count; ) {
    const taken = longest(count - at, (n) => page.room(blocks(at, at + n)), hint)
    if (taken > 0) {
      page.add(blocks(at, at + taken))
      at += taken
      hint = taken
    } else if (!page.isEmpty() && page.fresh(blocks(at, at + 1))) {
      page.turn()
    } else {
      pourOne(at++)
    }
  }
}

function pour(blocks: readonly Block[], page: Page): void {
  pourRun(
    blocks.length,
    (from, to) => blocks.slice(from, to),
    page,
    (at) => pourBlock(blocks[at] as Block, page),
  )
}

function pourBlock(block: Block, page: Page): void {
  if (block.type === 'paragraph' || block.type === 'heading') pourInline(block.children, (children) => ({ ...block, children }), page)
  else if (block.type === 'code') pourCode(block.text, (text) => ({ ...block, text }), page)
  else if (block.type === 'quote') pourQuote(block.children, page)
  else if (block.type === 'list') pourList(block, page)
  else if (block.type === 'table') pourTable(block, page)
  else pourRule(block, page)
}

function pourRule(rule: Block, page: Page): void {
  page.turn()
  page.add([rule])
}

function pourQuote(blocks: readonly Block[], page: Page): void {
  const inside = within(page, (children) => [{ type: 'quote', children }])
  pour(blocks, inside)
  inside.close()
}

function pourList(list: Extract<Block, { type: 'list' }>, page: Page): void {
  const part = (from: number, items: readonly ListItem[]): readonly Block[] => [{ ...list, start: list.start + from, items }]
  pourRun(
    list.items.length,
    (from, to) => part(from, list.items.slice(from, to)),
    page,
    (at) => {
      const item = list.items[at] as ListItem
      // The rest of an item stands outside of the list, so that no number or bullet is repeated.
      const inside = within(page, (children, continued) => (continued ? children : part(at, [{ ...item, children }])))
      pour(item.children, inside)
      inside.close()
    },
  )
}

function pourTable(table: Extract<Block, { type: 'table' }>, page: Page): void {
  const paragraphs = (cells: readonly (readonly Inline[])[]) =>
    cells.filter((children) => children.length > 0).map((children): Block => ({ type: 'paragraph', children }))
  let headed = false
  const head = () => {
    if (!headed) pour(paragraphs(table.header), page)
    headed = true
  }
  const part = (from: number, to: number): readonly Block[] => [{ ...table, rows: table.rows.slice(from, to) }]
  if (!page.fresh(part(0, 0)) || table.rows.length === 0) head()
  pourRun(table.rows.length, part, page, (at) => {
    head()
    pour(paragraphs(table.rows[at] ?? []), page)
  })
}

function pourCode(text: string, make: (text: string) => Block, page: Page): void {
  const lines = text.split('\n')
  pourRun(
    lines.length,
    (from, to) => [make(lines.slice(from, to).join('\n'))],
    page,
    (at) => {
      const line = lines[at] ?? ''
      pourText(line, (from, to) => make(line.slice(from, to)), page)
    },
  )
}

function pourInline(children: readonly Inline[], make: (children: readonly Inline[]) => Block, page: Page): void {
  const runs: Run[] = []
  const length = flatten(children, [], runs, 0)
  if (length === 0) return
  const text = runs.map((run) => run.text).join('')
  pourText(text, (from, to) => make(nest(between(runs, from, to), 0)), page)
}

/** Pours a text that is too long for one page; `make` shows the piece between two offsets. */
function pourText(text: string, make: (from: number, to: number) => Block, page: Page): void {
  let hint = 256
  for (let from = 0; from < text.length; ) {
    const taken = longest(text.length - from, (n) => page.room([make(from, from + n)]), hint)
    let cut = from + taken
    if (cut < text.length) {
      const edge = bestEdge(text, from, cut)
      // A page that holds something already is only filled up where the text ends well.
      if (!page.isEmpty() && !edge.clean) {
        page.turn()
        continue
      }
      cut = edge.at > from ? edge.at : codePointEdge(text, from, cut)
    }
    page.add([make(from, cut)])
    hint = cut - from
    from = cut
    if (from < text.length) page.turn()
  }
}

/** The largest n <= count with `holds(n)`, by doubling from `hint` and halving. */
function longest(count: number, holds: (n: number) => boolean, hint: number): number {
  let low = 0
  let high = Math.min(Math.max(hint, 1), count)
  while (holds(high)) {
    low = high
    if (high === count) return count
    high = Math.min(high * 2, count)
  }
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (holds(middle)) low = middle
    else high = middle
  }
  return low
}

const clusters = new Intl.Segmenter(undefined, { granularity: 'grapheme' })
const SPACE = /\s/
const SENTENCE_END = /[.!?;:]/
const FULL_WIDTH_END = /[。！？；…]/

/** Where to cut text[from..] at `max` at the latest. `clean`: behind a line, a sentence or a word. */
function bestEdge(text: string, from: number, max: number): { at: number; clean: boolean } {
  const atCluster = (at: number) => clusterEdge(text, from, at) === at
  const half = from + Math.floor((max - from) / 2)
  const line = max > from ? text.lastIndexOf('\n', max - 1) + 1 : from
  if (line > half && atCluster(line)) return { at: line, clean: true }
  let word = 0
  for (let at = max; at > from + (max - from) / 4; at--) {
    const before = text.charAt(at - 1)
    const space = SPACE.test(before)
    const sentence = at > half && (FULL_WIDTH_END.test(before) || (space && SENTENCE_END.test(text.charAt(at - 2))))
    if (sentence && atCluster(at)) return { at, clean: true }
    if (space && word === 0 && atCluster(at)) word = at
    if (word > 0 && at <= half) break
  }
  return word > 0 ? { at: word, clean: true } : { at: clusterEdge(text, from, max), clean: false }
}

/** The last edge between grapheme clusters at or before `at`; `from` is one. */
function clusterEdge(text: string, from: number, at: number): number {
  if (at >= text.length) return text.length
  return from + (clusters.segment(text.slice(from, at + 16)).containing(at - from)?.index ?? 0)
}

/** An edge behind `from` that splits no surrogate pair: at `at` or just before it, but always some way on. */
function codePointEdge(text: string, from: number, at: number): number {
  const inside = (index: number) => text.charCodeAt(index) >>> 10 === 0x37 && text.charCodeAt(index - 1) >>> 10 === 0x36
  const edge = Math.max(at, from + 1)
  if (!inside(edge)) return edge
  return edge - 1 > from ? edge - 1 : edge + 1
}

/** Inline content as a line of leaves, each with the marks around it. */
interface Run {
  readonly start: number
  readonly text: string
  readonly marks: readonly Mark[]
  readonly leaf: Inline
}
type Mark = Extract<Inline, { children: readonly Inline[] }>

const ATOM = '\uFFFC'
const LONG_ALT = 100

function flatten(children: readonly Inline[], marks: readonly Mark[], runs: Run[], start: number): number {
  let end = start
  const push = (text: string, leaf: Inline, around = marks) => {
    if (text === '') return
    runs.push({ start: end, text, marks: around, leaf })
    end += text.length
  }
  for (const inline of children) {
    if ('children' in inline) end = flatten(inline.children, [...marks, inline], runs, end)
    else if (inline.type === 'break') push('\n', inline)
    else if (inline.type !== 'image') push(inline.text, inline)
    else if (inline.alt.length <= LONG_ALT) push(ATOM, inline)
    else push(inline.alt, { type: 'text', text: inline.alt }, [...marks, { type: 'link', href: inline.src, children: [] }])
  }
  return end
}

function between(runs: readonly Run[], from: number, to: number): readonly Run[] {
  let low = 0
  for (let high = runs.length; low < high; ) {
    const middle = (low + high) >> 1
    if ((runs[middle]?.start ?? 0) > from) high = middle
    else low = middle + 1
  }
  const found: Run[] = []
  for (let index = Math.max(low - 1, 0); index < runs.length; index++) {
    const run = runs[index] as Run
    if (run.start >= to) break
    const text = run.text.slice(Math.max(from - run.start, 0), to - run.start)
    found.push({ ...run, leaf: 'text' in run.leaf ? { ...run.leaf, text } : run.leaf })
  }
  return found
}

/** The tree again: neighbours under the same mark share it. */
function nest(runs: readonly Run[], depth: number): readonly Inline[] {
  const inlines: Inline[] = []
  for (let at = 0; at < runs.length; ) {
    const mark = runs[at]?.marks[depth]
    if (!mark) {
      inlines.push((runs[at++] as Run).leaf)
      continue
    }
    const first = at
    while (runs[at]?.marks[depth] === mark) at++
    inlines.push({ ...mark, children: nest(runs.slice(first, at), depth + 1) })
  }
  return inlines
}

/** What a person reads, without any formatting: for previews, for platforms that know none, and for measuring what arrived. */
export function plainText(document: readonly Block[]): string {
  return document.map(plainBlock).join('\n\n')
}

function plainBlock(block: Block): string {
  switch (block.type) {
    case 'paragraph':
    case 'heading':
      return plainInline(block.children)
    case 'code':
      return block.text
    case 'quote':
      return plainText(block.children).replace(/^/gm, '> ')
    case 'list':
      return block.items
        .map((item, index) => {
          const mark = block.ordered ? `${block.start + index}. ` : '• '
          const box = item.checked === undefined ? '' : item.checked ? '☑ ' : '☐ '
          return mark + box + item.children.map(plainBlock).join('\n').replaceAll('\n', '\n   ')
        })
        .join('\n')
    case 'table':
      return [block.header, ...block.rows].map((cells) => cells.map(plainInline).join(' | ')).join('\n')
    case 'rule':
      return '──────────'
  }
}

/** Inline content as plain text; a link whose label isn't its address shows both. */
export function plainInline(children: readonly Inline[]): string {
  let text = ''
  for (const inline of children) {
    if (inline.type === 'break') text += '\n'
    else if (inline.type === 'image') text += inline.alt || inline.src
    else if (inline.type === 'link') {
      const label = plainInline(inline.children)
      text +=
        label === inline.href || label === '' || `mailto:${label}` === inline.href ? label || inline.href : `${label} (${inline.href})`
    } else if ('children' in inline) text += plainInline(inline.children)
    else text += inline.text
  }
  return text
}
