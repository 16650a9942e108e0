/** In: what the open platform tells us, by a call or by a frame. Pure; nothing here is trusted. https://open.dingtalk.com/document/orgapp/receive-message */
import { hash } from 'node:crypto'
import {
  type Author,
  type Fields,
  fieldsOf,
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
import { type DingtalkSettings, robotOf } from './settings.ts'
import { contentIn, readContent } from './text.ts'

/** What a connection is opened for. Events are left to other programs: nothing of them is answered. */
export const ROBOT = '/v1.0/im/bot/messages/get'
export const CARD = '/v1.0/card/instances/callback'

/** Our cards are known by it; the letter tells where they stand, and behind it a group may be named: a call does not tell it. */
export const CARD_IDS = { direct: 'posthouse-d-', group: 'posthouse-g-' } as const
const GROUP_IN_ID = /^posthouse-g-[0-9a-f]{16}-(.+)$/

/** What calls for cards are signed with: told to the platform with our address, and the same on every node. */
export const cardSecretOf = (client_secret: string): string => hash('sha256', `cards of ${client_secret}`).slice(0, 32)

type Secrets = Partial<Pick<DingtalkSettings, 'mode'>> &
  Pick<DingtalkSettings, 'client_id' | 'client_secret' | 'robot_code' | 'token' | 'aes_key'>

const HOUR = 3_600_000
/** https://open.dingtalk.com/document/development/event-callback-card */
const CARD_SIGN = 'x-ddpaas-signature'
const CARD_TIME = 'x-ddpaas-signature-timestamp'

export function createReader(settings: Secrets): Reader {
  if (settings.mode === 'robot') return {}
  return {
    verification: verificationOf(settings),
    request(request, known) {
      // The two proofs never hold for each other's calls: that of the robot does not cover what it came with.
      if (request.query.signature !== undefined) return sealedEvent(request, settings, known)
      if (request.headers[CARD_SIGN] !== undefined) return cardCall(request, known)
      const message = fieldsOf(parseJson(request.body))
      const robot = textIn(message.robotCode)
      if (robot !== '' && robot !== robotOf(settings) && robot !== settings.client_id)
        throw new PosthouseError('invalid', `this is for the robot ${robot.slice(0, 80)}; if that is ours, set robot_code`)
      return robotMessage(message, known)
    },
    frame: (frame, known) => readFrame(frame, known),
  }
}

function verificationOf({ client_secret = '', token, aes_key }: Secrets): readonly WebhookVerification[] {
  const time = { header: 'timestamp' }
  const robot: WebhookVerification = {
    kind: 'hmac',
    algorithm: 'sha256',
    at: { header: 'sign' },
    encoding: 'base64',
    secret: client_secret,
    signed: [time, { text: '\n' }, 'secret'],
    time: { at: time, unit: 'ms', window: HOUR },
  }
  const signedAt = { header: CARD_TIME }
  const card: WebhookVerification = {
    kind: 'hmac',
    algorithm: 'sha256',
    at: { header: CARD_SIGN },
    encoding: 'base64',
    secret: client_secret === '' ? '' : cardSecretOf(client_secret),
    signed: [signedAt],
    time: { at: signedAt, unit: 'ms', window: HOUR },
  }
  if (!token || !aes_key) return [robot, card]
  const at = { query: 'timestamp' }
  return [
    robot,
    card,
    {
      kind: 'digest',
      algorithm: 'sha1',
      at: { query: 'signature' },
      encoding: 'hex',
      secret: token,
      signed: ['secret', at, { query: 'nonce' }, { field: 'encrypt' }],
      sorted: true,
      time: { at, unit: 'ms', window: HOUR },
    },
  ]
}

// ---- Frames -----------------------------------------------------------------------------------------------------------

/** A frame as it came over the line, that as an object, or the message alone. @throws PosthouseError `invalid` */
export function readFrame(frame: unknown, known: Known): Reading {
  const { type, headers, data } = openFrame(frame)
  const topic = textIn(headers.topic)
  if (type === 'SYSTEM') return { messages: [], reason: `${short(topic)} is about the connection` }
  if (type === 'EVENT') return { messages: [], reason: `${short(textIn(headers.eventType))} is nothing that is answered`, response: HEARD }
  if (type === 'CALLBACK' && topic === CARD) return { ...pressed(data, textIn(headers.messageId), known), response: TAKEN }
  if (type === 'CALLBACK' && topic === ROBOT) return { ...robotMessage(data, known), response: TAKEN }
  throw new PosthouseError('invalid', `${short(topic)} is nothing that was asked for`)
}

/** What the answer to a frame carries. https://open-dingtalk.github.io/developerpedia/docs/learn/stream/protocol */
const TAKEN: WebhookResponse = { status: 200, body: '{"response":{}}' }
const HEARD: WebhookResponse = { status: 200, body: '{"status":"SUCCESS","message":"success"}' }

export interface Frame {
  readonly type: string
  readonly headers: Fields
  readonly data: Fields
}

/** @throws PosthouseError `invalid` */
export function openFrame(frame: unknown): Frame {
  const { type, headers, data, ...message } = fieldsOf(typeof frame === 'string' || frame instanceof Uint8Array ? parseJson(frame) : frame)
  if (type === undefined || headers === undefined) return { type: 'CALLBACK', headers: { topic: ROBOT }, data: { type, ...message } }
  return {
    type: textIn(type),
    headers: fieldsOf(headers),
    data: fieldsOf(typeof data === 'string' && data !== '' ? parseJson(data) : data),
  }
}

const short = (name: string) => (/^[\w./*-]{1,80}$/.test(name) ? name : 'this')

// ---- Robot messages ---------------------------------------------------------------------------------------------------

/** @throws PosthouseError `invalid` */
function robotMessage(sent: Fields, { now }: Known): Reading {
  const id = required(sent.msgId, 'msgId')
  const author = authorOf(sent)
  const place = placeOf(sent)
  const container = fieldsOf(sent.msgtype === 'text' || sent.msgtype === 'reply' ? (sent.text ?? sent.content) : contentIn(sent.content))
  const { text, files } = readContent(textIn(sent.msgtype), container)
  const quoted = quoteOf(container, textIn(sent.chatbotUserId))
  const command = parseCommand(text)
  const parts: readonly Part[] = [...(quoted?.parts ?? []), ...said(text), ...files]
  const replyTo = textIn(sent.originalMsgId) || quoted?.id
  const mentionsUs = sent.isInAtList === true
  const answersUs = quoted?.ours === true
  if (parts.length === 0 && !mentionsUs) return { messages: [], reason: 'there is nothing in it to read' }
  return {
    messages: [
      {
        kind: 'message',
        key: `message:${id}`,
        id,
        place,
        author,
        parts,
        sentAt: timeOf(sent.createAt) ?? now,
        addressed: place.type === 'direct' || mentionsUs || answersUs,
        mentionsUs,
        mentionsAll: place.type === 'group' && /@(?:all|所有人)(?:\s|$)/i.test(text),
        answersUs,
        ...(replyTo ? { replyTo } : {}),
        ...(command ? { command } : {}),
      },
    ],
  }
}

const said = (text: string): readonly Part[] => (text.trim() === '' ? [] : [{ type: 'text', text: text.trim() }])

/** People of the organization are known by their staff id, which messages can be sent to; others have none. */
function authorOf(sent: Fields): Author {
  const sender = textIn(sent.senderId)
  const name = textIn(sent.senderNick)
  const isBot = sender !== '' && sender === sent.chatbotUserId
  return { id: textIn(sent.senderStaffId) || required(sender, 'senderId'), ...(name ? { name } : {}), ...(isBot ? { isBot } : {}) }
}

/** A private chat is known by the person, as messages are sent to people; a group by its conversation. */
function placeOf(sent: Fields): Place {
  if (sent.conversationType !== '2') return { room: authorOf(sent).id, type: 'direct' }
  const title = textIn(sent.conversationTitle)
  return { room: required(sent.conversationId, 'conversationId'), type: 'group', ...(title ? { title } : {}) }
}

interface Quoted {
  readonly id: string
  readonly ours: boolean
  /** Empty where it is ours: we know what we said. */
  readonly parts: readonly Part[]
}

/** The message that this one answers stands inside of it: robots do not hear what others said before. */
function quoteOf({ isReplyMsg, repliedMsg }: Fields, us: string): Quoted | undefined {
  if (isReplyMsg !== true) return undefined
  const { msgId, msgType, senderId, content } = fieldsOf(repliedMsg)
  const ours = us !== '' && senderId === us
  const { text, files } = readContent(textIn(msgType) || 'text', contentIn(content))
  const quote = text.trim() === '' ? '' : text.trim().replace(/^/gm, '> ')
  return { id: textIn(msgId), ours, parts: ours ? [] : [...said(quote), ...files] }
}

/** Where and until when a message may be answered without more. */
export interface Session {
  readonly room: string
  readonly url: string
  /** Epoch milliseconds. */
  readonly until: number
}

/** The address that came with a message; only one of the platform's own: the proof of a call does not cover it. */
export function sessionOf(message: Fields, root: string): Session | undefined {
  const url = textIn(message.sessionWebhook)
  const until = timeOf(message.sessionWebhookExpiredTime)
  if (until === undefined || url.length > 2000 || !url.startsWith(`${root.replace(/\/+$/, '')}/robot/sendBySession?`)) return undefined
  return { room: placeOf(message).room, url, until }
}

// ---- Cards ------------------------------------------------------------------------------------------------------------

/** The call of a pressed button has no id; what it says and when it was signed together are one. @throws PosthouseError `invalid` */
function cardCall({ headers, body }: WebhookRequest, known: Known): Reading {
  if (headers.sign !== undefined) throw new PosthouseError('invalid', 'it carries the proofs of two kinds of calls')
  const id = hash('sha256', Buffer.concat([Buffer.from(`${headers[CARD_TIME] ?? ''} `), body])).slice(0, 40)
  const answer = { status: 200, headers: { 'content-type': 'application/json' }, body: '{}' }
  return { ...pressed(fieldsOf(parseJson(body)), id, known), response: answer }
}

/** A pressed button. What it carries is what the template gives it. https://open.dingtalk.com/document/orgapp/event-callback-card */
function pressed(data: Fields, messageId: string, { now }: Known): Reading {
  const card = required(data.outTrackId, 'outTrackId')
  const person = required(data.userId, 'userId')
  const { actionIds, params } = fieldsOf(contentIn(data.content).cardPrivateData)
  const isGroup = card.startsWith(CARD_IDS.group) || (!card.startsWith(CARD_IDS.direct) && /group/i.test(textIn(data.spaceType)))
  const place: Place = isGroup
    ? { room: required(textIn(data.spaceId).replace(/^dtv1\.card\/\/\w+\./, '') || GROUP_IN_ID.exec(card)?.[1], 'spaceId'), type: 'group' }
    : { room: person, type: 'direct' }
  const values = fieldsOf(params)
  const callbackData = typeof values.data === 'string' ? values.data : JSON.stringify({ actionIds: actionIds ?? [], params: values })
  const message: InboundMessage = {
    kind: 'callback',
    // It has no id of its own, but what hands it over has.
    key: `callback:${required(messageId, 'messageId')}`,
    id: card,
    place,
    author: { id: person },
    parts: [],
    sentAt: now,
    addressed: true,
    callbackData,
  }
  return { messages: [message] }
}

// ---- Sealed events ----------------------------------------------------------------------------------------------------

/** https://open.dingtalk.com/document/orgapp/configure-event-subcription. Nothing of events is answered but that they came. */
function sealedEvent({ body }: WebhookRequest, { aes_key, token, client_id }: Secrets, { crypto, now }: Known): Reading {
  const sealed = textIn(fieldsOf(parseJson(body)).encrypt)
  if (!aes_key || !token) throw new PosthouseError('invalid', 'token and aes_key are not set')
  const key = Buffer.from(`${aes_key}=`, 'base64')
  const envelope = { key, iv: key.subarray(0, 16), block: 32 } as const
  const plain = Buffer.from(crypto.decrypt(Buffer.from(sealed, 'base64'), envelope))
  const end = plain.length < 20 ? Number.NaN : 20 + plain.readUInt32BE(16)
  if (!(end <= plain.length)) throw new PosthouseError('invalid', 'what came sealed is not whole')
  const owner = plain.toString('utf8', end)
  if (owner !== client_id && !/^ding[0-9a-f]{20,}$/.test(owner)) throw new PosthouseError('invalid', 'this is for another app')
  const { EventType } = fieldsOf(parseJson(plain.subarray(20, end)))
  const asked = EventType === 'check_url'
  return {
    messages: [],
    ...(asked ? { challenge: true } : { reason: `${short(textIn(EventType))} is nothing that is answered` }),
    response: sealedAnswer(),
  }

  function sealedAnswer(): WebhookResponse {
    const text = Buffer.from('success')
    const length = Buffer.alloc(4)
    length.writeUInt32BE(text.length)
    // Nobody else can tell it, and it differs from answer to answer: good for a random start.
    const salt = hash('sha256', `${aes_key} ${sealed} ${now}`, 'buffer')
    const whole = Buffer.concat([salt.subarray(0, 16), length, text, Buffer.from(owner)])
    const encrypt = Buffer.from(crypto.encrypt(whole, envelope)).toString('base64')
    const timeStamp = String(now)
    const nonce = salt.toString('hex', 16, 24)
    const msg_signature = hash('sha1', [token ?? '', timeStamp, nonce, encrypt].sort().join(''))
    const answer = JSON.stringify({ msg_signature, timeStamp, nonce, encrypt })
    return { status: 200, headers: { 'content-type': 'application/json' }, body: answer }
  }
}

// ---- Fields -----------------------------------------------------------------------------------------------------------

/** Milliseconds, as a number or as a text. */
function timeOf(value: unknown): number | undefined {
  const at = typeof value === 'number' || (typeof value === 'string' && /^\d{1,15}$/.test(value)) ? Number(value) : Number.NaN
  return Number.isFinite(at) && at > 0 && at < 1e15 ? Math.floor(at) : undefined
}
