/** Out: an answer as text and HTML in the thread of its question. RFC 5322, 2046, 3834 */
import { PassThrough, Readable } from 'node:stream'
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  type Inline,
  measure,
  type OutboundMessage,
  type Piece,
  type Place,
  plainInline,
  plainText,
  splitDocument,
  withLinks,
} from '@posthouse/contract'
import { SmtpError } from './api.ts'
import { digest, idsIn, ourMessageId, plainLine, recipientOf } from './receive.ts'

/** Bytes of text in one mail: servers take 10 MB and more, but nobody reads on; and each text goes twice, as HTML and encoded. */
export const MOST_TEXT = 500_000
export const MOST_UPLOAD = 15 * 1024 * 1024

// ---- Rendering --------------------------------------------------------------------------------------------------------

/** One mail for the text, one for each file. Nothing visible makes no mail. */
export function render(outbound: OutboundMessage): readonly Piece[] {
  const message = withLinks(outbound, ({ size }) => size <= MOST_UPLOAD)
  const path = idsIn(message.replyTo)
  const pieces: Piece[] = []
  for (const part of splitDocument(message.document, (blocks) => measure(plainText(blocks), 'bytes') <= MOST_TEXT)) {
    const text = clean(plainText(part))
    if (/^[\s\p{Cc}\p{Cf}]*$/u.test(text)) continue
    pieces.push({ text, format: 'mail', payload: { html: toHtml(part), path } })
  }
  for (const file of message.files ?? []) pieces.push({ text: file.name, format: 'mail', payload: { path }, file })
  return pieces
}

/** The document as HTML: every word of it escaped, addresses only of kinds that do no harm, nothing that is loaded from elsewhere. */
export function toHtml(document: readonly Block[]): string {
  return `<!DOCTYPE html><html><head><meta charset="utf-8"></head><body dir="auto" style="font:15px/1.5 sans-serif">${blocks(document)}</body></html>`
}

const blocks = (all: readonly Block[]): string => all.map(block).join('\n')
const CELL = 'style="border:1px solid #ccc;padding:4px 8px;text-align:start"'
const CODE = 'style="background:#f4f4f4;border-radius:4px;padding:8px;white-space:pre-wrap;font:13px/1.4 monospace"'

function block(one: Block): string {
  switch (one.type) {
    case 'paragraph':
      return `<p>${inlines(one.children)}</p>`
    case 'heading': {
      const level = Math.min(Math.max(one.level, 1), 6)
      return `<h${level}>${inlines(one.children)}</h${level}>`
    }
    case 'code':
      return `<pre ${CODE}><code>${escaped(one.text)}</code></pre>`
    case 'quote':
      return `<blockquote style="margin-inline:0;padding-inline-start:12px;border-inline-start:3px solid #ccc">${blocks(one.children)}</blockquote>`
    case 'list': {
      const items = one.items.map(
        ({ checked, children }) => `<li>${checked === undefined ? '' : checked ? '☑ ' : '☐ '}${item(children)}</li>`,
      )
      return one.ordered ? `<ol start="${one.start}">${items.join('')}</ol>` : `<ul>${items.join('')}</ul>`
    }
    case 'table': {
      const row = (cells: readonly (readonly Inline[])[], tag: string) =>
        `<tr>${cells.map((cell) => `<${tag} ${CELL}>${inlines(cell)}</${tag}>`).join('')}</tr>`
      const body = one.rows.map((cells) => row(cells, 'td')).join('')
      return `<table style="border-collapse:collapse">${row(one.header, 'th')}${body}</table>`
    }
    case 'rule':
      return '<hr>'
  }
}

/** A tight item has no paragraph around its words. */
function item(children: readonly Block[]): string {
  const [first, ...rest] = children
  return first?.type === 'paragraph' ? inlines(first.children) + blocks(rest) : blocks(children)
}

function inlines(all: readonly Inline[]): string {
  return all.map(inline).join('')
}

const MARKS = { strong: 'strong', emphasis: 'em', strike: 's' } as const

function inline(one: Inline): string {
  switch (one.type) {
    case 'text':
      return escaped(one.text)
    case 'break':
      return '<br>'
    case 'code':
      return `<code>${escaped(one.text)}</code>`
    case 'link':
      return link(one.href, inlines(one.children), plainInline(one.children))
    case 'image':
      // Loading it would tell a stranger's server when the mail is read.
      return link(one.src, escaped(`🖼 ${one.alt}`.trim()), one.alt)
    default:
      return `<${MARKS[one.type]}>${inlines(one.children)}</${MARKS[one.type]}>`
  }
}

function link(href: string, label: string, plain: string): string {
  if (/^(?:https?:\/\/[^\s/]|mailto:[^\s])/i.test(href)) return `<a href="${escaped(href)}" rel="noreferrer">${label || escaped(href)}</a>`
  return plain === href ? label : `${label} (${escaped(href)})`
}

