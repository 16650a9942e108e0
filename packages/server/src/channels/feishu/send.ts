/** Out: Markdown to cards that fit, cards that grow, files, and what a refusal means. */
import { hash } from 'node:crypto'
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  type Dialect,
  FetchError,
  keepNewest,
  type OutboundFile,
  type OutboundMessage,
  type Piece,
  type Place,
  plainText,
  type Receipt,
  type SendOptions,
  splitDocument,
  withLinks,
  writeMarkup,
} from '@posthouse/contract'
import { type Api, ApiError, BAD_TOKEN } from './api.ts'

/** A card may have 30 KB (im-v1/message/create); the platform adds to what it is given. Bytes of the card as JSON. */
export const MAX_CARD = 28 * 1024
/** Bytes: im-v1/image/create, im-v1/file/create */
export const MAX_FILE = 30 * 1024 * 1024
const MAX_IMAGE = 10 * 1024 * 1024
/** The element of a card that the answer stands in. */
const ELEMENT = 'answer'

/** The cards that show this message, then each file. Blank text is no piece. */
export function render(outbound: OutboundMessage): readonly Piece[] {
  const message = withLinks(outbound, ({ size }) => size <= MAX_FILE)
  const { replyTo, to } = message
  const pieces: Piece[] = []
  /** The first piece names the question; in a topic each one must name something. */
  const where = () => (replyTo !== undefined && (pieces.length === 0 || to.thread !== undefined) ? { reply_to: replyTo } : {})
  const fits = (blocks: readonly Block[]) => sizeOf(cardOf(toMarkdown(blocks), plainText(blocks))) <= MAX_CARD
  for (const part of splitDocument(message.document, fits)) {
    const text = plainText(part)
    const markdown = toMarkdown(part)
    if (isBlank(text) || isBlank(markdown)) continue
    pieces.push({ text, format: 'card', payload: { msg_type: 'interactive', card: cardOf(markdown, text), ...where() } })
  }
  for (const file of message.files ?? []) pieces.push({ text: file.name, format: 'file', payload: where(), file })
  return pieces
}

function isBlank(text: string): boolean {
  return /^(?:[\s\p{Cc}\p{Cf}\u2800\ufffc])*$/u.test(text)
}

// ---- Cards ------------------------------------------------------------------------------------------------------------

interface Card {
  readonly schema: '2.0'
  readonly config: Readonly<Record<string, unknown>>
  readonly body: { readonly elements: readonly { readonly tag: 'markdown'; readonly element_id: string; readonly content: string }[] }
}

/** feishu-cards/card-json-v2-structure. The summary is what lists of chats and notices show. */
function cardOf(content: string, text: string): Card {
  const summary = [...text.replace(/\s+/g, ' ').trim()].slice(0, 80).join('')
  return {
    schema: '2.0',
    config: { update_multi: true, ...(summary ? { summary: { content: summary } } : {}) },
    body: { elements: [{ tag: 'markdown', element_id: ELEMENT, content }] },
  }
}

const sizeOf = (card: Card) => Buffer.byteLength(JSON.stringify(card))
const contentOf = (card: Card) => card.body.elements[0]?.content ?? ''

/** The same card while it grows; its summary is the platform's own word for that. */
function growing({ schema, body }: Card): Card {
  return { schema, config: { update_multi: true, streaming_mode: true }, body }
}

// ---- Markdown ---------------------------------------------------------------------------------------------------------

/** What means something in a card stands as its number: feishu-cards/card-components/content-components/rich-text */
const SPECIAL = /[&<>*_~`[\]\\|$#]|!$|:(?=\w+:)|(?<=^[ \t]*)[+\-=]|(?<=^[ \t]*\d{1,9})[.)]/gm
const CONTROL = /(?![\n\t])\p{Cc}/gu
/** What would call everybody, and what would be a picture and is refused as none that was uploaded: kept apart, also in code. */
const CALL = /<(?=at\b)|!(?=\[[^\]\n]*\]\()/gi

const clean = (text: string) => text.toWellFormed().replace(CONTROL, ' ')
const verbatim = (text: string) => clean(text).replace(CALL, '$&\u200b')

const dialect: Dialect = {
  text: (text) => clean(text).replace(SPECIAL, (character) => `&#${character.charCodeAt(0)};`),
  strong: (inner) => `**${inner}**`,
  emphasis: (inner) => `*${inner}*`,
  strike: (inner) => `~~${inner}~~`,
  code(text) {
    const line = verbatim(text).replaceAll('\n', ' ')
    const mark = '`'.repeat(longestRun(line) + 1)
    return /^`|`$|^ .* $/.test(line) ? `${mark} ${line} ${mark}` : mark + line + mark
  },
  // Other addresses are shown as they are.
  link: (inner, href) => (/^https?:\/\/[^\s()<>"\\]+$/i.test(href) && inner.trim() !== '' ? `[${inner}](${href})` : undefined),
  heading: (inner, level) => `${'#'.repeat(Math.min(level + 2, 6))} ${inner.replaceAll('\n', ' ')}`,
  fence(text, language) {
    const mark = '`'.repeat(Math.max(3, longestRun(text) + 1))
    return `${mark}${/^[\w+#.-]{1,40}$/.test(language) ? language : ''}\n${verbatim(text)}\n${mark}`
  },
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '- ',
  rule: '──────────',
  indent: '    ',
}

const longestRun = (text: string) => Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length))

