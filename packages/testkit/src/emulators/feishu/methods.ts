/** What the platform answers to each call, strictly; names are those of its own SDKs. https://open.feishu.cn/document/server-docs/im-v1/message/create */
import { createHash } from 'node:crypto'
import type { PlatformCall } from '../platform.ts'
import { Refusal, readCard, textOfCard } from './cards.ts'
import { type FeishuFile, type FeishuPost, newId, type Store } from './store.ts'

export interface World {
  readonly app: { readonly app_id: string; readonly app_secret: string }
  readonly bot: { readonly open_id: string; readonly app_name: string }
  readonly store: Store
  /** Valid tokens and when they end, epoch milliseconds. */
  readonly tokens: Map<string, number>
  readonly tokenLife: number
  revoked: boolean
  /** Scopes that the app lacks. */
  readonly missing: Set<string>
  /** Answers the address of a new long connection. */
  connect(): { readonly URL: string; readonly ClientConfig: object }
  readonly connections: () => number
  changed(post: FeishuPost): void
}

interface Route {
  readonly name: string
  readonly method: string
  readonly path: RegExp
  readonly scope?: string
  /** Without a token. */
  readonly open?: boolean
  answer(world: World, call: PlatformCall, ids: readonly string[], body: Record<string, unknown>): object | Uint8Array
}

/** Bytes. https://open.feishu.cn/document/server-docs/im-v1/image/create and .../file/create */
const MOST_IMAGE = 10 * 1024 * 1024
const MOST_FILE = 30 * 1024 * 1024
const MOST_TEXT = 150 * 1024
const MOST_CONNECTIONS = 50
const FILE_TYPES = ['opus', 'mp4', 'pdf', 'doc', 'xls', 'ppt', 'stream']
const SEND = 'im:message:send_as_bot'
const CARDS = 'cardkit:card:write'

const invalid = (words: string): never => {
  throw new Refusal(230001, `Your request contains an invalid request parameter, ext=${words}`)
}

const api = (method: string, path: string, name: string, answer: Route['answer'], more: Partial<Route> = {}): Route => ({
  name,
  method,
  path: new RegExp(`^/open-apis/${path.replace(/:\w+/g, '([^/]+)')}$`),
  answer,
  ...more,
})

export const routes: readonly Route[] = [
  api('POST', 'auth/v3/tenant_access_token/internal', 'auth.tenantAccessToken', (world, _call, _ids, body) => giveToken(world, body), {
    open: true,
  }),
  {
    name: 'ws.endpoint',
    method: 'POST',
    path: /^\/callback\/ws\/endpoint$/,
    open: true,
    answer: (world, _call, _ids, body) => endpoint(world, body),
  },
  api('GET', 'bot/v3/info', 'bot.info', ({ bot }) => ({ bot: { activate_status: 2, avatar_url: '', ip_white_list: [], ...bot } })),
  api('POST', 'im/v1/messages', 'im.message.create', create, { scope: SEND }),
  api('POST', 'im/v1/messages/:id/reply', 'im.message.reply', reply, { scope: SEND }),
  api('PATCH', 'im/v1/messages/:id', 'im.message.patch', patch, { scope: SEND }),
  api('GET', 'im/v1/messages/:id', 'im.message.get', get),
  api('GET', 'im/v1/messages/:id/resources/:key', 'im.messageResource.get', resource),
  api('POST', 'im/v1/messages/:id/reactions', 'im.messageReaction.create', react),
  api('DELETE', 'im/v1/messages/:id/reactions/:reaction', 'im.messageReaction.delete', unreact),
  api('POST', 'im/v1/images', 'im.image.create', (world, call) => upload(world, call, 'image')),
  api('POST', 'im/v1/files', 'im.file.create', (world, call) => upload(world, call, 'file')),
  api('GET', 'im/v1/chats/:id', 'im.chat.get', chat, { scope: 'im:chat:readonly' }),
  api('GET', 'contact/v3/users/:id', 'contact.user.get', user, { scope: 'contact:user.base:readonly' }),
  api('POST', 'cardkit/v1/cards', 'cardkit.card.create', createCard, { scope: CARDS }),
  api('PUT', 'cardkit/v1/cards/:id', 'cardkit.card.update', updateCard, { scope: CARDS }),
  api('PATCH', 'cardkit/v1/cards/:id/settings', 'cardkit.card.settings', configureCard, { scope: CARDS }),
  api('PUT', 'cardkit/v1/cards/:id/elements/:element/content', 'cardkit.cardElement.content', streamText, { scope: CARDS }),
]

