/** In: sealed XML that an app is called with, sealed JSON that an AI bot is called with, frames of its long connection. Pure; nothing here is trusted. */
import {
  decodeUtf8,
  type EnvelopeKey,
  type Fields,
  type FileKind,
  fieldsOf,
  type InboundMessage,
  type Known,
  type Part,
  PosthouseError,
  parseCommand,
  type Reader,
  type Reading,
  required,
  textIn,
  type WebhookRequest,
  type WebhookVerification,
} from '@posthouse/contract'
import type { WecomSettings } from './settings.ts'
import { type Message, readXml } from './text.ts'

/** The platform repeats a call within seconds; clocks may differ. */
const SIGNED_WITHIN = 3_600_000

export function createReader(settings: WecomSettings): Reader {
  if (settings.mode === 'robot') return {}
  const frame: Reader['frame'] = (given, known) => readFrame(given, settings, known)
  if (settings.mode === 'bot') return { frame }
  const verification = verificationOf(settings)
  if (settings.mode === 'bot-webhook') return { verification, request: (request, known) => readBotRequest(request, settings, known) }
  return { verification, request: (request, known) => readRequest(request, settings, known), frame }
}

// ---- Calls -------------------------------------------------------------------------------------------------------

/** developer.work.weixin.qq.com/document/path/90968: SHA-1 over four values in the order of their bytes. */
function verificationOf({ mode, token = '' }: WecomSettings): readonly WebhookVerification[] {
  const [time, nonce] = [{ query: 'timestamp' }, { query: 'nonce' }]
  const proof = {
    kind: 'digest',
    algorithm: 'sha1',
    at: { query: 'msg_signature' },
    encoding: 'hex',
    secret: token,
    sorted: true,
    time: { at: time, unit: 's', window: SIGNED_WITHIN },
  } as const
  return [
    { ...proof, method: 'POST', signed: ['secret', time, nonce, { field: mode === 'app' ? 'Encrypt' : 'encrypt' }] },
    { ...proof, method: 'GET', signed: ['secret', time, nonce, { query: 'echostr' }] },
  ]
}

/** @throws PosthouseError `invalid` */
function readRequest({ method, query, body }: WebhookRequest, settings: WecomSettings, known: Known): Reading {
  if (method === 'GET') return answerQuestion(query.echostr, settings, known)
  const sealed = readXml(decodeUtf8(body)).get('Encrypt') ?? ''
  const message = readXml(unseal(sealed, settings, known))
  if (message.get('ToUserName') !== settings.corp_id) throw new PosthouseError('invalid', 'this is for another organization')
  const agent = message.get('AgentID')
  if (agent && agent !== '0' && agent !== String(settings.agent_id)) throw new PosthouseError('invalid', 'this is for another app')
  return readMessage(message, known)
}

/** The console asks whether the address is ours: the answer is what stands inside. @throws PosthouseError `invalid` */
function answerQuestion(echostr: string | undefined, settings: WecomSettings, known: Known): Reading {
  const answer = unseal(questionIn(echostr), settings, known)
  // What was caught of a call passes for a question, as both are signed alike: a message is not told to whoever asks. JSON has a brace, XML `<`.
  if (!/^[!-;=-z|~]{1,256}$/.test(answer)) throw new PosthouseError('invalid', 'this is no question of the platform')
  return { messages: [], challenge: true, response: { status: 200, headers: { 'content-type': 'text/plain' }, body: answer } }
}

function questionIn(value: string | undefined): string {
  if (value === undefined || value === '' || value.length > 2048) throw new PosthouseError('invalid', 'echostr is missing')
  return value
}

/**
 * 16 bytes of chance, four of length, the text, whom it is for: developer.work.weixin.qq.com/document/path/90968; a bot of the organization's own
 * is for nobody by name, /101033. @throws PosthouseError `invalid`
 */
