/** What the platform knows: chats, messages, files, and a ledger of every call. */
import { randomInt } from 'node:crypto'
import type { MessageEntity } from '@grammyjs/types'

export interface EmulatedUser {
  readonly id: number
  readonly is_bot: boolean
  readonly first_name: string
  readonly last_name?: string
  readonly username?: string
  readonly language_code?: string
}

export interface EmulatedChat {
  readonly id: number
  readonly type: 'private' | 'group' | 'supergroup' | 'channel'
  readonly title?: string
  readonly is_forum?: boolean
  readonly first_name?: string
  readonly username?: string
}

/** A file of the platform's. `size` without `bytes` stands for that many zeros. */
export interface EmulatedFile {
  readonly name: string
  readonly mime: string
  readonly size: number
  readonly bytes?: Uint8Array
  /** What getFile tells instead of the size. */
  readonly claims?: number
  /** The download stops here, and the connection stays open. */
  readonly stallsAfter?: number
}

/** A message of the bot's, as people see it. */
export interface PostedMessage {
  readonly chat: number
  readonly message_id: number
  readonly method: string
  readonly thread?: number
  readonly reply_to?: number
  /** What is shown, after the entities were parsed; the caption for files. Edits change it. */
  text: string
  entities: readonly MessageEntity[]
  readonly file?: EmulatedFile
  /** Epoch milliseconds. */
  readonly at: number
  readonly edits: { readonly at: number; readonly text: string }[]
  deleted: boolean
}

/** One call of the Bot API and what came of it. */
export interface LedgerEntry {
  readonly at: number
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
  /** 200, or the error code. `dropped`: accepted (or refused), but the answer never reached the caller. */
  readonly outcome: { readonly code: number; readonly description?: string; readonly dropped?: boolean }
}

const KEPT_FILES = 1000

interface Room {
  readonly chat: EmulatedChat
  nextMessage: number
  /** Ids of all messages that can be referred to. */
  readonly messages: Set<number>
  readonly posted: Map<number, PostedMessage>
  readonly threads: Set<number>
  blocked: boolean
  movedTo: number | undefined
}

export interface Store {
  readonly me: EmulatedUser & { readonly username: string }
  readonly rooms: Map<number, Room>
  readonly files: Map<string, EmulatedFile>
  readonly ledger: LedgerEntry[]
  readonly posted: PostedMessage[]
  /** The chat, known from now on. */
  know(chat: EmulatedChat): Room
  keepFile(file: EmulatedFile): string
  record(entry: LedgerEntry): void
  post(message: PostedMessage): void
}

/** @param keep how many ledger entries and posted messages are kept; older ones are forgotten */
export function createStore(me: Store['me'], keep: number): Store {
  const rooms = new Map<number, Room>()
  const files = new Map<string, EmulatedFile>()
  const ledger: LedgerEntry[] = []
  const posted: PostedMessage[] = []
  const bounded = <T>(list: T[], entry: T) => {
    list.push(entry)
    if (list.length > keep) list.splice(0, Math.ceil(keep / 10))
  }
  return {
    me,
    rooms,
    files,
    ledger,
    posted,
    know: (chat) => {
      const known = rooms.get(chat.id)
      if (known) return known
      const room: Room = {
        chat,
        nextMessage: 1,
        messages: new Set(),
        posted: new Map(),
        threads: new Set(),
        blocked: false,
        movedTo: undefined,
      }
      rooms.set(chat.id, room)
      return room
    },
    keepFile: (file) => {
      const id = `file-${randomInt(2 ** 47).toString(36)}`
      files.set(id, file)
      const oldest = files.size > KEPT_FILES ? files.keys().next().value : undefined
      if (oldest !== undefined) files.delete(oldest)
      return id
    },
    record: (entry) => bounded(ledger, entry),
    post: (message) => bounded(posted, message),
  }
}

export type { Room }