/** Tables are columns or lists: a card takes a few tables only, and refuses more (11310). */
export function toMarkdown(document: readonly Block[]): string {
  return writeMarkup(document, dialect)
}

// ---- Calls ------------------------------------------------------------------------------------------------------------

/** What sending remembers; all of it may be forgotten. */
export interface Desk {
  readonly api: Api
  now(): number
  /** Cards that were made for a preview whose sending failed, by its key: a card can be sent once. */
  readonly made: Map<string, { readonly card: string; readonly since: number }>
  /** The last number of an operation on a card. */
  readonly numbers: Map<string, number>
}

/** The most that a map of the desk holds. */
const MOST_KEPT = 1000

/** Sends one piece. @throws DeliveryError */
export async function send(desk: Desk, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  try {
    const { card } = piece.payload as { card?: Card }
    if (card && options.draft) return await sendGrowing(desk, card, piece, to, options)
    const content = piece.file ? await upload(desk.api, piece.file, options) : { msg_type: 'interactive', content: JSON.stringify(card) }
    try {
      return { id: await post(desk.api, content, piece, to, options), room: to.room }
    } catch (error) {
      // Refused, so surely not sent: the words alone are better than nothing.
      if (!card || !isRefusedCard(error)) throw error
      const text = { msg_type: 'text', content: JSON.stringify({ text: verbatim(piece.text) }) }
      return { id: await post(desk.api, text, piece, to, options), room: to.room }
    }
  } catch (error) {
    throw toDeliveryError(error)
  }
}

/** 230099 has its reason inside; 230054 is said where cards are not taken at all. */
function isRefusedCard(error: unknown): boolean {
  return error instanceof ApiError && [230099, 230054, 230025, 200621, 200861, 11310].includes(error.code)
}

/** At most 50 characters: im-v1/message/create, `uuid` */
const uuidOf = (key: string) => hash('sha256', key).slice(0, 40)

/** One message, answered with its id. The platform sends no second one with this key within an hour, and answers with the first. */
async function post(api: Api, content: object, piece: Piece, to: Place, { idempotencyKey, signal }: SendOptions): Promise<string> {
  const { reply_to } = piece.payload as { reply_to?: string }
  const body = { ...content, uuid: uuidOf(idempotencyKey) }
  const create = () =>
    api.call(
      'POST',
      `im/v1/messages?receive_id_type=${to.room.startsWith('ou_') ? 'open_id' : 'chat_id'}`,
      { receive_id: to.room, ...body },
      { signal },
    )
  const reply = (id: string) =>
    api.call(
      'POST',
      `im/v1/messages/${encodeURIComponent(id)}/reply`,
      { ...body, ...(to.thread === undefined ? {} : { reply_in_thread: true }) },
      { signal },
    )
  const target = reply_to ?? to.thread
  const { data } = await (target === undefined ? create() : reply(target)).catch(async (error: unknown) => {
    // The question was taken back: its answer stands beside, or on what opened the topic.
    if (!isGone(error) || reply_to === undefined || reply_to === to.thread) throw error
    return await (to.thread === undefined ? create() : reply(to.thread))
  })
  return idIn(data, 'message_id')
}

const GONE = [230011, 231003, 230110, 230031, 200740, 200750, 300311]
const isGone = (error: unknown) => error instanceof ApiError && GONE.includes(error.code)

function idIn(data: unknown, name: string): string {
  const id = (data as Record<string, unknown> | undefined)?.[name]
  if (typeof id !== 'string' || id === '') throw new DeliveryError('unknown', `the platform answered without ${name}`)
  return id
}

// ---- Cards that grow --------------------------------------------------------------------------------------------------

