/** Out: Markdown within 20,000 bytes, cards that grow, files, and what a refusal means. https://open.dingtalk.com/document/orgapp/robot-message-type */
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
import { type Api, ApiError, BAD_TOKEN, safeName } from './api.ts'
import { CARD_IDS } from './receive.ts'

/** "message too long, exceed 20000 bytes" (460101): of the whole request, in which the text is JSON inside of JSON. */
export const MAX_BODY = 18_000
/** Bytes: upload-media-files */
export const MAX_FILE = 20 * 1024 * 1024

/** The messages that show this, then each file; what robots cannot send becomes a link. Blank text is no piece. */
export function render(outbound: OutboundMessage, sendsFiles = true): readonly Piece[] {
  const message = withLinks(outbound, (file) => sendsFiles && kindOf(file) !== undefined && file.size <= MAX_FILE)
  const pieces: Piece[] = []
  const fits = (blocks: readonly Block[]) => sizeOf(markdownOf(toMarkdown(blocks), plainText(blocks))) <= MAX_BODY
  for (const part of splitDocument(message.document, fits)) {
    const text = plainText(part)
    const markdown = toMarkdown(part)
    if (isBlank(text) || isBlank(markdown)) continue
    pieces.push({ text, format: 'markdown', payload: { msgtype: 'markdown', markdown: markdownOf(markdown, text) } })
  }
  for (const file of message.files ?? []) pieces.push({ text: file.name, format: 'file', payload: {}, file })
  return pieces
}

function isBlank(text: string): boolean {
  return /^(?:[\s\p{Cc}\p{Cf}\u2800\ufffc])*$/u.test(text)
}

interface Markdown {
  readonly title: string
  readonly text: string
}

/** The title is what lists of chats and notices show. */
function markdownOf(text: string, plain: string): Markdown {
  const words = clean(plain).replace(/\s+/g, ' ').trim()
  return { title: [...words].slice(0, 40).join('') || '…', text }
}

const sizeOf = (markdown: Markdown) => Buffer.byteLength(JSON.stringify(JSON.stringify(markdown)))

// ---- Markdown ---------------------------------------------------------------------------------------------------------

const CONTROL = /(?![\n\t])\p{Cc}/gu
/**
 * What would mean something: quotation marks of code, a backslash, stars and underscores where they could begin or end a mark, what would
 * make a link or a picture, and what opens a heading, a quote, a list.
 */
const SPECIAL =
  /[\\`]|\*(?=\S)|(?<=\S)\*|(?<!\w)_(?=\S)|(?<=\S)_(?!\w)|\](?=\(|$)|!(?=\[|$)|(?<=^[ \t]*)(?:[#>]|[+-](?=[ \t]|$)|[=-]{2,})|(?<=^[ \t]*\d{1,9})[.)](?=[ \t]|$)/gm
/** A tag, or the name of a character. */
const TAG = /<(?=[a-z/!?])|&(?=#?\w{1,31};)/gi

const clean = (text: string) => text.toWellFormed().replace(CONTROL, ' ')
/** Spaces before the end of a line make it one. */
const NEWLINE = '  \n'

const dialect: Dialect = {
  text: (text) =>
    clean(text)
      .replace(SPECIAL, (found) => [...found].map((character) => `\\${character}`).join(''))
      .replace(TAG, (character) => (character === '<' ? '&lt;' : '&amp;'))
      .replaceAll('\n', NEWLINE),
  strong: (inner) => `**${inner}**`,
  emphasis: (inner) => `*${inner}*`,
  code(text) {
    const line = clean(text).replaceAll('\n', ' ')
    const mark = '`'.repeat(longestRun(line) + 1)
    return /^`|`$|^ .* $/.test(line) ? `${mark} ${line} ${mark}` : mark + line + mark
  },
  // Other addresses are shown as they are. Pictures become links: a client would fetch what a model names, unasked.
  link: (inner, href) => (/^https?:\/\/[^\s()<>"\\]+$/i.test(href) && inner.trim() !== '' ? `[${inner}](${href})` : undefined),
  heading: (inner, level) => `${'#'.repeat(Math.min(level, 6))} ${inner.replaceAll('\n', ' ')}`,
  fence(text, language) {
    const mark = '`'.repeat(Math.max(3, longestRun(text) + 1))
    return `${mark}${/^[\w+#.-]{1,40}$/.test(language) ? language : ''}\n${clean(text)}\n${mark}`
  },
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '- ',
  rule: '──────────',
  indent: '    ',
  newline: NEWLINE,
}

const longestRun = (text: string) => Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length))

