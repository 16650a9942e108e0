/** The list of conversations: pages from the server, what the socket tells, what was kept in the browser, deletion that can be undone. */
import type { ConversationsResponse, ConversationView } from '@posthouse/contract/http'
import { type InfiniteData, type QueryClient, useInfiniteQuery, useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ApiError, api } from '../shared/api.ts'
import { notify } from '../shared/ui/toast.tsx'
import { useWorld } from './chat-context.tsx'
import type { OutgoingMessage } from './outgoing.ts'

type Pages = InfiniteData<ConversationsResponse, number | undefined>

const KEY = ['conversations']
/** How long a deletion can be undone. */
const UNDO_FOR = 10_000

const conversationsQuery = {
  queryKey: KEY,
  queryFn: ({ pageParam }: { pageParam: number | undefined }) => api.conversations(pageParam),
  initialPageParam: undefined as number | undefined,
  getNextPageParam: (last: ConversationsResponse) => last.before,
}

/** Puts a conversation on top of the list, or changes it there. */
export function putConversation(client: QueryClient, conversation: ConversationView): void {
  client.setQueryData<Pages>(KEY, (data) => {
    const pages = data?.pages ?? [{ conversations: [] }]
    const without = pages.map((page) => ({ ...page, conversations: page.conversations.filter((one) => one.id !== conversation.id) }))
    const [first, ...rest] = without
    const top = [...(first?.conversations ?? []), conversation].sort((a, b) => b.updated_at - a.updated_at)
    return { pages: [{ ...first, conversations: top }, ...rest], pageParams: data?.pageParams ?? [undefined] }
  })
}

export function dropConversation(client: QueryClient, id: string): void {
  client.setQueryData<Pages>(
    KEY,
    (data) =>
      data && { ...data, pages: data.pages.map((page) => ({ ...page, conversations: page.conversations.filter((one) => one.id !== id) })) },
  )
}

export function useConversations(outgoing: readonly OutgoingMessage[]) {
  const { t } = useTranslation()
  const { storage, chat } = useWorld()
  const client = useQueryClient()
  const query = useInfiniteQuery(conversationsQuery)
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const [kept, setKept] = useState<readonly ConversationView[]>([])

  useEffect(() => {
    storage.list().then(
      (list) => setKept(list ?? []),
      () => undefined,
    )
  }, [storage])

  const known = query.data?.pages
  useEffect(() => {
    if (known) storage.keepList(known.flatMap((page) => page.conversations).slice(0, 200)).catch(() => undefined)
  }, [known, storage])

  const conversations = useMemo(() => {
    const list = known ? known.flatMap((page) => page.conversations) : kept
    // A conversation that so far exists only here, in an unsent message.
    const begun = new Map<string, ConversationView>()
    for (const { conversation_id, text, created_at } of outgoing) {
      if (begun.has(conversation_id) || list.some((one) => one.id === conversation_id)) continue
      begun.set(conversation_id, { id: conversation_id, title: text.slice(0, 60), created_at, updated_at: created_at })
    }
    return [...begun.values(), ...list].filter((one) => !hidden.has(one.id))
  }, [known, kept, outgoing, hidden])

  const rename = useCallback(
    async (id: string, title: string) => {
      const before = conversations.find((one) => one.id === id)
      if (before) putConversation(client, { ...before, title })
      try {
        putConversation(client, (await api.rename(id, title)) ?? { ...before, title })
      } catch (error) {
        if (before) putConversation(client, before)
        notify({ id: `rename-${id}`, text: t('conversation.renameFailed', { reason: t(`error.${codeOf(error)}`) }), lasts: 8000 })
      }
    },
    [client, conversations, t],
  )

  const setGone = useCallback((id: string, gone: boolean) => {
    setHidden((before) => {
      const next = new Set(before)
      if (gone) next.add(id)
      else next.delete(id)
      return next
    })
  }, [])

  const remove = useCallback(
    (id: string) => {
      setGone(id, true)
      const removeNow = () => {
        api.remove(id).then(
          () => {
            dropConversation(client, id)
            chat.forget(id)
          },
          (error: unknown) => {
            if (error instanceof ApiError && error.code === 'not-found') return dropConversation(client, id)
            setGone(id, false)
            notify({ id: `delete-${id}`, text: t('conversation.deleteFailed', { reason: t(`error.${codeOf(error)}`) }), lasts: 8000 })
          },
        )
      }
      const action = { label: t('undo'), run: () => setGone(id, false) }
      notify({ id: `delete-${id}`, text: t('conversation.deleted'), action, lasts: UNDO_FOR, onGone: removeNow })
    },
    [chat, client, setGone, t],
  )

  const { hasNextPage, isFetchingNextPage, fetchNextPage } = query
  const loadMore = useCallback(() => void fetchNextPage(), [fetchNextPage])
  return { conversations, rename, remove, more: { exists: hasNextPage, loading: isFetchingNextPage, load: loadMore } }
}

function codeOf(error: unknown): ApiError['code'] {
  return error instanceof ApiError ? error.code : 'internal'
}