/** What a receipt names: the message and, of one that grew, its card and when that was made. */
interface Sent {
  readonly message: string
  readonly card?: string
  readonly since: number
}

const receiptOf = (message: string, card: string, since: number) => `${message}/${card}/${since.toString(36)}`

function sentOf({ id }: Receipt): Sent {
  const [message = '', card, since = ''] = id.split('/')
  return { message, ...(card ? { card } : {}), since: Number.parseInt(since, 36) || 0 }
}

/**
 * A card of its own that is sent by its id, so that its text can grow: cardkit-v1/card/create. The message's key holds the card's id: a
 * repeat would else be answered with a message that shows another card.
 */
async function sendGrowing(desk: Desk, card: Card, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  const key = options.idempotencyKey
  const made = desk.made.get(key) ?? (await make(desk, card, options))
  keepNewest(desk.made, key, made, MOST_KEPT)
  const content = { msg_type: 'interactive', content: JSON.stringify({ type: 'card', data: { card_id: made.card } }) }
  const message = await post(desk.api, content, piece, to, { ...options, idempotencyKey: `${key}:${made.card}` })
  desk.made.delete(key)
  return { id: receiptOf(message, made.card, made.since), room: to.room }
}

/** Nobody sees a card that was not sent. */
async function make(desk: Desk, card: Card, { signal }: SendOptions) {
  const since = desk.now()
  const body = { type: 'card_json', data: JSON.stringify(growing(card)) }
  const { data } = await desk.api.call('POST', 'cardkit/v1/cards', body, { signal }).catch(unseen)
  return { card: idIn(data, 'card_id'), since }
}

function unseen(error: unknown): never {
  throw error instanceof FetchError && error.kind !== 'aborted' ? new FetchError('connect', error.message) : error
}

/**
 * Numbers of operations on a card must rise, also over a restart and from node to node, and fit into 31 bits: the milliseconds since the card
 * was made. A card lives for 14 days.
 */
function nextNumber({ numbers, now }: Desk, { card = '', since }: Sent): number {
  const next = Math.max(now() - since, (numbers.get(card) ?? 0) + 1, 1)
  keepNewest(numbers, card, next, MOST_KEPT)
  return next
}

/** Another clock was ahead of ours: beyond it the numbers rise again. */
const CLOCKS_APART = 3_600_000

/** Puts the piece in the place of what was sent; a card that grew ends with it unless it is a draft. @throws DeliveryError */
export async function edit(desk: Desk, receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const { card } = piece.payload as { card?: Card }
  if (!card) throw new DeliveryError('invalid', 'a file cannot take the place of a message')
  const sent = sentOf(receipt)
  try {
    if (sent.card === undefined) await desk.api.call('PATCH', messagePath(sent), { content: JSON.stringify(card) }, options)
    else if (options.draft) await grow(desk, sent, card, options)
    else await finish(desk, sent, card, options)
    return receipt
  } catch (error) {
    if (error instanceof ApiError && error.code === WRONG_NUMBER)
      keepNewest(desk.numbers, sent.card ?? '', (desk.numbers.get(sent.card ?? '') ?? 0) + CLOCKS_APART, MOST_KEPT)
    // Refused in its place: it becomes a message of its own, as words if need be.
    if (isRefusedCard(error) && !options.draft) throw new DeliveryError('not-found', (error as Error).message)
    throw toDeliveryError(error)
  }
}

const WRONG_NUMBER = 300317
/** The platform ends a card's growing by itself after ten minutes. */
const STOPPED_GROWING = [200850, 300309]

const messagePath = ({ message }: Sent) => `im/v1/messages/${encodeURIComponent(message)}`
const cardPath = ({ card = '' }: Sent) => `cardkit/v1/cards/${encodeURIComponent(card)}`

/** cardkit-v1/card-element/content: the whole text each time; what is new of it appears letter by letter. */
async function grow(desk: Desk, sent: Sent, card: Card, { signal }: SendOptions): Promise<void> {
  const put = () =>
    desk.api.call(
      'PUT',
      `${cardPath(sent)}/elements/${ELEMENT}/content`,
      { content: contentOf(card), sequence: nextNumber(desk, sent) },
      { signal },
    )
  await put().catch(async (error: unknown) => {
    if (!(error instanceof ApiError && STOPPED_GROWING.includes(error.code))) throw error
    await configure(desk, sent, { streaming_mode: true }, signal)
    await put()
  })
}

