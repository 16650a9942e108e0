/** Out: Markdown to Telegram's HTML, pieces that fit, files, and what a refusal means. */
import {
  type Block,
  DeliveryError,
  FetchError,
  type Inline,
  type OutboundFile,
  type OutboundMessage,
  type Piece,
  type Place,
  plainInline,
  type Receipt,
  type SendOptions,
  splitDocument,
  type Table,
  tableColumns,
  withLinks,
} from '@posthouse/contract'
import { type Api, ApiError } from './api.ts'

/** https://core.telegram.org/bots/api#sendmessage: 4096 UTF-16 units after the entities are parsed. */
export const MAX_TEXT = 4096
/** Telegram forgets the formatting behind the hundredth entity of a message: https://limits.tginfo.me */
const MAX_ENTITIES = 100
/** https://core.telegram.org/bots/api#sending-files */
export const MAX_UPLOAD = 50 * 1024 * 1024
const MAX_PHOTO = 10 * 1024 * 1024

/** The calls that show this message: its text in as many messages as it takes, then each file. Blank text is no message. */
export function render(outbound: OutboundMessage): readonly Piece[] {
  const message = withLinks(outbound, ({ size }) => size <= MAX_UPLOAD)
  const reply = message.replyTo === undefined ? {} : replyTo(message.replyTo)
  let last: { blocks: readonly Block[]; out: Rendered } | undefined
  const rendered = (blocks: readonly Block[]) => {
    if (last?.blocks !== blocks) last = { blocks, out: toHtml(blocks) }
    return last.out
  }
  const fits = (blocks: readonly Block[]) => {
    const { text, entities } = rendered(blocks)
    return text.length <= MAX_TEXT && entities <= MAX_ENTITIES
  }
  const pieces: Piece[] = []
  for (const part of splitDocument(message.document, fits)) {
    const { html, text } = rendered(part)
    if (isBlank(text)) continue
    const payload = { text: html, parse_mode: 'HTML', link_preview_options: { is_disabled: true }, ...(pieces.length === 0 ? reply : {}) }
    pieces.push({ text, format: 'html', payload })
  }
  for (const file of message.files ?? []) {
    pieces.push({ text: file.name, format: 'file', payload: pieces.length === 0 ? reply : {}, file })
  }
  return pieces
}

function replyTo(id: string) {
  return { reply_parameters: { message_id: Number(id), allow_sending_without_reply: true } }
}

/** What Telegram takes for an empty text: white space and characters without a shape. */
function isBlank(text: string): boolean {
  return /^(?:[\s\p{Cc}\p{Cf}\u2800\ufffc]|\u0333|\u033f|\u030a)*$/u.test(text)
}

// ---- Calls ------------------------------------------------------------------------------------------------------------

/** Groups that became supergroups, and so got another id. */
export interface Moves {
  current(room: string): string
  record(from: string, to: string): Promise<void>
}

/** Exactly one call. @throws DeliveryError */
export async function send(api: Api, moves: Moves, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const args = { ...target(to, moves), ...piece.payload }
  try {
    const { signal } = options
    const sent = piece.file ? await upload(api, piece.file, args, signal) : await api.call('sendMessage', args as never, { signal })
    return { id: String(sent.message_id), room: String(sent.chat.id) }
  } catch (error) {
    if (!(error instanceof ApiError && error.migratedTo)) throw toDeliveryError(error)
    await moves.record(to.room, error.migratedTo)
    throw new DeliveryError('transient', 'the group became a supergroup; the next attempt goes to its new id')
  }
}

