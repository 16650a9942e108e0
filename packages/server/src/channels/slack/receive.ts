/**
 * In: what Slack tells us, decoded. Pure; nothing here is trusted or kept. The same payloads come over a socket and by webhook.
 * https://docs.slack.dev/apis/events-api, https://docs.slack.dev/apis/events-api/using-socket-mode
 */
import {
  type Author,
  decodeUtf8,
  type Fields,
  type FileKind,
  type Identity,
  type InboundMessage,
  type Known,
  type Part,
  type Place,
  PosthouseError,
  parseCommand,
  parseJson,
  type Reader,
  type Reading,
  required,
  textIn,
  type WebhookRequest,
  type WebhookResponse,
  type WebhookVerification,
} from '@posthouse/contract'
import type { SlackSettings } from './settings.ts'
import { readMrkdwn } from './text.ts'

/** Who we are, by auth.test: `id` is our user, `team` our workspace. */
export interface SlackIdentity extends Identity {
  readonly team: string
}

/** What a live connection needs to know beside the messages. */
export interface SlackReading extends Reading {
  /** Somebody opened the page of our app. */
  readonly home?: { readonly user: string }
  /** The workspace that it is of. */
  readonly team?: string
  /** A browser came back from Slack: with a code for an installation, or without one. */
  readonly installed?: { readonly code: string | undefined }
  /** The app was taken out of its workspace. */
  readonly uninstalled?: true
  /** Who asked, for a stream that is written to them in a channel. */
  readonly asker?: { readonly user: string; readonly team: string }
}

/** https://docs.slack.dev/authentication/verifying-requests-from-slack: five minutes, and the time is signed. */
const WINDOW = 300_000

export type SlackReader = Reader & {
  request(request: WebhookRequest, known: Known): SlackReading
  frame(frame: unknown, known: Known): SlackReading
}

/** What of the settings reading depends on. */
type Read = Pick<SlackSettings, 'signing_secret' | 'app_token' | 'client_id' | 'client_secret' | 'base_url'>

/** How an account reads. */
export function readerOf(settings: Read): SlackReader {
  const { signing_secret: signing, app_token, client_id: client, client_secret: secret } = settings
  const reading: Account = {
    // xapp-1-A0123ABCD-...: the app's id stands in its token.
    app: /^xapp-\d+-(A[A-Z0-9]+)-/.exec(app_token ?? '')?.[1],
    many: client !== undefined,
  }
  const verification = [...(signing ? [verificationOf(signing)] : []), ...(client && secret ? [installationOf(secret)] : [])]
  return {
    ...(verification.length > 0 ? { verification } : {}),
    ...(client && secret ? { challenge: (request, known) => sendToSlack(request, known, settings) } : {}),
    request: (request, known) => (request.method === 'GET' ? readReturn(request) : readRequest(request, known, reading)),
    frame: (frame, known) => readFrame(frame, known, reading),
  }
}

interface Account {
  readonly app: string | undefined
  /** Installed in several workspaces: the workspace is a part of each room. */
  readonly many: boolean
}

function verificationOf(secret: string): WebhookVerification {
  const time = { header: 'x-slack-request-timestamp' }
  return {
    kind: 'hmac',
    method: 'POST',
    algorithm: 'sha256',
    secret,
    at: { header: 'x-slack-signature' },
    encoding: 'hex',
    prefix: 'v0=',
    signed: [{ text: 'v0:' }, time, { text: ':' }, 'body'],
    time: { at: time, unit: 's', window: WINDOW },
  }
}

function readRequest({ body }: WebhookRequest, known: Known, account: Account): SlackReading {
  const text = decodeUtf8(body)
  if (text.startsWith('{')) return readPayload(fields(parseJson(text)), known, account)
  const form = new URLSearchParams(text)
  const payload = form.get('payload')
  if (payload !== null) return readPayload(fields(parseJson(payload)), known, account)
  if (form.has('command')) return readPayload(Object.fromEntries(form), known, account)
  if (form.has('ssl_check')) return nothing('a check of our certificate')
  throw invalid('neither JSON nor a form of Slack')
}

