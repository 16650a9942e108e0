/** Slack's two ways to write: mrkdwn, which people's messages come in, and rich text, which ours go out in. */
import { type Block, type Inline, plainInline, type Table, tableColumns } from '@posthouse/contract'

// ---- In: mrkdwn ---------------------------------------------------------------------------------------------------------

export interface ReadText {
  readonly text: string
  readonly mentionsUs: boolean
  readonly mentionsAll: boolean
}

/**
 * Reads mrkdwn: what stands in angle brackets becomes what a person sees, the mention of us is taken out, the three entities are
 * undone. https://docs.slack.dev/messaging/formatting-message-text#retrieving-messages
 */
export function readMrkdwn(source: string, us: string | undefined): ReadText {
  let mentionsUs = false
  let mentionsAll = false
  let text = ''
  let at = 0
  for (const match of source.matchAll(/<([^<>]*)>/g)) {
    text += undo(source.slice(at, match.index))
    at = match.index + match[0].length
    const [, mark = '', id = '', label] = /^([@#!]?)([^|]*)(?:\|([\s\S]*))?$/.exec(match[1] ?? '') ?? []
    if (mark === '@' && us !== undefined && id === us) {
      mentionsUs = true
      // With it goes what only belonged to it: the comma of an address, one of the two spaces around it.
      const behind = source.slice(at)
      at += ((text.trim() === '' ? /^[,:，：]?\s*/ : /\s$/.test(text) ? /^ ?/ : /^/).exec(behind)?.[0] ?? '').length
    } else if (mark === '@') text += `@${undo(label || id)}`
    else if (mark === '#') text += `#${undo(label || id)}`
    else if (mark === '!') {
      const all = /^(here|channel|everyone)$/.test(id)
      mentionsAll ||= all
      text += all ? `@${id}` : undo(label || id)
    } else text += linkText(undo(id), label === undefined ? undefined : undo(label))
  }
  text += undo(source.slice(at))
  return { text: mentionsUs ? text.trim() : text, mentionsUs, mentionsAll }
}

function linkText(href: string, label: string | undefined): string {
  const address = href.replace(/^mailto:/, '')
  if (label === undefined || label === '' || label === href || label === address) return address
  // Slack makes links of bare names: example.com.
  return href.replace(/^https?:\/\//, '') === label ? label : `${label} (${address})`
}

const ENTITIES: Readonly<Record<string, string>> = { '&amp;': '&', '&lt;': '<', '&gt;': '>' }

const undo = (text: string) => text.replace(/&(?:amp|lt|gt);/g, (entity) => ENTITIES[entity] ?? entity)

/** Makes plain text mean itself where Slack reads mrkdwn. */
export const escapeMrkdwn = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

// ---- Out: rich text -----------------------------------------------------------------------------------------------------

/** https://docs.slack.dev/reference/block-kit/blocks/rich-text-block */
export type RichElement =
  | { readonly type: 'rich_text_section' | 'rich_text_quote'; readonly elements: RichInline[] }
  | { readonly type: 'rich_text_preformatted'; readonly elements: RichInline[]; readonly border?: 1 }
  | {
      readonly type: 'rich_text_list'
      readonly style: 'bullet' | 'ordered'
      readonly indent: number
      readonly offset?: number
      readonly border?: 1
      readonly elements: { readonly type: 'rich_text_section'; readonly elements: RichInline[] }[]
    }

interface Style {
  readonly bold?: true
  readonly italic?: true
  readonly strike?: true
  readonly code?: true
}

export type RichInline =
  | { readonly type: 'text'; text: string; readonly style?: Style }
  | { readonly type: 'link'; readonly url: string; readonly text?: string; readonly style?: Style }

/**
 * The document as rich text. Nothing in it is parsed again by Slack, so no text can become a mark or a mention, and a bold word needs no
 * white space around it (Chinese has none).
 */
export function toRichText(document: readonly Block[]): readonly RichElement[] {
  const out: RichElement[] = []
  writeBlocks(document, { out, quotes: 0, indent: 0 })
  return out
}

interface Writing {
  readonly out: RichElement[]
  /** How many quotes it stands in. Slack has one level of them; those within are marked as in plain text. */
  readonly quotes: number
  readonly indent: number
}

/** Deeper lists stand at this level: deeper ones are not documented. */
const MOST_INDENT = 5
const RULE = '──────────'

function writeBlocks(document: readonly Block[], writing: Writing): void {
  for (const block of document) {
    if (block.type === 'paragraph') writeLines(inlines(block.children), writing)
    else if (block.type === 'heading') writeLines(inlines(block.children, { bold: true }), writing)
    else if (block.type === 'rule') writeLines([plain(RULE)], writing)
    else if (block.type === 'code') writeCode(block.text, writing)
    else if (block.type === 'quote') writeBlocks(block.children, { ...writing, quotes: writing.quotes + 1 })
    else if (block.type === 'table') writeTable(block, writing)
    else writeList(block, writing)
  }
}

/** Paragraphs that follow each other are one section; an empty line stands between them. */
function writeLines(elements: readonly RichInline[], { out, quotes }: Writing): void {
  if (elements.length === 0) return
  const lines = quotes > 1 ? prefixed(elements, '> '.repeat(quotes - 1)) : elements
  const type = quotes > 0 ? 'rich_text_quote' : 'rich_text_section'
  const last = out.at(-1)
  if (last?.type === type) append(last.elements, [plain('\n\n'), ...lines])
  else out.push({ type, elements: append([], lines) })
}

function prefixed(elements: readonly RichInline[], mark: string): RichInline[] {
  return [
    plain(mark),
    ...elements.map((each) => (each.type === 'text' ? { ...each, text: each.text.replaceAll('\n', `\n${mark}`) } : each)),
  ]
}

function writeCode(source: string, { out, quotes }: Writing): void {
  const text = clean(source)
  if (text.trim() === '') return
  out.push({ type: 'rich_text_preformatted', elements: [{ type: 'text', text }], ...(quotes > 0 ? { border: 1 } : {}) })
}

/** Slack's lists are flat: what stands within an item is an element of its own, behind which the list goes on with its numbers. */
function writeList(list: Extract<Block, { type: 'list' }>, writing: Writing): void {
  const { out, quotes } = writing
  const indent = Math.min(writing.indent, MOST_INDENT)
  const inner: Writing = { ...writing, indent: writing.indent + 1 }
  let open: Extract<RichElement, { type: 'rich_text_list' }> | undefined
  list.items.forEach(({ checked, children }, index) => {
    const [first] = children
    const leads = first?.type === 'paragraph' || first?.type === 'heading'
    const box = checked === undefined ? [] : [plain(checked ? '☑ ' : '☐ ')]
    const lead = leads ? inlines(first.children, first.type === 'heading' ? { bold: true } : {}) : []
    const elements = append([], [...box, ...lead])
    if (elements.length === 0) elements.push(plain(' '))
    const offset = Math.max(list.start - 1 + index, 0)
    if (!open) {
      open = {
        type: 'rich_text_list',
        style: list.ordered ? 'ordered' : 'bullet',
        indent,
        elements: [],
        ...(list.ordered && offset > 0 ? { offset } : {}),
        ...(quotes > 0 ? { border: 1 } : {}),
      }
      out.push(open)
    }
    open.elements.push({ type: 'rich_text_section', elements })
    for (const child of leads ? children.slice(1) : children) {
      if (child.type === 'paragraph' && open) append(elements, [plain('\n'), ...inlines(child.children)])
      else {
        writeBlocks([child], inner)
        if (out.at(-1) !== open) open = undefined
      }
    }
  })
}

/** Columns where a phone has the room, else each row as an item with the names of its columns. */
function writeTable(table: Table, writing: Writing): void {
  const columns = tableColumns(table)
  if (columns !== undefined) {
    writeCode(columns, writing)
    return
  }
  const named = table.rows.length > 0
  const items = (named ? table.rows : [table.header]).map((row) => {
    const children: Inline[] = []
    row.forEach((cell, column) => {
      const label = named ? (table.header[column] ?? []) : []
      if (children.length > 0) children.push({ type: 'break' })
      if (plainInline(label).trim() !== '') children.push({ type: 'strong', children: label }, { type: 'text', text: ': ' })
      children.push(...cell)
    })
    return { children: [{ type: 'paragraph', children } as Block] }
  })
  writeList({ type: 'list', ordered: false, start: 1, items }, writing)
}

function inlines(children: readonly Inline[], style: Style = {}): RichInline[] {
  return children.flatMap((child) => inline(child, style))
}

function inline(child: Inline, style: Style): RichInline[] {
  switch (child.type) {
    case 'text':
      return [plain(child.text, style)]
    case 'break':
      return [plain('\n')]
    case 'code':
      return [plain(child.text, { ...style, code: true })]
    case 'link':
      return link(child.href, plainLabel(child.children), style)
    case 'image':
      return link(child.src, `🖼 ${child.alt}`.trim(), style)
    default:
      return inlines(child.children, { ...style, [STYLES[child.type]]: true })
  }
}

const STYLES = { strong: 'bold', emphasis: 'italic', strike: 'strike' } as const

/** A link's label has one style. */
const plainLabel = (children: readonly Inline[]): string =>
  children
    .map((child) =>
      'children' in child ? plainLabel(child.children) : child.type === 'image' ? child.alt : child.type === 'break' ? ' ' : child.text,
    )
    .join('')

const MOST_URL = 3000

function link(href: string, label: string, style: Style): RichInline[] {
  const text = clean(label)
  const address = href.replace(/^mailto:/i, '')
  if (!/^(https?|mailto|tel):/i.test(href) || !URL.canParse(href) || href.length > MOST_URL)
    return [plain(text.trim() === '' || text === address ? address : `${text} (${address})`, style)]
  const shown = text.trim() === '' ? {} : { text }
  return [{ type: 'link', url: href, ...shown, ...(Object.keys(style).length > 0 ? { style } : {}) }]
}

function plain(text: string, style: Style = {}): RichInline {
  return { type: 'text', text: clean(text), ...(Object.keys(style).length > 0 ? { style } : {}) }
}

/** What no JSON of Slack's may hold: halves of characters, and control characters, which nobody sees. */
const clean = (text: string) => text.toWellFormed().replace(/[^\P{Cc}\n\t]/gu, '')

/** Neighbours of one style become one; an empty text is refused by Slack. */
function append(elements: RichInline[], more: readonly RichInline[]): RichInline[] {
  for (const each of more) {
    const last = elements.at(-1)
    if (each.type === 'text' && each.text === '') continue
    if (each.type === 'text' && last?.type === 'text' && JSON.stringify(last.style) === JSON.stringify(each.style)) last.text += each.text
    else elements.push(each.type === 'text' ? { ...each } : each)
  }
  return elements
}

/** What a person reads of rich text. */
export function plainRichText(elements: readonly RichElement[]): string {
  const shown = (each: RichInline) => (each.type === 'text' ? each.text : each.text === undefined ? each.url : each.text)
  const line = (parts: readonly RichInline[]) => parts.map(shown).join('')
  return elements
    .map((element) => {
      if (element.type !== 'rich_text_list')
        return element.type === 'rich_text_quote' ? line(element.elements).replace(/^/gm, '> ') : line(element.elements)
      const { style, offset = 0, indent } = element
      return element.elements
        .map((item, index) => `${'   '.repeat(indent)}${style === 'ordered' ? `${offset + index + 1}.` : '•'} ${line(item.elements)}`)
        .join('\n')
    })
    .join('\n')
}
