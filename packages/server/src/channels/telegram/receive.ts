/** In: what Telegram tells us, decoded. Pure; nothing here is trusted or kept. https://core.telegram.org/bots/api#update */
import type { Message, MessageEntity, Update, User } from '@grammyjs/types'
import {
  type Author,
  type FileKind,
  type FileRef,
  type InboundMessage,
  type Known,
  type Part,
  type Place,
  PosthouseError,
  parseCommand,
  type Reader,
  type Reading,
} from '@posthouse/contract'

/** Who we are, by getMe. */
export interface Identity {
  readonly id: number
  readonly username: string
}

/** What of all updates we ask for. */
export const UPDATES = ['message', 'edited_message', 'callback_query'] as const

/** How an account reads: webhook calls that carry the secret, and the updates of polls. */
export function createReader({ secret_token }: { readonly secret_token?: string }): Reader {
  return {
    verification: secret_token ? [{ kind: 'token', at: { header: 'x-telegram-bot-api-secret-token' }, secret: secret_token }] : [],
    request: ({ body }, known) => readUpdate(parseUpdate(body), known),
    frame: readUpdate,
  }
}

/** @throws PosthouseError `invalid` */
export function parseUpdate(body: Uint8Array): Update {
  let update: unknown
  try {
    update = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    throw new PosthouseError('invalid', 'the body is not JSON in UTF-8')
  }
  if (typeof update !== 'object' || update === null || Array.isArray(update)) throw new PosthouseError('invalid', 'an update is an object')
  return update as Update
}

/** What an update is understood as. Malformed ones are told and left: refused, they would come for ever. */
export function readUpdate(update: unknown, { us, now }: Pick<Known, 'us' | 'now'>): Reading {
  try {
    const message = decode(update as Update, { id: Number(us?.id ?? 0), username: us?.username ?? '' }, now)
    if (message) return { messages: [message], ...(message.author.isBot ? { reason: 'written by a bot' } : {}) }
    return { messages: [], reason: 'nothing for us to read' }
  } catch (error) {
    return { messages: [], reason: `malformed: ${String(error)}` }
  }
}

/**
 * Decodes one update; undefined for what is not for us to read: channel posts, service messages.
 *
 * The key is made of the ids of the message itself, not of `update_id`: both are the same over polling, webhook and redelivery, but
 * update ids begin anew, at random, after a quiet week and on another Bot API server. An edit has no id of its own and `edit_date`
 * counts whole seconds, so its key holds the update's id too: two edits in one second are two edits.
 * @param now stands in for the time that a callback doesn't carry, in epoch milliseconds
 * @throws TypeError when the update isn't what the Bot API promises
 */
export function decode(update: Update, us: Identity, now: number): InboundMessage | undefined {
  if (!Number.isSafeInteger(update?.update_id)) throw new TypeError('update_id is missing')
  if (update.message) return decodeMessage(update.message, us)
  if (update.edited_message) {
    const edited = update.edited_message
    const message = decodeMessage(edited, us)
    if (!message) return undefined
    const key = `edit:${edited.chat.id}:${edited.message_id}:${edited.edit_date ?? 0}:${update.update_id}`
    return { ...message, kind: 'edit', key, sentAt: (edited.edit_date ?? edited.date) * 1000 }
  }
  if (update.message_reaction) return decodeReaction(update.message_reaction)
  return update.callback_query ? decodeCallback(update.callback_query, now) : undefined
}

function decodeMessage(message: Message, us: Identity): InboundMessage | undefined {
  check(message)
  const author = authorOf(message)
  if (message.chat.type === 'channel' || message.is_automatic_forward || !author) return undefined
  const place = placeOf(message)
  const raw = message.text ?? message.caption ?? ''
  const mention = stripMentions(raw, message.entities ?? message.caption_entities ?? [], us)
  const command = parseCommand(mention.text, us.username)
  const parts = partsOf(message, mention.text)
  if (parts.length === 0 && !mention.found) return undefined
  const answered = message.reply_to_message
  // In a topic everything refers to the message that opened it; that is no reply.
  const replies = answered !== undefined && answered.message_id !== message.message_thread_id
  const answersUs = replies && answered.from?.id === us.id
  return {
    kind: 'message',
    key: `message:${message.chat.id}:${message.message_id}`,
    id: String(message.message_id),
    place,
    author,
    parts,
    sentAt: message.date * 1000,
    addressed: place.type === 'direct' || mention.found || command !== undefined || answersUs,
    ...(mention.found ? { mentionsUs: true } : {}),
    answersUs,
    ...(replies ? { replyTo: String(answered.message_id) } : {}),
    ...(command ? { command } : {}),
  }
}

function decodeCallback(query: NonNullable<Update['callback_query']>, now: number): InboundMessage | undefined {
  const { message } = query
  if (!message || query.data === undefined) return undefined
  check(message)
  return {
    kind: 'callback',
    key: `callback:${query.id}`,
    id: String(message.message_id),
    place: placeOf(message as Message),
    author: ofUser(query.from),
    parts: [],
    sentAt: now,
    addressed: true,
    callbackData: query.data,
  }
}

function decodeReaction(reaction: NonNullable<Update['message_reaction']>): InboundMessage | undefined {
  check(reaction)
  const [set] = reaction.new_reaction
  if (!reaction.user || set?.type !== 'emoji') return undefined
  return {
    kind: 'reaction',
    key: `reaction:${reaction.chat.id}:${reaction.message_id}:${reaction.user.id}:${reaction.date}`,
    id: String(reaction.message_id),
    place: placeOf(reaction as unknown as Message),
    author: ofUser(reaction.user),
    parts: [],
    sentAt: reaction.date * 1000,
    addressed: false,
    callbackData: set.emoji,
  }
}