function readFrame(frame: unknown, known: Known, account: Account): SlackReading {
  const envelope = fields(typeof frame === 'string' ? parseJson(frame) : frame)
  const type = textIn(envelope.type)
  if (type === 'hello' || type === 'disconnect') return nothing(`"${type}" of the connection itself`)
  if (type !== 'events_api' && type !== 'slash_commands' && type !== 'interactive') return nothing(`an unknown kind of frame, "${type}"`)
  return readPayload(fields(envelope.payload), known, account)
}

function readPayload(payload: Fields, known: Known, account: Account): SlackReading {
  const type = textIn(payload.type)
  if (type === 'url_verification') {
    const headers = { 'content-type': 'text/plain; charset=utf-8' }
    return { messages: [], challenge: true, response: { status: 200, headers, body: required(payload.challenge, 'challenge', MOST_ID) } }
  }
  // Interactions name the workspace as an object, the rest by its id.
  const team = textIn(payload.team_id) || textIn(fields(payload.team ?? {}).id)
  const [authorization = {}] = list(payload.authorizations)
  const us = textIn(authorization.user_id) || known.us?.id
  const home = (known.us as SlackIdentity | undefined)?.team
  const given = textIn(payload.api_app_id)
  if (account.app !== undefined && given !== '' && given !== account.app) return nothing('meant for another app')
  const installed = textIn(authorization.team_id) || team
  if (!account.many && home !== undefined && installed !== '' && installed !== home)
    return nothing('of a workspace that this account is not installed in')
  const context: Context = { us, now: known.now, team }
  const reading = readKind(payload, type, context)
  return account.many ? withWorkspace(reading, required(installed, 'team_id')) : reading
}

function readKind(payload: Fields, type: string, context: Context): SlackReading {
  if (textIn(payload.command) !== '') return readSlashCommand(payload, context)
  if (type === 'event_callback') return readEvent(fields(payload.event), context)
  if (type === 'block_actions') return readAction(payload, context)
  if (type === '') throw invalid('type is missing')
  return nothing(`nothing comes of "${type}"`)
}

/** Between the workspace and the channel in a room of an account that has several workspaces. Ids of channels are unique in one only. */
const BETWEEN = ':'

function withWorkspace(reading: SlackReading, team: string): SlackReading {
  const messages = reading.messages.map((message) => ({
    ...message,
    key: `${team}${BETWEEN}${message.key}`,
    place: { ...message.place, room: `${team}${BETWEEN}${message.place.room}` },
    parts: message.parts.map((part) =>
      part.type === 'file' ? { ...part, file: { ...part.file, ref: refIn(team, part.file.ref) } } : part,
    ),
  }))
  return { ...reading, messages, team }
}

/** A file is asked for in the name of its workspace. */
const refIn = (team: string, ref = '{}') => JSON.stringify({ ...fields(JSON.parse(ref)), team })

/** The workspace (undefined in an account that has one only) and the channel of a room. */
export function splitRoom(room: string): { readonly team: string | undefined; readonly channel: string; readonly prefix: string } {
  const at = room.indexOf(BETWEEN)
  return at < 0
    ? { team: undefined, channel: room, prefix: '' }
    : { team: room.slice(0, at), channel: room.slice(at + BETWEEN.length), prefix: room.slice(0, at + BETWEEN.length) }
}

// ---- Installing -------------------------------------------------------------------------------------------------------

/** The same as in the manifest of docs/guides/slack.md. */
const SCOPES =
  'app_mentions:read,assistant:write,chat:write,commands,files:read,files:write,reactions:write,im:history,mpim:history,channels:history,groups:history,users:read'

const STARTED_AT = 'posthouse_install'
/** How long somebody may look at the question of what is permitted. */
const INSTALL_WITHIN = 600_000

/**
 * Sends the browser that asks for `?install` to Slack. What it brings back is bound to it by a cookie and to us by our secret, so that nobody
 * can be made to end an installation that another one began. https://docs.slack.dev/authentication/installing-with-oauth
 */
function sendToSlack({ method, query }: WebhookRequest, { now, crypto }: Known, settings: Read): WebhookResponse | undefined {
  if (method !== 'GET' || !Object.hasOwn(query, 'install')) return undefined
  const at = String(now)
  const state = Buffer.from(crypto.hmac('sha256', settings.client_secret ?? '', `install:${at}`)).toString('hex')
  const to = new URL(`${settings.base_url.replace(/\/api\/?$/, '')}/oauth/v2/authorize`)
  to.search = new URLSearchParams({ client_id: settings.client_id ?? '', scope: SCOPES, state }).toString()
  const rules = `Max-Age=${INSTALL_WITHIN / 1000}; Path=/api/webhook; HttpOnly; Secure; SameSite=Lax`
  return { status: 302, headers: { location: to.href, 'cache-control': 'no-store', 'set-cookie': `${STARTED_AT}=${at}; ${rules}` } }
}

