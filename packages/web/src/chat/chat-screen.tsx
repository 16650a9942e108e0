import type { FileView } from '@posthouse/contract/http'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { newId } from '../shared/identity.ts'
import { useChatState, useWorld } from './chat-context.tsx'
import { emptyConversation } from './chat-state.ts'
import { Composer } from './composer.tsx'
import { ConnectionLine } from './connection-line.tsx'
import { ConversationDrawer, ConversationPanel } from './conversation-list.tsx'
import { useConversations } from './conversations.ts'
import { EmptyState } from './empty-state.tsx'
import { Header } from './header.tsx'
import type { MessageVerbs } from './message-view.tsx'
import { useModels } from './models.ts'
import { SettingsDialog } from './settings-dialog.tsx'
import { useShortcuts } from './shortcuts.ts'
import { type Choices, showsLatest, threadOf } from './thread.ts'
import { draftBehind, ThreadView } from './thread-view.tsx'

/** An own message that is being written anew. */
export interface Editing {
  readonly replaces?: string
  readonly text: string
  readonly files: readonly FileView[]
}

/** Without word of a turn, a question younger than this still counts as waiting for its answer (after a restart of the server, say). */
const AWAITED_FOR = 15 * 60 * 1000

export function ChatScreen({ id, onGo }: { id: string | undefined; onGo: (id: string | undefined) => void }) {
  const { chat } = useWorld()
  // A new conversation has its id before its first message.
  const [freshId, setFreshId] = useState(newId)
  const current = id ?? freshId
  const conversation = useChatState((state) => state.conversations.get(current)) ?? emptyConversation(current)
  const allOutgoing = useChatState((state) => state.outgoing)
  const awaiting = useChatState((state) => state.awaiting.has(current))
  const stopping = useChatState((state) => state.stopping.has(current))
  const { conversations, rename, remove, more } = useConversations(allOutgoing)
  const { models } = useModels()
  const [choices, setChoices] = useState<Choices>({})
  const [editing, setEditing] = useState<Editing>()
  const [drawer, setDrawer] = useState(false)
  const [settings, setSettings] = useState(false)
  const composer = useRef<HTMLTextAreaElement>(null)
  const jump = useRef(() => {})

  useEffect(() => {
    setEditing(undefined)
    setChoices({})
    if (id !== undefined) chat.open(id).catch(() => undefined)
    if (!window.matchMedia('(pointer: coarse)').matches) composer.current?.focus()
  }, [chat, id])

  const outgoing = useMemo(() => allOutgoing.filter((message) => message.conversation_id === current), [allOutgoing, current])
  const entries = useMemo(() => threadOf(conversation.messages, outgoing, choices), [conversation.messages, outgoing, choices])
  const last = entries.at(-1)
  const awaited =
    awaiting || (last?.kind === 'message' && last.message.role === 'user' && Math.abs(Date.now() - last.message.created_at) < AWAITED_FOR)
  const draft = showsLatest(entries) ? draftBehind(conversation, entries, awaited) : undefined
  const answering = draft !== undefined || conversation.turn !== undefined

  const focusComposer = useCallback(() => composer.current?.focus(), [])

  const send = useCallback(
    (text: string, files: readonly FileView[], replaces?: string) => {
      setChoices({})
      setEditing(undefined)
      if (id === undefined) {
        chat.open(current, true).catch(() => undefined)
        onGo(current)
        setFreshId(newId())
      }
      chat.send({ conversation: current, text, files, ...(replaces ? { replaces } : {}) }).catch(() => undefined)
      jump.current()
    },
    [chat, current, id, onGo],
  )

  const messages = conversation.messages
  const verbs = useMemo<MessageVerbs>(
    () => ({
      edit: (message) => setEditing({ replaces: message.id, text: message.text, files: message.files }),
      askAgain: (message) => {
        const question = message.role === 'user' ? message : messages.find((one) => one.id === message.reply_to)
        if (question) send(question.text, question.files, question.id)
        focusComposer()
      },
      choose: (place, child) => setChoices((before) => ({ ...before, [place]: child })),
      cancel: (waiting) => {
        chat.cancel(waiting.id).catch(() => undefined)
        focusComposer()
      },
      resend: (waiting) => {
        chat.retry(waiting.id).catch(() => undefined)
        focusComposer()
      },
      rewrite: (waiting) => {
        chat.cancel(waiting.id).catch(() => undefined)
        setEditing({ text: waiting.text, files: waiting.files, ...(waiting.replaces ? { replaces: waiting.replaces } : {}) })
      },
    }),
    [chat, messages, send, focusComposer],
  )

  const stop = useCallback(() => {
    chat.stop(current)
    focusComposer()
  }, [chat, current, focusComposer])

  const startNew = useCallback(() => {
    setDrawer(false)
    onGo(undefined)
    setTimeout(focusComposer)
  }, [onGo, focusComposer])

  useShortcuts({ onNew: startNew, onFocus: focusComposer, onStop: answering && !stopping ? stop : undefined })

  const go = (next: string) => {
    setDrawer(false)
    onGo(next)
  }
  const removeHere = (gone: string) => {
    if (gone === id) onGo(undefined)
    remove(gone)
  }
  const list = {
    more,
    conversations,
    current: id,
    onGo: go,
    onNew: startNew,
    onRename: rename,
    onRemove: removeHere,
    onSettings: () => setSettings(true),
  }
  const title = conversations.find((one) => one.id === id)?.title
  const blank = id === undefined || (conversation.loaded && entries.length === 0 && !draft)

  useEffect(() => {
    document.title = title ? `${title} · Posthouse` : 'Posthouse'
  }, [title])

  return (
    <div className="flex h-screen-free overflow-hidden">
      <ConversationPanel {...list} />
      <ConversationDrawer {...list} open={drawer} onClose={() => setDrawer(false)} />
      <div className="flex min-w-0 flex-1 flex-col">
        <Header title={title} onMenu={() => setDrawer(true)} onNew={startNew} />
        <main className="flex min-h-0 flex-1 flex-col">
          <ConnectionLine />
          {blank ? (
            <EmptyState onPrompt={(text) => setEditing({ text, files: [] })} />
          ) : (
            <ThreadView conversation={conversation} entries={entries} draft={draft} verbs={verbs} jump={jump} />
          )}
          <div className="mx-auto w-full max-w-3xl px-3 pb-[max(0.75rem,env(safe-area-inset-bottom))] sm:px-6 sm:pb-5">
            <Composer
              draftKey={id ?? 'new'}
              box={composer}
              editing={editing}
              answering={answering}
              stopping={stopping}
              vision={models?.models.find((model) => model.id === models.current)?.vision}
              onSend={(text, files) => send(text, files, editing?.replaces)}
              onStop={stop}
              onEditEnd={() => setEditing(undefined)}
            />
          </div>
        </main>
      </div>
      <SettingsDialog open={settings} onClose={() => setSettings(false)} onClosed={focusComposer} />
    </div>
  )
}
