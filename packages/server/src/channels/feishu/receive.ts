/** In: what the open platform tells us, by a call or by a frame, in its newer form (2.0) or its older one. Pure; nothing here is trusted. */
import { hash } from 'node:crypto'
import {
  type Author,
  type Fields,
  fieldsOf,
  type InboundMessage,
  type Known,
  listIn,
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
  type WebhookVerification,
} from '@posthouse/contract'
import type { FeishuSettings } from './settings.ts'
import { decodeFrame } from './socket.ts'
import { type Mention, nameMentions, readContent } from './text.ts'

/** Calls come again for about seven hours (15 s, 5 min, 1 h, 6 h): event-subscription-guide/event-push-retry */
const SIGNED_WITHIN = 8 * 3_600_000

type Secrets = Pick<FeishuSettings, 'app_id' | 'encrypt_key' | 'verification_token'>

export function createReader(settings: Secrets): Reader {
  const { encrypt_key } = settings
  /** `undefined` for what is not sealed. */
  const unsealed = (body: Uint8Array, known: Known) => {
    const { encrypt } = fieldsOf(parseJson(body))
    return encrypt_key && typeof encrypt === 'string' ? fieldsOf(parseJson(unseal(encrypt, encrypt_key, known))) : undefined
  }
  return {
    verification: verificationOf(settings),
    // Only what is sealed is asked without a proof; without an Encrypt Key the token stands in the question.
    ...(encrypt_key ? { challenge: (request, known) => answerQuestion(() => unsealed(request.body, known), settings) } : {}),
    // What is not sealed was signed with the same key, or carried the token.
    request: (request: WebhookRequest, known) => read(unsealed(request.body, known) ?? fieldsOf(parseJson(request.body)), settings, known),
    frame: (frame, known) => read(eventIn(frame), settings, known),
  }
}

/** event-subscription-guide/event-subscription-configure-/encrypt-key-encryption-configuration-case */
function verificationOf({ encrypt_key, verification_token }: Secrets): readonly WebhookVerification[] {
  const [time, nonce] = [{ header: 'x-lark-request-timestamp' }, { header: 'x-lark-request-nonce' }]
  if (encrypt_key)
    return [
      {
        kind: 'digest',
        algorithm: 'sha256',
        at: { header: 'x-lark-signature' },
        encoding: 'hex',
        secret: encrypt_key,
        signed: [time, nonce, 'secret', 'body'],
        time: { at: time, unit: 's', window: SIGNED_WITHIN },
      },
    ]
  return verification_token ? [{ kind: 'field', name: 'token', secret: verification_token }] : []
}

/** AES-256-CBC by the digest of the key, the vector in front. @throws PosthouseError `invalid` */
function unseal(sealed: string, key: string, { crypto }: Known): Uint8Array {
  const bytes = Buffer.from(sealed, 'base64')
  if (bytes.length < 32) throw new PosthouseError('invalid', 'what came sealed is too short')
  return crypto.decrypt(bytes.subarray(16), { key: hash('sha256', key, 'buffer'), iv: bytes.subarray(0, 16) })
}

function answerQuestion(unsealed: () => Fields | undefined, settings: Secrets) {
  try {
    return read(unsealed() ?? {}, settings, undefined).response
  } catch {
    return undefined
  }
}

/** A frame as it came over the line (or that in Base64), its payload, or that as an object. */
function eventIn(frame: unknown): Fields {
  if (frame instanceof Uint8Array && frame[0] === FIRST_TAG) return fieldsOf(parseJson(decodeFrame(frame).payload))
  if (typeof frame === 'string' && /^CA[A-Za-z0-9+/=]*$/.test(frame)) return eventIn(new Uint8Array(Buffer.from(frame, 'base64')))
  return fieldsOf(frame instanceof Uint8Array || typeof frame === 'string' ? parseJson(frame) : frame)
}

/** What every frame begins with: field 1, a number. */
const FIRST_TAG = 0x08

// ---- Events -----------------------------------------------------------------------------------------------------------