function installationOf(secret: string): WebhookVerification {
  const at = { cookie: STARTED_AT }
  return {
    kind: 'hmac',
    method: 'GET',
    algorithm: 'sha256',
    secret,
    at: { query: 'state' },
    encoding: 'hex',
    signed: [{ text: 'install:' }, at],
    time: { at, unit: 'ms', window: INSTALL_WITHIN },
  }
}

/** A browser that comes back, proven by its state. */
function readReturn({ query }: WebhookRequest): SlackReading {
  return { ...nothing('an installation'), installed: { code: query.code } }
}

interface Context {
  readonly us: string | undefined
  readonly now: number
  readonly team: string
}

// ---- Events -----------------------------------------------------------------------------------------------------------

/** Subtypes of messages that people write; the rest tells of joins, topics and the like. */
const WRITTEN = new Set(['', 'file_share', 'me_message', 'thread_broadcast', 'bot_message'])

function readEvent(event: Fields, context: Context): SlackReading {
  const type = required(event.type, 'event.type')
  // Both are told of a message that mentions us, in any order: they give the same message.
  if (type === 'message' || type === 'app_mention') return readMessageEvent(event, context)
  if (type === 'reaction_added') return readReaction(event, context)
  if (type === 'app_home_opened') {
    const user = textIn(event.user)
    return { ...nothing('the page of the app was opened'), ...(event.tab === 'home' && user !== '' ? { home: { user } } : {}) }
  }
  if (type === 'app_uninstalled') return { ...nothing('the app was taken out of a workspace'), uninstalled: true }
  return nothing(`nothing comes of "${type}"`)
}

function readMessageEvent(event: Fields, context: Context): SlackReading {
  const subtype = textIn(event.subtype)
  if (subtype === 'message_changed') return readEdit(event, context)
  if (subtype === 'message_deleted') {
    const id = required(event.deleted_ts, 'event.deleted_ts')
    return { messages: [deletionOf(id, event, fields(event.previous_message ?? {}), context)] }
  }
  if (!WRITTEN.has(subtype)) return nothing(`a message of the kind "${subtype}"`)
  const message = messageOf(event, event, context)
  if (message.parts.length === 0 && !message.mentionsUs) return nothing('a message without content')
  const team = textIn(event.user_team) || textIn(event.team) || context.team
  return { messages: [message], asker: { user: message.author.id, team } }
}

/** An edit, the end of an unfurling (no edit), or the stone that stands where a thread's first message was deleted. */
function readEdit(event: Fields, context: Context): SlackReading {
  const changed = fields(event.message)
  const before = fields(event.previous_message ?? {})
  if (changed.subtype === 'tombstone') {
    return { messages: [deletionOf(required(changed.ts, 'event.message.ts'), event, before, context)] }
  }
  const editedAt = textIn(fields(changed.edited ?? {}).ts)
  if (editedAt === '' || editedAt === textIn(fields(before.edited ?? {}).ts)) return nothing('a message is only shown in another way')
  const message = messageOf(changed, event, context)
  return { messages: [{ ...message, kind: 'edit', key: `edit:${message.place.room}:${message.id}:${editedAt}`, sentAt: timeOf(editedAt) }] }
}

function deletionOf(id: string, event: Fields, before: Fields, context: Context): InboundMessage {
  const room = required(event.channel, 'event.channel')
  const place = placeOf(room, id, textIn(before.thread_ts), event)
  const { mentionsUs } = readMrkdwn(textIn(before.text), context.us)
  const author = authorOf(before, context)
  const answersUs = context.us !== undefined && before.parent_user_id === context.us
  return {
    kind: 'delete',
    key: `delete:${room}:${id}`,
    id,
    place,
    author,
    parts: [],
    sentAt: timeOf(textIn(event.event_ts) || textIn(event.ts), context.now),
    addressed: place.type === 'direct' || mentionsUs || answersUs,
    mentionsUs,
    answersUs,
  }
}

