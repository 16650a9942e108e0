/** Out: Markdown to Discord's, pieces that fit, files, answers to interactions, and what a refusal means. */
import { hash } from 'node:crypto'
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  FetchError,
  type OutboundMessage,
  type Piece,
  type Place,
  type Receipt,
  type SendOptions,
  splitDocument,
  withLinks,
  writeMarkup,
} from '@posthouse/contract'
import { type Api, ApiError } from './api.ts'
import { INTERACTION } from './receive.ts'
import { dialect } from './text.ts'

/**
 * https://docs.discord.com/developers/resources/message#create-message: 2000 characters. The API counts code points
 * (discord-api-docs#1315); UTF-16 units are never fewer.
 */
export const MAX_TEXT = 2000
/** https://docs.discord.com/developers/reference#uploading-files: the least that a server takes. */
export const MAX_UPLOAD = 10 * 1024 * 1024
const SUPPRESS_EMBEDS = 1 << 2
/** Nobody is called by what a model writes. https://docs.discord.com/developers/resources/message#allowed-mentions-object */
const QUIET = { allowed_mentions: { parse: [], replied_user: false }, flags: SUPPRESS_EMBEDS }

/** The calls that show this message: its text in as many messages as it takes, then each file. Blank text is no message. */
export function render(outbound: OutboundMessage): readonly Piece[] {
  const message = withLinks(outbound, ({ size }) => size <= MAX_UPLOAD)
  const reply = replyTo(message)
  let last: { blocks: readonly Block[]; content: string } | undefined
  const written = (blocks: readonly Block[]) => {
    if (last?.blocks !== blocks) last = { blocks, content: clean(writeMarkup(blocks, dialect)) }
    return last.content
  }
  const pieces: Piece[] = []
  for (const part of splitDocument(message.document, (blocks) => written(blocks).length <= MAX_TEXT)) {
    const content = written(part)
    if (isBlank(content)) continue
    pieces.push({ text: content, format: 'markdown', payload: { content, ...QUIET, ...(pieces.length === 0 ? reply : {}) } })
  }
  for (const file of message.files ?? []) {
    pieces.push({ text: file.name, format: 'file', payload: { ...QUIET, ...(pieces.length === 0 ? reply : {}) }, file })
  }
  return pieces
}

/** An interaction is answered in its own way; in direct messages nothing else is referred to. */
function replyTo({ replyTo: id, to }: OutboundMessage): Readonly<Record<string, unknown>> {
  if (id === undefined) return {}
  if (id.startsWith(INTERACTION)) return { interaction: id.slice(INTERACTION.length) }
  return to.type === 'group' && /^\d{1,20}$/.test(id) ? { message_reference: { message_id: id, fail_if_not_exists: false } } : {}
}

/** What would not survive the way as it is. */
function clean(text: string): string {
  return /^[\n\x20-\x7e\u00a0-\ud7ff]*$/.test(text) ? text : text.toWellFormed().replace(/(?![\n\t])\p{Cc}/gu, ' ')
}

/** Discord takes white space and characters without a shape for nothing. */
function isBlank(text: string): boolean {
  return /^[\s\p{Cc}\p{Cf}\u2800\ufffc]*$/u.test(text)
}

// ---- Calls ------------------------------------------------------------------------------------------------------------

/** The right to answer one interaction. */
export interface Token {
  readonly application: string
  readonly token: string
  /** When it was opened, in epoch milliseconds. */
  readonly at: number
  /** The channel in which it waits for its answer. */
  readonly room?: string
}

/** What sending works with. */
export interface Sending {
  readonly api: Api
  now(): number
  /** What the nonces of this installation begin with. */
  mark(): Promise<string>
  /** Our own id. */
  us(signal: AbortSignal): Promise<string>
  /** The token of an interaction, once it was acknowledged; undefined when it is over. */
  token(interaction: string): Promise<Token | undefined>
  forget(interaction: string): void
  /** It shows an answer now; `whole`: and will show no other, nor will those before it in its channel, which it answered with it. */
  answered(interaction: string, whole: boolean): void
  /** When each nonce was first used by this process. */
  readonly used: Map<string, number>
}

