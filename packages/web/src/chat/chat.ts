/**
 * The chat behind the screen: holds conversations and unsent messages, talks over the connection, keeps copies in the browser.
 * No React here; components read snapshots and call verbs.
 */
import type { ConversationView, FileView, MeResponse, MessageView, ServerFrame } from '@posthouse/contract/http'
import { ApiError, api } from '../shared/api.ts'
import { type Connection, type ConnectionOptions, type ConnectionStatus, createConnection } from '../shared/connection.ts'
import { newId } from '../shared/identity.ts'
import type { Storage } from '../shared/storage.ts'
import {
  applyFrame,
  type Conversation,
  emptyConversation,
  keepable,
  mergeMessages,
  withLatestPage,
  withOlderPage,
  withoutConnection,
} from './chat-state.ts'
import { createOutgoing, type OutgoingMessage } from './outgoing.ts'

export interface ChatSnapshot {
  readonly status: ConnectionStatus
  readonly conversations: ReadonlyMap<string, Conversation>
  readonly outgoing: readonly OutgoingMessage[]
  /** Ids of the outgoing ones that are on the wire at this moment. */
  readonly underway: ReadonlySet<string>
  /** Conversations whose answer was asked to stop and has not ended yet. */
  readonly stopping: ReadonlySet<string>
  /** Conversations whose latest message was confirmed here and waits for its turn. */
  readonly awaiting: ReadonlySet<string>
  /** Conversations whose history could not be read. */
  readonly failed: ReadonlyMap<string, ApiError>
  /** Conversations of which an older page is on its way. */
  readonly loadingOlder: ReadonlySet<string>
}

export interface ChatOptions {
  readonly owner: MeResponse
  readonly storage: Storage
  readonly connect: Pick<ConnectionOptions, 'openSocket' | 'probe' | 'now' | 'after' | 'random'>
  readonly onConversation: (conversation: ConversationView) => void
  readonly onConversationDeleted: (id: string) => void
  /** The server runs another version than when this page was loaded. */
  readonly onUpdate: () => void
  /** Somebody else is signed in now: what is on the screen isn't theirs. */
  readonly onOtherOwner: () => void
  readonly onError: (code: ApiError['code']) => void
  /** Runs an action before the next drawing. */
  readonly beforePaint: (action: () => void) => void
}

export interface NewMessage {
  readonly conversation: string
  readonly text: string
  readonly files: readonly FileView[]
  readonly replaces?: string
}

/** So many conversations stay subscribed, the latest opened ones. */
const SUBSCRIBED = 6
const KEPT_MESSAGES = 80
const KEEP_AFTER = 400
const STOP_AGAIN_AFTER = 10_000

export type Chat = ReturnType<typeof createChat>

