/** Block Kit as far as messages use it: what Slack refuses, and what people see. https://docs.slack.dev/reference/block-kit/blocks */
import { Refusal } from './refusal.ts'

type Fields = Readonly<Record<string, unknown>>

const MOST_BLOCKS = 50
const MOST_TEXT = 12_000

/** What people see of these blocks, formatting left out. @throws Refusal */
export function readBlocks(blocks: unknown): string {
  if (!Array.isArray(blocks)) throw new Refusal('invalid_blocks_format')
  if (blocks.length > MOST_BLOCKS) throw new Refusal('invalid_blocks')
  const texts = blocks.map((block) => readBlock(fields(block)))
  // Slack does not say how it counts; its least is that of all texts.
  if (texts.join('').length > MOST_TEXT) throw new Refusal('msg_blocks_too_long')
  return texts.join('\n')
}

function readBlock(block: Fields): string {
  switch (block.type) {
    case 'rich_text':
      return list(block.elements).map(readRich).join('\n')
    case 'section':
      return textObject(block.text, 3000)
    case 'header':
      return textObject(block.text, 150)
    case 'markdown':
      return words(block.text, MOST_TEXT)
    case 'divider':
      return ''
    default:
      throw new Refusal('invalid_blocks')
  }
}

function readRich(value: unknown): string {
  const element = fields(value)
  if (element.border !== undefined && element.border !== 0 && element.border !== 1) throw new Refusal('invalid_blocks')
  switch (element.type) {
    case 'rich_text_section':
    case 'rich_text_quote':
      return list(element.elements).map(readInline).join('')
    case 'rich_text_preformatted':
      return list(element.elements)
        .map((each) => {
          if (!['text', 'link'].includes(String(fields(each).type))) throw new Refusal('invalid_blocks')
          return readInline(each)
        })
        .join('')
    case 'rich_text_list':
      return readList(element)
    default:
      throw new Refusal('invalid_blocks')
  }
}

function readList({ style, indent = 0, offset = 0, elements }: Fields): string {
  if (style !== 'bullet' && style !== 'ordered') throw new Refusal('invalid_blocks')
  if (!isCount(indent) || indent > 8 || !isCount(offset)) throw new Refusal('invalid_blocks')
  return list(elements)
    .map((item, index) => {
      if (fields(item).type !== 'rich_text_section') throw new Refusal('invalid_blocks')
      return `${'   '.repeat(indent)}${style === 'ordered' ? `${offset + index + 1}. ` : '• '}${readRich(item)}`
    })
    .join('\n')
}

const STYLES = ['bold', 'italic', 'strike', 'code']
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function readInline(value: unknown): string {
  const { type, text, url, style } = fields(value)
  if (style !== undefined && !Object.entries(fields(style)).every(([name, on]) => STYLES.includes(name) && typeof on === 'boolean'))
    throw new Refusal('invalid_blocks')
  if (type === 'text') return words(text, Number.POSITIVE_INFINITY)
  if (type !== 'link') throw new Refusal('invalid_blocks')
  if (typeof url !== 'string' || !URL.canParse(url) || !/^(https?|mailto|tel):/i.test(url) || url.length > 3000)
    throw new Refusal('invalid_blocks')
  return text === undefined ? url : words(text, Number.POSITIVE_INFINITY)
}

function textObject(value: unknown, most: number): string {
  const { type, text } = fields(value)
  if (type !== 'mrkdwn' && type !== 'plain_text') throw new Refusal('invalid_blocks')
  return words(text, most)
}

/** A text with something in it, and nothing that JSON cannot carry. */
function words(text: unknown, most: number): string {
  if (typeof text !== 'string' || text.length === 0 || text.length > most || !text.isWellFormed() || text.includes('\0'))
    throw new Refusal('invalid_blocks')
  return text
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw new Refusal('invalid_blocks')
  return value
}

function fields(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Refusal('invalid_blocks')
  return value as Fields
}