function unseal(sealed: string, { mode, encoding_aes_key = '', corp_id }: WecomSettings, { crypto }: Known): string {
  if (!/^[0-9A-Za-z+/]+={0,2}$/.test(sealed)) throw new PosthouseError('invalid', 'there is nothing sealed in it')
  const bytes = Buffer.from(crypto.decrypt(Buffer.from(sealed, 'base64'), keyOf(encoding_aes_key)))
  const length = bytes.length >= 20 ? bytes.readUInt32BE(16) : Number.NaN
  if (!(20 + length <= bytes.length)) throw new PosthouseError('invalid', 'what came sealed is too short')
  if (decodeUtf8(bytes.subarray(20 + length)) !== (mode === 'app' ? corp_id : ''))
    throw new PosthouseError('invalid', 'what came sealed is for another organization')
  return decodeUtf8(bytes.subarray(20, 20 + length))
}

export function keyOf(encoding: string): EnvelopeKey {
  const key = Buffer.from(`${encoding}=`, 'base64')
  return { key, iv: key.subarray(0, 16), block: 32 }
}

/** developer.work.weixin.qq.com/document/path/90239 and /90240 */
function readMessage(message: Message, known: Known): Reading {
  const from = required(message.get('FromUserName'), 'FromUserName')
  const at = secondsIn(message.get('CreateTime')) ?? known.now
  if (message.get('MsgType') === 'event') return readHappening(message, from, at)
  const id = required(message.get('MsgId'), 'MsgId')
  const parts = partsOf(message)
  return whole(directMessage(`message:${id}`, id, from, at, parts))
}

function directMessage(key: string, id: string, from: string, sentAt: number, parts: readonly Part[]): InboundMessage {
  const [first] = parts
  const command = first?.type === 'text' ? parseCommand(first.text) : undefined
  return {
    kind: 'message',
    key,
    id,
    place: { room: from, type: 'direct' },
    author: { id: from },
    parts,
    sentAt,
    addressed: true,
    ...(command ? { command } : {}),
  }
}

function whole(message: InboundMessage): Reading {
  return message.parts.length === 0 ? { messages: [], reason: 'there is nothing in it to read' } : { messages: [message] }
}

const said = (text: string): readonly Part[] => (text.trim() === '' ? [] : [{ type: 'text', text }])

function partsOf(message: Message): readonly Part[] {
  const word = (name: string) => message.get(name) ?? ''
  const file = (kind: FileKind, name: string, mime?: string): readonly Part[] =>
    word('MediaId') === ''
      ? []
      : [{ type: 'file', file: { kind, name, ref: JSON.stringify({ media: word('MediaId') }), ...(mime ? { mime } : {}) } }]
  switch (word('MsgType')) {
    case 'text':
      return said(word('Content'))
    case 'image':
      return file('image', 'image.jpg', 'image/jpeg')
    case 'voice':
      return file('voice', `voice.${/^\w{1,8}$/.exec(word('Format'))?.[0].toLowerCase() ?? 'amr'}`, 'audio/amr')
    case 'video':
      return file('video', 'video.mp4', 'video/mp4')
    case 'location':
      return located(Number(word('Location_X') || Number.NaN), Number(word('Location_Y') || Number.NaN), word('Label'))
    case 'link':
      return said([word('Title'), word('Description'), word('Url')].filter(Boolean).join('\n'))
    default:
      return said(/^\w{1,40}$/.test(word('MsgType')) ? `[${word('MsgType')}]` : '[message]')
  }
}

function located(latitude: number, longitude: number, title: string): readonly Part[] {
  if (!Number.isFinite(latitude) || !Number.isFinite(longitude)) return said(`[location: ${title}]`)
  return [{ type: 'location', latitude, longitude, ...(title ? { title } : {}) }]
}

