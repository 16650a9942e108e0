/** Writing a document in a platform's dialect of Markdown: the walk is here, what the dialect says to each thing is data. */
import type { Block, Inline } from './document.ts'
import { plainInline } from './split.ts'

/** What a dialect makes of each thing. `inner` is written already; texts are as their author wrote them. */
export interface Dialect {
  /** Makes plain text mean itself. */
  text(text: string): string
  /** `inner` has no white space at its edges. A dialect that lacks a mark leaves it out. */
  strong?(inner: string): string
  emphasis?(inner: string): string
  strike?(inner: string): string
  code(text: string): string
  /** `inner`: the label. Undefined: this address makes no link, it is written behind its label. */
  link?(inner: string, href: string): string | undefined
  image?(alt: string, src: string): string | undefined
  heading(inner: string, level: number): string
  fence(text: string, language: string): string
  /** Stands between two marks that touch, where they would be read as one. */
  readonly apart?: string
  /** Of lines; those of an inner quote are marked already. */
  quote(inner: string): string
  readonly bullet: string
  readonly rule: string
  /** How far what belongs to an item is moved in; three blanks unless given. */
  readonly indent?: string
  /** What ends a line within a paragraph; a line feed unless given. */
  readonly newline?: string
  /** Tables as the dialect shows them. Unless given: columns in a fence where a phone has the room, else a list of each row's cells. */
  table?(table: Table): string
}

export type Table = Extract<Block, { type: 'table' }>

/** Writes the document; blank when there is nothing to see. */
export function writeMarkup(document: readonly Block[], dialect: Dialect): string {
  return blocks(document, dialect, '\n\n')
}

function blocks(document: readonly Block[], dialect: Dialect, between: string): string {
  return document
    .map((each) => block(each, dialect))
    .filter((text) => text !== '')
    .join(between)
}

function block(each: Block, dialect: Dialect): string {
  switch (each.type) {
    case 'paragraph':
      return writeInlines(each.children, dialect)
    case 'heading': {
      const inner = writeInlines(each.children, dialect)
      return inner.trim() === '' ? '' : dialect.heading(inner, each.level)
    }
    case 'code':
      return each.text.trim() === '' ? '' : dialect.fence(each.text, each.language)
    case 'quote': {
      const inner = blocks(each.children, dialect, '\n')
      return inner === '' ? '' : dialect.quote(inner)
    }
    case 'list':
      return list(each, dialect)
    case 'table':
      return dialect.table ? dialect.table(each) : table(each, dialect)
    case 'rule':
      return dialect.rule
  }
}

function list({ ordered, start, items }: Extract<Block, { type: 'list' }>, dialect: Dialect): string {
  const { indent = '   ', bullet } = dialect
  return items
    .map(({ checked, children }, index) => {
      const mark = ordered ? `${start + index}. ` : bullet
      const box = checked === undefined ? '' : checked ? '☑ ' : '☐ '
      return mark + box + blocks(children, dialect, '\n').replaceAll('\n', `\n${indent}`)
    })
    .join('\n')
}

function table(each: Table, dialect: Dialect): string {
  const columns = tableColumns(each)
  if (columns !== undefined) return columns.trim() === '' ? '' : dialect.fence(columns, '')
  const rows = each.rows.length > 0 ? each.rows : [each.header]
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => {
        const label = each.rows.length > 0 ? writeInlines(each.header[column] ?? [], dialect) : ''
        const inner = writeInlines(cell, dialect)
        if (label.trim() === '') return inner
        return inner === '' ? mark(label, dialect.strong) : `${mark(label, dialect.strong)}: ${inner}`
      })
      return dialect.bullet + cells.filter((cell) => cell !== '').join(`\n${dialect.indent ?? '   '}`)
    })
    .join('\n')
}

/** Inline content in the dialect. */
export function writeInlines(given: readonly Inline[], dialect: Dialect): string {
  const children = given.reduce(withCode, [])
  const { apart } = dialect
  if (apart === undefined) return children.map((child) => inline(child, dialect)).join('')
  return children.map((child, at) => (isMark(child) && isMark(children[at - 1]) ? apart : '') + inline(child, dialect)).join('')
}

function isMark(child: Inline | undefined): boolean {
  return child !== undefined && 'children' in child && child.type !== 'link'
}

/** Code beside code is one: their marks would run into each other. */
function withCode(before: readonly Inline[], child: Inline): readonly Inline[] {
  const last = before.at(-1)
  if (child.type !== 'code' || last?.type !== 'code') return [...before, child]
  return [...before.slice(0, -1), { type: 'code', text: last.text + child.text }]
}

function inline(child: Inline, dialect: Dialect): string {
  switch (child.type) {
    case 'text':
      return dialect.text(child.text)
    case 'break':
      return dialect.newline ?? '\n'
    case 'code':
      return child.text.trim() === '' ? child.text : dialect.code(child.text)
    case 'link': {
      const inner = writeInlines(child.children, dialect)
      const written = dialect.link?.(inner === '' ? dialect.text(child.href) : inner, child.href)
      return written ?? withAddress(inner, plainInline(child.children), child.href, dialect)
    }
    case 'image':
      return (
        dialect.image?.(child.alt, child.src) ??
        inline({ type: 'link', href: child.src, children: [{ type: 'text', text: `🖼 ${child.alt}`.trim() }] }, dialect)
      )
    default:
      return mark(writeInlines(child.children, dialect), dialect[child.type])
  }
}

function withAddress(inner: string, label: string, href: string, dialect: Dialect): string {
  const address = href.replace(/^mailto:/i, '')
  return label === address || label === href ? inner : `${inner} (${dialect.text(address)})`
}

/** A mark that stands beside white space is none in most dialects: the space goes outside. */
function mark(inner: string, write: ((inner: string) => string) | undefined): string {
  const [, before = '', body = '', behind = ''] = /^(\s*)([\s\S]*?)(\s*)$/.exec(inner) ?? []
  return body === '' || !write ? inner : before + write(body) + behind
}

// ---- Tables in columns ------------------------------------------------------------------------------------------------

/** What a phone shows of a monospaced font. */
const NARROW = 40

/** The table in columns of a monospaced font; undefined where that would be too wide, or an address would be lost. */
export function tableColumns({ header, rows }: Table): string | undefined {
  if ([header, ...rows].flat(2).some(hasAddress)) return undefined
  const cells = [header, ...rows].map((row) => row.map((cell) => plainInline(cell).replaceAll('\n', ' ')))
  const widths: number[] = []
  for (const row of cells) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, widthOf(cell))
    })
  }
  if (widths.reduce((sum, width) => sum + width + 3, -3) > NARROW) return undefined
  const line = (row: readonly string[]) => row.map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - widthOf(cell))).join(' │ ')
  const [head = [], ...others] = cells.map(line)
  return [head, widths.map((width) => '─'.repeat(width)).join('─┼─'), ...others].join('\n')
}

function hasAddress(child: Inline): boolean {
  return child.type === 'link' || child.type === 'image' || ('children' in child && child.children.some(hasAddress))
}

/** Columns that a text takes in a monospaced font. */
function widthOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let width = 0
  for (const character of text) {
    if (!/[\p{Mn}\p{Me}\p{Cf}]/u.test(character)) width += WIDE.test(character) ? 2 : 1
  }
  return width
}
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u
