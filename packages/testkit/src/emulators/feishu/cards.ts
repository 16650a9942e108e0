/** Cards as the platform takes them: what it refuses in one, and what people read of it. */

/** A refusal in the platform's own words. */
export class Refusal extends Error {
  readonly code: number
  readonly status: number
  constructor(code: number, message: string, status = 400) {
    super(message)
    this.code = code
    this.status = status
  }
}

export interface Card {
  readonly config: Readonly<Record<string, unknown>>
  readonly elements: readonly Element[]
}
export interface Element {
  readonly tag: string
  readonly element_id?: string
  readonly content?: string
}

/** "Card and rich text messages: 30 KB". https://open.feishu.cn/document/server-docs/im-v1/message/create */
export const MOST_CARD = 30 * 1024
/** "element exceeds the limit": 200 in a card of schema 2.0. */
const MOST_ELEMENTS = 200
const MOST_TABLES = 5

const refuse = (code: number, words: string): never => {
  throw new Refusal(230099, `Failed to create card content, ext=ErrCode: ${code}; ErrMsg: ${words}; ErrorValue: ; `)
}

/** @throws Refusal when the platform would take it for no card. `images`: keys of what this app uploaded. */
export function readCard(json: string, images: ReadonlySet<string>): Card {
  if (Buffer.byteLength(json) > MOST_CARD) throw new Refusal(230025, 'The length of the message content reaches its limit.')
  const card = parse(json)
  if (card.schema !== '2.0') refuse(200621, 'parse card json err, please check whether the card json is correct')
  const config = (card.config ?? {}) as Record<string, unknown>
  if (config.update_multi === false) throw new Refusal(300302, 'update_multi property is false')
  const elements = (card.body as { elements?: unknown } | undefined)?.elements
  if (!Array.isArray(elements) || elements.length === 0) return refuse(200621, 'parse card json err: body.elements')
  if (elements.length > MOST_ELEMENTS) refuse(11310, 'element exceeds the limit')
  const ids = elements.flatMap((element: Element) => (element.element_id === undefined ? [] : [element.element_id]))
  if (new Set(ids).size < ids.length || !ids.every((id) => /^[A-Za-z]\w{0,19}$/.test(id))) refuse(300301, 'element_id is invalid')
  let tables = 0
  for (const element of elements as Element[]) {
    if (element.tag === 'note' || element.tag === 'action')
      refuse(200861, `cards of schema V2 no longer support this capability; unsupported tag ${element.tag}`)
    if (element.tag === 'markdown') tables += checkMarkdown(element.content, images)
  }
  if (tables > MOST_TABLES) refuse(11310, 'card table number over limit')
  return { config, elements: elements as Element[] }
}

function parse(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {}
  return refuse(200621, 'parse card json err, please check whether the card json is correct')
}

/** Answers how many tables there are. */
function checkMarkdown(content: unknown, images: ReadonlySet<string>): number {
  if (typeof content !== 'string' || content === '') return refuse(200621, 'parse card json err: content of markdown')
  const prose = withoutCode(content)
  for (const [, key = ''] of prose.matchAll(/!\[[^\]]*\]\(([^)]*)\)/g)) {
    if (!images.has(key)) refuse(200570, 'card contains invalid image keys')
  }
  for (const [, id = ''] of prose.matchAll(/<at\s+(?:id|user_id)=["']?([^"'>\s]*)/g)) {
    if (id !== 'all' && !id.startsWith('ou_')) refuse(100290, 'There is an invalid user resource(at/person) in your card')
  }
  return [...prose.matchAll(/^[ >]*\|?[ ]*:?-+:?[ ]*(\|[ ]*:?-+:?[ ]*)+\|?$/gm)].length
}

/** Behind the marks of quotes and items, too. */
const FENCE = /^([ >]*(?:(?:- |\d+\. )[ >]*)*)(`{3,})([^`\n]*)\n([\s\S]*?)^[ >]*\2`*[ ]*$/gm
/** From a run of marks to the next that is as long. */
const SPAN = /(?<!`)(`+)(?!`)([\s\S]*?[^`])\1(?!`)/g

const withoutCode = (content: string) => content.replace(FENCE, '').replace(SPAN, '')

/** What people read of a card: formatting left out. */
export function textOfCard({ elements }: Card): string {
  return elements
    .map(({ tag, content }) => (tag === 'markdown' ? textOfMarkdown(content ?? '') : ''))
    .filter((text) => text !== '')
    .join('\n')
}

export function textOfMarkdown(content: string): string {
  let text = ''
  let from = 0
  for (const fence of content.matchAll(FENCE)) {
    text += textOfProse(content.slice(from, fence.index))
    const body = fence[4] ?? ''
    // What the fence is moved in by, its lines are, too.
    text += body.replace(new RegExp(`^ {0,${fence[1]?.length ?? 0}}`, 'gm'), '').replace(/\n$/, '')
    from = fence.index + fence[0].length
  }
  return text + textOfProse(content.slice(from))
}

const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', nbsp: '\u00a0' }

function textOfProse(markdown: string): string {
  let text = ''
  let from = 0
  for (const span of markdown.matchAll(SPAN)) {
    text += textOfInlines(markdown.slice(from, span.index)) + (span[2] ?? '').replace(/^ ([\s\S]*) $/, '$1')
    from = span.index + span[0].length
  }
  return text + textOfInlines(markdown.slice(from))
}

function textOfInlines(markdown: string): string {
  return markdown
    .replace(/^((?:[ ]*(?:>|- |\d+\. ))*[ ]*)#{1,6} /gm, '$1')
    .replace(/^[ ]*(> ?)+/gm, '')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\*+|~~/g, '')
    .replace(/&(?:#(\d+)|([a-z]+));/g, (whole, code: string | undefined, name: string | undefined) =>
      code ? String.fromCodePoint(Number(code)) : (NAMED[name ?? ''] ?? whole),
    )
}
