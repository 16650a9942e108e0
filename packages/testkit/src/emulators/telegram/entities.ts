/**
 * Text with entities as the Bot API reads it: the same tags, the same refusals in the same words, the same cleaning.
 * https://core.telegram.org/bots/api#html-style
 */
import type { MessageEntity } from '@grammyjs/types'

export interface FormattedText {
  readonly text: string
  readonly entities: readonly MessageEntity[]
}

/** A refusal in the Bot API's words. */
export class Refusal extends Error {
  readonly code: number
  readonly parameters: { retry_after?: number; migrate_to_chat_id?: number } | undefined
  constructor(code: number, description: string, parameters?: Refusal['parameters']) {
    super(description)
    this.code = code
    this.parameters = parameters
  }
}

const TYPES: Readonly<Record<string, MessageEntity['type']>> = {
  a: 'text_link',
  b: 'bold',
  strong: 'bold',
  i: 'italic',
  em: 'italic',
  s: 'strikethrough',
  strike: 'strikethrough',
  del: 'strikethrough',
  u: 'underline',
  ins: 'underline',
  span: 'spoiler',
  'tg-spoiler': 'spoiler',
  'tg-emoji': 'custom_emoji',
  code: 'code',
  pre: 'pre',
  blockquote: 'blockquote',
}
const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"' }
const MAX_ENTITIES = 100

interface Open {
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
  readonly offset: number
}

/** @throws Refusal */
export function parseHtml(source: string): FormattedText {
  if (!/[<&]/.test(source)) return finish(clean(source), [])
  const entities: MessageEntity[] = []
  const open: Open[] = []
  let text = ''
  let at = 0
  while (at < source.length) {
    const next = nextMarkup(source, at)
    text += clean(source.slice(at, next))
    at = next
    if (source[at] === '&') {
      const [character, end] = decodeReference(source, at)
      text += character === '&' ? '&' : clean(character)
      at = end
    } else if (source[at] === '<') {
      at = source[at + 1] === '/' ? closeTag(source, at, text, open, entities) : openTag(source, at, text.length, open)
    }
  }
  const last = open.at(-1)
  if (last) throw new Refusal(400, `Can't find end tag corresponding to start tag "${last.name}"`)
  return finish(text, entities)
}

function nextMarkup(source: string, from: number): number {
  const tag = source.indexOf('<', from)
  const reference = source.indexOf('&', from)
  const found = Math.min(tag < 0 ? source.length : tag, reference < 0 ? source.length : reference)
  return found
}

/** The character that a reference stands for and where it ends; an unknown one is an ampersand. */
function decodeReference(source: string, at: number): readonly [string, number] {
  const match = /^&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]+));?/i.exec(source.slice(at, at + 12))
  const named = match?.[3] === undefined ? undefined : NAMED[match[3]]
  if (match && named) return [named, at + match[0].length]
  const point = match?.[1] ? Number.parseInt(match[1], 16) : Number(match?.[2] ?? 0)
  return match && point > 0 && point < 0x10ffff ? [String.fromCodePoint(point), at + match[0].length] : ['&', at + 1]
}