/** cardkit-v1/card/settings ends the growing, cardkit-v1/card/update shows the whole. Both may be repeated. */
async function finish(desk: Desk, sent: Sent, card: Card, { signal }: SendOptions): Promise<void> {
  await configure(desk, sent, { streaming_mode: false }, signal)
  const body = { card: { type: 'card_json', data: JSON.stringify(card) }, sequence: nextNumber(desk, sent) }
  await desk.api.call('PUT', cardPath(sent), body, { signal })
}

async function configure(desk: Desk, sent: Sent, config: object, signal: AbortSignal): Promise<void> {
  const body = { settings: JSON.stringify({ config }), sequence: nextNumber(desk, sent) }
  await desk.api.call('PATCH', `${cardPath(sent)}/settings`, body, { signal })
}

// ---- Files ------------------------------------------------------------------------------------------------------------

const DOCUMENTS: Readonly<Record<string, string>> = {
  pdf: 'pdf',
  doc: 'doc',
  docx: 'doc',
  xls: 'xls',
  xlsx: 'xls',
  ppt: 'ppt',
  pptx: 'ppt',
}

/** Uploads, and answers the message that shows it. Until that is sent nobody sees anything, so a failure is no "maybe". */
async function upload(api: Api, file: OutboundFile, { signal }: SendOptions): Promise<object> {
  if (file.size > MAX_FILE) throw new DeliveryError('invalid', `${file.size} bytes are more than the 30 MB that Feishu takes`)
  const mime = file.mime ?? ''
  if (file.kind === 'image' && file.size <= MAX_IMAGE && /^image\/(jpeg|png|webp|gif|bmp)$/.test(mime)) {
    const { data } = await api.upload('im/v1/images', { image_type: 'message' }, 'image', file, { signal }).catch(unseen)
    return { msg_type: 'image', content: JSON.stringify({ image_key: idIn(data, 'image_key') }) }
  }
  const [file_type, msg_type] = typesOf(file, mime)
  const fields = { file_type, file_name: file.name.replace(/\p{Cc}/gu, '_').slice(-200) || 'file' }
  const { data } = await api.upload('im/v1/files', fields, 'file', file, { signal }).catch(unseen)
  return { msg_type, content: JSON.stringify({ file_key: idIn(data, 'file_key') }) }
}

/** A voice is heard, and a film seen, in one form only; everything else is a file. */
function typesOf({ kind, name }: OutboundFile, mime: string): readonly [type: string, message: string] {
  if ((kind === 'voice' || kind === 'audio') && /^audio\/(ogg|opus)\b/.test(mime)) return ['opus', 'audio']
  if (kind === 'video' && mime === 'video/mp4') return ['mp4', 'media']
  return [DOCUMENTS[/\.(\w+)$/.exec(name)?.[1]?.toLowerCase() ?? ''] ?? 'stream', 'file']
}

// ---- Refusals ---------------------------------------------------------------------------------------------------------

/** im-v1/message/create and reply, cardkit-v1/card-element/content, generic-error-code: what they list, by what it means for a delivery. */
const KINDS: Partial<Record<DeliveryFailure, readonly number[]>> = {
  'rate-limited': [99991400, 230020, 11232, 11233],
  auth: [...BAD_TOKEN, 10003, 10012, 10013, 10014, 10015, 1000040345, 514],
  permission: [99991672, 99991679, 230002, 230006, 230013, 230018, 230027, 230029, 230035, 230038, 230053, 234007, 403],
  'not-found': [230034, 232009, 230019, ...GONE],
  transient: [1, 2200, 230049, 232096, 200810, WRONG_NUMBER, 300120, 1000040343],
  conflict: [1000040350],
}
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, codes]) => codes.map((code) => [code, kind as DeliveryFailure] as const)))
/** How long to wait when it is not told: five messages in a second are taken. */
const PAUSE = 1000

/** What a failed call means for the delivery. Only what surely wasn't sent may be called anything but `unknown`. */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (!(error instanceof ApiError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const kind = kindOf(error)
  return new DeliveryError(kind, error.message, kind === 'rate-limited' ? { retryAfter: error.retryAfter ?? PAUSE } : {})
}

function kindOf({ code, status }: ApiError): DeliveryFailure {
  if (status === 429) return 'rate-limited'
  // A gateway that got no answer in time can't know whether the platform took the message.
  if (status >= 500) return code !== 0 && status !== 502 && status !== 504 ? 'transient' : 'unknown'
  if (code === 0) return status < 400 ? 'unknown' : status === 413 ? 'invalid' : 'transient'
  return KIND_OF.get(code) ?? (status === 401 ? 'auth' : 'invalid')
}
