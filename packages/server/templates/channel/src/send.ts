/** Out: pieces that fit, one call for each, and what a refusal means. */
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  type Dialect,
  FetchError,
  type OutboundMessage,
  type Piece,
  type Place,
  type Receipt,
  splitDocument,
  withLinks,
  writeMarkup,
} from '@posthouse/contract'
import { type Api, ApiError } from './api.ts'

export const MAX_TEXT = 1000

/** How Pigeon writes things. */
const dialect: Dialect = {
  text: (text) => text.replace(/[*`]/g, '\\$&'),
  strong: (inner) => `*${inner}*`,
  code: (text) => `\`${text.replaceAll('`', "'")}\``,
  link: (inner, href) => (inner === href ? inner : `${inner} (${href})`),
  heading: (inner) => `*${inner}*`,
  fence: (text) => `\`\`\`\n${text}\n\`\`\``,
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '- ',
  rule: '---',
}

/** Pure. Nothing is cut: what is too long becomes several pieces; files go as links. */
export function render(message: OutboundMessage): readonly Piece[] {
  const { document, files = [] } = withLinks(message, () => false)
  const fits = (blocks: readonly Block[]) => [...writeMarkup(blocks, dialect)].length <= MAX_TEXT
  const texts = splitDocument(document, fits).map((part) => writeMarkup(part, dialect))
  const pieces: Piece[] = texts
    .filter((text) => !/^[\s`\p{Cc}\p{Cf}]*$/u.test(text))
    .map((text) => ({ text, format: 'pigeon', payload: { text } }))
  return [...pieces, ...files.map((file) => ({ text: file.name, format: 'file', payload: {}, file }))]
}

/** Exactly one call. @throws DeliveryError */
export async function send(api: Api, piece: Piece, to: Place, signal: AbortSignal): Promise<Receipt> {
  if (piece.file) throw new DeliveryError('invalid', 'Pigeon takes no files, and without server.public_url there is no link to one')
  try {
    return { id: await api.post(to.room, String(piece.payload.text), signal), room: to.room }
  } catch (error) {
    throw toDeliveryError(error)
  }
}

const KINDS: Readonly<Record<number, DeliveryFailure>> = {
  400: 'invalid',
  401: 'auth',
  403: 'permission',
  404: 'not-found',
  409: 'conflict',
  422: 'invalid',
  429: 'rate-limited',
  503: 'transient',
}

/** Only what surely was not sent may be called anything but `unknown`. */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (!(error instanceof ApiError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const kind = KINDS[error.status] ?? 'unknown'
  return new DeliveryError(kind, error.message, kind === 'rate-limited' ? { retryAfter: error.retryAfter ?? 1000 } : {})
}