/** @param event what surrounds the message and names its channel; the same object unless the message was changed */
function messageOf(message: Fields, event: Fields, context: Context): InboundMessage {
  const room = required(event.channel, 'event.channel')
  const id = required(message.ts, 'event.ts')
  const place = placeOf(room, id, textIn(message.thread_ts), event)
  if (message.text !== undefined && message.text !== null && typeof message.text !== 'string') throw invalid('text is no string')
  const { text, mentionsUs, mentionsAll } = readMrkdwn(textIn(message.text), context.us)
  const command = parseCommand(text)
  const answersUs = context.us !== undefined && message.parent_user_id === context.us
  return {
    kind: 'message',
    // By its own id and not by `event_id`: that one is another for `message` and for `app_mention`.
    key: `message:${room}:${id}`,
    id,
    place,
    author: authorOf(message, context),
    parts: partsOf(message, text),
    sentAt: timeOf(id),
    addressed: place.type === 'direct' || mentionsUs || answersUs || command !== undefined,
    mentionsUs,
    mentionsAll,
    answersUs,
    ...(command ? { command } : {}),
  }
}

/** In a channel each question begins a thread, in which it is answered; in a direct place only what is in a thread stays there. */
function placeOf(room: string, id: string, thread: string, event: Fields): Place {
  const kind = textIn(event.channel_type)
  const direct = kind === 'im' || kind === 'app_home' || (kind === '' && room.startsWith('D'))
  const within = thread || (direct ? '' : id)
  return { room, type: direct ? 'direct' : 'group', ...(within === '' ? {} : { thread: within }) }
}

function authorOf(message: Fields, { us }: Context): Author {
  const user = textIn(message.user)
  const bot = textIn(message.bot_id)
  const profile = fields(message.user_profile ?? {})
  const name = textIn(profile.display_name) || textIn(profile.real_name) || textIn(message.username)
  const isBot = bot !== '' || message.subtype === 'bot_message' || user === 'USLACKBOT' || (us !== undefined && user === us)
  return { id: user || bot || 'unknown', isBot, ...(name === '' ? {} : { name }) }
}

function partsOf(message: Fields, text: string): readonly Part[] {
  const parts: Part[] = text === '' ? [] : [{ type: 'text', text }]
  for (const attached of list(message.attachments)) {
    // A message that was shared into this one; previews of links are none.
    const shared = attached.is_share === true || attached.is_msg_unfurl === true ? readMrkdwn(textIn(attached.text), undefined).text : ''
    if (shared !== '') parts.push({ type: 'text', text: shared.replace(/^/gm, '> ') })
  }
  for (const file of list(message.files)) {
    const part = filePart(file)
    if (part) parts.push(part)
  }
  return parts
}

