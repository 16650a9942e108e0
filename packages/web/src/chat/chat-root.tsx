/** Brings the chat to life for one person: connection, storage, wake-ups; and takes it down again. */
import type { MeResponse } from '@posthouse/contract/http'
import { useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react'
import { useTranslation } from 'react-i18next'
import { useHashLocation } from 'wouter/use-hash-location'
import { SignInDialog } from '../entry/sign-in-dialog.tsx'
import { ApiError, api } from '../shared/api.ts'
import type { Socket } from '../shared/connection.ts'
import type { Storage } from '../shared/storage.ts'
import { endNotices, notify } from '../shared/ui/toast.tsx'
import { type Chat, createChat } from './chat.ts'
import { ChatProvider } from './chat-context.tsx'
import { ChatScreen } from './chat-screen.tsx'
import { dropConversation, putConversation } from './conversations.ts'

const PLACE = /^\/c\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i

/** Before the next drawing; in a hidden tab, where nothing is drawn, a little later. */
function beforePaint(action: () => void): void {
  if (document.visibilityState === 'visible') requestAnimationFrame(action)
  else setTimeout(action, 200)
}

async function probe(): Promise<'signed-in' | 'signed-out' | 'unknown'> {
  try {
    await api.me()
    return 'signed-in'
  } catch (error) {
    return error instanceof ApiError && error.code === 'unauthorized' ? 'signed-out' : 'unknown'
  }
}

function useChat(me: MeResponse, storage: Storage): Chat | undefined {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [chat, setChat] = useState<Chat>()
  // biome-ignore lint/correctness/useExhaustiveDependencies: words may change, the chat stays
  useEffect(() => {
    let running: Chat | undefined
    let gone = false
    const begin = () => {
      if (gone) return
      running = createChat({
        owner: me,
        storage,
        connect: {
          openSocket: () => new WebSocket(new URL('/ws', location.href.replace(/^http/, 'ws'))) as Socket,
          probe,
          now: Date.now,
          after: (milliseconds, action) => {
            const timer = setTimeout(action, milliseconds)
            return () => clearTimeout(timer)
          },
          random: Math.random,
        },
        onConversation: (conversation) => putConversation(client, conversation),
        onConversationDeleted: (id) => {
          dropConversation(client, id)
          if (location.hash === `#/c/${id}`) location.hash = '#/'
        },
        onUpdate: () =>
          notify({ id: 'update', text: t('update.ready'), action: { label: t('update.reload'), run: () => location.reload() } }),
        onOtherOwner: () => location.reload(),
        onError: (code) => notify({ id: 'socket', text: t(`error.${code}`), lasts: 8000 }),
        beforePaint,
      })
      running.start()
      setChat(running)
    }
    storage.adopt(me).then(begin, begin)
    return () => {
      gone = true
      running?.close()
    }
  }, [me, storage, client])
  return chat
}

/** Whatever may mean that the connection has died or come back while nobody looked. */
function useWakeUps(chat: Chat | undefined) {
  useEffect(() => {
    if (!chat) return
    const wake = () => {
      if (document.visibilityState === 'visible') chat.wake()
      else chat.keepAll()
    }
    const leave = () => {
      chat.keepAll()
      endNotices()
    }
    document.addEventListener('visibilitychange', wake)
    window.addEventListener('pageshow', wake)
    window.addEventListener('online', wake)
    window.addEventListener('offline', wake)
    window.addEventListener('pagehide', leave)
    return () => {
      document.removeEventListener('visibilitychange', wake)
      window.removeEventListener('pageshow', wake)
      window.removeEventListener('online', wake)
      window.removeEventListener('offline', wake)
      window.removeEventListener('pagehide', leave)
    }
  }, [chat])
}

const noChat = () => () => {}

export function ChatRoot({ me, storage }: { me: MeResponse; storage: Storage }) {
  const chat = useChat(me, storage)
  useWakeUps(chat)
  const [place, navigate] = useHashLocation()
  const go = useCallback((id: string | undefined) => navigate(id === undefined ? '/' : `/c/${id}`), [navigate])
  const status = useSyncExternalStore(chat?.subscribe ?? noChat, () => chat?.snapshot().status)
  const client = useQueryClient()
  const world = useMemo(() => (chat ? { chat, storage, me } : undefined), [chat, storage, me])
  useEffect(() => {
    // While we were away, conversations may have been renamed or deleted.
    if (status === 'open') void client.invalidateQueries()
  }, [status, client])
  return (
    <>
      {world ? (
        <ChatProvider value={world}>
          <ChatScreen id={PLACE.exec(place)?.[1]} onGo={go} />
        </ChatProvider>
      ) : null}
      <SignInDialog name={me.name} owner={me.id} needed={status === 'signed-out'} onSignedIn={() => chat?.wake()} />
    </>
  )
}