// ---- Who asks ----------------------------------------------------------------------------------------------------------

/** @throws Refusal when this token opens nothing */
export function authorize({ tokens, missing }: World, call: PlatformCall, route: Route): void {
  if (route.open) return
  const header = call.headers.authorization
  if (!header?.startsWith('Bearer '))
    throw new Refusal(99991661, 'Missing access token for authorization. Please make a request with token attached.')
  const token = header.slice(7)
  if (!token.startsWith('t-'))
    throw new Refusal(99991671, 'Invalid access token for authorization. The token should start with "t-" or "u-".')
  if ((tokens.get(token) ?? 0) <= Date.now())
    throw new Refusal(99991663, 'Invalid access token for authorization. Please make a request with token attached.')
  if (route.scope && missing.has(route.scope))
    throw new Refusal(99991672, `Access denied. One of the following scopes is required: [${route.scope}].`)
}

function giveToken({ app, tokens, tokenLife, revoked }: World, { app_id, app_secret }: Record<string, unknown>): object {
  if (app_id !== app.app_id) throw new Refusal(10003, 'invalid app_id', 200)
  if (revoked || app_secret !== app.app_secret) throw new Refusal(10014, 'app secret invalid', 200)
  const token = newId('t-')
  tokens.set(token, Date.now() + tokenLife)
  return { tenant_access_token: token, expire: Math.floor(tokenLife / 1000) }
}

function endpoint(world: World, { AppID, AppSecret }: Record<string, unknown>): object {
  if (world.revoked || AppID !== world.app.app_id || AppSecret !== world.app.app_secret)
    throw new Refusal(1000040345, 'app_id or app_secret is invalid', 200)
  if (world.connections() >= MOST_CONNECTIONS) throw new Refusal(1000040350, 'the number of connections exceeded the limit', 200)
  return { data: world.connect() }
}

// ---- Messages ----------------------------------------------------------------------------------------------------------

function create(world: World, call: PlatformCall, _ids: readonly string[], body: Record<string, unknown>): object {
  const type = call.query.get('receive_id_type')
  const id = String(body.receive_id ?? '')
  if (!['chat_id', 'open_id', 'user_id', 'union_id', 'email'].includes(type ?? '')) invalid('receive_id_type is invalid')
  if (type !== 'chat_id' && type !== 'open_id') invalid('the emulator knows chat_id and open_id only')
  const room = type === 'open_id' ? `oc_${id.replace(/^ou_/, '')}` : id
  if (!world.store.chats.has(room)) throw new Refusal(230034, 'The receive_id is invalid.')
  return post(world, body, room, {})
}

function reply(world: World, _call: PlatformCall, [id = '']: readonly string[], body: Record<string, unknown>): object {
  const parent = world.store.messages.get(id)
  if (!parent) throw new Refusal(231003, 'The message is not found.')
  if (parent.deleted) throw new Refusal(230011, 'The message is recalled.')
  const inThread = body.reply_in_thread === true || parent.thread_id !== undefined
  const root = parent.root_id ?? parent.message_id
  const thread = inThread ? (parent.thread_id ?? `omt_${root.slice(3, 19)}`) : undefined
  return post(world, body, parent.chat_id, { root_id: root, parent_id: inThread ? root : id, ...(thread ? { thread_id: thread } : {}) })
}

type Links = Partial<Record<'root_id' | 'parent_id' | 'thread_id', string>>