/** Editing to what is there already is a success. @throws DeliveryError */
export async function edit(api: Api, receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt> {
  if (piece.file) throw new DeliveryError('invalid', 'a file cannot take the place of a message')
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const { reply_parameters: _, ...content } = piece.payload
  const args = { chat_id: chatId(receipt.room), message_id: Number(receipt.id), ...content }
  try {
    await api.call('editMessageText', args as never, { signal: options.signal })
  } catch (error) {
    if (!(error instanceof ApiError && /message is not modified/i.test(error.message))) throw toDeliveryError(error)
  }
  return receipt
}

/** Where to write, in the Bot API's words. */
export function target(to: Place, moves: Moves): { chat_id: number | string; message_thread_id?: number } {
  return { chat_id: chatId(moves.current(to.room)), ...(to.thread === undefined ? {} : { message_thread_id: Number(to.thread) }) }
}

function chatId(room: string): number | string {
  return /^-?\d{1,15}$/.test(room) ? Number(room) : room
}

function upload(api: Api, file: OutboundFile, args: object, signal: AbortSignal) {
  if (file.size > MAX_UPLOAD) throw new DeliveryError('invalid', `${file.size} bytes are more than the 50 MB that Telegram takes`)
  const [method, field] = methodFor(file)
  return api.upload(method, field, file, args, { signal })
}

/** Each kind as Telegram shows it best; what it would refuse in that form goes as a document. */
function methodFor(file: OutboundFile) {
  const mime = file.mime ?? ''
  if (file.kind === 'image' && file.size <= MAX_PHOTO && /^image\/(jpeg|png|webp|bmp)$/.test(mime)) return ['sendPhoto', 'photo'] as const
  if (file.kind === 'voice' && /^audio\/(ogg|mpeg|mp4|x-m4a)$/.test(mime)) return ['sendVoice', 'voice'] as const
  if ((file.kind === 'audio' || file.kind === 'voice') && /^audio\/(mpeg|mp4|x-m4a)$/.test(mime)) return ['sendAudio', 'audio'] as const
  if (file.kind === 'video' && mime === 'video/mp4') return ['sendVideo', 'video'] as const
  return ['sendDocument', 'document'] as const
}

const NOT_FOUND =
  /chat not found|user not found|thread not found|message to edit not found|message_id_invalid|can't be edited|topic_deleted/i
const PERMISSION = /rights|forbidden|restricted|topic_closed|blocked|kicked|not a member/i

/** What a failed call means for the delivery. Only what surely wasn't sent may be called anything but `unknown`. */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (!(error instanceof ApiError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const retryAfter = error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }
  return new DeliveryError(kindOf(error), error.message, retryAfter)
}

function kindOf({ code, fromTelegram, message }: ApiError) {
  if (code === 429) return 'rate-limited'
  if (code === 413) return 'invalid'
  // A gateway that got no answer in time can't know whether Telegram took the message.
  if (code >= 500) return fromTelegram && code !== 502 && code !== 504 ? 'transient' : 'unknown'
  if (code < 400) return 'unknown'
  if (!fromTelegram) return 'transient'
  if (code === 401 || code === 404) return 'auth'
  if (code === 409) return 'conflict'
  if (NOT_FOUND.test(message)) return 'not-found'
  if (code === 403 || PERMISSION.test(message)) return 'permission'
  return 'invalid'
}

// ---- HTML -------------------------------------------------------------------------------------------------------------

export interface Rendered {
  readonly html: string
  /** What remains when the entities are parsed. */
  readonly text: string
  readonly entities: number
}

/** A text under construction. Tags are written when the first character inside of them comes, so none is ever empty. */
interface Out {
  html: string
  text: string
  entities: number
  /** Line breaks owed before the next character. */
  gap: string
  /** Written behind every line break. */
  indent: string
  readonly tags: Tag[]
}

interface Tag {
  readonly name: string
  readonly attributes: string
  written: boolean
}

/** https://core.telegram.org/bots/api#html-style: code holds no other entity and stands in none but a quote; quotes don't nest. */
export function toHtml(document: readonly Block[]): Rendered {
  const out: Out = { html: '', text: '', entities: 0, gap: '', indent: '', tags: [] }
  writeBlocks(out, document, '\n\n')
  return out
}

function writeBlocks(out: Out, blocks: readonly Block[], between: string): void {
  for (const block of blocks) {
    writeBlock(out, block)
    if (out.text !== '') out.gap = out.gap.length > between.length ? out.gap : between
  }
}

function writeBlock(out: Out, block: Block): void {
  if (block.type === 'paragraph') writeInlines(out, block.children)
  else if (block.type === 'heading') within(out, 'b', '', () => writeInlines(out, block.children))
  else if (block.type === 'code') writePre(out, block.text, block.language)
  else if (block.type === 'quote') writeQuote(out, block.children)
  else if (block.type === 'list') writeList(out, block)
  else if (block.type === 'table') writeTable(out, block)
  else write(out, '──────────')
}

function writeQuote(out: Out, children: readonly Block[]): void {
  if (out.tags.some((tag) => tag.name === 'blockquote')) {
    write(out, '> ')
    indented(out, '> ', () => writeBlocks(out, children, '\n'))
  } else {
    within(out, 'blockquote', '', () => writeBlocks(out, children, '\n'))
  }
}

function writeList(out: Out, list: Extract<Block, { type: 'list' }>): void {
  list.items.forEach((item, index) => {
    const box = item.checked === undefined ? '' : item.checked ? '☑ ' : '☐ '
    if (index > 0) out.gap = '\n'
    write(out, (list.ordered ? `${list.start + index}. ` : box ? '' : '• ') + box)
    out.gap = ''
    indented(out, '   ', () => writeBlocks(out, item.children, '\n'))
  })
}

/** Columns where a phone has the room and no address would be lost; else each row as a list of its cells. */
function writeTable(out: Out, table: Table): void {
  const columns = tableColumns(table)
  if (columns !== undefined) {
    writePre(out, columns, '')
    return
  }
  const items = table.rows.length > 0 ? table.rows : [table.header]
  items.forEach((row, index) => {
    if (index > 0) out.gap = '\n'
    write(out, '• ')
    indented(out, '  ', () => writeCells(out, table.rows.length > 0 ? table.header : [], row))
  })
}

function writeCells(out: Out, header: readonly (readonly Inline[])[], row: readonly (readonly Inline[])[]): void {
  row.forEach((cell, column) => {
    const label = header[column] ?? []
    if (label.length === 0 && cell.length === 0) return
    if (column > 0) out.gap = '\n'
    if (label.length > 0) within(out, 'b', '', () => writeInlines(out, label))
    if (label.length > 0 && cell.length > 0) write(out, ': ')
    writeInlines(out, cell)
  })
}

const MARKS = { strong: 'b', emphasis: 'i', strike: 's' } as const

function writeInlines(out: Out, children: readonly Inline[]): void {
  for (const inline of children) {
    if (inline.type === 'text') write(out, inline.text)
    else if (inline.type === 'break') write(out, '\n')
    else if (inline.type === 'code') writeCode(out, inline.text)
    else if (inline.type === 'link') writeLink(out, inline.href, inline.children)
    else if (inline.type === 'image') writeLink(out, inline.src, [{ type: 'text', text: `🖼 ${inline.alt}`.trim() }])
    else within(out, MARKS[inline.type], '', () => writeInlines(out, inline.children))
  }
}

/** Telegram drops a link that it can't parse (and takes `mailto:` for a host) or whose words it won't show: such an address is written out. */
function writeLink(out: Out, href: string, children: readonly Inline[]): void {
  const words = plainInline(children)
  if (!isBlank(words) && /^(https?:\/\/([a-z0-9_-]+\.)+[a-z0-9-]+(:\d{1,5})?([/?#]|$)|tg:\/\/[a-z0-9_-]+([/?]|$))/i.test(href)) {
    within(out, 'a', ` href="${escapeHtml(href)}"`, () => writeInlines(out, children))
  } else {
    const address = href.replace(/^mailto:/i, '')
    writeInlines(out, children)
    if (words !== address) write(out, ` (${address})`)
  }
}

/** Inside of a link the link matters more than the font; other marks are closed and opened again. */
function writeCode(out: Out, text: string): void {
  if (out.tags.some((tag) => tag.name === 'a')) write(out, text)
  else aside(out, () => within(out, 'code', '', () => write(out, text)))
}

function writePre(out: Out, text: string, language: string): void {
  const body = text.replaceAll('\t', '    ')
  if (body.trim() === '') return
  const inner = () => write(out, body)
  const named = /^[\w+#.-]{1,40}$/.test(language) ? () => within(out, 'code', ` class="language-${escapeHtml(language)}"`, inner) : inner
  const { indent } = out
  out.indent = ''
  aside(out, () => within(out, 'pre', '', named))
  out.indent = indent
}

/** Runs `work` inside of a tag, unless such a tag is open already. */
function within(out: Out, name: string, attributes: string, work: () => void): void {
  const nested = out.tags.some((tag) => tag.name === name)
  if (!nested) out.tags.push({ name, attributes, written: false })
  work()
  if (nested) return
  const tag = out.tags.pop()
  if (tag?.written) out.html += `</${name}>`
}

/** Runs `work` with all marks closed that mustn't surround code; what is written behind it opens them again. */
function aside(out: Out, work: () => void): void {
  const marks = out.tags.filter((tag) => tag.name !== 'blockquote')
  for (const tag of marks.toReversed()) {
    if (tag.written) out.html += `</${tag.name}>`
    tag.written = false
  }
  const hidden = out.tags.splice(out.tags.length - marks.length)
  work()
  out.tags.push(...hidden)
}

function indented(out: Out, indent: string, work: () => void): void {
  const before = out.indent
  out.indent += indent
  work()
  out.indent = before
}

function write(out: Out, text: string): void {
  if (text === '') return
  const gap = out.gap === '' ? '' : out.gap + out.indent
  out.gap = ''
  // Line breaks owed stand before the tags, those of the text inside.
  out.html += gap
  for (const tag of out.tags) {
    if (tag.written) continue
    out.html += `<${tag.name}${tag.attributes}>`
    out.entities++
    tag.written = true
  }
  const clean = PLAIN.test(text) ? text : text.toWellFormed().replace(CONTROL, ' ')
  const body = out.indent === '' ? clean : clean.replaceAll('\n', `\n${out.indent}`)
  out.html += escapeHtml(body)
  out.text += gap + body
}

const PLAIN = /^[\n\x20-\x7e\u00a0-\ud7ff]*$/
/** Telegram shows them as spaces, and a NUL ends the text. */
const CONTROL = /(?!\n)[\p{Cc}]/gu

function escapeHtml(text: string): string {
  if (!/[&<>"]/.test(text)) return text
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
