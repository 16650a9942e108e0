/** What people do on the platform, as the updates that a bot gets for it. */
import type { Message, MessageEntity, Update } from '@grammyjs/types'
import { findEntities } from './entities.ts'
import type { World } from './methods.ts'
import type { EmulatedChat, EmulatedFile, EmulatedUser, Room } from './store.ts'

/** A file that somebody sends; without `bytes` it consists of `size` zeros. */
export interface SaidFile {
  readonly name?: string
  readonly mime?: string
  readonly size?: number
  readonly bytes?: Uint8Array
  /** Told instead of the size; and where the download stops without an end. */
  readonly claims?: number
  readonly stallsAfter?: number
}

export interface Saying {
  readonly text?: string
  readonly caption?: string
  /** Who writes; a person with the id 1001 unless told otherwise. A number is an id. */
  readonly from?: number | (Partial<EmulatedUser> & { readonly id: number })
  /** Where; a private chat with that person unless told otherwise. A negative number is a supergroup. */
  readonly chat?: number | (Partial<EmulatedChat> & { readonly id: number })
  /** The topic of a forum. */
  readonly thread?: number
  /** Id of the message that is answered: one of the bot's, or one that somebody said. */
  readonly replyTo?: number
  readonly photo?: SaidFile
  readonly document?: SaidFile
  readonly voice?: SaidFile
  readonly audio?: SaidFile
  readonly video?: SaidFile
  readonly sticker?: SaidFile & { readonly emoji?: string }
  readonly location?: { readonly latitude: number; readonly longitude: number }
  readonly contact?: { readonly phone_number: string; readonly first_name: string }
  /** Parts of one album carry the same id. */
  readonly album?: string
  /** Epoch milliseconds; now unless told otherwise. */
  readonly at?: number
  /** Anything else that the message should hold, as the Bot API names it. */
  readonly raw?: Readonly<Record<string, unknown>>
}

export interface Verbs {
  /** Somebody writes. Answers the update that the bot will get. */
  say(saying: Saying | string): Update & { readonly message: Message }
  /** Somebody changes what they said. */
  edit(said: { readonly message: Message }, change: { readonly text: string; readonly at?: number }): Update
  /** Somebody presses a button under a message of the bot's. */
  press(press: { readonly data: string; readonly chat: number; readonly message: number; readonly from?: Saying['from'] }): Update
  /** Makes a chat known without a word, so that the bot may write there. */
  know(chat: NonNullable<Saying['chat']>): void
  /** Any update as it stands, malformed ones too. */
  send(update: object, chat?: number): void
}

export function createVerbs(world: World, firstUpdate: number): Verbs {
  const { store, updates } = world
  let nextUpdate = firstUpdate
  const push = <T extends object>(content: T, chat: number): T & { update_id: number } => {
    const update = { update_id: nextUpdate++, ...content }
    updates.add(update as unknown as Update, chat)
    return update
  }
  return {
    say: (said) => {
      const saying = typeof said === 'string' ? { text: said } : said
      const from = userOf(saying.from)
      const room = store.know(chatOf(saying.chat, from))
      if (saying.thread) room.threads.add(saying.thread)
      const message = buildMessage(world, room, from, saying)
      room.messages.add(message.message_id)
      return push({ message }, room.chat.id) as unknown as Update & { message: Message }
    },
    edit: ({ message }, { text, at }) => {
      const entities = findEntities(text)
      const edited = {
        ...message,
        edit_date: Math.floor((at ?? Date.now()) / 1000),
        ...('text' in message ? { text, entities } : { caption: text }),
      }
      return push({ edited_message: edited }, message.chat.id) as Update
    },
    press: ({ data, chat, message, from }) => {
      const room = store.rooms.get(chat)
      const posted = room?.posted.get(message)
      if (!room || !posted) throw new Error(`the bot posted no message ${message} in chat ${chat}`)
      const id = String(nextUpdate * 7919)
      world.callbacks.add(id)
      const shown = { message_id: message, from: store.me, chat: room.chat, date: Math.floor(posted.at / 1000), text: posted.text }
      return push({ callback_query: { id, from: userOf(from), chat_instance: '1', data, message: shown } }, chat) as unknown as Update
    },
    know: (chat) => {
      store.know(chatOf(chat, userOf(undefined)))
    },
    send: (update, chat = 0) => {
      push(update, chat)
    },
  }
}