/** `known` is missing for a question: nothing else is understood then. @throws PosthouseError `invalid` */
function read(envelope: Fields, settings: Secrets, known: Known | undefined): Reading {
  if (envelope.type === 'url_verification') return question(envelope, settings)
  if (!known) return { messages: [] }
  const header = fieldsOf(envelope.header)
  const event = fieldsOf(envelope.event)
  const older = envelope.schema !== '2.0'
  const app = textIn(older ? event.app_id : header.app_id)
  if (app !== settings.app_id) throw new PosthouseError('invalid', 'this is for another app')
  const token = textIn(older ? envelope.token : header.token)
  if (settings.verification_token && token !== '' && !isToken(token, settings.verification_token))
    throw new PosthouseError('invalid', 'the Verification Token is another one')
  const id = textIn(older ? envelope.uuid : header.event_id)
  const type = textIn(older ? event.type : header.event_type)
  const at = timeOf(header.create_time) ?? known.now
  const us = known.us?.id
  switch (type) {
    case 'message':
      return whole(messageV1(event, timeOf(Number(envelope.ts) * 1000) ?? known.now))
    case 'im.message.receive_v1':
      return whole(message(event, us, known.now))
    case 'im.message.updated_v1':
      return whole(edited(message(event, us, known.now), fieldsOf(event.message)))
    case 'im.message.recalled_v1':
      return whole(recalled(event, at))
    case 'im.message.reaction.created_v1':
      return whole(reaction(event, id, at))
    case 'card.action.trigger':
      return { ...whole(pressed(event, id, at)), response: { status: 200, headers: JSON_TYPE, body: '{}' } }
    default:
      return { messages: [], reason: `${/^[\w.]{1,80}$/.test(type) ? type : 'this'} is nothing that is answered` }
  }
}

const JSON_TYPE = { 'content-type': 'application/json' }
const digest = (text: string) => hash('sha256', text)
/** Digests, so that the time tells nothing. */
const isToken = (given: string, wanted: string) => digest(given) === digest(wanted)

function question({ challenge, token }: Fields, { verification_token }: Secrets): Reading {
  if (verification_token && !isToken(textIn(token), verification_token))
    throw new PosthouseError('invalid', 'the Verification Token is another one')
  const body = JSON.stringify({ challenge: textIn(challenge) })
  return { messages: [], challenge: true, response: { status: 200, headers: JSON_TYPE, body } }
}

function whole(message: InboundMessage): Reading {
  const empty = message.kind === 'message' && message.parts.length === 0 && !message.mentionsUs
  return empty ? { messages: [], reason: 'there is nothing in it to read' } : { messages: [message] }
}

/** im-v1/message/events/receive. Repeats are told by `message_id`, as the platform's page says: event ids may differ. */
function message(event: Fields, us: string | undefined, now: number): InboundMessage {
  const sent = fieldsOf(event.message)
  const sender = fieldsOf(event.sender)
  const id = required(sent.message_id, 'message_id')
  const isBot = sender.sender_type === 'app'
  const open = textIn(fieldsOf(sender.sender_id).open_id)
  const author: Author = { id: open || (isBot ? 'app' : required(open, 'open_id')), ...(isBot ? { isBot } : {}) }
  const mentions = listIn(sent.mentions).slice(0, MOST_MENTIONS).map(mentionOf)
  const content = readContent(textIn(sent.message_type), fieldsOf(parseJson(textIn(sent.content) || '{}')), id)
  const text = nameMentions(content.text, mentions, us)
  const mentionsUs = us !== undefined && mentions.some((mention) => mention.id === us)
  const place = placeOf(sent, id)
  // In a topic everything refers to the message that opened it; that is no reply.
  const replyTo = place.thread === undefined ? textIn(sent.parent_id) : ''
  return worded({
    id,
    place,
    author,
    text,
    parts: content.parts,
    sentAt: timeOf(sent.create_time) ?? now,
    mentionsUs,
    mentionsAll: mentions.some(({ key }) => key === '@_all') || content.text.includes('@_all'),
    ...(replyTo ? { replyTo } : {}),
    ...(place.thread === undefined ? {} : { threadId: textIn(sent.thread_id) }),
  })
}

const MOST_MENTIONS = 500

function mentionOf(value: unknown): Mention {
  const { key, id, name } = fieldsOf(value)
  return { key: textIn(key), id: textIn(fieldsOf(id).open_id), name: textIn(name) }
}

interface Words extends Pick<InboundMessage, 'id' | 'place' | 'author' | 'parts' | 'sentAt'> {
  readonly text: string
  readonly mentionsUs: boolean
  readonly mentionsAll: boolean
  readonly replyTo?: string
  readonly threadId?: string
}