/** Robots know no tables: they are columns or lists. */
export function toMarkdown(document: readonly Block[]): string {
  return writeMarkup(document, dialect)
}

// ---- Calls ------------------------------------------------------------------------------------------------------------

/** What sending works with. */
export interface Desk {
  readonly api: Api
  readonly robot: string
  /** Undefined: answers do not grow. `route`: the name of the address at which buttons are told, once that is registered. */
  readonly card: { readonly template: string; readonly key: string; route?: string | undefined } | undefined
  readonly sessions: Sessions
  /** Cards that may exist though nobody said so. */
  readonly tried: Map<string, true>
}

/** The addresses at which rooms may be answered for a while. */
export interface Sessions {
  find(room: string): Promise<string | undefined>
  forget(room: string): void
}

/** The most that a map of the desk holds. */
const MOST_KEPT = 1000

/** Sends one piece. @throws DeliveryError */
export async function send(desk: Desk, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const { markdown } = piece.payload as { markdown?: Markdown }
  try {
    if (markdown && options.draft && desk.card) return { id: await begin(desk, markdown, to, options), room: to.room }
    if (markdown) return { id: await answer(desk, markdown, to, options), room: to.room }
    if (!piece.file) throw new DeliveryError('invalid', 'there is nothing in it to send')
    return { id: await post(desk, await upload(desk.api, piece.file, options), to, options), room: to.room }
  } catch (error) {
    throw toDeliveryError(error)
  }
}

/** The address is not known any more; nothing was sent. */
const NO_SESSION = '300001'

/** By the address that came with the last message while that is good, which needs no right and reaches everybody who wrote; else as a message of its own. */
async function answer(desk: Desk, markdown: Markdown, to: Place, options: SendOptions): Promise<string> {
  const url = await desk.sessions.find(to.room)
  if (url !== undefined) {
    try {
      await desk.api.answerAt(url, { msgtype: 'markdown', markdown }, options)
      // It tells no id, and nothing can be done with such a message later.
      return `session/${hash('sha256', options.idempotencyKey).slice(0, 32)}`
    } catch (error) {
      if (!(error instanceof ApiError && error.code === NO_SESSION)) throw error
      desk.sessions.forget(to.room)
    }
  }
  return await post(desk, { msgKey: 'sampleMarkdown', msgParam: JSON.stringify(markdown) }, to, options)
}

/** https://open.dingtalk.com/document/orgapp/chatbots-send-one-on-one-chat-messages-in-batches and .../the-robot-sends-a-group-message */
async function post({ api, robot }: Desk, content: object, to: Place, options: SendOptions): Promise<string> {
  if (to.type === 'group') {
    const body = { robotCode: robot, openConversationId: to.room, ...content }
    return keyIn(await api.call('POST', 'robot/groupMessages/send', body, options))
  }
  if (isOutside(to.room))
    throw new DeliveryError(
      'permission',
      'this person is outside of the organization: an answer is possible for a while after a message only',
    )
  const body = { robotCode: robot, userIds: [to.room], ...content }
  const answered = await api.call('POST', 'robot/oToMessages/batchSend', body, options)
  const has = (list: unknown) => Array.isArray(list) && list.includes(to.room)
  if (has(answered.invalidStaffIdList)) throw new DeliveryError('not-found', 'nobody in the organization has this id')
  if (has(answered.flowControlledStaffIdList))
    throw new DeliveryError('rate-limited', 'this person got too many messages', { retryAfter: LONG_PAUSE })
  return keyIn(answered)
}

/** Not a staff id, but the name by which robots know strangers. */
const isOutside = (room: string) => room.startsWith('$:')

function keyIn({ processQueryKey }: Readonly<Record<string, unknown>>): string {
  if (typeof processQueryKey === 'string' && processQueryKey !== '') return processQueryKey
  throw new DeliveryError('unknown', 'the platform answered without processQueryKey')
}

const MOST_CARD_ID = 64

// ---- Cards that grow --------------------------------------------------------------------------------------------------