function check(message: { message_id: number; date: number; chat: { id: number; type: string } }): void {
  if (!Number.isSafeInteger(message.message_id)) throw new TypeError('message_id is no integer')
  if (!Number.isSafeInteger(message.date)) throw new TypeError('date is no integer')
  if (!Number.isSafeInteger(message.chat?.id)) throw new TypeError('chat.id is no integer')
  for (const text of [(message as Message).text, (message as Message).caption]) {
    if (text !== undefined && typeof text !== 'string') throw new TypeError('text is no string')
  }
}

function placeOf(message: Message): Place {
  const { chat } = message
  const thread = message.is_topic_message ? message.message_thread_id : undefined
  return {
    room: String(chat.id),
    type: chat.type === 'private' ? 'direct' : 'group',
    ...(thread === undefined ? {} : { thread: String(thread) }),
    ...(chat.title ? { title: chat.title } : {}),
  }
}

/** Who writes as a group or a channel (an anonymous administrator) is known by that chat; `from` is then a stand-in of Telegram's. */
function authorOf(message: Message): Author | undefined {
  const { sender_chat: as, from } = message
  if (as) return { id: String(as.id), ...(as.title ? { name: as.title } : {}), ...(as.username ? { username: as.username } : {}) }
  return from && ofUser(from)
}

function ofUser(user: User): Author {
  if (!Number.isSafeInteger(user.id)) throw new TypeError('from.id is no integer')
  const name = [user.first_name, user.last_name].filter(Boolean).join(' ')
  return {
    id: String(user.id),
    isBot: user.is_bot === true,
    ...(name ? { name } : {}),
    ...(user.username ? { username: user.username } : {}),
    ...(user.language_code ? { language: user.language_code } : {}),
  }
}

/** Takes mentions of us out of the text. Offsets count UTF-16 units, as strings here do. */
function stripMentions(text: string, entities: readonly MessageEntity[], us: Identity): { text: string; found: boolean } {
  const ours = entities.filter((entity) => {
    if (entity.type === 'text_mention') return entity.user.id === us.id
    return (
      entity.type === 'mention' &&
      text.slice(entity.offset, entity.offset + entity.length).toLowerCase() === `@${us.username.toLowerCase()}`
    )
  })
  let stripped = ''
  let from = 0
  for (const { offset, length } of ours.toSorted((a, b) => a.offset - b.offset)) {
    const before = text.slice(from, offset)
    const behind = text.slice(offset + length)
    // With it goes what only belonged to it: the comma of an address, one of the two spaces around it.
    const alone = (stripped + before).trim() === '' ? /^[,:，：]?\s*/ : /\s$/.test(stripped + before) ? /^ ?/ : /^/
    from = offset + length + (alone.exec(behind)?.[0].length ?? 0)
    stripped += before
  }
  return { text: ours.length === 0 ? text : (stripped + text.slice(from)).trim(), found: ours.length > 0 }
}

function partsOf(message: Message, text: string): readonly Part[] {
  const parts: Part[] = []
  if (text !== '') parts.push({ type: 'text', text })
  const file = fileOf(message)
  if (file) parts.push({ type: 'file', file })
  if (message.sticker?.emoji && text === '') parts.unshift({ type: 'text', text: message.sticker.emoji })
  if (message.dice) parts.push({ type: 'text', text: `${message.dice.emoji} ${message.dice.value}` })
  if (message.poll)
    parts.push({ type: 'text', text: [message.poll.question, ...message.poll.options.map((option) => `- ${option.text}`)].join('\n') })
  const { location, venue, contact } = message
  if (location)
    parts.push({ type: 'location', latitude: location.latitude, longitude: location.longitude, ...(venue ? { title: venue.title } : {}) })
  if (contact) {
    const name = [contact.first_name, contact.last_name].filter(Boolean).join(' ')
    parts.push({ type: 'contact', name, phone: contact.phone_number })
  }
  return parts
}

function fileOf(message: Message): FileRef | undefined {
  const { photo, voice, audio, video, video_note: note, animation, document, sticker } = message
  const largest = photo?.toSorted((a, b) => b.width * b.height - a.width * a.height)[0]
  if (largest) return ref('image', 'photo.jpg', { mime_type: 'image/jpeg', ...largest })
  if (voice) return ref('voice', 'voice.ogg', { mime_type: 'audio/ogg', ...voice })
  if (audio) return ref('audio', audio.file_name ?? 'audio.mp3', audio)
  if (video) return ref('video', video.file_name ?? 'video.mp4', video)
  if (note) return ref('video', 'video-note.mp4', { mime_type: 'video/mp4', ...note })
  // An animation comes with a copy of itself as a document.
  if (animation) return ref('video', animation.file_name ?? 'animation.mp4', animation)
  if (sticker) return ref('sticker', sticker.is_animated ? 'sticker.tgs' : sticker.is_video ? 'sticker.webm' : 'sticker.webp', sticker)
  if (document) return ref(document.mime_type?.startsWith('image/') ? 'image' : 'file', document.file_name ?? 'document', document)
  return undefined
}

function ref(kind: FileKind, name: string, file: { file_id: string; file_size?: number; mime_type?: string }): FileRef {
  return {
    kind,
    name,
    ref: file.file_id,
    ...(file.mime_type ? { mime: file.mime_type } : {}),
    ...(file.file_size === undefined ? {} : { size: file.file_size }),
  }
}
