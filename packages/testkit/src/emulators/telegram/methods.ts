/** The methods of the Bot API that the emulator knows, refusing what Telegram refuses. https://core.telegram.org/bots/api */
import type { MessageEntity } from '@grammyjs/types'
import { type Call, integer, isTrue, object, text } from './body.ts'
import { type FormattedText, parseHtml, Refusal } from './entities.ts'
import type { EmulatedFile, PostedMessage, Room, Store } from './store.ts'
import type { UpdateQueue } from './updates.ts'

export interface World {
  readonly store: Store
  readonly updates: UpdateQueue
  readonly floods: (room: Room) => number | undefined
  /** A message was posted, edited or deleted. */
  changed(message: PostedMessage): void
  /** Ids of pressed buttons that wait for an answer. */
  readonly callbacks: Set<string>
}

export type Method = (world: World, call: Call, gone: AbortSignal) => unknown

const MAX_TEXT = 4096
const MAX_CAPTION = 1024
const MAX_PHOTO = 10 * 1024 * 1024
const MAX_UPLOAD = 50 * 1024 * 1024
const MAX_DOWNLOAD = 20 * 1024 * 1024

/** By lower-case name: the Bot API doesn't tell cases apart. */
export const methods: Readonly<Record<string, Method>> = {
  getme: ({ store }) => ({ ...store.me, can_join_groups: true, can_read_all_group_messages: false, supports_inline_queries: false }),
  getupdates: getUpdates,
  setwebhook: setWebhook,
  deletewebhook: ({ updates }, { params }) => {
    updates.setWebhook(undefined, isTrue(params.drop_pending_updates))
    return true
  },
  getwebhookinfo: getWebhookInfo,
  sendmessage: sendMessage,
  editmessagetext: editMessageText,
  deletemessage: deleteMessage,
  sendchataction: (world, { params }) => {
    if (!/^(typing|upload_|record_|choose_|find_)/.test(text(params.action)))
      throw new Refusal(400, 'Bad Request: wrong parameter action in request')
    findRoom(world, params)
    return true
  },
  sendphoto: (world, call) => sendFile(world, call, 'photo'),
  senddocument: (world, call) => sendFile(world, call, 'document'),
  sendvoice: (world, call) => sendFile(world, call, 'voice'),
  sendaudio: (world, call) => sendFile(world, call, 'audio'),
  sendvideo: (world, call) => sendFile(world, call, 'video'),
  getfile: getFile,
  answercallbackquery: ({ callbacks }, { params }) => {
    if (callbacks.delete(text(params.callback_query_id))) return true
    throw new Refusal(400, 'Bad Request: query is too old and response timeout expired or query ID is invalid')
  },
  setmycommands: (_world, { params }) => {
    const commands = object(params.commands)
    if (!Array.isArray(commands)) throw new Refusal(400, "Bad Request: can't parse commands JSON object")
    for (const { command, description } of commands as { command?: unknown; description?: unknown }[]) {
      if (!/^[a-z0-9_]{1,32}$/.test(text(command))) throw new Refusal(400, 'Bad Request: BOT_COMMAND_INVALID')
      if (!/^.{1,256}$/s.test(text(description))) throw new Refusal(400, 'Bad Request: BOT_COMMAND_DESCRIPTION_INVALID')
    }
    return true
  },
}

function getUpdates({ updates }: World, { params }: Call, gone: AbortSignal) {
  updates.allow(object(params.allowed_updates))
  const limit = Math.min(Math.max(integer(params.limit, 100), 1), 100)
  const seconds = Math.min(Math.max(integer(params.timeout, 0), 0), 50)
  return updates.poll(integer(params.offset, 0), limit, seconds, gone)
}

function setWebhook({ updates }: World, { params }: Call): boolean {
  const url = text(params.url)
  if (url !== '' && !/^https:\/\/|^http:\/\/(127\.|localhost|\[::1\])/.test(url)) {
    throw new Refusal(400, 'Bad Request: bad webhook: An HTTPS URL must be provided for webhook')
  }
  const secret = text(params.secret_token)
  if (secret.length > 256) throw new Refusal(400, 'Bad Request: secret token is too long')
  if (!/^[\w-]*$/.test(secret)) throw new Refusal(400, 'Bad Request: secret token contains unallowed characters')
  updates.allow(object(params.allowed_updates))
  const connections = Math.min(Math.max(integer(params.max_connections, 40), 1), 100)
  const now = updates.webhook
  const same = now?.url === url && now.secret === secret && now.connections === connections
  if (!same) updates.setWebhook(url ? { url, secret, connections } : undefined, isTrue(params.drop_pending_updates))
  return true
}