export function createChat(options: ChatOptions) {
  const { storage, connect } = options
  const channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel('posthouse') : undefined
  const written = new Set<string>()
  /** Latest opened first. */
  let wanted: readonly string[] = []
  let version: string | undefined
  let drawing = false
  const listeners = new Set<() => void>()
  let snapshot: ChatSnapshot = {
    status: 'connecting',
    conversations: new Map(),
    outgoing: [],
    underway: new Set(),
    stopping: new Set(),
    awaiting: new Set(),
    failed: new Map(),
    loadingOlder: new Set(),
  }
  let shown = snapshot

  function change(part: Partial<ChatSnapshot>) {
    snapshot = { ...snapshot, ...part }
    if (drawing) return
    drawing = true
    options.beforePaint(() => {
      drawing = false
      shown = snapshot
      for (const listener of listeners) listener()
    })
  }

  const including = <T>(set: ReadonlySet<T>, value: T, present: boolean): ReadonlySet<T> => {
    if (set.has(value) === present) return set
    const next = new Set(set)
    if (present) next.add(value)
    else next.delete(value)
    return next
  }

  function update(id: string, next: (conversation: Conversation) => Conversation): void {
    const before = snapshot.conversations.get(id)
    if (!before) return
    const after = next(before)
    if (after === before) return
    change({ conversations: new Map(snapshot.conversations).set(id, after) })
    if (after.messages !== before.messages || after.before !== before.before) keepSoon(id)
  }

  // ---- Kept copies ----

  const unkept = new Map<string, () => void>()

  function keepSoon(id: string) {
    if (!unkept.has(id))
      unkept.set(
        id,
        connect.after(KEEP_AFTER, () => keepNow(id)),
      )
  }

  function keepNow(id: string) {
    unkept.get(id)?.()
    unkept.delete(id)
    const conversation = snapshot.conversations.get(id)
    if (!conversation?.loaded || conversation.messages.length === 0) return
    storage.keepConversation({ ...keepable(conversation, KEPT_MESSAGES), opened_at: connect.now() }).catch(() => undefined)
  }

  // ---- Coming and going of the connection ----

  const connection: Connection = createConnection({
    ...connect,
    onFrame: receive,
    onStatus(status) {
      if (status !== 'open' && snapshot.status === 'open') {
        outgoing.disconnected()
        for (const id of snapshot.conversations.keys()) update(id, withoutConnection)
      }
      change({ status })
    },
  })

  const outgoing = createOutgoing({
    store: storage.outgoing,
    transmit: (frame) => connection.send(frame),
    changed: () => change({ outgoing: outgoing.list(), underway: outgoing.underway() }),
    maySend: (message) => written.has(message.id) || document.visibilityState === 'visible',
    after: connect.after,
  })
  const tellTabs = () => channel?.postMessage({ kind: 'outgoing' })
  if (channel) {
    channel.onmessage = (event: MessageEvent<{ kind?: string }>) => {
      if (event.data.kind === 'outgoing') outgoing.load().catch(() => undefined)
      if (event.data.kind === 'signed-out') options.onOtherOwner()
    }
  }

  function sync(id: string) {
    const conversation = snapshot.conversations.get(id)
    if (!conversation || connection.status() !== 'open') return
    if (conversation.loaded) {
      connection.send({ type: 'subscribe', conversation_id: id, after: conversation.resume })
      if (conversation.messages.length > 0) refresh(id)
      return
    }
    refresh(id, () => {
      const resume = snapshot.conversations.get(id)?.resume ?? 0
      connection.send({ type: 'subscribe', conversation_id: id, after: resume })
    })
  }

  const refreshing = new Set<string>()

  /** Reads the newest page: the first look at a conversation, and the way to learn what took the place of what. */
  function refresh(id: string, then?: () => void) {
    if (refreshing.has(id)) return
    refreshing.add(id)
    const seen = snapshot.conversations.get(id)?.resume
    api
      .history(id)
      .then((page) => update(id, (conversation) => withLatestPage(conversation, page, seen)))
      .catch((error: unknown) => {
        if (error instanceof ApiError && error.code === 'not-found')
          return update(id, (conversation) => ({ ...conversation, loaded: true }))
        if (!snapshot.conversations.get(id)?.loaded) {
          const reason = error instanceof ApiError ? error : new ApiError('internal', 0)
          change({ failed: new Map(snapshot.failed).set(id, reason) })
        }
      })
      .finally(() => {
        refreshing.delete(id)
        if (!snapshot.conversations.get(id)?.loaded) return
        const failed = new Map(snapshot.failed)
        if (failed.delete(id)) change({ failed })
        then?.()
      })
  }

  function receive(frame: ServerFrame) {
    switch (frame.type) {
      case 'welcome': {
        if (frame.user.id !== options.owner.id) return options.onOtherOwner()
        if (version !== undefined && version !== frame.version) options.onUpdate()
        version = frame.version
        // Subscribed first, so that what follows from our own messages is seen.
        for (const id of wanted) sync(id)
        outgoing.connected()
        return
      }
      case 'accepted':
        accept(frame.id, frame.message)
        update(frame.message.conversation_id, (conversation) => applyFrame(conversation, frame))
        return
      case 'refused':
        outgoing
          .refused(frame.id, { code: frame.code, message: frame.message }, frame.retry_after)
          .then(tellTabs)
          .catch(() => undefined)
        return
      case 'message': {
        const { message } = frame
        const own = message.client_id !== undefined && accept(message.client_id, message)
        const known = snapshot.conversations.get(message.conversation_id)?.messages.some(({ id }) => id === message.id)
        update(message.conversation_id, (conversation) => applyFrame(conversation, frame))
        // Written elsewhere: it may have taken the place of another message, which only the history tells.
        if (message.role === 'user' && !own && !known) refresh(message.conversation_id)
        if (message.role !== 'user') settle(message.conversation_id)
        return
      }
      case 'synced':
      case 'turn':
      case 'delta': {
        const id = frame.conversation_id
        const wasTorn = snapshot.conversations.get(id)?.torn
        update(id, (conversation) => applyFrame(conversation, frame))
        if (!wasTorn && snapshot.conversations.get(id)?.torn) return sync(id)
        if (frame.type === 'delta') return
        if (frame.turn?.state === 'running') {
          change({ awaiting: including(snapshot.awaiting, id, false) })
          if (snapshot.stopping.has(id)) connection.send({ type: 'stop', conversation_id: id })
        } else if (frame.type === 'turn') settle(id)
        else if (!snapshot.awaiting.has(id)) change({ stopping: including(snapshot.stopping, id, false) })
        return
      }
      case 'conversation':
        return options.onConversation(frame.conversation)
      case 'conversation-deleted':
        forget(frame.conversation_id)
        return options.onConversationDeleted(frame.conversation_id)
      case 'error':
        // The socket closes after that one, and sign-in is asked for.
        return frame.code === 'unauthorized' ? undefined : options.onError(frame.code)
      case 'pong':
        return
    }
  }

  /** The server has our message. Answers whether it was one that we waited for. */
  function accept(clientId: string, message: MessageView): boolean {
    const sent = snapshot.outgoing.find(({ id }) => id === clientId)
    if (!sent) return written.has(clientId)
    const { replaces } = sent
    if (replaces) {
      update(message.conversation_id, (conversation) => {
        const old = conversation.messages.find(({ id }) => id === replaces)
        return old
          ? { ...conversation, messages: mergeMessages(conversation.messages, [{ ...old, replaced_by: message.id }]) }
          : conversation
      })
    }
    update(message.conversation_id, (conversation) => ({ ...conversation, messages: mergeMessages(conversation.messages, [message]) }))
    change({ awaiting: including(snapshot.awaiting, message.conversation_id, true) })
    // A stop that was pressed while the message was on its way might have overtaken it.
    if (snapshot.stopping.has(message.conversation_id)) connection.send({ type: 'stop', conversation_id: message.conversation_id })
    outgoing
      .accepted(clientId)
      .then(tellTabs)
      .catch(() => undefined)
    return true
  }

  function settle(id: string) {
    change({ stopping: including(snapshot.stopping, id, false), awaiting: including(snapshot.awaiting, id, false) })
  }

  function forget(id: string) {
    wanted = wanted.filter((one) => one !== id)
    unkept.get(id)?.()
    unkept.delete(id)
    const conversations = new Map(snapshot.conversations)
    conversations.delete(id)
    change({ conversations })
    storage.forgetConversation(id).catch(() => undefined)
  }

  return {
    snapshot: () => shown,
    subscribe(listener: () => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    start() {
      outgoing.load().catch(() => undefined)
      connection.start()
    },
    /** The page woke, the network is back, or somebody signed in. */
    wake() {
      connection.wake()
      if (connection.status() === 'open') outgoing.connected()
    },
    /** Writes down what is not kept yet: the page may go. */
    keepAll() {
      for (const id of [...unkept.keys()]) keepNow(id)
    },
    /** Shows a conversation: from the kept copy at once, then from the server. `fresh`: it begins here. */
    async open(id: string, fresh = false) {
      wanted = [id, ...wanted.filter((one) => one !== id)]
      for (const left of wanted.slice(SUBSCRIBED)) {
        connection.send({ type: 'unsubscribe', conversation_id: left })
        update(left, (conversation) => ({ ...withoutConnection(conversation), turn: undefined }))
      }
      wanted = wanted.slice(0, SUBSCRIBED)
      const present = snapshot.conversations.get(id)
      if (present?.synced) return
      if (!present) {
        change({ conversations: new Map(snapshot.conversations).set(id, { ...emptyConversation(id), loaded: fresh }) })
        const kept = fresh ? undefined : await storage.conversation(id).catch(() => undefined)
        if (kept) update(id, (conversation) => (conversation.loaded ? conversation : { ...conversation, ...keptState(kept), loaded: true }))
      }
      sync(id)
    },
    /** Reads the history of a conversation once more after a failure. */
    reload: (id: string) => {
      const failed = new Map(snapshot.failed)
      failed.delete(id)
      change({ failed })
      connection.wake()
      sync(id)
    },
    async loadOlder(id: string) {
      const before = snapshot.conversations.get(id)?.before
      if (before === undefined || snapshot.loadingOlder.has(id)) return
      change({ loadingOlder: including(snapshot.loadingOlder, id, true) })
      try {
        const page = await api.history(id, before)
        update(id, (conversation) => withOlderPage(conversation, page))
      } finally {
        change({ loadingOlder: including(snapshot.loadingOlder, id, false) })
      }
    },
    async send({ conversation, text, files, replaces }: NewMessage) {
      const id = newId()
      written.add(id)
      change({ stopping: including(snapshot.stopping, conversation, false) })
      const created_at = Math.max(connect.now(), (snapshot.outgoing.at(-1)?.created_at ?? 0) + 1)
      await outgoing.add({ id, conversation_id: conversation, text, files, created_at, ...(replaces ? { replaces } : {}) })
      tellTabs()
    },
    /** Stops the answer of a conversation; repeated by itself until its turn has ended. */
    stop(id: string) {
      change({ stopping: including(snapshot.stopping, id, true) })
      connection.send({ type: 'stop', conversation_id: id })
      // The button comes back if nothing was there to stop.
      connect.after(STOP_AGAIN_AFTER, () => change({ stopping: including(snapshot.stopping, id, false) }))
    },
    async cancel(id: string) {
      await outgoing.cancel(id)
      tellTabs()
    },
    async retry(id: string) {
      written.add(id)
      await outgoing.retry(id)
    },
    forget,
    /** Ends it all and erases what this browser keeps. */
    async signOut() {
      connection.close()
      outgoing.clear()
      for (const cancel of unkept.values()) cancel()
      unkept.clear()
      await storage.clear()
      channel?.postMessage({ kind: 'signed-out' })
    },
    close() {
      connection.close()
      channel?.close()
    },
  }
}

function keptState(kept: { messages: readonly MessageView[]; resume: number; before: number | undefined }) {
  return { messages: kept.messages, resume: kept.resume, before: kept.before }
}
