/** What the platform knows: people, chats, messages, files, cards. */
import { randomBytes } from 'node:crypto'
import type { Card } from './cards.ts'

export interface FeishuChat {
  readonly chat_id: string
  readonly type: 'p2p' | 'group' | 'topic_group'
  readonly name: string
  /** The bot may not write here: it is no member (group), or was turned away (p2p). */
  closed: boolean
}

export interface FeishuFile {
  readonly name: string
  readonly bytes: Uint8Array
  readonly type: string
}

export interface FeishuMessage {
  readonly message_id: string
  readonly chat_id: string
  readonly root_id?: string
  readonly parent_id?: string
  readonly thread_id?: string
  /** `open_id` of a person, `app_id` of an app. */
  readonly sender: string
  readonly msg_type: string
  content: string
  readonly at: number
  updated: number
  deleted: boolean
}

/** A message of the bot's, as people see it now. */
export interface FeishuPost {
  readonly chat_id: string
  readonly message_id: string
  readonly msg_type: string
  readonly thread_id?: string
  /** The message that it answers. */
  readonly reply_to?: string
  text: string
  /** The card shows that more is to come. */
  streaming: boolean
  readonly card_id?: string
  readonly file?: FeishuFile
  readonly at: number
  readonly edits: { readonly at: number; readonly text: string }[]
  deleted: boolean
}

export interface Entity {
  card: Card
  sequence: number
  /** The message that it was sent as. */
  message_id?: string
}

export interface Store {
  readonly users: Map<string, string>
  readonly chats: Map<string, FeishuChat>
  readonly messages: Map<string, FeishuMessage>
  readonly posts: FeishuPost[]
  /** Uploads of the app's by key. */
  readonly uploads: Map<string, FeishuFile>
  /** Files in messages of people's, by message and key. */
  readonly resources: Map<string, FeishuFile>
  readonly cards: Map<string, Entity>
  /** Marks by message and id. */
  readonly reactions: Map<string, { readonly message_id: string; readonly emoji_type: string }>
  /** What was sent with a `uuid`. */
  readonly sent: Map<string, string>
  readonly post: (message_id: string) => FeishuPost | undefined
}

export function createStore(): Store {
  const posts: FeishuPost[] = []
  return {
    users: new Map(),
    chats: new Map(),
    messages: new Map(),
    posts,
    uploads: new Map(),
    resources: new Map(),
    cards: new Map(),
    reactions: new Map(),
    sent: new Map(),
    post: (id) => posts.find(({ message_id }) => message_id === id),
  }
}

/** An id as the platform's look: `om_` and 32 digits. */
export const newId = (prefix: string): string => prefix + randomBytes(16).toString('hex')