function worded({ text, parts, ...rest }: Words): InboundMessage {
  const command = parseCommand(text)
  const said: readonly Part[] = text.trim() === '' ? [] : [{ type: 'text', text }]
  return {
    ...rest,
    kind: 'message',
    key: `message:${rest.id}`,
    parts: [...said, ...parts],
    addressed: rest.place.type === 'direct' || rest.mentionsUs,
    ...(command ? { command } : {}),
  }
}

/** The thread is known by the message that it hangs on: an answer can be sent to that at any time, and to nothing else of a thread. */
function placeOf(sent: Fields, id: string): Place {
  const thread = textIn(sent.thread_id) === '' ? undefined : textIn(sent.root_id) || id
  return {
    room: required(sent.chat_id, 'chat_id'),
    type: sent.chat_type === 'p2p' ? 'direct' : 'group',
    ...(thread === undefined ? {} : { thread }),
  }
}

function edited(message: InboundMessage, sent: Fields): InboundMessage {
  const at = timeOf(sent.update_time) ?? message.sentAt
  return { ...message, kind: 'edit', key: `edit:${message.id}:${at}`, sentAt: at }
}

/** im-v1/message/events/recalled. Neither author nor thread is told: the inbox looks for the message in the whole room. */
function recalled(event: Fields, at: number): InboundMessage {
  const id = required(event.message_id, 'message_id')
  const place: Place = { room: required(event.chat_id, 'chat_id'), type: 'group' }
  return {
    kind: 'delete',
    key: `recall:${id}`,
    id,
    place,
    author: { id: '' },
    parts: [],
    sentAt: timeOf(event.recall_time) ?? at,
    addressed: true,
  }
}

/** im-v1/message-reaction/events/created. The room is not told, and nothing comes of it. */
function reaction(event: Fields, eventId: string, at: number): InboundMessage {
  const id = required(event.message_id, 'message_id')
  const isBot = event.operator_type === 'app'
  return {
    kind: 'reaction',
    key: `reaction:${required(eventId, 'event_id')}`,
    id,
    place: { room: '', type: 'group' },
    author: { id: textIn(fieldsOf(event.user_id).open_id), ...(isBot ? { isBot } : {}) },
    parts: [],
    sentAt: timeOf(event.action_time) ?? at,
    addressed: false,
    callbackData: textIn(fieldsOf(event.reaction_type).emoji_type),
  }
}

/** feishu-cards/card-callback-communication: a pressed button. What it carries is what the card's author gave it. */
function pressed(event: Fields, eventId: string, at: number): InboundMessage {
  const { open_message_id, open_chat_id } = fieldsOf(event.context)
  const { value } = fieldsOf(event.action)
  const data = fieldsOf(value).data
  return {
    kind: 'callback',
    key: `callback:${required(eventId, 'event_id')}`,
    id: required(open_message_id, 'open_message_id'),
    place: { room: required(open_chat_id, 'open_chat_id'), type: 'group' },
    author: { id: required(fieldsOf(event.operator).open_id, 'open_id') },
    parts: [],
    sentAt: at,
    addressed: true,
    callbackData: typeof data === 'string' ? data : typeof value === 'string' ? value : JSON.stringify(value ?? null),
  }
}

/** The older form: https://open.feishu.cn/document/ukTMukTMukTM/uMTNxYjLzUTM24yM1EjN */
function messageV1(event: Fields, at: number): InboundMessage {
  const id = required(event.open_message_id, 'open_message_id')
  const room = required(event.open_chat_id, 'open_chat_id')
  const type = textIn(event.msg_type)
  const content = readContent(type === 'post' ? 'text' : type, { ...event, text: event.text_without_at_bot ?? event.text }, id)
  const isGroup = event.chat_type !== 'private'
  const replyTo = textIn(event.parent_id)
  return worded({
    id,
    place: { room, type: isGroup ? 'group' : 'direct' },
    author: { id: required(event.open_id, 'open_id') },
    text: content.text.trim(),
    parts: content.parts,
    sentAt: at,
    mentionsUs: event.is_mention === true,
    mentionsAll: false,
    ...(replyTo ? { replyTo } : {}),
  })
}

/** Milliseconds, which the platform writes as a text (and some of its older parts in microseconds). */
function timeOf(value: unknown): number | undefined {
  const at = typeof value === 'number' || (typeof value === 'string' && /^\d{1,16}$/.test(value)) ? Number(value) : Number.NaN
  return Number.isFinite(at) && at > 0 ? Math.floor(at > 1e14 ? at / 1000 : at) : undefined
}