/** The same for every attempt, in every process: https://open.dingtalk.com/document/orgapp/create-and-deliver-cards */
function cardIdOf({ type, room }: Place, key: string): string {
  const digest = hash('sha256', `${room} ${key}`)
  const named = `${CARD_IDS[type]}${digest.slice(0, 16)}-${room}`
  return type === 'group' && named.length <= MOST_CARD_ID ? named : CARD_IDS[type] + digest.slice(0, 40)
}

async function begin(desk: Desk, markdown: Markdown, to: Place, options: SendOptions): Promise<string> {
  const { api, robot, card, tried } = desk
  if (!card) throw new DeliveryError('invalid', 'no template is set')
  if (to.type === 'direct' && isOutside(to.room)) throw new DeliveryError('permission', 'cards reach nobody outside of the organization')
  const id = cardIdOf(to, options.idempotencyKey)
  // It may be there since an attempt that nobody answered.
  if (tried.has(id) && (await stream(desk, id, markdown, options).catch(notThere))) return id
  const isGroup = to.type === 'group'
  keepNewest(tried, id, true, MOST_KEPT)
  const made = api.call(
    'POST',
    'card/instances/createAndDeliver',
    {
      cardTemplateId: card.template,
      outTrackId: id,
      // Without one no update is taken.
      ...(card.route ? { callbackType: 'HTTP', callbackRouteKey: card.route } : { callbackType: 'STREAM' }),
      cardData: { cardParamMap: { [card.key]: markdown.text } },
      userIdType: 1,
      openSpaceId: `dtv1.card//${isGroup ? 'IM_GROUP' : 'IM_ROBOT'}.${to.room}`,
      ...(isGroup
        ? { imGroupOpenSpaceModel: { supportForward: true }, imGroupOpenDeliverModel: { robotCode: robot } }
        : { imRobotOpenSpaceModel: { supportForward: true }, imRobotOpenDeliverModel: { spaceType: 'IM_ROBOT', robotCode: robot } }),
    },
    options,
  )
  await made.catch((error: unknown) => {
    if (toDeliveryError(error).kind !== 'unknown') tried.delete(id)
    throw error
  })
  tried.delete(id)
  return id
}

function notThere(error: unknown): false {
  if (error instanceof ApiError && toDeliveryError(error).kind === 'not-found') return false
  throw error
}

/** https://open.dingtalk.com/document/orgapp/api-streamingupdate: the whole text each time. The same `guid` is carried out once. */
async function stream({ api, card }: Desk, outTrackId: string, { text }: Markdown, options: SendOptions): Promise<true> {
  const isFinalize = !options.draft
  const guid = hash('sha256', JSON.stringify([outTrackId, isFinalize, text])).slice(0, 40)
  const body = { outTrackId, guid, key: card?.key, content: text, isFull: true, isFinalize, isError: false }
  await api.call('PUT', 'card/streaming', body, options)
  return true
}

/** Puts the piece in the place of a card's text, and ends its growing unless it is a draft. @throws DeliveryError */
export async function edit(desk: Desk, receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const { markdown } = piece.payload as { markdown?: Markdown }
  if (!markdown) throw new DeliveryError('invalid', 'a file cannot take the place of a message')
  if (!Object.values(CARD_IDS).some((prefix) => receipt.id.startsWith(prefix)))
    throw new DeliveryError('not-found', 'only cards can be changed')
  try {
    await stream(desk, receipt.id, markdown, options)
    return receipt
  } catch (error) {
    const failure = toDeliveryError(error)
    // What the card does not take becomes a message of its own.
    const lost = !options.draft && (failure.kind === 'invalid' || failure.kind === 'permission')
    throw lost ? new DeliveryError('not-found', failure.message) : failure
  }
}

// ---- Files ------------------------------------------------------------------------------------------------------------

/** What `sampleFile` takes. */
const FILE_TYPES = ['xlsx', 'pdf', 'zip', 'rar', 'doc', 'docx']
const IMAGES = /^image\/(?:jpeg|png|gif|bmp)$/

const typeOf = ({ name }: OutboundFile) => /\.(\w+)$/.exec(name)?.[1]?.toLowerCase() ?? ''

function kindOf(file: OutboundFile): 'image' | 'file' | undefined {
  if (file.kind === 'image' && IMAGES.test(file.mime ?? '')) return 'image'
  return FILE_TYPES.includes(typeOf(file)) ? 'file' : undefined
}

