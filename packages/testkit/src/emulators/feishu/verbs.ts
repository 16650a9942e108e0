/** What people do in the emulated Feishu. Ids are those of the platform's kind: `ou_` a person, `oc_` a chat, `om_` a message. */
import type { Events } from './events.ts'
import type { World } from './methods.ts'
import { type FeishuChat, type FeishuFile, type FeishuMessage, newId } from './store.ts'

export interface FeishuSaying {
  readonly text?: string
  /** Rich text: `{ title, content }`, or by language. */
  readonly post?: object
  readonly image?: Uint8Array
  readonly file?: { readonly name: string; readonly bytes: Uint8Array }
  readonly audio?: Uint8Array
  readonly video?: { readonly name: string; readonly bytes: Uint8Array }
  /** Any other content, as the platform words it. */
  readonly other?: { readonly message_type: string; readonly content: object }
  /** `open_id`, and the name that people see. Default: Ann. */
  readonly from?: string | { readonly open_id: string; readonly name: string }
  /** A group; the private chat with the bot unless given. */
  readonly chat?: string | { readonly chat_id: string; readonly name?: string; readonly type?: FeishuChat['type'] }
  /** Mentions the bot in front of the text. */
  readonly mention?: boolean
  /** Mentions everybody in front of the text. */
  readonly mentionAll?: boolean
  /** The message that it answers. */
  readonly replyTo?: string
  /** In a topic: `true` begins one (or goes on in that of `replyTo`). */
  readonly thread?: boolean
  /** Epoch milliseconds; now unless given. */
  readonly at?: number
  /** In the older form of events. */
  readonly form?: 'v1'
}

export interface FeishuSaid {
  readonly event_id: string
  readonly message_id: string
  readonly chat_id: string
}

export interface FeishuVerbs {
  say(saying: string | FeishuSaying): FeishuSaid
  edit(said: Pick<FeishuSaid, 'message_id'>, text: string): string
  recall(said: Pick<FeishuSaid, 'message_id'>): string
  react(message_id: string, emoji_type: string, from?: string): string
  /** Presses a button of a card. */
  press(message_id: string, value: object, from?: string): string
  /** The bot's own words, as an event. */
  sayAsBot(text: string, chat_id: string): string
  /** Makes a person known, with the private chat; answers that. */
  know(open_id: string, name?: string): string
  /** Any event, as the platform words it. */
  emit(type: string, event: object): string
}

/** The private chat of a person. */
export const chatOf = (open_id: string): string => `oc_${open_id.replace(/^ou_/, '')}`

const ANN = { open_id: 'ou_ann', name: 'Ann' }