function getWebhookInfo({ updates }: World) {
  const { webhook, pending } = updates
  if (!webhook) return { url: '', has_custom_certificate: false, pending_update_count: pending }
  const { lastError } = webhook
  return {
    url: webhook.url,
    has_custom_certificate: false,
    pending_update_count: pending,
    max_connections: webhook.connections,
    allowed_updates: updates.allowed(),
    ...(lastError ? { last_error_date: Math.floor(lastError.at / 1000), last_error_message: lastError.message } : {}),
  }
}

// ---- Sending ----------------------------------------------------------------------------------------------------------

function sendMessage(world: World, { params }: Call) {
  if (text(params.text) === '') throw new Refusal(400, 'Bad Request: message text is empty')
  const formatted = format(params, 'text', 'entities', MAX_TEXT, 'message is too long')
  if (formatted.text === '') throw new Refusal(400, 'Bad Request: text must be non-empty')
  const room = findRoom(world, params)
  return show(world.store, room, post(world, room, params, 'sendMessage', formatted))
}

/** @throws Refusal for entities that can't be parsed and for a text that is too long without them */
function format(params: Call['params'], field: string, entitiesField: string, limit: number, words: string): FormattedText {
  const source = text(params[field])
  const mode = text(params.parse_mode).toLowerCase()
  if (mode !== '' && mode !== 'html') {
    // Markdown is not read here: a channel that uses it needs to be told, not to be believed.
    const known = mode === 'markdown' || mode === 'markdownv2'
    throw new Refusal(400, known ? 'Bad Request: the emulator reads parse_mode HTML only' : 'Bad Request: unsupported parse_mode')
  }
  const formatted = mode === 'html' ? parse(source) : plain(source, object(params[entitiesField]))
  if (formatted.text.length > limit) throw new Refusal(400, `Bad Request: ${words}`)
  return formatted
}

function parse(source: string): FormattedText {
  try {
    return parseHtml(source)
  } catch (error) {
    throw error instanceof Refusal ? new Refusal(400, `Bad Request: can't parse entities: ${error.message}`) : error
  }
}

function plain(source: string, entities: unknown): FormattedText {
  const escaped = source.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return { text: parseHtml(escaped).text, entities: Array.isArray(entities) ? (entities as MessageEntity[]) : [] }
}

function findRoom({ store, floods }: World, params: Call['params']): Room {
  if (text(params.chat_id) === '') throw new Refusal(400, 'Bad Request: chat_id is empty')
  const room = store.rooms.get(Number(text(params.chat_id)))
  if (!room) throw new Refusal(400, 'Bad Request: chat not found')
  if (room.movedTo !== undefined) {
    throw new Refusal(400, 'Bad Request: group chat was upgraded to a supergroup chat', { migrate_to_chat_id: room.movedTo })
  }
  if (room.blocked) {
    const isPrivate = room.chat.type === 'private'
    throw new Refusal(
      403,
      isPrivate ? 'Forbidden: bot was blocked by the user' : `Forbidden: bot was kicked from the ${room.chat.type} chat`,
    )
  }
  const thread = integer(params.message_thread_id, 0)
  if (thread !== 0 && !room.threads.has(thread)) throw new Refusal(400, 'Bad Request: message thread not found')
  const wait = floods(room)
  if (wait !== undefined) throw new Refusal(429, `Too Many Requests: retry after ${wait}`, { retry_after: wait })
  return room
}

function post(world: World, room: Room, params: Call['params'], method: string, shown: FormattedText, file?: EmulatedFile): PostedMessage {
  const reply = object(params.reply_parameters)
  const replyTo = integer(reply?.message_id ?? params.reply_to_message_id, 0)
  const found = room.messages.has(replyTo)
  if (replyTo !== 0 && !found && !isTrue(reply?.allow_sending_without_reply)) {
    throw new Refusal(400, 'Bad Request: message to be replied not found')
  }
  const message: PostedMessage = {
    chat: room.chat.id,
    message_id: room.nextMessage++,
    method,
    ...(integer(params.message_thread_id, 0) ? { thread: integer(params.message_thread_id, 0) } : {}),
    ...(found ? { reply_to: replyTo } : {}),
    text: shown.text,
    entities: shown.entities,
    ...(file ? { file } : {}),
    at: Date.now(),
    edits: [],
    deleted: false,
  }
  room.messages.add(message.message_id)
  room.posted.set(message.message_id, message)
  world.store.post(message)
  world.changed(message)
  return message
}

