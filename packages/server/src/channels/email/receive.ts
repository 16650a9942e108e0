/** In: what stands in the mailbox, decoded. Pure; nothing here is trusted or kept. RFC 5322, 2045, 3834, 8601 */
import { createHash } from 'node:crypto'
import { type FileKind, type InboundMessage, type Part, PosthouseError, parseCommand, type Reading } from '@posthouse/contract'
import type { MessageStructureObject } from 'imapflow'
import { htmlToText, newText } from './text.ts'

/** The head of a mail as the server keeps it. */
export interface Head {
  readonly uid: number
  /** When the server took it, epoch milliseconds: the sender's own clock is not believed. */
  readonly arrivedAt: number
  /** Raw, at most {@link MOST_HEADER} bytes and one. */
  readonly header: Uint8Array
}

/** Whom we take a mail from. */
export interface Trust {
  readonly address: string
  /** Name of the owner's border server in Authentication-Results; `-` for one that gives none. */
  readonly authserv_id?: string
  readonly trust_sender: boolean
}

/** A mail that a person wrote to us, by its head. */
export interface Letter {
  readonly key: string
  readonly messageId: string | undefined
  /** Message-IDs from the first mail of the thread to this one. */
  readonly path: readonly string[]
  readonly thread: string
  readonly from: string
  readonly name: string
  readonly replyTo: string
  /** Without "Re:". */
  readonly subject: string
  /** Whether it answers another mail, and so may quote it. */
  readonly reply: boolean
  readonly language: string | undefined
  readonly arrivedAt: number
}

/** `automatic`: made by a program, never answered (RFC 3834). `refused`: for the operator to look at. */
export type Judged =
  | { readonly kind: 'letter'; readonly letter: Letter }
  | { readonly kind: 'automatic'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'unproven'; readonly why: string }

export const MOST_HEADER = 128 * 1024
/** Encoded bytes of a text part that are read, and characters of all of them that are kept. */
export const MOST_TEXT = 512 * 1024
const MOST_FILES = 30
const MOST_TEXTS = 20
/** Deeper parts are not looked at. */
const DEEPEST = 20
const MOST_PATH = 12

type Headers = (name: string) => readonly string[]

/** Reads the head: who wrote, to which thread it belongs, whether a person waits for an answer. */
export async function judge(head: Head, trust: Trust): Promise<Judged> {
  if (head.header.length > MOST_HEADER) return { kind: 'refused', why: `its header is larger than ${MOST_HEADER / 1024} KB` }
  const { default: PostalMime, addressParser } = await import('postal-mime')
  const mail = await PostalMime.parse(head.header)
  const headers: Headers = (name) => mail.headers.filter(({ key }) => key === name).map(({ value }) => value)
  const authors = headers('from').length === 1 ? addressParser(headers('from')[0] ?? '', { flatten: true }) : []
  const from = addressOf(authors[0]?.address)
  const why = automatic(headers, from ?? '')
  if (why) return { kind: 'automatic', why }
  if (!from || authors.length !== 1) return { kind: 'refused', why: 'it does not name one sender' }
  if (from === trust.address.toLowerCase()) return { kind: 'automatic', why: 'we wrote it ourselves' }
  if (!trust.trust_sender && !isProven(headers('authentication-results'), from, trust.authserv_id ?? '')) {
    return { kind: 'unproven', why: 'its sender is not proven by authserv_id' }
  }
  const messageId = idsIn(headers('message-id')[0])[0]
  const answered = [...idsIn(headers('references').join(' ')), ...idsIn(headers('in-reply-to')[0]).slice(0, 1)]
  const path = [...new Set([...answered, ...(messageId ? [messageId] : [])])]
  const key = digest(messageId ? `${from}\n${messageId}` : head.header)
  const subject = plainLine(mail.subject ?? '', 300)
  const bare = subject.replace(/^(?:(?:re|aw|sv|vs|antw|回复|回覆|答复|答覆)\s*(?:\[\d+\])?\s*[:：]\s*)+/i, '')
  return {
    kind: 'letter',
    letter: {
      key: messageId ? `id:${key}` : `mail:${key}`,
      messageId,
      path: path.length > MOST_PATH ? [path[0] ?? '', ...path.slice(1 - MOST_PATH)] : path,
      thread: threadOf(path, key),
      from,
      name: plainLine(mail.from?.name ?? '', 100),
      replyTo: addressOf(mail.replyTo?.[0]?.address) ?? from,
      subject: bare,
      reply: (answered.length > 0 || bare !== subject) && !/^(?:fwd?|wg|tr|转发|轉寄|轉發)\s*[:：]/i.test(bare),
      language: /^[a-z]{2,3}\b[a-z-]*/i.exec(headers('content-language')[0] ?? '')?.[0],
      arrivedAt: head.arrivedAt,
    },
  }
}