/** Events have no id: who, when, what and where together are one. */
function readHappening(message: Message, from: string, at: number): Reading {
  const type = message.get('Event') ?? ''
  const data = message.get('EventKey') ?? ''
  const key = `event:${from}:${message.get('CreateTime') ?? ''}:${type}:${message.get('TaskId') ?? ''}:${data}`
  const id = message.get('TaskId') || key
  // A menu may hold our commands.
  if (type === 'click' && parseCommand(data)) return whole(directMessage(key, id, from, at, said(data)))
  if (type !== 'click' && type !== 'template_card_event')
    return { messages: [], reason: `${/^\w{1,60}$/.test(type) ? type : 'this'} is nothing that is answered` }
  return { messages: [{ ...directMessage(key, id, from, at, []), kind: 'callback', callbackData: data }] }
}

function secondsIn(value: unknown): number | undefined {
  const at = typeof value === 'number' || (typeof value === 'string' && /^\d{1,12}$/.test(value)) ? Number(value) * 1000 : Number.NaN
  return Number.isFinite(at) && at > 0 ? at : undefined
}

// ---- A bot's calls and frames ---------------------------------------------------------------------------------------------------

/** @throws PosthouseError `invalid` */
export function parseFrame(frame: unknown): Fields {
  if (typeof frame !== 'string' && !(frame instanceof Uint8Array)) return fieldsOf(frame)
  const text = typeof frame === 'string' ? frame : decodeUtf8(frame)
  try {
    return fieldsOf(JSON.parse(text))
  } catch (error) {
    throw new PosthouseError('invalid', 'this is no JSON', { cause: error })
  }
}

/** developer.work.weixin.qq.com/document/path/100719: what an AI bot is called with, opened. @throws PosthouseError `invalid` */
export function openBotCall({ body }: WebhookRequest, settings: WecomSettings, known: Known): Fields {
  const { encrypt } = parseFrame(body)
  // JSON can write a name in many ways, and takes the last; proven is the one that stands there plainly.
  const [, proven] = PROVEN.exec(decodeUtf8(body)) ?? []
  if (proven?.replaceAll('\\/', '/') !== encrypt) throw new PosthouseError('invalid', 'what was proven is not what would be read')
  return parseFrame(unseal(textIn(encrypt), settings, known))
}

const PROVEN = /"encrypt"\s*:\s*"([^"]*)"/

function readBotRequest(request: WebhookRequest, settings: WecomSettings, known: Known): Reading {
  if (request.method === 'GET') return answerQuestion(request.query.echostr, settings, known)
  return readBotCall(openBotCall(request, settings, known), settings, known)
}

/** @throws PosthouseError `invalid` */
export function readBotCall(body: Fields, settings: WecomSettings, known: Known): Reading {
  demandOurs(body, settings)
  if (body.msgtype === 'stream') return { messages: [], reason: 'it asks how far an answer is' }
  return readBotBody(body, body.msgtype === 'event', known)
}

function demandOurs({ aibotid }: Fields, { bot_id }: WecomSettings): void {
  if (bot_id !== undefined && textIn(aibotid) !== '' && aibotid !== bot_id) throw new PosthouseError('invalid', 'this is for another bot')
}

function readBotBody(body: Fields, isEvent: boolean, known: Known): Reading {
  const at = secondsIn(body.create_time) ?? known.now
  return isEvent ? pressed(body, at) : whole(botMessage(body, at))
}

/** developer.work.weixin.qq.com/document/path/101463; fields as in the official client. */
function readFrame(given: unknown, settings: WecomSettings, known: Known): Reading {
  const frame = parseFrame(given)
  const { cmd } = frame
  const body = fieldsOf(frame.body)
  if (cmd !== 'aibot_msg_callback' && cmd !== 'aibot_event_callback')
    return { messages: [], reason: cmd === undefined ? 'it acknowledges what we sent' : 'this is nothing that is answered' }
  demandOurs(body, settings)
  return readBotBody(body, cmd === 'aibot_event_callback', known)
}