/** The message as the Bot API answers it. */
function show(store: Store, room: Room, message: PostedMessage) {
  const entities = message.entities.length > 0 ? message.entities : undefined
  const content = message.file ? { caption: message.text || undefined, caption_entities: entities } : { text: message.text, entities }
  return {
    message_id: message.message_id,
    from: store.me,
    chat: room.chat,
    date: Math.floor(message.at / 1000),
    ...(message.thread ? { message_thread_id: message.thread, is_topic_message: true } : {}),
    ...(message.edits.length > 0 ? { edit_date: Math.floor((message.edits.at(-1)?.at ?? 0) / 1000) } : {}),
    ...content,
  }
}

function sendFile(world: World, { params, files }: Call, field: 'photo' | 'document' | 'voice' | 'audio' | 'video') {
  const value = text(params[field])
  const file = files.get(field) ?? (value.startsWith('attach://') ? files.get(value.slice(9)) : world.store.files.get(value))
  if (!file) throw new Refusal(400, `Bad Request: there is no ${field} in the request`)
  if (file.size === 0) throw new Refusal(400, 'Bad Request: file must be non-empty')
  if (file.size > (field === 'photo' ? MAX_PHOTO : MAX_UPLOAD)) throw new Refusal(413, 'Request Entity Too Large')
  const caption = format(params, 'caption', 'caption_entities', MAX_CAPTION, 'message caption is too long')
  const room = findRoom(world, params)
  const message = post(world, room, params, `send${field.charAt(0).toUpperCase()}${field.slice(1)}`, caption, file)
  const id = world.store.keepFile(file)
  const kept = { file_id: id, file_unique_id: id, file_size: file.size }
  const shown =
    field === 'photo' ? [{ ...kept, width: 1, height: 1 }] : { ...kept, file_name: file.name, mime_type: file.mime, duration: 1 }
  return { ...show(world.store, room, message), [field]: shown }
}

// ---- Changing ---------------------------------------------------------------------------------------------------------

function editMessageText(world: World, { params }: Call) {
  if (text(params.text) === '') throw new Refusal(400, 'Bad Request: message text is empty')
  const { text: shown, entities } = format(params, 'text', 'entities', MAX_TEXT, 'message is too long')
  if (shown === '') throw new Refusal(400, 'Bad Request: text must be non-empty')
  const room = findRoom(world, params)
  const message = room.posted.get(integer(params.message_id, 0))
  if (!message || message.deleted) throw new Refusal(400, 'Bad Request: message to edit not found')
  if (message.file) throw new Refusal(400, 'Bad Request: there is no text in the message to edit')
  if (message.text === shown && JSON.stringify(message.entities) === JSON.stringify(entities)) {
    const words = 'specified new message content and reply markup are exactly the same as a current content and reply markup of the message'
    throw new Refusal(400, `Bad Request: message is not modified: ${words}`)
  }
  message.text = shown
  message.entities = entities
  message.edits.push({ at: Date.now(), text: shown })
  world.changed(message)
  return show(world.store, room, message)
}

function deleteMessage(world: World, { params }: Call): boolean {
  const room = findRoom(world, params)
  const id = integer(params.message_id, 0)
  if (!room.messages.delete(id)) throw new Refusal(400, 'Bad Request: message to delete not found')
  const message = room.posted.get(id)
  if (message) {
    message.deleted = true
    world.changed(message)
  }
  return true
}

function getFile({ store }: World, { params }: Call) {
  const id = text(params.file_id)
  const file = store.files.get(id)
  if (!file) throw new Refusal(400, 'Bad Request: wrong file_id or the file is temporarily unavailable')
  const told = file.claims ?? file.size
  if (told > MAX_DOWNLOAD) throw new Refusal(400, 'Bad Request: file is too big')
  return { file_id: id, file_unique_id: id, file_size: told, file_path: `files/${id}` }
}