/**
 * A whole mail, as `channel decode` is given it: judged and decoded as those of the mailbox, whose server takes the parts apart for us.
 * @throws PosthouseError `unauthorized` when nobody vouches for its sender, `invalid` when it cannot be read
 */
export async function readMail(raw: Uint8Array, trust: Trust, now: number): Promise<Reading> {
  const end = /\r?\n\r?\n/.exec(Buffer.from(raw.subarray(0, MOST_HEADER + 1)).toString('latin1'))
  const header = raw.subarray(0, end ? end.index + end[0].length : MOST_HEADER + 1)
  const judged = await judge({ uid: 0, arrivedAt: now, header }, trust)
  if (judged.kind === 'automatic') return { messages: [], reason: `written by a program: ${judged.why}` }
  if (judged.kind !== 'letter') throw new PosthouseError(judged.kind === 'unproven' ? 'unauthorized' : 'invalid', judged.why)
  const { default: PostalMime } = await import('postal-mime')
  const { text, html, attachments } = await PostalMime.parse(raw, { maxNestingDepth: DEEPEST })
  const written = Buffer.from(text ?? html ?? '')
  const content: Content = {
    texts: [{ part: '1', html: text === undefined, encoding: '8bit', charset: 'utf-8', cut: written.length > MOST_TEXT, forwarded: false }],
    files: attachments.slice(0, MOST_FILES).map(({ mimeType, filename }, index) => ({
      part: String(index + 2),
      kind: kindOf(mimeType),
      name: nameOf({ type: mimeType, parameters: filename ? { name: filename } : {} }),
      mime: mimeType,
    })),
  }
  return { messages: [await decode(judged.letter, content, new Map([['1', written]]), { validity: '0', uid: 0 })] }
}

// ---- Whose mail -------------------------------------------------------------------------------------------------------