function post(world: World, body: Record<string, unknown>, room: string, links: Links): object {
  const { store } = world
  const chat = store.chats.get(room)
  if (chat?.closed)
    throw chat.type === 'p2p'
      ? new Refusal(230013, 'Bot has NO availability to this user.')
      : new Refusal(230002, 'The bot can not be outside the group.')
  const uuid = body.uuid === undefined ? undefined : String(body.uuid)
  if (uuid !== undefined && (uuid.length === 0 || uuid.length > 50)) invalid('uuid is too long')
  const before = store.sent.get(`${room} ${uuid}`)
  if (before !== undefined) return { data: shown(world, before) }
  const { msg_type } = body
  if (typeof body.content !== 'string' || typeof msg_type !== 'string') return invalid('content is not a string in JSON format')
  const look = read(world, msg_type, body.content)
  const message_id = newId('om_')
  const at = Date.now()
  store.messages.set(message_id, {
    message_id,
    chat_id: room,
    ...links,
    sender: world.app.app_id,
    msg_type,
    content: body.content,
    at,
    updated: at,
    deleted: false,
  })
  if (look.card_id !== undefined) (store.cards.get(look.card_id) as { message_id?: string }).message_id = message_id
  const made: FeishuPost = {
    chat_id: room,
    message_id,
    msg_type,
    ...(links.thread_id ? { thread_id: links.thread_id } : {}),
    ...(links.parent_id ? { reply_to: links.parent_id } : {}),
    streaming: false,
    ...look,
    at,
    edits: [],
    deleted: false,
  }
  store.posts.push(made)
  if (uuid !== undefined) store.sent.set(`${room} ${uuid}`, message_id)
  world.changed(made)
  return { data: shown(world, message_id) }
}

/** What people will see of a content. @throws Refusal */
function read(
  { store }: World,
  msg_type: string,
  content: string,
): { text: string; streaming?: boolean; card_id?: string; file?: FeishuFile } {
  const value = parse(content)
  if (msg_type === 'text') {
    if (typeof value.text !== 'string' || value.text === '') return invalid("content's text field can't be nil")
    if (Buffer.byteLength(content) > MOST_TEXT) throw new Refusal(230025, 'The length of the message content reaches its limit.')
    return { text: value.text }
  }
  if (msg_type === 'interactive' && value.type === 'card') {
    const card_id = String((value.data as { card_id?: unknown } | undefined)?.card_id)
    const entity = store.cards.get(card_id)
    if (!entity || entity.message_id !== undefined)
      throw new Refusal(230099, 'Failed to create card content, ext=ErrCode: 200740; ErrMsg: the card entity does not exist, or was sent; ')
    return { text: textOfCard(entity.card), streaming: entity.card.config.streaming_mode === true, card_id }
  }
  if (msg_type === 'interactive') {
    const card = readCard(content, new Set(store.uploads.keys()))
    return { text: textOfCard(card), streaming: card.config.streaming_mode === true }
  }
  const wanted = { image: 'image', file: 'stream', audio: 'opus', media: 'mp4' }[msg_type]
  if (!wanted) return invalid(`the emulator takes no msg_type ${msg_type}`)
  const file = store.uploads.get(String(msg_type === 'image' ? value.image_key : value.file_key))
  if (!file) throw new Refusal(230017, 'Bot is NOT the owner of the resource.')
  const fits = msg_type === 'file' ? !['image', 'mp4', 'opus'].includes(file.type) : file.type === wanted
  if (!fits) throw new Refusal(230055, 'The type of file upload does not match the type of message being sent.')
  return { text: file.name, file }
}

function parse(content: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(content)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {}
  return invalid('content is not a string in JSON format')
}

function patch(world: World, _call: PlatformCall, [id = '']: readonly string[], body: Record<string, unknown>): object {
  const message = ours(world, id)
  if (message.msg_type !== 'interactive') throw new Refusal(230054, 'This operation is not supported for this message type.')
  if (Date.now() - message.at > 14 * 86_400_000) throw new Refusal(230031, 'The message has expired.')
  const card = readCard(String(body.content), new Set(world.store.uploads.keys()))
  message.content = String(body.content)
  show(world, id, textOfCard(card), card.config.streaming_mode === true)
  return {}
}

/** A message of the bot's that stands. @throws Refusal */
function ours({ store, app }: World, id: string) {
  const message = store.messages.get(id)
  if (!message) throw new Refusal(230001, 'Your request contains an invalid request parameter, ext=invalid message_id')
  if (message.deleted) throw new Refusal(230011, 'The message is recalled.')
  if (message.sender !== app.app_id) throw new Refusal(230071, 'The operator is not the sender of the message.')
  return message
}

function show(world: World, id: string, text: string, streaming: boolean): void {
  const made = world.store.post(id)
  if (!made) return
  if (made.text !== text) made.edits.push({ at: Date.now(), text })
  made.text = text
  made.streaming = streaming
  world.changed(made)
}