/** https://docs.slack.dev/reference/objects/file-object */
function filePart(file: Fields): Part | undefined {
  const mode = textIn(file.mode)
  if (mode === 'tombstone' || mode === 'hidden_by_limit') return undefined
  const name = textIn(file.name) || textIn(file.title) || 'file'
  const url = textIn(file.url_private_download) || textIn(file.url_private)
  // It lies elsewhere: its address is told, and our token is not shown there.
  if (file.is_external === true || mode === 'external') return { type: 'text', text: url === '' ? name : `${name}: ${url}` }
  const id = required(file.id, 'file.id')
  const mime = textIn(file.mimetype)
  const kind: FileKind = file.subtype === 'slack_audio' ? 'voice' : (/^(image|audio|video)\//.exec(mime)?.[1] as FileKind) || 'file'
  const size = typeof file.size === 'number' && Number.isSafeInteger(file.size) && file.size >= 0 ? { size: file.size } : {}
  return {
    type: 'file',
    file: { kind, name, ref: JSON.stringify({ id, ...(url === '' ? {} : { url }) }), ...(mime ? { mime } : {}), ...size },
  }
}

function readReaction(event: Fields, context: Context): SlackReading {
  const item = fields(event.item)
  if (item.type !== 'message') return nothing('a mark on something else than a message')
  const room = required(item.channel, 'event.item.channel')
  const id = required(item.ts, 'event.item.ts')
  const mark = required(event.reaction, 'event.reaction')
  const author = authorOf(event, context)
  const place: Place = { room, type: room.startsWith('D') ? 'direct' : 'group' }
  const key = `reaction:${room}:${id}:${author.id}:${mark}:${textIn(event.event_ts)}`
  const sentAt = timeOf(textIn(event.event_ts), context.now)
  const answersUs = context.us !== undefined && event.item_user === context.us
  return {
    messages: [{ kind: 'reaction', key, id, place, author, parts: [], sentAt, addressed: answersUs, answersUs, callbackData: mark }],
  }
}

// ---- Interactions -----------------------------------------------------------------------------------------------------

/** Built-in commands that may be written behind a slash command: `/posthouse new`. At most one more word may follow. */
const COMMANDS = /^(help|model|new|stop)(?:\s+(\S+))?$/i

/** https://docs.slack.dev/interactivity/implementing-slash-commands. `in_channel` shows everybody what was asked. */
function readSlashCommand(payload: Fields, context: Context): SlackReading {
  const room = required(payload.channel_id, 'channel_id')
  const user = required(payload.user_id, 'user_id')
  const trigger = required(payload.trigger_id, 'trigger_id', MOST_ID)
  const text = readMrkdwn(textIn(payload.text), context.us).text
  const own = /^\/(help|model|new|stop)$/i.exec(textIn(payload.command))
  const named = COMMANDS.exec(text)
  const command = own
    ? { name: (own[1] ?? '').toLowerCase(), argument: text }
    : named
      ? { name: (named[1] ?? '').toLowerCase(), argument: named[2] ?? '' }
      : text === ''
        ? { name: 'help', argument: '' }
        : parseCommand(text)
  const name = textIn(payload.user_name)
  const message: InboundMessage = {
    kind: 'message',
    key: `command:${trigger}`,
    id: trigger,
    place: { room, type: room.startsWith('D') ? 'direct' : 'group' },
    author: { id: user, ...(name ? { name, username: name } : {}) },
    parts: text === '' ? [] : [{ type: 'text', text }],
    sentAt: context.now,
    addressed: true,
    ...(command ? { command } : {}),
  }
  const headers = { 'content-type': 'application/json' }
  return { messages: [message], response: { status: 200, headers, body: JSON.stringify({ response_type: 'in_channel' }) } }
}

/** https://docs.slack.dev/reference/interaction-payloads/block_actions-payload */
function readAction(payload: Fields, context: Context): SlackReading {
  const [action] = list(payload.actions)
  if (!action) throw invalid('actions is empty')
  const container = fields(payload.container ?? {})
  const id = textIn(container.message_ts)
  const room = textIn(container.channel_id) || textIn(fields(payload.channel ?? {}).id)
  if (id === '' || room === '') return nothing('a button that stands in no message')
  const user = fields(payload.user)
  const author = required(user.id, 'user.id')
  const pressed = textIn(action.value) || textIn(fields(action.selected_option ?? {}).value) || textIn(action.action_id)
  const name = textIn(user.name) || textIn(user.username)
  const at = textIn(action.action_ts)
  const thread = textIn(container.thread_ts) || textIn(fields(payload.message ?? {}).thread_ts)
  return {
    messages: [
      {
        kind: 'callback',
        key: `callback:${room}:${id}:${author}:${at || required(payload.trigger_id, 'trigger_id', MOST_ID)}`,
        id,
        place: placeOf(room, id, thread, {}),
        author: { id: author, ...(name ? { name } : {}) },
        parts: [],
        sentAt: timeOf(at, context.now),
        addressed: true,
        callbackData: pressed,
      },
    ],
  }
}

// ---- Fields that nobody promised -----------------------------------------------------------------------------------------

/** Slack says of none of these how long they may be. */
const MOST_ID = 4000

const invalid = (what: string) => new PosthouseError('invalid', `not what Slack sends: ${what}`)

const nothing = (reason: string): SlackReading => ({ messages: [], reason })

function fields(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('something that should be an object is none')
  return value as Fields
}

/** The objects in a list; empty for anything else. */
function list(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.filter((entry): entry is Fields => typeof entry === 'object' && entry !== null) : []
}

/** Slack's `1700000000.000100` in epoch milliseconds. */
function timeOf(ts: string, fallback?: number): number {
  const seconds = /^\d{1,12}(\.\d{1,9})?$/.test(ts) ? Number(ts) : Number.NaN
  if (Number.isFinite(seconds)) return Math.floor(seconds * 1000)
  if (fallback === undefined) throw invalid('a time that is none')
  return fallback
}