/** An address that is safe wherever it is written; undefined for what is none. */
export function addressOf(text: string | undefined): string | undefined {
  const address = text?.trim().toLowerCase() ?? ''
  return address.length <= 254 && /^[^\s<>()[\]\\,;:"@\p{Cc}]{1,64}@(?:[\p{L}\p{N}_-]+\.)*[\p{L}\p{N}_-]+$/u.test(address)
    ? address
    : undefined
}

/**
 * Whether the owner's border server vouches for the author's domain. Only its own topmost result counts: those below it, or of other
 * servers, may have been written by the sender (RFC 8601, 5). DMARC, or DKIM or SPF for the domain itself or one above it.
 */
export function isProven(results: readonly string[], from: string, authservId: string): boolean {
  const own = results.map(parseResults).find(({ id }) => id === authservId.toLowerCase())
  const domain = from.slice(from.lastIndexOf('@') + 1)
  const covers = (name: string | undefined) => name?.includes('.') === true && (domain === name || domain.endsWith(`.${name}`))
  return (own?.methods ?? []).some(({ method, result, of }) => {
    if (result !== 'pass') return false
    if (method === 'dmarc') return of('header.from') === undefined || of('header.from') === domain
    if (method === 'dkim') return covers(of('header.d') ?? of('header.i'))
    return method === 'spf' && covers(of('smtp.mailfrom'))
  })
}

function parseResults(value: string) {
  const [first = '', ...rest] = withoutComments(value.slice(0, 8192)).split(';')
  const anonymous = first.includes('=')
  const id = anonymous ? '-' : (first.trim().split(/\s+/)[0] ?? '').toLowerCase()
  const methods = (anonymous ? [first, ...rest] : rest).map((entry) => {
    const [, method = '', result = ''] = /^\s*([a-z][a-z0-9-]*)\s*(?:\/\s*\d+\s*)?=\s*([a-z]+)/i.exec(entry) ?? []
    const of = (name: string) => {
      const found = new RegExp(`\\s${name.replace('.', '\\.')}\\s*=\\s*("[^"]*"|[^\\s;]+)`, 'i').exec(entry)?.[1]
      return found?.replaceAll('"', '').toLowerCase().replace(/^.*@/, '')
    }
    return { method: method.toLowerCase(), result: result.toLowerCase(), of }
  })
  return { id, methods }
}

/** Without what stands in parentheses; a semicolon within quotes ends nothing. */
function withoutComments(value: string): string {
  let depth = 0
  let quoted = false
  let out = ''
  for (const character of value) {
    if (character === '"' && depth === 0) quoted = !quoted
    if (!quoted && character === '(') depth++
    else if (!quoted && character === ')') depth = Math.max(0, depth - 1)
    else if (depth === 0) out += quoted && character === ';' ? ',' : character
  }
  return out
}

/** Why a mail was made by a program; undefined if a person may have written it. */
function automatic(headers: Headers, from: string): string | undefined {
  const first = (name: string) => headers(name)[0]?.trim().toLowerCase()
  const present = (pattern: string[]) => pattern.find((name) => headers(name).length > 0)
  const submitted = first('auto-submitted')
  if (submitted !== undefined && !/^no\b/.test(submitted)) return 'auto-submitted'
  if (/^(?:bulk|list|junk|auto[_-]?reply)\b/.test(first('precedence') ?? '')) return 'precedence'
  const list = present(['list-id', 'list-post', 'list-unsubscribe', 'list-help', 'list-subscribe', 'list-owner', 'mailing-list'])
  if (list) return list
  if (/\b(?:all|oof|autoreply)\b/.test(first('x-auto-response-suppress') ?? '')) return 'x-auto-response-suppress'
  const marker = present(['x-autoreply', 'x-autorespond', 'x-autoresponder', 'x-failed-recipients', 'x-auto-reply', 'x-loop'])
  if (marker) return marker
  if (/^(?:multipart\/report|message\/(?:delivery-status|disposition-notification))/.test(first('content-type') ?? '')) return 'a report'
  if (first('return-path') === '<>') return 'no return path'
  if (/^(?:mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?|auto-?reply)(?:[+@._-]|$)/.test(from)) return 'a machine by its name'
  return undefined
}

// ---- Which thread -----------------------------------------------------------------------------------------------------

export function digest(value: string | Uint8Array): string {
  return createHash('sha256').update(value).digest('base64url').slice(0, 22)
}

/** Message-IDs in a header, as they are written. */
export function idsIn(text = ''): string[] {
  return [...text.slice(0, 32_768).matchAll(/<[^<>\s\p{Cc}]{1,500}>/gu)].map(([id]) => id)
}

/** Message-IDs of ours name their thread: an answer to one finds it though its program forgot the others. */
const OURS = /^<ph\.([\w-]{22})\.[\w-]{22}@/
export const ourMessageId = (thread: string, key: string, domain: string) => `<ph.${thread}.${digest(key)}@${domain}>`

function threadOf(path: readonly string[], key: string): string {
  for (const id of path) {
    const ours = OURS.exec(id)?.[1]
    if (ours) return ours
  }
  return path[0] === undefined ? key : digest(path[0])
}

/** One line of text that may stand in a header, a log or a title. */
export function plainLine(text: string, most: number): string {
  return [
    ...text
      .toWellFormed()
      .replace(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+/gu, ' ')
      .trim(),
  ]
    .slice(0, most)
    .join('')
}

// ---- What it says -----------------------------------------------------------------------------------------------------

export interface TextPart {
  readonly part: string
  readonly html: boolean
  readonly encoding: string
  readonly charset: string
  readonly cut: boolean
  /** Set for the text of a mail within this one. */
  readonly forwarded: boolean
}
interface FilePart {
  readonly part: string
  readonly kind: FileKind
  readonly name: string
  readonly mime: string
}
export interface Content {
  readonly texts: readonly TextPart[]
  readonly files: readonly FilePart[]
}

/** Which parts are the text and which are files. Of alternatives the plain text is taken, where there is one. */
export function contentOf(structure: MessageStructureObject): Content {
  const texts: TextPart[] = []
  const files: FilePart[] = []
  const walk = (node: MessageStructureObject, depth: number, as: { forwarded: boolean; read: boolean }): void => {
    const type = node.type.toLowerCase()
    const children = node.childNodes ?? []
    if (depth > DEEPEST || UNREAD.test(type)) return
    if (children.length > 0) {
      const inner = { ...as, forwarded: as.forwarded || type === 'message/rfc822' }
      const plain = type === 'multipart/alternative' ? children.find((child) => isText(child) && /plain$/i.test(child.type)) : undefined
      for (const child of children) walk(child, depth + 1, plain && child !== plain ? { ...inner, read: false } : inner)
    } else if (isText(node)) {
      if (as.read && texts.length < MOST_TEXTS) {
        texts.push({ part: node.part ?? '1', html: type === 'text/html', forwarded: as.forwarded, ...encodingOf(node) })
      }
    } else if (!type.startsWith('multipart/') && files.length < MOST_FILES) {
      files.push({ part: node.part ?? '1', kind: kindOf(type), name: nameOf(node), mime: type })
    }
  }
  walk(structure, 0, { forwarded: false, read: true })
  return { texts, files }
}

/** Proofs and other forms of what stands there already. */
const UNREAD = /^(?:application\/(?:pgp-signature|pkcs7-signature|x-pkcs7-signature)|text\/x-amp-html)$/
const isText = ({ type, disposition, dispositionParameters, parameters }: MessageStructureObject) =>
  /^text\/(?:plain|html)$/i.test(type) &&
  disposition?.toLowerCase() !== 'attachment' &&
  !dispositionParameters?.filename &&
  !parameters?.name

function encodingOf({ encoding, parameters, size }: MessageStructureObject) {
  return { encoding: encoding?.toLowerCase() ?? '7bit', charset: parameters?.charset ?? '', cut: (size ?? 0) > MOST_TEXT }
}

function kindOf(type: string): FileKind {
  const [kind] = type.split('/')
  return kind === 'image' || kind === 'audio' || kind === 'video' ? kind : 'file'
}

function nameOf({
  type,
  dispositionParameters,
  parameters,
}: Pick<MessageStructureObject, 'type' | 'dispositionParameters' | 'parameters'>): string {
  const given = dispositionParameters?.filename ?? parameters?.name ?? ''
  const name = plainLine(given, 400).replace(/^.*[\\/]/, '')
  return name.slice(-200) || `file.${type.split('/')[1]?.replace(/[^\w-]/g, '') || 'bin'}`
}

/** Where a file is to be found again; the UID is worth something only with its UIDVALIDITY. */
export interface FileHandle {
  readonly validity: string
  readonly uid: number
  readonly part: string
  readonly messageId?: string
}

/** The mail as a message. `raw` holds the encoded bytes of the text parts. */
export async function decode(
  letter: Letter,
  { texts, files }: Content,
  raw: ReadonlyMap<string, Uint8Array>,
  where: { readonly validity: string; readonly uid: number },
): Promise<InboundMessage> {
  const written: string[] = []
  for (const text of texts) {
    const decoded = await textOf(text, raw.get(text.part) ?? new Uint8Array())
    if (decoded.trim() === '') continue
    const fresh = text.forwarded ? `---------- Forwarded message ----------\n${decoded.trim()}` : newText(decoded, letter.reply)
    written.push(fresh)
  }
  const whole = written.join('\n\n')
  const cut = whole.length > MOST_TEXT || texts.some((part) => part.cut)
  const body = cut
    ? `${whole.slice(0, MOST_TEXT).toWellFormed()}\n[cut here: the mail's text is longer than ${MOST_TEXT / 1024} KB]`
    : whole
  const command = parseCommand(body)
  const said = command || letter.reply || letter.subject === '' || body.startsWith(letter.subject) ? body : `${letter.subject}\n\n${body}`
  const parts: Part[] = said.trim() === '' ? [] : [{ type: 'text', text: said.trim() }]
  for (const { part, kind, name, mime } of files) {
    const handle: FileHandle = { ...where, part, ...(letter.messageId ? { messageId: letter.messageId } : {}) }
    parts.push({ type: 'file', file: { kind, name, mime, ref: JSON.stringify(handle) } })
  }
  if (parts.length === 0) parts.push({ type: 'text', text: letter.subject || '(empty mail)' })
  return {
    kind: 'message',
    key: letter.key,
    id: letter.path.join(' ') || letter.key,
    place: { room: roomOf(letter), thread: letter.thread, type: 'direct', ...(letter.subject ? { title: letter.subject } : {}) },
    author: {
      id: letter.from,
      ...(letter.name ? { name: letter.name } : {}),
      ...(letter.language ? { language: letter.language } : {}),
    },
    parts,
    sentAt: letter.arrivedAt,
    addressed: true,
    ...(command ? { command } : {}),
  }
}

/**
 * The author, and behind a space the address that answers are wanted at, if it is another. The author is a part of it, so that who only knows
 * a Message-ID comes into no conversation of somebody else.
 */
function roomOf({ from, replyTo }: Letter): string {
  return replyTo === from ? from : `${from} ${replyTo}`
}
export const recipientOf = (room: string) => addressOf(room.slice(room.lastIndexOf(' ') + 1))

async function textOf({ html, encoding, charset }: TextPart, raw: Uint8Array): Promise<string> {
  const text = withCharset(await withoutEncoding(raw, encoding), charset).replaceAll('\0', '')
  return html ? htmlToText(text) : text
}

/** The library undoes the transfer encoding; the charset is ours, since it is a lie at times. */
async function withoutEncoding(raw: Uint8Array, encoding: string): Promise<Uint8Array> {
  if (encoding !== 'base64' && encoding !== 'quoted-printable') return raw
  const { default: PostalMime } = await import('postal-mime')
  const head = Buffer.from(`Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`)
  const { attachments } = await PostalMime.parse(Buffer.concat([head, raw]))
  const content = attachments[0]?.content
  return typeof content === 'string' ? Buffer.from(content) : new Uint8Array(content ?? new ArrayBuffer(0))
}

/** As declared if that fits the bytes, else as UTF-8, else as GB18030 if it looks so; the rest is Windows-1252, which fits everything. */
export function withCharset(bytes: Uint8Array, charset: string): string {
  const declared = /^(?:cp936|ms936|windows-936|x-gbk)$/i.test(charset) ? 'gbk' : charset
  // Charsets that fit any bytes are what programs write that do not know.
  const latin = /^(?:iso-8859-\d+|latin-?\d|windows-125\d)$/i.test(declared)
  const silent = /^(?:|us-ascii|ascii)$/i.test(declared)
  const chinese = looksLikeGb2312(bytes) ? ['gb18030'] : []
  for (const label of latin ? ['utf-8', declared] : silent ? ['utf-8', ...chinese] : [declared, 'utf-8', ...chinese]) {
    try {
      // As a stream: a text that was cut may end within a character.
      return new TextDecoder(label, { fatal: true }).decode(bytes, { stream: true })
    } catch {
      // Not this one.
    }
  }
  return new TextDecoder('windows-1252').decode(bytes)
}

/** Chinese characters take two high bytes each; in the languages of Latin-1 a high byte stands alone. */
function looksLikeGb2312(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes).toString('latin1')
  const pairs = text.match(/[\xa1-\xf7][\xa1-\xfe]/g)?.length ?? 0
  return pairs * 2 >= 0.8 * (text.match(/[\x80-\xff]/g)?.length ?? 0)
}
