/** Out: Markdown to what each kind of account takes, streams that grow, files, and what a refusal means. */
import { hash } from 'node:crypto'
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  type Dialect,
  FetchError,
  type FileKind,
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
import type { WecomSettings } from './settings.ts'
import type { Asking } from './socket.ts'

type Mode = WecomSettings['mode']

/** Bytes of Markdown: document/path/90236 (app), the official client (bot), document/path/101031 and /101138 (bot-webhook), document/path/91770 (robot). */
export const MAX_TEXT: Readonly<Record<Mode, number>> = { app: 2048, bot: 20_480, 'bot-webhook': 20_480, robot: 4096 }
const MB = 1024 * 1024
/** Bytes of what is uploaded, and there are more than five: document/path/90253 */
const MAX_FILE = 20 * MB
const LEAST_FILE = 6
const MAX_KIND = { image: 10 * MB, voice: 2 * MB, video: 10 * MB, file: MAX_FILE } as const
/** A robot's picture stands in the call itself: document/path/91770 */
const MAX_ROBOT_IMAGE = 2 * MB

const isTaken = ({ size }: OutboundFile) => size >= LEAST_FILE && size <= MAX_FILE

/** The messages that show this one, then each file. Blank text is no piece. */
export function render(outbound: OutboundMessage, mode: Mode): readonly Piece[] {
  // A bot that is called has no way to upload.
  const message = withLinks(outbound, mode === 'bot-webhook' ? () => false : isTaken)
  const dialect = mode === 'bot' || mode === 'bot-webhook' ? full : basic
  const write = (blocks: readonly Block[]) => writeMarkup(blocks, dialect)
  const fits = (blocks: readonly Block[]) =>
    Math.max(Buffer.byteLength(write(blocks)), Buffer.byteLength(plainText(blocks))) <= MAX_TEXT[mode]
  const pieces: Piece[] = []
  for (const part of splitDocument(message.document, fits)) {
    const [text, content] = [plainText(part), write(part)]
    if (isBlank(text) || isBlank(content)) continue
    const asked = refers(mode, pieces.length) && message.replyTo !== undefined ? { reply_to: message.replyTo } : {}
    pieces.push({ text, format: 'markdown', payload: { content, ...asked } })
  }
  for (const file of message.files ?? []) pieces.push({ text: file.name, format: 'file', payload: {}, file })
  return pieces
}

/** A bot's first message answers the question; one that is called may say more only in the place where it was asked. */
const refers = (mode: Mode, before: number) => mode === 'bot-webhook' || (mode === 'bot' && before === 0)

function isBlank(text: string): boolean {
  return /^(?:[\s\p{Cc}\p{Cf}\u2800\ufffc])*$/u.test(text)
}

// ---- Markdown ---------------------------------------------------------------------------------------------------------

const CONTROL = /(?![\n\t])\p{Cc}/gu
const clean = (text: string) => text.toWellFormed().replace(CONTROL, ' ')
const flat = (text: string) => text.replaceAll('\n', ' ')

/**
 * Apps and group robots know headings, bold, links, code, quotes and coloured words (document/path/90248), and no way to write what means
 * something as itself: a blank of no width keeps it apart.
 */