function userOf(from: Saying['from']): EmulatedUser {
  const user = typeof from === 'object' ? from : { id: from ?? 1001 }
  return { is_bot: false, first_name: `Person ${user.id}`, language_code: 'en', ...user }
}

function chatOf(chat: Saying['chat'], from: EmulatedUser): EmulatedChat {
  const given = typeof chat === 'object' ? chat : { id: chat ?? from.id }
  if (given.id > 0) return { type: 'private', first_name: from.first_name, ...(from.username ? { username: from.username } : {}), ...given }
  return { type: 'supergroup', title: `Group ${given.id}`, ...given }
}

function buildMessage(world: World, room: Room, from: EmulatedUser, saying: Saying): Message {
  const { text, caption } = saying
  const date = Math.floor((saying.at ?? Date.now()) / 1000)
  return {
    message_id: room.nextMessage++,
    from,
    chat: room.chat,
    date,
    ...(text === undefined ? {} : { text, ...entitiesOf('entities', text) }),
    ...(caption === undefined ? {} : { caption, ...entitiesOf('caption_entities', caption) }),
    ...(saying.thread ? { message_thread_id: saying.thread, is_topic_message: true } : {}),
    ...(saying.replyTo ? { reply_to_message: answered(world, room, saying.replyTo, from, date) } : {}),
    ...(saying.album ? { media_group_id: saying.album } : {}),
    ...(saying.location ? { location: saying.location } : {}),
    ...(saying.contact ? { contact: saying.contact } : {}),
    ...media(world, saying),
    ...saying.raw,
  } as unknown as Message
}

function entitiesOf(field: string, text: string): Record<string, MessageEntity[]> {
  const entities = findEntities(text)
  return entities.length > 0 ? { [field]: entities } : {}
}

function answered({ store }: World, room: Room, id: number, from: EmulatedUser, date: number) {
  const posted = room.posted.get(id)
  return { message_id: id, chat: room.chat, date, from: posted ? store.me : from, text: posted?.text ?? '' }
}

const KINDS = {
  document: ['document.txt', 'text/plain'],
  voice: ['voice.ogg', 'audio/ogg'],
  audio: ['audio.mp3', 'audio/mpeg'],
  video: ['video.mp4', 'video/mp4'],
  sticker: ['sticker.webp', 'image/webp'],
} as const

function media({ store }: World, saying: Saying): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  const keep = (said: SaidFile, name: string, mime: string) => {
    const size = said.bytes?.length ?? said.size ?? 1
    const { bytes, claims, stallsAfter } = said
    const file: EmulatedFile = {
      name: said.name ?? name,
      mime: said.mime ?? mime,
      size,
      ...(bytes ? { bytes } : {}),
      ...(claims === undefined ? {} : { claims }),
      ...(stallsAfter === undefined ? {} : { stallsAfter }),
    }
    const id = store.keepFile(file)
    return { file_id: id, file_unique_id: id, file_size: claims ?? size, file_name: file.name, mime_type: file.mime }
  }
  for (const [kind, [name, mime]] of Object.entries(KINDS)) {
    const said = saying[kind as keyof typeof KINDS]
    if (said)
      fields[kind] = { ...keep(said, name, mime), duration: 1, width: 1, height: 1, ...('emoji' in said ? { emoji: said.emoji } : {}) }
  }
  if (saying.photo) {
    // A photo comes in several sizes, the smallest first.
    const small = keep({ size: 100 }, 'photo.jpg', 'image/jpeg')
    const large = keep(saying.photo, 'photo.jpg', 'image/jpeg')
    fields.photo = [small, large].map(({ file_id, file_unique_id, file_size }, index) => {
      return { file_id, file_unique_id, file_size, width: 90 + index * 1000, height: 60 + index * 700 }
    })
  }
  return fields
}