/** Groups are told by their own id, private chats by the person's: so they are written to as well. */
export function botPlace(body: Fields): Pick<InboundMessage, 'place' | 'author'> {
  const from = required(fieldsOf(body.from).userid, 'userid')
  const isGroup = body.chattype === 'group'
  return { place: { room: isGroup ? required(body.chatid, 'chatid') : from, type: isGroup ? 'group' : 'direct' }, author: { id: from } }
}

/** What groups say comes only when it mentions us, and begins with that. */
const MENTION = /^\s*@\S+\s*/

function botMessage(body: Fields, sentAt: number): InboundMessage {
  const id = required(body.msgid, 'msgid')
  const where = botPlace(body)
  const isGroup = where.place.type === 'group'
  const parts = contentOf(body).map(
    (part, index): Part => (isGroup && index === 0 && part.type === 'text' ? { ...part, text: part.text.replace(MENTION, '') } : part),
  )
  const said = parts.filter((part) => part.type !== 'text' || part.text.trim() !== '')
  const [first] = said
  const command = first?.type === 'text' ? parseCommand(first.text) : undefined
  return {
    ...where,
    kind: 'message',
    key: `message:${id}`,
    id,
    // What is cited has no id, and stands in front.
    parts: [...quoted(fieldsOf(body.quote)), ...said],
    sentAt,
    addressed: true,
    ...(isGroup ? { mentionsUs: true } : {}),
    ...(command ? { command } : {}),
  }
}

const MOST_ITEMS = 100

function contentOf(body: Fields): readonly Part[] {
  switch (body.msgtype) {
    case 'text':
      return said(textIn(fieldsOf(body.text).content))
    // A voice comes as its words.
    case 'voice':
      return said(textIn(fieldsOf(body.voice).content))
    case 'image':
      return botFile('image', 'image.jpg', fieldsOf(body.image))
    case 'file':
      return botFile('file', 'file', fieldsOf(body.file))
    case 'video':
      return botFile('video', 'video.mp4', fieldsOf(body.video))
    case 'mixed': {
      const items = fieldsOf(body.mixed).msg_item
      // One level only: a mixture has no mixture inside.
      return (Array.isArray(items) ? items : [])
        .slice(0, MOST_ITEMS)
        .map(fieldsOf)
        .flatMap((item) => (item.msgtype === 'mixed' ? [] : contentOf(item)))
    }
    default:
      return said(/^\w{1,40}$/.test(textIn(body.msgtype)) ? `[${textIn(body.msgtype)}]` : '[message]')
  }
}

/** The address is good for five minutes, and each file has a key of its own. */
function botFile(kind: FileKind, name: string, { url, aeskey }: Fields): readonly Part[] {
  if (typeof url !== 'string' || !/^https?:\/\//.test(url)) return []
  return [{ type: 'file', file: { kind, name, ref: JSON.stringify({ url, ...(typeof aeskey === 'string' ? { aeskey } : {}) }) } }]
}

function quoted(quote: Fields): readonly Part[] {
  return contentOf({ ...quote, msgtype: quote.msgtype ?? 'text' }).map((part) =>
    part.type === 'text' ? { type: 'text', text: part.text.trim().replace(/^/gm, '> ') } : part,
  )
}

function pressed(body: Fields, sentAt: number): Reading {
  const event = fieldsOf(body.event)
  const type = textIn(event.eventtype)
  if (type !== 'template_card_event')
    return { messages: [], reason: `${/^\w{1,60}$/.test(type) ? type : 'this'} is nothing that is answered` }
  const { event_key, task_id } = { ...event, ...fieldsOf(event.template_card_event) } as Fields
  const id = required(body.msgid, 'msgid')
  const message: InboundMessage = {
    ...botPlace(body),
    kind: 'callback',
    key: `callback:${id}`,
    id: textIn(task_id) || id,
    parts: [],
    sentAt,
    addressed: true,
    callbackData: textIn(event_key),
  }
  return { messages: [message] }
}