const apart = (text: string) => clean(text).replace(/\*(?=\*)|\](?=\()|<(?=\/?(?:font|@))|(?<=^[ \t]*)(?=[#>])/gim, '$&\u200b')

const basic: Dialect = {
  text: apart,
  strong: (inner) => (/\n/.test(inner) ? inner : `**${inner}**`),
  code: (text) => (/[`\n]/.test(text) ? apart(text) : `\`${clean(text)}\``),
  link: (inner, href) => (isAddress(href) && inner.trim() !== '' ? `[${flat(inner)}](${href})` : undefined),
  heading: (inner, level) => `${'#'.repeat(Math.min(level, 6))} ${flat(inner)}`,
  fence: (text) => apart(text),
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '• ',
  rule: '──────────',
}

/** Bots know Markdown as it is usual, where a backslash keeps apart. */
const SPECIAL =
  /[\\`]|[*_~](?=\S)|(?<=\S)[*_~]|\[(?=[^\]\n]*\]\()|<(?=[a-z/!@])|(?<=^[ \t]*)(?:[#>]|[+-](?=\s)|[=-]+$)|(?<=^[ \t]*\d{1,9})[.)](?=\s)/gim

const full: Dialect = {
  text: (text) => clean(text).replace(SPECIAL, (found) => found.replace(/[^\s\w]/g, '\\$&').replace(/_/g, '\\_')),
  strong: (inner) => `**${inner}**`,
  emphasis: (inner) => `*${inner}*`,
  strike: (inner) => `~~${inner}~~`,
  code(text) {
    const line = flat(clean(text))
    const mark = '`'.repeat(longestRun(line) + 1)
    return /^`|`$|^ .* $/.test(line) ? `${mark} ${line} ${mark}` : mark + line + mark
  },
  link: (inner, href) => (isAddress(href) && inner.trim() !== '' ? `[${inner}](${href})` : undefined),
  heading: (inner, level) => `${'#'.repeat(Math.min(level, 6))} ${flat(inner)}`,
  fence(text, language) {
    const mark = '`'.repeat(Math.max(3, longestRun(text) + 1))
    return `${mark}${/^[\w+#.-]{1,40}$/.test(language) ? language : ''}\n${clean(text)}\n${mark}`
  },
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '- ',
  rule: '---',
}

const isAddress = (href: string) => /^https?:\/\/[^\s()<>"\\]+$/i.test(href)
const longestRun = (text: string) => Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length))

// ---- Calls ------------------------------------------------------------------------------------------------------------

/** What sending works with. */
export interface Desk {
  readonly settings: WecomSettings
  readonly api: Api
  /** The long connection while it stands. */
  asking: Asking | undefined
  /** By the id of a question: what it is answered under. */
  readonly questions: Map<string, string>
}

/** Sends one piece; one of a bot that is called goes by `interactions.ts`. @throws DeliveryError */
export async function send(desk: Desk, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const { mode } = desk.settings
  const way = mode === 'app' ? sendAsApp : mode === 'robot' ? sendAsRobot : sendAsBot
  try {
    return { id: await way(desk, piece, to, options), room: to.room }
  } catch (error) {
    throw toDeliveryError(error)
  }
}

export const contentOf = ({ payload }: Piece) => String(payload.content)

/** document/path/90236. Its check for duplicates compares contents, so that two equal answers would be one: it is not asked for. */
async function sendAsApp({ api, settings }: Desk, piece: Piece, to: Place, { signal }: SendOptions): Promise<string> {
  const content = piece.file ? await uploaded(api, piece.file, signal) : { msgtype: 'markdown', markdown: { content: contentOf(piece) } }
  const answer = await api.call('POST', 'message/send', {}, { touser: to.room, agentid: settings.agent_id, ...content }, signal)
  if (typeof answer.invaliduser === 'string' && answer.invaliduser !== '')
    throw new DeliveryError('not-found', `${to.room} is no person whom this app may write to`)
  return String(answer.msgid ?? '')
}

/** document/path/91770. The key tells the group; where to is not asked. */
async function sendAsRobot({ api, settings }: Desk, piece: Piece, _to: Place, { signal }: SendOptions): Promise<string> {
  const query = { key: settings.key ?? '' }
  const content = piece.file
    ? await robotFile(api, piece.file, query, signal)
    : { msgtype: 'markdown', markdown: { content: contentOf(piece) } }
  await api.call('POST', 'webhook/send', query, content, signal)
  return ''
}

async function robotFile(api: Api, file: OutboundFile, query: { key: string }, signal: AbortSignal): Promise<object> {
  if (typeOf(file) !== 'image' || file.size > MAX_ROBOT_IMAGE) return await uploaded(api, file, signal, query)
  const bytes = await bytesOf(file)
  return { msgtype: 'image', image: { base64: bytes.toString('base64'), md5: hash('md5', bytes) } }
}

/** Under the question's id as a stream, which may grow until it is finished; without a question as a message of its own. */
async function sendAsBot(desk: Desk, piece: Piece, to: Place, options: SendOptions): Promise<string> {
  const { idempotencyKey, signal, draft = false } = options
  const asking = askingOf(desk)
  const question = desk.questions.get(String(piece.payload.reply_to))
  if (!piece.file && question !== undefined) {
    const stream = hash('sha256', `${idempotencyKey} ${question}`).slice(0, 40)
    const sent = await refresh(asking, question, stream, contentOf(piece), !draft, signal).catch((error: unknown) => error)
    if (!(sent instanceof Error)) return JSON.stringify([question, stream])
    // Refused as too late, so surely not shown: it is said without the question.
    if (draft || !isOver(sent)) throw sent
  }
  // Nothing else can grow.
  if (draft) throw new DeliveryError('not-found', 'what it answers is not known on this connection, so it cannot grow')
  const content = piece.file
    ? await sentOverLine(asking, piece.file, signal)
    : { msgtype: 'markdown', markdown: { content: contentOf(piece) } }
  await asking.ask('aibot_send_msg', { chatid: to.room, ...content }, signal)
  return ''
}

function askingOf({ asking }: Desk): Asking {
  if (!asking) throw new DeliveryError('transient', 'the long connection does not stand on this node')
  return asking
}

async function refresh(asking: Asking, question: string, id: string, content: string, finish: boolean, signal: AbortSignal): Promise<void> {
  await asking.ask('aibot_respond_msg', { msgtype: 'stream', stream: { id, finish, content } }, signal, question)
}

/** The question is not known (any more), or its stream ended: it ends by itself after some minutes. */
const OVER = [846605, 846608]
const isOver = (error: unknown) => error instanceof ApiError && OVER.includes(error.code)

/** Puts the piece in the place of what grows; without `draft` it is finished with it. @throws DeliveryError */
export async function edit(desk: Desk, receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt> {
  if (options.signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  const [question, stream] = receiptParts(receipt.id)
  if (question === undefined || stream === undefined || piece.file)
    throw new DeliveryError('not-found', 'what was sent whole stays as it is')
  try {
    await refresh(askingOf(desk), question, stream, contentOf(piece), options.draft !== true, options.signal)
    return receipt
  } catch (error) {
    throw toDeliveryError(error)
  }
}

function receiptParts(id: string): readonly (string | undefined)[] {
  if (!id.startsWith('[')) return []
  return (JSON.parse(id) as unknown[]).map((part) => (typeof part === 'string' ? part : undefined))
}

// ---- Files ------------------------------------------------------------------------------------------------------------

type MediaType = keyof typeof MAX_KIND

/** A kind is shown as itself only in one form and up to its size; everything else is a file. */
function typeOf({ kind, mime = '', name, size }: OutboundFile): MediaType {
  const forms: Partial<Record<FileKind, readonly [MediaType, boolean]>> = {
    image: ['image', /^image\/(jpe?g|png)$/.test(mime)],
    voice: ['voice', /^audio\/amr$/.test(mime) || /\.amr$/i.test(name)],
    video: ['video', mime === 'video/mp4'],
  }
  const [type, fits] = forms[kind] ?? ['file', true]
  return fits && size <= MAX_KIND[type] ? type : 'file'
}

function mustBeTaken(file: OutboundFile): void {
  if (!isTaken(file)) throw new DeliveryError('invalid', `${file.size} bytes: WeCom takes files of 6 bytes to 20 MB`)
}

/** Until the message is sent nobody sees anything, so a failure is no "maybe". */
async function uploaded(api: Api, file: OutboundFile, signal: AbortSignal, query?: { key: string }): Promise<object> {
  mustBeTaken(file)
  // A robot takes files and voices: document/path/91770
  const type = query && typeOf(file) !== 'voice' ? 'file' : typeOf(file)
  const answer = await api.upload(query ? 'webhook/upload_media' : 'media/upload', { ...query, type }, file, signal).catch(unseen)
  return mediaMessage(type, answer.media_id)
}

function mediaMessage(type: MediaType, id: unknown): object {
  if (typeof id !== 'string' || id === '') throw new DeliveryError('transient', 'the platform took the file without a media_id')
  return { msgtype: type, [type]: { media_id: id } }
}

function unseen(error: unknown): never {
  throw error instanceof FetchError && error.kind !== 'aborted' ? new FetchError('connect', error.message) : error
}

/** Bytes of one part: the official client's figure. */
const PART = 512 * 1024

/** Over the long connection in parts; its digest is told first, so that the whole must be there. */
async function sentOverLine(asking: Asking, file: OutboundFile, signal: AbortSignal): Promise<object> {
  mustBeTaken(file)
  const bytes = await bytesOf(file)
  const type = typeOf(file)
  const total_chunks = Math.ceil(bytes.length / PART)
  const begin = { type, filename: safeName(file.name), total_size: bytes.length, total_chunks, md5: hash('md5', bytes) }
  const { upload_id } = await asking.ask('aibot_upload_media_init', begin, signal).catch(unseen)
  for (let chunk_index = 0; chunk_index < total_chunks; chunk_index++) {
    const base64_data = bytes.subarray(chunk_index * PART, (chunk_index + 1) * PART).toString('base64')
    await asking.ask('aibot_upload_media_chunk', { upload_id, chunk_index, base64_data }, signal).catch(unseen)
  }
  const { media_id } = await asking.ask('aibot_upload_media_finish', { upload_id }, signal).catch(unseen)
  return mediaMessage(type, media_id)
}

async function bytesOf(file: OutboundFile): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of file.open()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

// ---- Refusals ---------------------------------------------------------------------------------------------------------

/** document/path/90313 (apps), /91770 (robots); the 84xxxx and 85xxxx as bots were seen to be answered. */
const KINDS: Partial<Record<DeliveryFailure, readonly number[]>> = {
  'rate-limited': [45009, 45033, 45011, 846607],
  auth: [...BAD_TOKEN, 40001, 40013, 40056, 93000, 853000],
  permission: [48002, 60011, 60020, 301002, 81013, 50001, 86004],
  'not-found': [40003, 60111, 40008, 86003, ...OVER],
  transient: [-1],
}
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, codes]) => codes.map((code) => [code, kind as DeliveryFailure] as const)))
const REMEDIES: Readonly<Record<number, string>> = {
  60020: "the address of this server is not in the app's list of trusted IPs; add it in the admin console",
  81013: "the person is not in the app's visible range; add them in the admin console",
}
/** Counted by the minute. */
const PAUSE = 10_000

/** What a failed call means for the delivery. Only what surely wasn't sent may be called anything but `unknown`. */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (!(error instanceof ApiError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const kind = kindOf(error)
  const remedy = REMEDIES[error.code]
  return new DeliveryError(
    kind,
    remedy ? `${remedy} (${error.message})` : error.message,
    kind === 'rate-limited' ? { retryAfter: PAUSE } : {},
  )
}

function kindOf({ code, status }: ApiError): DeliveryFailure {
  if (code !== 0) return KIND_OF.get(code) ?? 'invalid'
  if (status === 429) return 'rate-limited'
  // A gateway that got no answer in time can't know whether the platform took the message.
  if (status >= 500) return status === 503 ? 'transient' : 'unknown'
  return status < 400 ? 'unknown' : status === 413 ? 'invalid' : 'transient'
}