/** https://docs.discord.com/developers/resources/message#create-message: a nonce is unique "in the past few minutes"; we count on two. */
const NONCE_LIFE = 120_000
const MOST_USED = 5000
/** Right after its opening the acknowledgement of an interaction may still be on its way. */
const FRESH = 5000

/** Exactly one call. @throws DeliveryError */
export async function send(sending: Sending, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  const { api } = sending
  demandTime(options)
  if (piece.file && piece.file.size > MAX_UPLOAD)
    throw new DeliveryError('invalid', `${piece.file.size} bytes are more than the 10 MiB that Discord takes`)
  const { interaction, ...content } = piece.payload
  const token = typeof interaction === 'string' ? await sending.token(interaction) : undefined
  if (token && typeof interaction === 'string') {
    const id = await throughToken(sending, token, interaction, piece, content, options)
    sending.answered(interaction, !options.draft)
    return { id: `${id}:${interaction}`, room: to.room }
  }
  const nonce = await nonceOf(sending, options.idempotencyKey)
  if (!sending.used.has(nonce)) sending.used.set(nonce, sending.now())
  if (sending.used.size > MOST_USED) for (const [known, at] of sending.used) if (sending.now() - at > NONCE_LIFE) sending.used.delete(known)
  const path = `/channels/${demandId(to.room)}/messages`
  const body = { ...content, nonce, enforce_nonce: true }
  const { signal } = options
  const sent = await (piece.file ? api.upload('POST', path, body, piece.file, { signal }) : api.call('POST', path, body, { signal })).catch(
    refuse,
  )
  return { id: idIn(sent), room: to.room }
}