export function createVerbs(world: World, events: Events): FeishuVerbs {
  const { store, bot } = world

  const know = (open_id: string, name = open_id.replace(/^ou_/, '')) => {
    if (!store.users.has(open_id)) store.users.set(open_id, name)
    const chat_id = chatOf(open_id)
    if (!store.chats.has(chat_id)) store.chats.set(chat_id, { chat_id, type: 'p2p', name, closed: false })
    return chat_id
  }
  const chatFor = (saying: FeishuSaying, open_id: string): FeishuChat => {
    const { chat } = saying
    const chat_id = chat === undefined ? chatOf(open_id) : typeof chat === 'string' ? chat : chat.chat_id
    const known = store.chats.get(chat_id)
    if (known) return known
    const { name = chat_id.replace(/^oc_/, ''), type = 'group' } = typeof chat === 'object' ? chat : {}
    const made = { chat_id, type, name, closed: false }
    store.chats.set(chat_id, made)
    return made
  }
  const keep = (message_id: string, file: FeishuFile) => {
    const key = newId(file.type === 'image' ? 'img_v3_' : 'file_v3_')
    store.resources.set(`${message_id} ${key}`, file)
    return key
  }
  const contentOf = (saying: FeishuSaying, message_id: string): readonly [string, object] => {
    if (saying.other) return [saying.other.message_type, saying.other.content]
    if (saying.post) return ['post', saying.post]
    if (saying.image) return ['image', { image_key: keep(message_id, { name: 'image', bytes: saying.image, type: 'image' }) }]
    if (saying.file) return ['file', { file_key: keep(message_id, { ...saying.file, type: 'stream' }), file_name: saying.file.name }]
    if (saying.audio) return ['audio', { file_key: keep(message_id, { name: 'audio', bytes: saying.audio, type: 'opus' }), duration: 2000 }]
    if (saying.video)
      return ['media', { file_key: keep(message_id, { ...saying.video, type: 'mp4' }), file_name: saying.video.name, duration: 2000 }]
    const marks = `${saying.mentionAll ? '@_all ' : ''}${saying.mention ? '@_user_1 ' : ''}`
    return ['text', { text: marks + (saying.text ?? '') }]
  }
  const mentionsOf = ({ mention, mentionAll }: Pick<FeishuSaying, 'mention' | 'mentionAll'>) => [
    ...(mentionAll ? [{ key: '@_all', id: {}, name: 'Everyone' }] : []),
    ...(mention
      ? [
          {
            key: '@_user_1',
            id: { open_id: bot.open_id, union_id: 'on_bot', user_id: '' },
            name: bot.app_name,
            tenant_key: 'tenant',
            mentioned_type: 'bot',
          },
        ]
      : []),
  ]
  const senderOf = (open_id: string, sender_type = 'user') => ({
    sender_id: { open_id, union_id: open_id.replace('ou_', 'on_'), user_id: null },
    sender_type,
    tenant_key: 'tenant',
  })
  const eventOf = (message: FeishuMessage, chat: FeishuChat, mentions: readonly object[], sender_type?: string) => ({
    sender: senderOf(message.sender === world.app.app_id ? bot.open_id : message.sender, sender_type),
    message: {
      message_id: message.message_id,
      ...(message.root_id ? { root_id: message.root_id } : {}),
      ...(message.parent_id ? { parent_id: message.parent_id } : {}),
      ...(message.thread_id ? { thread_id: message.thread_id } : {}),
      create_time: String(message.at),
      update_time: String(message.updated),
      chat_id: chat.chat_id,
      chat_type: chat.type === 'p2p' ? 'p2p' : chat.type === 'group' ? 'group' : 'topic_group',
      message_type: message.msg_type,
      content: message.content,
      ...(mentions.length > 0 ? { mentions } : {}),
    },
  })
  const mentionsIn = new Map<string, readonly object[]>()
  const found = (message_id: string) => {
    const message = store.messages.get(message_id)
    const chat = store.chats.get(message?.chat_id ?? '')
    if (!message || !chat) throw new Error(`the message ${message_id} is not known`)
    return { message, chat }
  }

  return {
    know,
    say(given) {
      const saying = typeof given === 'string' ? { text: given } : given
      const from =
        saying.from === undefined
          ? ANN
          : typeof saying.from === 'string'
            ? { open_id: saying.from, name: saying.from.replace(/^ou_/, '') }
            : saying.from
      know(from.open_id, from.name)
      const chat = chatFor(saying, from.open_id)
      const message_id = newId('om_')
      const parent = saying.replyTo === undefined ? undefined : found(saying.replyTo).message
      const begins = chat.type === 'topic_group' || saying.thread === true
      const root = parent?.root_id ?? parent?.message_id
      const thread = begins || parent?.thread_id ? (parent?.thread_id ?? `omt_${(root ?? message_id).slice(3, 19)}`) : undefined
      const [msg_type, content] = contentOf(saying, message_id)
      const at = saying.at ?? Date.now()
      const message: FeishuMessage = {
        message_id,
        chat_id: chat.chat_id,
        ...(root ? { root_id: root } : {}),
        ...(parent ? { parent_id: thread ? (root ?? parent.message_id) : parent.message_id } : {}),
        ...(thread ? { thread_id: thread } : {}),
        sender: from.open_id,
        msg_type,
        content: JSON.stringify(content),
        at,
        updated: at,
        deleted: false,
      }
      store.messages.set(message_id, message)
      const mentions = mentionsOf(saying)
      mentionsIn.set(message_id, mentions)
      const event_id =
        saying.form === 'v1'
          ? events.emit(chat.chat_id, 'message', inFormV1(message, chat, saying, content), 'v1')
          : events.emit(chat.chat_id, 'im.message.receive_v1', eventOf(message, chat, mentions))
      return { event_id, message_id, chat_id: chat.chat_id }
    },
    edit({ message_id }, text) {
      const { message, chat } = found(message_id)
      const mentions = mentionsIn.get(message_id) ?? []
      const marks = mentions.length > 0 ? '@_user_1 ' : ''
      message.content = JSON.stringify({ text: marks + text })
      message.updated = Math.max(Date.now(), message.updated + 1)
      return events.emit(chat.chat_id, 'im.message.updated_v1', eventOf(message, chat, mentions))
    },
    recall({ message_id }) {
      const { message, chat } = found(message_id)
      message.deleted = true
      return events.emit(chat.chat_id, 'im.message.recalled_v1', {
        message_id,
        chat_id: chat.chat_id,
        recall_time: String(Date.now()),
        recall_type: 'message_owner',
      })
    },
    react(message_id, emoji_type, from = ANN.open_id) {
      const { chat } = found(message_id)
      const user_id = { open_id: from, union_id: from.replace('ou_', 'on_'), user_id: null }
      const event = { message_id, reaction_type: { emoji_type }, operator_type: 'user', user_id, action_time: String(Date.now()) }
      return events.emit(chat.chat_id, 'im.message.reaction.created_v1', event)
    },
    press(message_id, value, from = ANN.open_id) {
      const { chat } = found(message_id)
      return events.emit(chat.chat_id, 'card.action.trigger', {
        operator: { tenant_key: 'tenant', open_id: from, union_id: from.replace('ou_', 'on_'), user_id: null },
        token: newId('c-'),
        action: { value, tag: 'button' },
        host: 'im_message',
        context: { open_message_id: message_id, open_chat_id: chat.chat_id },
      })
    },
    sayAsBot(text, chat_id) {
      const chat = store.chats.get(chat_id)
      if (!chat) throw new Error(`the chat ${chat_id} is not known`)
      const at = Date.now()
      const content = JSON.stringify({ text })
      const message = {
        message_id: newId('om_'),
        chat_id,
        sender: world.app.app_id,
        msg_type: 'text',
        content,
        at,
        updated: at,
        deleted: false,
      }
      return events.emit(chat_id, 'im.message.receive_v1', eventOf(message, chat, [], 'app'))
    },
    emit: (type, event) => events.emit('', type, event),
  }
}

/** https://open.feishu.cn/document/ukTMukTMukTM/uMTNxYjLzUTM24yM1EjN: the older form of a received message. */
function inFormV1(message: FeishuMessage, chat: FeishuChat, { mention, text = '' }: FeishuSaying, content: object): object {
  const { open_message_id, ...ids } = {
    open_message_id: message.message_id,
    root_id: message.root_id ?? '',
    parent_id: message.parent_id ?? '',
  }
  return {
    ...ids,
    ...content,
    open_message_id,
    open_chat_id: chat.chat_id,
    chat_type: chat.type === 'p2p' ? 'private' : 'group',
    msg_type: message.msg_type,
    open_id: message.sender,
    is_mention: mention === true,
    text: mention ? `<at open_id="ou_bot">@Emulated</at> ${text}` : text,
    text_without_at_bot: mention ? ` ${text}` : text,
  }
}
