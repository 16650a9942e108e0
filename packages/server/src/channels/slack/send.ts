/** Out: messages as rich text, pieces that fit, streams, files (in both directions), and what a refusal means. */
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  FetchError,
  type FileRef,
  limited,
  type OutboundFile,
  type OutboundMessage,
  type Piece,
  type Place,
  PosthouseError,
  type Receipt,
  type SendOptions,
  splitDocument,
} from '@posthouse/contract'
import { type Answer, ApiError, type WorkspaceApi } from './api.ts'
import { escapeMrkdwn, plainRichText, type RichElement, toRichText } from './text.ts'

/**
 * Characters of all blocks of a message together. Documented are 12,000 for Markdown and none for rich text; measured was a refusal
 * (`msg_blocks_too_long`) at 13,297 of one block and below 12,000 of several (github.com/slackapi/bolt-js issues 2509, 2867), so the whole
 * JSON of the blocks counts here.
 */
export const MAX_TEXT = 12_000
/** https://slack.com/help/articles/201330736: 1 GB. */
export const MAX_UPLOAD = 1024 * 1024 * 1024
/** https://docs.slack.dev/reference/methods/chat.postMessage#truncating: 40,000 characters, escaped. */
const MAX_FALLBACK = 40_000

/** The calls that show this message: its text in as many messages as it takes, then each file. Blank text is no message. */
export function render(message: OutboundMessage): readonly Piece[] {
  let last: { blocks: readonly Block[]; elements: readonly RichElement[]; text: string } | undefined
  const rendered = (blocks: readonly Block[]) => {
    if (last?.blocks !== blocks) {
      const elements = toRichText(blocks)
      last = { blocks, elements, text: plainRichText(elements) }
    }
    return last
  }
  const fits = (blocks: readonly Block[]) => {
    const { elements, text } = rendered(blocks)
    return text.length <= MAX_TEXT && JSON.stringify(blocksOf(elements)).length <= MAX_TEXT
  }
  const parts = splitDocument(message.document, fits).filter((part) => !isBlank(rendered(part).elements))
  const source = parts.length === 1 ? streamable(message.text) : ''
  const pieces = parts.map((part): Piece => {
    const { elements, text } = rendered(part)
    const payload = { text: fallbackOf(text), blocks: blocksOf(elements), ...(source === '' ? {} : { markdown_text: source }) }
    return { text, format: 'rich_text', payload }
  })
  return [...pieces, ...(message.files ?? []).map(filePiece)]
}

const blocksOf = (elements: readonly RichElement[]) => [{ type: 'rich_text', elements }]

/** What notifications show. */
function fallbackOf(text: string): string {
  const escaped = escapeMrkdwn(text)
  return escaped.length <= MAX_FALLBACK ? escaped : escapeMrkdwn(text.slice(0, MAX_FALLBACK / 5).toWellFormed())
}

/**
 * The source itself, for a stream: only that grows by its end. What Slack would take for a mention is made none; a `<` at the end may
 * become one with what follows.
 */