/** Uploads, and answers the message that shows it. Until that is sent nobody sees anything, so a failure is no "maybe". */
async function upload(api: Api, file: OutboundFile, options: SendOptions): Promise<object> {
  const type = kindOf(file)
  if (file.size > MAX_FILE) throw new DeliveryError('invalid', `${file.size} bytes are more than the 20 MB that DingTalk takes`)
  if (!type)
    throw new DeliveryError(
      'invalid',
      `robots send images and ${FILE_TYPES.join(', ')} only; set server.public_url, and others become links`,
    )
  const id = await api.upload(type, file, options).catch((error: unknown) => {
    throw error instanceof FetchError && error.kind !== 'aborted' ? new FetchError('connect', error.message) : error
  })
  if (type === 'image') return { msgKey: 'sampleImageMsg', msgParam: JSON.stringify({ photoURL: id }) }
  const param = { mediaId: id, fileName: safeName(file.name), fileType: typeOf(file) }
  return { msgKey: 'sampleFile', msgParam: JSON.stringify(param) }
}

// ---- A group's own robot ------------------------------------------------------------------------------------------------

/** Where a custom robot posts; signed anew for each call, good for an hour. https://open.dingtalk.com/document/robots/customize-robot-security-settings */
export type GroupAddress = () => string

/** Posts one piece; it says no id. @throws DeliveryError */
export async function sendToGroup(
  api: Pick<Api, 'answerAt'>,
  address: GroupAddress,
  piece: Piece,
  to: Place,
  options: SendOptions,
): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const { markdown } = piece.payload as { markdown?: Markdown }
  if (!markdown) throw new DeliveryError('invalid', 'a custom robot sends no files: set server.public_url, and they become links')
  try {
    await api.answerAt(address(), { msgtype: 'markdown', markdown }, options)
    return { id: '', room: to.room }
  } catch (error) {
    if (!(error instanceof ApiError && error.code === SECURITY)) throw toDeliveryError(error)
    throw new DeliveryError(
      'permission',
      `the robot's security settings refuse it: look at its secret, keywords and IPs (${error.message})`,
    )
  }
}

/** A wrong signature, a keyword that is missing, an address that is not listed. */
const SECURITY = '310000'

// ---- Refusals ---------------------------------------------------------------------------------------------------------

/** Which words and numbers of the platform's mean what for a delivery; the first that fits. https://open.dingtalk.com/document/orgapp/server-api-error-codes-1 */
const KINDS: readonly (readonly [kind: DeliveryFailure, codes: RegExp])[] = [
  ['rate-limited', /qpslimit|throttl|flowcontrol|toomany|^(?:90018|90002|130101|410100|660026)$/i],
  ['auth', /^(?:invalidClientIdOrSecret|authFailed|InvalidAccessToken|40089|40096|52013|300005|400101|400106)$/i],
  ['permission', /^forbidden|accessdenied|permission|robotCode|^(?:60011|50002|310000|400102)$/i],
  ['not-found', /not_?exist|not_?found|^(?:300001|34013|60121|400013)$/i],
  ['transient', /^-1$|^ServiceUnavailable$/i],
]

/** How long to wait when it is not told. Whoever sends more than 20 messages in a minute to a group is shut out for ten. */
const PAUSE = 2000
const LONG_PAUSE = 60_000

/** What a failed call means for the delivery. Only what surely wasn't sent may be called anything but `unknown`. */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (!(error instanceof ApiError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const kind = failureOf(error)
  const pause = /^\d+$/.test(error.code) ? LONG_PAUSE : PAUSE
  return new DeliveryError(kind, error.message, kind === 'rate-limited' ? { retryAfter: error.retryAfter ?? pause } : {})
}

function failureOf({ code, status }: ApiError): DeliveryFailure {
  if (status === 429) return 'rate-limited'
  const [known] = KINDS.find(([, codes]) => codes.test(code)) ?? []
  if (BAD_TOKEN.includes(code)) return 'auth'
  // A gateway, or an interface that broke, can't know whether the message was taken.
  if (status >= 500) return known === 'rate-limited' || (status === 503 && code !== '') ? (known ?? 'transient') : 'unknown'
  if (code === '') return status < 400 ? 'unknown' : status === 413 ? 'invalid' : 'transient'
  return known ?? (status === 401 ? 'auth' : 'invalid')
}
