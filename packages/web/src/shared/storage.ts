/** What the browser keeps: unsent messages, composer drafts, and the latest messages for the time without a connection. */
import type { ConversationView, FileView, MeResponse, MessageView } from '@posthouse/contract/http'
import { type DBSchema, type IDBPDatabase, type IDBPObjectStore, openDB } from 'idb'
import type { OutgoingMessage } from '../chat/outgoing.ts'

interface ComposerDraft {
  readonly conversation_id: string
  readonly text: string
  readonly files: readonly FileView[]
}

interface KeptConversation {
  readonly id: string
  readonly messages: readonly MessageView[]
  readonly resume: number
  readonly before: number | undefined
  readonly opened_at: number
}

interface Schema extends DBSchema {
  outgoing: { key: string; value: OutgoingMessage }
  drafts: { key: string; value: ComposerDraft }
  conversations: { key: string; value: KeptConversation; indexes: { opened_at: number } }
  facts: { key: string; value: unknown }
}

/** So many conversations are kept; those opened longest ago go first. */
const KEPT_CONVERSATIONS = 20

export interface Storage {
  readonly outgoing: {
    list(): Promise<readonly OutgoingMessage[]>
    put(message: OutgoingMessage): Promise<void>
    remove(id: string): Promise<void>
  }
  draft(conversation: string): Promise<ComposerDraft | undefined>
  keepDraft(draft: ComposerDraft): Promise<void>
  conversation(id: string): Promise<KeptConversation | undefined>
  keepConversation(conversation: KeptConversation): Promise<void>
  forgetConversation(id: string): Promise<void>
  list(): Promise<readonly ConversationView[] | undefined>
  keepList(list: readonly ConversationView[]): Promise<void>
  owner(): Promise<MeResponse | undefined>
  /** Everything here belongs to this person; what another one left is erased first. */
  adopt(owner: MeResponse): Promise<void>
  clear(): Promise<void>
}

const stores = ['outgoing', 'drafts', 'conversations', 'facts'] as const

/** Opens the database; `name` differs in tests. */
export async function openStorage(name = 'posthouse'): Promise<Storage> {
  const db: IDBPDatabase<Schema> = await openDB<Schema>(name, 1, {
    upgrade(fresh) {
      fresh.createObjectStore('outgoing', { keyPath: 'id' })
      fresh.createObjectStore('drafts', { keyPath: 'conversation_id' })
      fresh.createObjectStore('conversations', { keyPath: 'id' }).createIndex('opened_at', 'opened_at')
      fresh.createObjectStore('facts')
    },
  })
  const clear = async () => {
    const erasing = db.transaction(stores, 'readwrite')
    await Promise.all([...stores.map((store) => erasing.objectStore(store).clear()), erasing.done])
  }
  /** Commits at once instead of when the page next comes to it: a page that is just being left would take the change with it. */
  const change = async <N extends 'outgoing' | 'drafts'>(
    name: N,
    request: (store: IDBPObjectStore<Schema, [N], N, 'readwrite'>) => Promise<unknown>,
  ) => {
    const changing = db.transaction(name, 'readwrite')
    const requested = request(changing.store)
    changing.commit()
    await Promise.all([requested, changing.done])
  }
  const owner = async () => (await db.get('facts', 'owner')) as MeResponse | undefined
  return {
    outgoing: {
      list: () => db.getAll('outgoing'),
      put: (message) => change('outgoing', (store) => store.put(message)),
      remove: (id) => change('outgoing', (store) => store.delete(id)),
    },
    draft: (conversation) => db.get('drafts', conversation),
    keepDraft: (draft) =>
      change('drafts', (store) => (draft.text === '' && draft.files.length === 0 ? store.delete(draft.conversation_id) : store.put(draft))),
    conversation: (id) => db.get('conversations', id),
    keepConversation: async (conversation) => {
      await db.put('conversations', conversation)
      const keys = await db.getAllKeysFromIndex('conversations', 'opened_at')
      for (const key of keys.slice(0, Math.max(0, keys.length - KEPT_CONVERSATIONS))) await db.delete('conversations', key)
    },
    forgetConversation: async (id) => {
      await Promise.all([db.delete('conversations', id), db.delete('drafts', id)])
    },
    list: async () => (await db.get('facts', 'list')) as readonly ConversationView[] | undefined,
    keepList: async (list) => void (await db.put('facts', list, 'list')),
    owner,
    adopt: async (person) => {
      const present = await owner()
      if (present && present.id !== person.id) await clear()
      await db.put('facts', person, 'owner')
    },
    clear,
  }
}

/** The same without a database, for browsers that forbid one: it lasts as long as the page. */
export function memoryStorage(): Storage {
  const outgoing = new Map<string, OutgoingMessage>()
  const drafts = new Map<string, ComposerDraft>()
  return {
    outgoing: {
      list: async () => [...outgoing.values()],
      put: async (message) => void outgoing.set(message.id, message),
      remove: async (id) => void outgoing.delete(id),
    },
    draft: async (conversation) => drafts.get(conversation),
    keepDraft: async (draft) => void drafts.set(draft.conversation_id, draft),
    conversation: async () => undefined,
    keepConversation: async () => {},
    forgetConversation: async () => {},
    list: async () => undefined,
    keepList: async () => {},
    owner: async () => undefined,
    adopt: async () => {},
    clear: async () => {
      outgoing.clear()
      drafts.clear()
    },
  }
}