function streamable(source: string): string {
  const text = source
    .toWellFormed()
    .replace(/<(?=[@#!])/g, '<\u2060')
    .replace(/<$/, '')
  return text.length <= MAX_TEXT ? text : ''
}

/** The mark of a quote, which Slack draws, is nothing that was written. */
function isBlank(elements: readonly RichElement[]): boolean {
  const written = elements.map((each) => (each.type === 'rich_text_quote' ? { ...each, type: 'rich_text_section' as const } : each))
  return /^[\s\p{Cc}\p{Cf}\u2800]*$/u.test(plainRichText(written))
}

function filePiece(file: OutboundFile): Piece {
  if (file.size <= MAX_UPLOAD || file.link === undefined) return { text: file.name, format: 'file', payload: {}, file }
  const elements: RichElement[] = [{ type: 'rich_text_section', elements: [{ type: 'link', url: file.link, text: file.name || 'file' }] }]
  return { text: file.name, format: 'rich_text', payload: { text: escapeMrkdwn(file.name), blocks: blocksOf(elements) } }
}

// ---- Calls ------------------------------------------------------------------------------------------------------------

/** What the calls of an account share. */
export interface Sender {
  readonly api: WorkspaceApi
  readonly now: () => number
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>
  /** Who asked last in a thread: a stream in a channel is written to somebody. */
  asker(to: Place): { readonly user: string; readonly team: string } | undefined
  readonly streams: Streams
}

export interface Streams {
  /** Those that this process opened, by room and message: what was written so far. */
  readonly written: Map<string, string>
  /** Until when none is tried, as Slack refused one. */
  refusedUntil: number
}

/** Names our own message among others: https://docs.slack.dev/messaging/message-metadata */
const METADATA = 'posthouse_piece'
/** How long a workspace or app that has no streams is not asked for one. */
const NO_STREAMS_FOR = 600_000
const MOST_STREAMS = 1000
/** Ends the id of a message that began as a stream. */
const STREAM = '~'

/** One call (of an upload only the last makes anything visible). @throws DeliveryError */
export async function send(sender: Sender, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  demandTime(options)
  try {
    if (piece.file) return await upload(sender, piece.file, to, options)
    return (options.draft && (await startStream(sender, piece, to, options))) || (await post(sender, piece, to, options))
  } catch (error) {
    throw toDeliveryError(error)
  }
}

async function post({ api }: Sender, piece: Piece, to: Place, { idempotencyKey, signal }: SendOptions): Promise<Receipt> {
  const args = {
    channel: to.room,
    ...contentOf(piece),
    thread_ts: to.thread,
    metadata: { event_type: METADATA, event_payload: { key: idempotencyKey } },
    unfurl_links: false,
    unfurl_media: false,
  }
  return receiptOf(await api.call('chat.postMessage', args, { signal }), to)
}

function contentOf({ payload }: Piece): Readonly<Record<string, unknown>> {
  const { markdown_text: _, ...content } = payload
  return content
}

/** Written to a person, the room has another id than asked for. */
function receiptOf({ ts, channel }: Answer, to: Place): Receipt {
  if (typeof ts !== 'string') throw new DeliveryError('unknown', 'Slack took a message and did not say which')
  return { id: ts, room: typeof channel === 'string' ? channel : to.room }
}

/** Puts the piece in the place of a message or a stream; to what is there already is a success. @throws DeliveryError */
export async function edit(sender: Sender, receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt> {
  if (piece.file) throw new DeliveryError('invalid', 'a file cannot take the place of a message')
  demandTime(options)
  const { api } = sender
  const { room } = receipt
  const isStream = receipt.id.endsWith(STREAM)
  const ts = isStream ? receipt.id.slice(0, -STREAM.length) : receipt.id
  try {
    if (isStream && options.draft && (await appendStream(sender, room, ts, piece, options))) return receipt
    if (isStream) await stopStream(sender, room, ts, options)
    await api.call('chat.update', { channel: room, ts, ...contentOf(piece) }, { signal: options.signal })
    return { id: ts, room }
  } catch (error) {
    throw toDeliveryError(error)
  }
}

function demandTime({ signal }: SendOptions): void {
  if (signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
}

// ---- Streams ----------------------------------------------------------------------------------------------------------

/**
 * Opens a stream; undefined where there can be none. https://docs.slack.dev/reference/methods/chat.startStream: within a thread only,
 * and in channels written to somebody.
 */
async function startStream(sender: Sender, piece: Piece, to: Place, { signal }: SendOptions): Promise<Receipt | undefined> {
  const { api, streams } = sender
  const text = piece.payload.markdown_text
  const asker = sender.asker(to)
  if (typeof text !== 'string' || to.thread === undefined || sender.now() < streams.refusedUntil) return undefined
  if (to.type === 'group' && !asker) return undefined
  const recipient = to.type === 'group' && asker ? { recipient_user_id: asker.user, recipient_team_id: asker.team } : {}
  const args = { channel: to.room, thread_ts: to.thread, markdown_text: text, ...recipient }
  let receipt: Receipt
  try {
    receipt = receiptOf(await api.call('chat.startStream', args, { signal }), to)
  } catch (error) {
    if (!(error instanceof ApiError && isRefusalOf(error))) throw error
    streams.refusedUntil = sender.now() + NO_STREAMS_FOR
    return undefined
  }
  // Of a stream that nobody ends here any more, only the preview suffers.
  if (streams.written.size >= MOST_STREAMS) streams.written.delete(streams.written.keys().next().value ?? '')
  streams.written.set(`${receipt.room}:${receipt.id}`, text)
  return { ...receipt, id: `${receipt.id}${STREAM}` }
}

/** Slack knows no streams here; neither busy, nor our token, nor the place is to blame. */
function isRefusalOf(error: ApiError): boolean {
  const kind = kindOf(error)
  return kind === 'invalid' || kind === 'permission' || error.code === 'user_not_found'
}

/** Adds what the text grew by. False when it did not grow at its end, or the stream is none of this process or none any more. */
async function appendStream(sender: Sender, room: string, ts: string, piece: Piece, { signal }: SendOptions): Promise<boolean> {
  const { api, streams } = sender
  const key = `${room}:${ts}`
  const written = streams.written.get(key)
  const text = piece.payload.markdown_text
  // Too long for one message by now: its end shows the rest.
  if (written !== undefined && text === undefined) return true
  if (written === undefined || typeof text !== 'string' || !text.startsWith(written)) return false
  if (text === written) return true
  try {
    await api.call('chat.appendStream', { channel: room, ts, markdown_text: text.slice(written.length) }, { signal })
    streams.written.set(key, text)
    return true
  } catch (error) {
    // Whether it was written nobody knows: nothing may be added any more.
    if (error instanceof FetchError) streams.written.delete(key)
    if (error instanceof ApiError && (error.code === 'message_not_in_streaming_state' || error.code === 'stopped_by_user')) return false
    throw error
  }
}

async function stopStream({ api, streams }: Sender, room: string, ts: string, { signal }: SendOptions): Promise<void> {
  await api.call('chat.stopStream', { channel: room, ts }, { signal }).catch((error: unknown) => {
    if (!(error instanceof ApiError && (error.code === 'message_not_in_streaming_state' || error.code === 'stopped_by_user'))) throw error
  })
  streams.written.delete(`${room}:${ts}`)
}

// ---- Files ------------------------------------------------------------------------------------------------------------

/** https://docs.slack.dev/messaging/working-with-files#upload: nothing is seen before the third step. */
async function upload({ api }: Sender, file: OutboundFile, to: Place, { signal }: SendOptions): Promise<Receipt> {
  if (file.size > MAX_UPLOAD) throw new DeliveryError('invalid', `${file.size} bytes are more than the 1 GB that Slack takes`)
  const filename =
    file.name
      .replace(/[\p{Cc}/\\]/gu, '_')
      .toWellFormed()
      .slice(-200) || 'file'
  let id: string
  try {
    const place = await api.call('files.getUploadURLExternal', { filename, length: file.size }, { signal })
    if (typeof place.upload_url !== 'string' || typeof place.file_id !== 'string')
      throw new DeliveryError('transient', 'Slack named no address for a file')
    await api.upload(place.upload_url, file, { signal })
    id = place.file_id
  } catch (error) {
    throw error instanceof FetchError ? new DeliveryError('transient', error.message) : error
  }
  const args = { files: [{ id, title: filename }], channel_id: to.room, thread_ts: to.thread }
  await api.call('files.completeUploadExternal', args, { signal })
  return { id, room: to.room }
}

/** What a received file is known by, beside what everybody knows of it; no name in it is trusted. */
export interface FileHandle {
  readonly id?: string
  readonly url?: string
  readonly team?: string
}

/** Bytes of a received file. @throws DeliveryError @throws PosthouseError `too-large` */
export async function download(
  api: WorkspaceApi,
  file: FileHandle & Pick<FileRef, 'mime' | 'size'>,
  limit: number,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  // Files of shared channels come without an address. https://docs.slack.dev/reference/objects/file-object#slack_connect_files
  const url = file.url ?? (await addressOf(api, file.id ?? '', signal))
  if (!api.isSlack(url)) throw new DeliveryError('permission', 'the file does not lie with Slack; our token is shown nowhere else')
  if ((file.size ?? 0) > limit) throw new PosthouseError('too-large', `${file.size} bytes, allowed are ${limit}`)
  const response = await api.download(url, { signal }).catch(refuse)
  const isLogin = response.headers['content-type']?.startsWith('text/html') && file.mime !== 'text/html'
  if (response.status !== 200 || isLogin) {
    for await (const _ of response.body) break
    // Who may not read it is sent to a page where people sign in.
    if (response.status === 200 || (response.status >= 300 && response.status < 400) || response.status === 403)
      throw new DeliveryError('permission', 'Slack did not hand out the file: the app needs the scope files:read')
    throw new DeliveryError(response.status >= 500 ? 'transient' : 'not-found', `the download answered ${response.status}`)
  }
  return limited(response.body, limit)
}

async function addressOf(api: WorkspaceApi, file: string, signal: AbortSignal): Promise<string> {
  const { file: told } = await api.call('files.info', { file }, { signal }).catch(refuse)
  const { url_private_download: url, url_private: other } = (told ?? {}) as { url_private_download?: unknown; url_private?: unknown }
  const found = url ?? other
  if (typeof found !== 'string') throw new DeliveryError('not-found', 'the file is not there any more')
  return found
}

function refuse(error: unknown): never {
  throw toDeliveryError(error)
}

// ---- Afterwards -------------------------------------------------------------------------------------------------------

/** A call whose answer got lost may still be carried out when we ask. */
const SETTLING = 2000
/** Slack's clock and ours. */
const CLOCKS_APART = 300_000
const PAGE = 200
const MOST_PAGES = 5

/** Looks for our own message by its metadata, in all that was written since. @throws DeliveryError */
export async function reconcile(
  { api, wait }: Sender,
  piece: Piece,
  to: Place,
  options: SendOptions,
): Promise<'sent' | 'not-sent' | 'unknown'> {
  const { idempotencyKey, signal, since } = options
  // An upload has no metadata.
  if (piece.file || since === undefined) return 'unknown'
  await wait(SETTLING, signal)
  const oldest = ((since - CLOCKS_APART) / 1000).toFixed(6)
  let cursor: string | undefined
  try {
    for (let page = 0; page < MOST_PAGES; page++) {
      const where = to.thread === undefined ? {} : { ts: to.thread }
      const args = { channel: to.room, ...where, oldest, limit: PAGE, include_all_metadata: true, cursor }
      const method = to.thread === undefined ? 'conversations.history' : 'conversations.replies'
      const answer = await api.call(method, args, { signal })
      if (Array.isArray(answer.messages) && answer.messages.some((message) => keyOf(message) === idempotencyKey)) return 'sent'
      const next = (answer.response_metadata as { next_cursor?: unknown } | undefined)?.next_cursor
      if (typeof next !== 'string' || next === '') return 'not-sent'
      cursor = next
    }
    return 'unknown'
  } catch (error) {
    throw toDeliveryError(error)
  }
}

function keyOf(message: unknown): unknown {
  const { metadata } = (message ?? {}) as { metadata?: { event_type?: unknown; event_payload?: { key?: unknown } } }
  return metadata?.event_type === METADATA ? metadata.event_payload?.key : undefined
}

// ---- Failures ---------------------------------------------------------------------------------------------------------

/** Errors of each method's page on docs.slack.dev, and https://docs.slack.dev/authentication/errors */
const KINDS: readonly (readonly [DeliveryFailure, RegExp])[] = [
  ['rate-limited', /^(rate_?limited|message_limit_exceeded)$/],
  [
    'auth',
    /^(invalid_auth|not_authed|token_revoked|token_expired|account_inactive|not_allowed_token_type|user_removed_from_team|team_disabled|org_login_required|invalid_refresh_token|invalid_client_id|bad_client_secret)$/,
  ],
  [
    'not-found',
    /^(channel_not_found|is_archived|message_not_found|user_not_found|thread_not_found|cant_update_message|edit_window_closed|cannot_reply_to_message|is_inactive|user_disabled|message_not_owned_by_app)$/,
  ],
  [
    'permission',
    /^(not_in_channel|missing_scope|no_permission|access_denied|ekm_access_denied|posting_to_channel_denied|messages_tab_disabled|cannot_dm_bot|app_access_restricted|team_access_not_granted|file_uploads_disabled|file_uploads_except_images_disabled|restricted_action\w*|slack_connect_\w+)$/,
  ],
  // It may have been carried out in part, say their pages.
  ['unknown', /^(internal_error|fatal_error|messaging_processing_failed|update_failed)$/],
  [
    'transient',
    /^(service_unavailable|request_timeout|team_added_to_org|external_channel_migrating|streaming_state_conflict|storage_limit_reached)$/,
  ],
]

function kindOf({ code, status, fromSlack }: ApiError): DeliveryFailure {
  if (status === 429) return 'rate-limited'
  if (fromSlack) return KINDS.find(([, codes]) => codes.test(code))?.[0] ?? 'invalid'
  if (status === 413) return 'invalid'
  return status >= 400 && status < 500 ? 'transient' : 'unknown'
}

/** What a failed call means for the delivery. Only what surely wasn't sent may be called anything but `unknown`. */
export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (!(error instanceof ApiError)) return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
  const kind = kindOf(error)
  const retryAfter = error.retryAfter ?? (kind === 'rate-limited' ? 1000 : undefined)
  return new DeliveryError(kind, error.message, retryAfter === undefined ? {} : { retryAfter })
}