/** Also repeated it changes nothing. @throws DeliveryError */
export async function edit(sending: Sending, receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt> {
  if (piece.file) throw new DeliveryError('invalid', 'a file cannot take the place of a message')
  demandTime(options)
  const { interaction: _, message_reference: __, ...content } = piece.payload
  const [message = '', interaction] = receipt.id.split(':')
  const token = interaction === undefined ? undefined : await sending.token(interaction)
  if (token && interaction !== undefined) {
    await throughToken(sending, token, interaction, piece, content, options)
    sending.answered(interaction, !options.draft)
  } else {
    const path = `/channels/${demandId(receipt.room)}/messages/${demandId(message)}`
    await sending.api.call('PATCH', path, content, { signal: options.signal }).catch((error: unknown) => {
      throw ofEdit(toDeliveryError(error), error)
    })
  }
  return receipt
}

/** What cannot be changed any more is gone: the answer becomes a message of its own. */
function ofEdit(failure: DeliveryError, error: unknown): DeliveryError {
  const lost = error instanceof ApiError && error.code !== undefined && EDIT_LOST.includes(error.code)
  return lost ? new DeliveryError('not-found', failure.message) : failure
}
/** Another author, an archived thread, a system message. */
const EDIT_LOST = [50005, 50021, 50083]

/** Fills the answer that was put off. When the token is over, the next attempt goes as a message. */
async function throughToken(
  sending: Sending,
  token: Token,
  interaction: string,
  piece: Piece,
  content: object,
  { signal }: SendOptions,
): Promise<string> {
  const path = `/webhooks/${token.application}/${token.token}/messages/@original`
  try {
    const { api } = sending
    return idIn(
      await (piece.file ? api.upload('PATCH', path, content, piece.file, { signal }) : api.call('PATCH', path, content, { signal })),
    )
  } catch (error) {
    if (!(error instanceof ApiError && (error.status === 404 || error.status === 401))) refuse(error)
    if (sending.now() - token.at < FRESH) throw new DeliveryError('transient', 'the interaction is not acknowledged yet')
    sending.forget(interaction)
    throw new DeliveryError('transient', 'the time to answer the interaction is over; the next attempt goes as a message')
  }
}

/**
 * Within the life of a nonce a repeat makes no second message, and so may be made. After that the latest messages tell: ours that refers to
 * the same message is it, one that only reads the same may be.
 */
export async function reconcile(sending: Sending, piece: Piece, to: Place, options: SendOptions): Promise<'sent' | 'not-sent' | 'unknown'> {
  const { interaction, message_reference: reference, content } = piece.payload
  if (typeof interaction === 'string' && (await sending.token(interaction))) return 'not-sent'
  const nonce = await nonceOf(sending, options.idempotencyKey)
  const first = sending.used.get(nonce)
  if (first !== undefined && sending.now() - first < NONCE_LIFE) return 'not-sent'
  const { signal } = options
  const us = await sending.us(signal)
  const latest = await sending.api.call<Seen[]>('GET', `/channels/${demandId(to.room)}/messages?limit=${LATEST}`, undefined, { signal })
  const ours = latest.filter(({ author }) => author?.id === us)
  if (ours.some((message) => message.nonce === nonce)) return 'sent'
  const wanted = wordsOf(typeof content === 'string' ? content : '')
  const alike = ours.filter(
    (message) =>
      wordsOf(message.content ?? '') === wanted && (!piece.file || message.attachments?.some(({ size }) => size === piece.file?.size)),
  )
  const answered = (reference as { message_id?: string } | undefined)?.message_id
  if (alike.some((message) => answered !== undefined && message.message_reference?.message_id === answered)) return 'sent'
  const covers = latest.length < LATEST || Date.parse(latest.at(-1)?.timestamp ?? '') < (options.since ?? sending.now() - COVERED)
  return alike.length === 0 && covers ? 'not-sent' : 'unknown'
}

interface Seen {
  readonly author?: { readonly id?: string }
  readonly nonce?: unknown
  readonly content?: string
  readonly timestamp?: string
  readonly message_reference?: { readonly message_id?: string }
  readonly attachments?: readonly { readonly size?: number }[]
}
const LATEST = 100
/** Where nobody says how far back to look: what is older is not sent by itself. */
const COVERED = 3_600_000

/** Discord may change white space and marks on the way. */
function wordsOf(text: string): string {
  return text.replace(/[^\p{L}\p{N}]/gu, '')
}

/** At most 25 characters. */
async function nonceOf({ mark }: Sending, key: string): Promise<string> {
  return `${await mark()}${hash('sha256', key, 'base64url').slice(0, 18)}`
}

function demandTime({ signal }: SendOptions): void {
  if (signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
}

function demandId(id: string): string {
  if (!/^\d{1,20}$/.test(id)) throw new DeliveryError('not-found', 'this is no id of Discord')
  return id
}

function idIn(sent: unknown): string {
  const id = (sent as { id?: unknown } | undefined)?.id
  if (typeof id !== 'string') throw new DeliveryError('unknown', 'Discord answered without the message')
  return id
}

// ---- Refusals ---------------------------------------------------------------------------------------------------------

/** https://docs.discord.com/developers/topics/opcodes-and-status-codes#json */
const CODES: Readonly<Record<number, DeliveryFailure>> = {
  10003: 'not-found',
  10008: 'not-found',
  10013: 'not-found',
  10015: 'not-found',
  40001: 'auth',
  50014: 'auth',
  200000: 'invalid',
  240000: 'invalid',
  160005: 'permission',
  160002: 'permission',
}

/** What a failed call means for the delivery. Only what surely wasn't sent may be called anything but `unknown`. */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (!(error instanceof ApiError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const words = error.code ? `${error.message} (${error.code})` : error.message
  return new DeliveryError(kindOf(error), words, error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter })
}

function kindOf({ status, code, retryAfter }: ApiError): DeliveryFailure {
  if (status === 429) return retryAfter === undefined ? 'transient' : 'rate-limited'
  // Whether the message was taken before it broke, nobody knows; a 503 comes before.
  if (status >= 500) return status === 503 && code !== undefined ? 'transient' : 'unknown'
  if (status < 400) return 'unknown'
  if (status === 413) return 'invalid'
  const known = code === undefined ? undefined : CODES[code]
  if (known) return known
  // Something in between turned us away.
  if (code === undefined || code === 40333) return 'transient'
  if (status === 401) return 'auth'
  if (status === 403) return 'permission'
  return status === 404 ? 'not-found' : 'invalid'
}

function refuse(error: unknown): never {
  throw toDeliveryError(error)
}