function shown({ store, app }: World, id: string): object {
  const message = store.messages.get(id)
  if (!message) throw new Refusal(231003, 'The message is not found.')
  const { sender, content, at, updated, msg_type, deleted, chat_id, root_id, parent_id, thread_id } = message
  const isApp = sender === app.app_id
  return {
    message_id: id,
    chat_id,
    root_id,
    parent_id,
    thread_id,
    msg_type,
    deleted,
    create_time: String(at),
    update_time: String(updated),
    updated: updated !== at,
    sender: { id: sender, id_type: isApp ? 'app_id' : 'open_id', sender_type: isApp ? 'app' : 'user', tenant_key: 'tenant' },
    body: { content },
  }
}

function get(world: World, _call: PlatformCall, [id = '']: readonly string[]): object {
  return { data: { items: [shown(world, id)] } }
}

// ---- Marks, files, names -----------------------------------------------------------------------------------------------

function react({ store }: World, _call: PlatformCall, [id = '']: readonly string[], body: Record<string, unknown>): object {
  const emoji_type = (body.reaction_type as { emoji_type?: unknown } | undefined)?.emoji_type
  if (!store.messages.has(id)) throw new Refusal(231003, 'The message is not found.')
  if (typeof emoji_type !== 'string' || !/^\w+$/.test(emoji_type)) throw new Refusal(231001, 'reaction type is invalid.')
  const reaction_id = newId('')
  store.reactions.set(reaction_id, { message_id: id, emoji_type })
  return { data: { reaction_id, reaction_type: { emoji_type } } }
}

function unreact({ store }: World, _call: PlatformCall, [, reaction = '']: readonly string[]): object {
  if (!store.reactions.delete(reaction)) throw new Refusal(231011, 'reaction_id is invalid.')
  return { data: {} }
}

function resource({ store }: World, call: PlatformCall, [id = '', key = '']: readonly string[]): Uint8Array {
  const type = call.query.get('type')
  const file = store.resources.get(`${id} ${decodeURIComponent(key)}`)
  if (!file || (type !== 'image' && type !== 'file') || (type === 'image') !== (file.type === 'image'))
    throw new Refusal(234003, 'File not in msg.')
  return file.bytes
}

function upload({ store }: World, { body, headers }: PlatformCall, kind: 'image' | 'file'): object {
  const { fields, file } = readForm(body, headers['content-type'] ?? '', kind)
  const type = kind === 'image' ? 'image' : String(fields.file_type)
  if (kind === 'image' && fields.image_type !== 'message') throw new Refusal(234001, 'Invalid request param: image_type')
  if (kind === 'file' && (!FILE_TYPES.includes(type) || !fields.file_name))
    throw new Refusal(234001, 'Invalid request param: file_type, file_name')
  if (file.length === 0) throw new Refusal(234010, "File's size can't be 0.")
  if (file.length > (kind === 'image' ? MOST_IMAGE : MOST_FILE)) throw new Refusal(234006, 'The file size exceed the max value.')
  if (kind === 'image' && !isImage(file)) throw new Refusal(234011, "Can't regonnize the image format.")
  const key = newId(kind === 'image' ? 'img_v3_' : 'file_v3_')
  store.uploads.set(key, { name: fields.file_name ?? 'image', bytes: file, type })
  return { data: kind === 'image' ? { image_key: key } : { file_key: key } }
}

/** JPEG, PNG, WEBP, GIF, BMP by their first bytes. */
function isImage(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 12)).toString('latin1')
  return /^(\xff\xd8\xff|\x89PNG|GIF8|BM|RIFF....WEBP)/s.test(head)
}

/** @throws Refusal for a form that is not whole */
function readForm(body: Buffer, type: string, name: string): { fields: Record<string, string>; file: Buffer } {
  const boundary = /boundary="?([^";]+)"?/.exec(type)?.[1]
  const fields: Record<string, string> = {}
  let file: Buffer | undefined
  const mark = Buffer.from(`\r\n--${boundary}`)
  const whole = Buffer.concat([Buffer.from('\r\n'), body])
  for (let at = whole.indexOf(mark), end: number; at >= 0; at = end) {
    end = whole.indexOf(mark, at + mark.length)
    if (end < 0) break
    const head = whole.indexOf('\r\n\r\n', at)
    const disposition = whole.toString('utf8', at + mark.length, head)
    const field = /[; ]name="([^"]*)"/.exec(disposition)?.[1] ?? ''
    const content = whole.subarray(head + 4, end)
    if (field === name) file = content
    else fields[field] = content.toString('utf8')
  }
  if (!boundary || !file || !whole.includes(`--${boundary}--`)) throw new Refusal(234001, 'Invalid request param: the form is not whole')
  return { fields, file }
}

