/**
 * Messages of ours that the server has not confirmed. Each waits in storage under the id that it keeps over all repeats, so that the
 * server can tell a repeat from a new message.
 *
 * Must hold: per conversation at most one is on its way, in the order of writing; nothing leaves the queue but by the server's word
 * (accepted, or seen as a message) or by the user's.
 */
import type { ClientFrame, ErrorBody, FileView } from '@posthouse/contract/http'

export interface OutgoingMessage {
  readonly id: string
  readonly conversation_id: string
  readonly text: string
  readonly files: readonly FileView[]
  /** The own earlier message that this one takes the place of. */
  readonly replaces?: string
  /** Epoch milliseconds; also the order. */
  readonly created_at: number
  /** Why the server did not take it. The user decides what becomes of it. */
  readonly refused?: { readonly code: ErrorBody['error']['code']; readonly message: string }
}

/** Where unconfirmed messages survive a reload. */
interface OutgoingStore {
  list(): Promise<readonly OutgoingMessage[]>
  put(message: OutgoingMessage): Promise<void>
  remove(id: string): Promise<void>
}

export interface OutgoingOptions {
  readonly store: OutgoingStore
  /** Puts a frame on the wire; false when there is no connection. */
  readonly transmit: (frame: ClientFrame) => boolean
  readonly changed: () => void
  /** False for what another tab is to send. */
  readonly maySend: (message: OutgoingMessage) => boolean
  /** Calls back after so many milliseconds; returns how to prevent it. */
  readonly after: (milliseconds: number, action: () => void) => () => void
}

export interface Outgoing {
  /** Reads what an earlier page left behind, or what another tab has written. */
  load(): Promise<void>
  list(): readonly OutgoingMessage[]
  /** Resolves when the message is stored; it goes out as soon as it can. */
  add(message: OutgoingMessage): Promise<void>
  /** Takes a message back that is not on its way. */
  cancel(id: string): Promise<void>
  /** Sends a refused message once more. */
  retry(id: string): Promise<void>
  /** Ids of those that were put on the wire and not answered yet. */
  underway(): ReadonlySet<string>
  connected(): void
  disconnected(): void
  accepted(id: string): Promise<void>
  refused(id: string, reason: NonNullable<OutgoingMessage['refused']>, retryAfter: number | undefined): Promise<void>
  clear(): void
}

/** After so long without an answer over a living connection the same frame goes out again. */
const REPEAT_AFTER = 20_000
const LONGEST_WAIT = 60_000

export function createOutgoing({ store, transmit, changed, maySend, after }: OutgoingOptions): Outgoing {
  let messages: readonly OutgoingMessage[] = []
  let online = false
  /** Conversation -> the message on its way, and how to stop its timer. */
  const underway = new Map<string, { id: string; cancelTimer: () => void }>()

  const sorted = (list: readonly OutgoingMessage[]) => [...list].sort((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1))

  function release(id: string) {
    for (const [conversation, entry] of underway) {
      if (entry.id !== id) continue
      entry.cancelTimer()
      underway.delete(conversation)
    }
  }

  function drop(id: string) {
    release(id)
    const rest = messages.filter((message) => message.id !== id)
    if (rest.length === messages.length) return false
    messages = rest
    changed()
    return true
  }

  function flush() {
    if (!online) return
    const looked = new Set<string>()
    for (const message of messages) {
      if (message.refused || looked.has(message.conversation_id)) continue
      looked.add(message.conversation_id)
      if (underway.has(message.conversation_id) || !maySend(message)) continue
      const frame: ClientFrame = {
        type: 'send',
        id: message.id,
        conversation_id: message.conversation_id,
        text: message.text,
        ...(message.files.length > 0 ? { files: message.files.map((file) => file.id) } : {}),
        ...(message.replaces ? { replaces: message.replaces } : {}),
      }
      if (!transmit(frame)) return
      hold(message, REPEAT_AFTER)
    }
  }

  /** Keeps the conversation's place taken for a while, then looks again. */
  function hold(message: OutgoingMessage, milliseconds: number) {
    underway.get(message.conversation_id)?.cancelTimer()
    const cancelTimer = after(milliseconds, () => {
      release(message.id)
      flush()
    })
    underway.set(message.conversation_id, { id: message.id, cancelTimer })
    changed()
  }

  return {
    async load() {
      const stored = await store.list()
      messages = sorted(stored)
      for (const { id } of [...underway.values()]) if (!messages.some((message) => message.id === id)) release(id)
      changed()
      flush()
    },
    list: () => messages,
    async add(message) {
      messages = sorted([...messages, message])
      changed()
      // Stored before sent: a page that dies in between still knows that it may have been sent.
      await store.put(message).catch(() => undefined)
      flush()
    },
    async cancel(id) {
      if (drop(id)) await store.remove(id)
      flush()
    },
    async retry(id) {
      const found = messages.find((message) => message.id === id)
      if (!found) return
      const { refused: _, ...again } = found
      messages = messages.map((message) => (message.id === id ? again : message))
      changed()
      await store.put(again).catch(() => undefined)
      flush()
    },
    underway: () => new Set(online ? [...underway.values()].map(({ id }) => id) : []),
    connected() {
      online = true
      flush()
    },
    disconnected() {
      online = false
      for (const { id } of [...underway.values()]) release(id)
      changed()
    },
    async accepted(id) {
      const known = drop(id)
      flush()
      if (known) await store.remove(id).catch(() => undefined)
    },
    async refused(id, reason, retryAfter) {
      const found = messages.find((message) => message.id === id)
      if (!found) return
      if (retryAfter !== undefined) return hold(found, Math.min(Math.max(retryAfter, 250), LONGEST_WAIT))
      release(id)
      const refused = { ...found, refused: reason }
      messages = messages.map((message) => (message.id === id ? refused : message))
      changed()
      flush()
      await store.put(refused).catch(() => undefined)
    },
    clear() {
      for (const { id } of [...underway.values()]) release(id)
      messages = []
      changed()
    },
  }
}