function openTag(source: string, at: number, offset: number, open: Open[]): number {
  const bytes = () => Buffer.byteLength(source.slice(0, at))
  const name = /^[^\s>]*/.exec(source.slice(at + 1, at + 200))?.[0].toLowerCase() ?? ''
  let end = at + 1 + name.length
  if (end >= source.length) throw new Refusal(400, `Unclosed start tag at byte offset ${bytes()}`)
  if (!TYPES[name]) throw new Refusal(400, `Unsupported start tag "${name}" at byte offset ${bytes()}`)
  const attributes = new Map<string, string>()
  const attribute = /\s*([^\s=>/"']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([a-z0-9.-]+)(?=[\s>])))?/iy
  for (;;) {
    attribute.lastIndex = end
    const match = attribute.exec(source)
    if (!match) break
    attributes.set(match[1] ?? '', decodeAll(match[2] ?? match[3] ?? match[4]?.toLowerCase() ?? ''))
    end = attribute.lastIndex
  }
  while (/\s/.test(source.charAt(end))) end++
  if (end >= source.length || /^\s*=\s*["']/.test(source.slice(end)))
    throw new Refusal(400, `Unclosed start tag "${name}" at byte offset ${bytes()}`)
  if (source[end] !== '>') throw new Refusal(400, `Empty attribute name in the tag "${name}" at byte offset ${bytes()}`)
  if (name === 'span' && attributes.get('class') !== 'tg-spoiler') {
    throw new Refusal(400, `Tag "span" must have class "tg-spoiler" at byte offset ${bytes()}`)
  }
  open.push({ name, attributes, offset })
  return end + 1
}

function decodeAll(value: string): string {
  return value.replace(/&(?:#x?[0-9a-f]{1,7}|[a-z]+);?/gi, (reference) => {
    const [character, end] = decodeReference(reference, 0)
    return end === reference.length ? character : reference
  })
}

function closeTag(source: string, at: number, text: string, open: Open[], entities: MessageEntity[]): number {
  const bytes = Buffer.byteLength(source.slice(0, at))
  const tag = open.pop()
  if (!tag) throw new Refusal(400, `Unexpected end tag at byte offset ${bytes}`)
  const match = /^<\/([^\s>]*)\s*>/.exec(source.slice(at, at + 200))
  if (!match) throw new Refusal(400, `Unclosed end tag at byte offset ${bytes}`)
  const name = match[1]?.toLowerCase() ?? ''
  if (name !== '' && name !== tag.name) {
    throw new Refusal(400, `Unmatched end tag at byte offset ${bytes}, expected "</${tag.name}>", found "</${name}>"`)
  }
  const length = text.length - tag.offset
  if (length > 0) addEntity(tag, length, text, entities)
  return at + match[0].length
}

function addEntity({ name, attributes, offset }: Open, length: number, text: string, entities: MessageEntity[]): void {
  const language = /^language-(.+)/.exec(attributes.get('class') ?? '')?.[1]
  const last = entities.at(-1)
  if (name === 'a') {
    const url = checkedLink(attributes.get('href') || text.slice(offset))
    if (url) entities.push({ type: 'text_link', offset, length, url })
  } else if (name === 'pre' && last?.type === 'code' && last.offset === offset && last.length === length && 'language' in last) {
    entities[entities.length - 1] = { type: 'pre', offset, length, language: String(last.language) }
  } else if (name === 'code' && language) {
    entities.push({ type: 'code', offset, length, language } as MessageEntity)
  } else if (name === 'tg-emoji') {
    if (!/^\d+$/.test(attributes.get('emoji-id') ?? '')) throw new Refusal(400, 'Invalid custom emoji identifier specified')
    entities.push({ type: 'custom_emoji', offset, length, custom_emoji_id: attributes.get('emoji-id') ?? '' })
  } else {
    entities.push({ type: attributes.has('expandable') ? 'expandable_blockquote' : TYPES[name], offset, length } as MessageEntity)
  }
}

/** An address that Telegram can't use makes no link, and no error. */
function checkedLink(href: string): string | undefined {
  if (/^tg:\/\/[\w-]+/i.test(href)) return href
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(href) ? href : `http://${href}`
  return /^https?:\/\/([^/?#@\s]*@)?([^/?#:\s]+\.[^/?#:\s]+|\[[0-9a-f:]+\])(:\d+)?([/?#]|$)/i.test(url) ? url : undefined
}

const HARMLESS = /^[\n\x20-\x7e\u00a0-\u02ff\u0370-\u1fff\u2030-\ud7ff]*$/

/** Control characters become spaces; line and paragraph separators, directional overrides and three combining lines vanish. */
function clean(text: string): string {
  if (HARMLESS.test(text)) return text
  return text.replace(/\r|[\u2028-\u202e]|\u0333|\u033f|\u030a/g, '').replace(/(?![\n\x7f-\x9f])\p{Cc}/gu, ' ')
}

const INVISIBLE = /^(?:[\s\u180e\u200b-\u200f\u2800\ufeff\ufffc]|\u{e0001}|[\u{e0020}-\u{e007f}])*$/u

/** Trims, and drops entities as Telegram does: around nothing, inside of code, quotes in quotes, behind the hundredth. */
function finish(text: string, found: readonly MessageEntity[]): FormattedText {
  const end = text.trimEnd().length
  const sorted = found.toSorted((a, b) => a.offset - b.offset || b.length - a.length)
  const limit = Math.min(sorted[0]?.offset ?? end, end)
  let start = 0
  while (start < limit && (text[start] === ' ' || text[start] === '\n')) start++
  const kept: MessageEntity[] = []
  for (const entity of sorted) {
    const length = Math.min(entity.offset + entity.length, end) - entity.offset
    if (length <= 0 || text.slice(entity.offset, entity.offset + length).trim() === '') continue
    const moved = { ...entity, offset: entity.offset - start, length }
    if (!kept.some((outer) => hides(outer, moved))) kept.push(withoutLanguage(moved))
  }
  const trimmed = text.slice(start, end)
  return { text: INVISIBLE.test(trimmed) ? '' : trimmed, entities: kept.slice(0, MAX_ENTITIES) }
}

function hides(outer: MessageEntity, inner: MessageEntity): boolean {
  if (inner.offset >= outer.offset + outer.length) return false
  const isQuote = (entity: MessageEntity) => entity.type.endsWith('blockquote')
  return outer.type === 'code' || outer.type === 'pre' || outer.type === inner.type || (isQuote(outer) && isQuote(inner))
}

/** The language of a code that isn't in a `pre` is forgotten. */
function withoutLanguage(entity: MessageEntity): MessageEntity {
  return entity.type === 'code' ? { type: 'code', offset: entity.offset, length: entity.length } : entity
}

/** Mentions, commands and addresses, as Telegram finds them in what people write. */
export function findEntities(text: string): MessageEntity[] {
  const patterns = [
    ['mention', /(?<![\w@/])@[a-z][a-z0-9_]{3,31}\b/gi],
    ['bot_command', /(?<![\w/@])\/[a-z0-9_]{1,64}(?:@[a-z]\w{3,31})?(?![\w/])/gi],
    ['url', /\bhttps?:\/\/[^\s<>"]+/gi],
  ] as const
  const found = patterns.flatMap(([type, pattern]) =>
    [...text.matchAll(pattern)].map((match): MessageEntity => ({ type, offset: match.index, length: match[0].length })),
  )
  return found.sort((a, b) => a.offset - b.offset)
}