/** No control character, no half of a pair: neither may stand in HTML, and some servers refuse a mail with a NUL. */
const clean = (text: string) => text.toWellFormed().replace(/(?![\n\t])\p{Cc}/gu, ' ')
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escaped = (text: string) => clean(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')

// ---- The mail ---------------------------------------------------------------------------------------------------------

export interface Sender {
  readonly address: string
  readonly name?: string
}

/** A mail that is ready to be sent, as often as needed: each stream is the whole of it. */
export interface Mail {
  readonly messageId: string
  readonly envelope: { readonly from: string; readonly to: string }
  stream(): Readable
  bytes(): Promise<Buffer>
}

/** The Message-ID that a piece has on every attempt: the receiver's server may recognize a repeat by it. */
export function messageIdOf({ address }: Sender, to: Place, idempotencyKey: string): string {
  const thread = to.thread && /^[\w-]{22}$/.test(to.thread) ? to.thread : digest(to.thread ?? idempotencyKey)
  return ourMessageId(thread, idempotencyKey, address.slice(address.lastIndexOf('@') + 1))
}

/**
 * Makes the mail.
 * Its subject is that of the thread; where there is no thread, the first line of the text.
 * @throws DeliveryError `invalid` when the place is no address or the file too large
 */
export async function compose(sender: Sender, piece: Piece, to: Place, idempotencyKey: string): Promise<Mail> {
  const recipient = recipientOf(to.room)
  if (!recipient) throw new DeliveryError('invalid', 'the room is no mail address')
  const { file, payload } = piece
  if (file && file.size > MOST_UPLOAD)
    throw new DeliveryError('invalid', `${file.size} bytes are more than the 15 MB that mail servers take`)
  const { default: MailComposer } = await import('nodemailer/lib/mail-composer')
  const messageId = messageIdOf(sender, to, idempotencyKey)
  const path = payload.path as readonly string[]
  const title = to.thread === undefined ? plainLine(piece.text.split('\n')[0] ?? '', 60) : `Re: ${plainLine(to.title ?? '', 200)}`.trim()
  const composer = () =>
    new MailComposer({
      from: { address: sender.address, name: plainLine(sender.name ?? '', 100) },
      to: { address: recipient, name: '' },
      subject: title,
      messageId,
      ...(path.length > 0 ? { inReplyTo: path.at(-1) ?? '', references: [...path] } : {}),
      // RFC 3834, 5: nobody's program shall answer to it.
      headers: { 'Auto-Submitted': 'auto-replied', 'X-Auto-Response-Suppress': 'All' },
      ...(file
        ? {
            text: file.name,
            attachments: [{ filename: plainLine(file.name, 200), content: Readable.from(file.open()), contentType: typeOf(file.mime) }],
          }
        : { text: piece.text, html: String(payload.html) }),
      disableFileAccess: true,
      disableUrlAccess: true,
    }).compile()
  return {
    messageId,
    envelope: { from: sender.address, to: recipient },
    stream: () => composer().createReadStream().pipe(new PassThrough()),
    bytes: () => composer().build(),
  }
}

const typeOf = (mime = '') => (/^[\w.+-]+\/[\w.+-]+$/.test(mime) ? mime : 'application/octet-stream')

/** What a failure means for the delivery. Only what surely was not sent may be called anything but `unknown`. RFC 5321, 3463 */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (!(error instanceof SmtpError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const kind = kindOf(error)
  return new DeliveryError(kind, error.message, kind === 'rate-limited' ? { retryAfter: PAUSE } : {})
}

/** Servers that ask to slow down do not say for how long. */
const PAUSE = 60_000

function kindOf({ code, command, complete, message }: SmtpError): DeliveryFailure {
  if (code === undefined) return complete ? 'unknown' : 'transient'
  const status = /\b[245]\.\d{1,3}\.\d{1,3}\b/.exec(message)?.[0] ?? ''
  if (code < 500) return /^4\.7\.28$|\brate\b|too (?:many|fast)|throttl|exceeded/i.test(status + message) ? 'rate-limited' : 'transient'
  if (code === 530 || code === 534 || code === 535 || code === 538 || /^5\.7\.(?:8|9|11|14)$/.test(status)) return 'auth'
  // Nothing was said of the mail yet: no TLS, no service.
  if (!/^(?:MAIL FROM|RCPT TO|DATA)$/.test(command)) return 'transient'
  if (/^5\.1\.[0-36]$|^5\.2\.1$/.test(status)) return 'not-found'
  if (/^5\.(?:3\.4|2\.3|6\.\d+)$/.test(status) || code === 552) return 'invalid'
  if (/^5\.7\./.test(status) || command === 'MAIL FROM') return 'permission'
  if (command === 'RCPT TO' && (code === 550 || code === 551 || code === 553)) return 'not-found'
  return 'invalid'
}