function chat({ store }: World, _call: PlatformCall, [id = '']: readonly string[]): object {
  const found = store.chats.get(id)
  if (!found) throw new Refusal(232006, 'Your request specifies a chat_id which is invalid')
  return { data: { name: found.name, chat_mode: found.type === 'p2p' ? 'p2p' : found.type === 'group' ? 'group' : 'topic' } }
}

function user({ store }: World, _call: PlatformCall, [id = '']: readonly string[]): object {
  const name = store.users.get(id)
  if (name === undefined) throw new Refusal(41050, 'no user authority error')
  return { data: { user: { open_id: id, name } } }
}

// ---- Cards -------------------------------------------------------------------------------------------------------------

function createCard({ store }: World, _call: PlatformCall, _ids: readonly string[], body: Record<string, unknown>): object {
  if (body.type !== 'card_json') throw new Refusal(10002, 'Your request contains an invalid request parameter.')
  const card = readCard(String(body.data), new Set(store.uploads.keys()))
  const card_id = String(BigInt(`0x${createHash('sha1').update(newId('')).digest('hex').slice(0, 15)}`))
  store.cards.set(card_id, { card, sequence: 0 })
  return { data: { card_id } }
}

/** @throws Refusal unless the card is there and `sequence` rises */
function operate({ store }: World, id: string, { sequence }: Record<string, unknown>) {
  const entity = store.cards.get(id)
  if (!entity) throw new Refusal(200740, 'The card entity does not exist')
  if (!Number.isInteger(sequence) || Number(sequence) < 1 || Number(sequence) > 2_147_483_647)
    throw new Refusal(10002, 'Your request contains an invalid request parameter: sequence.')
  if (Number(sequence) <= entity.sequence)
    throw new Refusal(300317, 'The sequence number for operating on the card did not increment consecutively')
  entity.sequence = Number(sequence)
  return entity
}

function updateCard(world: World, _call: PlatformCall, [id = '']: readonly string[], body: Record<string, unknown>): object {
  const entity = operate(world, id, body)
  const { type, data } = (body.card ?? {}) as Record<string, unknown>
  if (type !== 'card_json') throw new Refusal(10002, 'Your request contains an invalid request parameter: card.type.')
  entity.card = readCard(String(data), new Set(world.store.uploads.keys()))
  if (entity.message_id) show(world, entity.message_id, textOfCard(entity.card), entity.card.config.streaming_mode === true)
  return { data: {} }
}

function configureCard(world: World, _call: PlatformCall, [id = '']: readonly string[], body: Record<string, unknown>): object {
  const entity = operate(world, id, body)
  const { config } = parse(String(body.settings)) as { config?: object }
  entity.card = { ...entity.card, config: { ...entity.card.config, ...config } }
  if (entity.message_id) show(world, entity.message_id, textOfCard(entity.card), entity.card.config.streaming_mode === true)
  return { data: {} }
}

function streamText(world: World, _call: PlatformCall, [id = '', element = '']: readonly string[], body: Record<string, unknown>): object {
  const entity = operate(world, id, body)
  if (entity.card.config.streaming_mode !== true) throw new Refusal(300309, 'Card streaming closed')
  const found = entity.card.elements.find(({ element_id }) => element_id === element)
  if (!found) throw new Refusal(300313, 'Failed to update element properties')
  if (found.tag !== 'markdown' && found.tag !== 'plain_text') throw new Refusal(300310, 'Only update text')
  const { content } = body
  if (typeof content !== 'string' || content.length < 1 || content.length > 100_000)
    throw new Refusal(10002, 'Your request contains an invalid request parameter: content.')
  const elements = entity.card.elements.map((each) => (each === found ? { ...each, content } : each))
  entity.card = readCard(
    JSON.stringify({ schema: '2.0', config: entity.card.config, body: { elements } }),
    new Set(world.store.uploads.keys()),
  )
  if (entity.message_id) show(world, entity.message_id, textOfCard(entity.card), true)
  return { data: {} }
}
