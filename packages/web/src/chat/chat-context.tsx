import type { MeResponse } from '@posthouse/contract/http'
import { createContext, useContext, useSyncExternalStore } from 'react'
import type { Storage } from '../shared/storage.ts'
import type { Chat, ChatSnapshot } from './chat.ts'

export interface ChatWorld {
  readonly chat: Chat
  readonly storage: Storage
  readonly me: MeResponse
}

const Context = createContext<ChatWorld | undefined>(undefined)
export const ChatProvider = Context.Provider

export function useWorld(): ChatWorld {
  const world = useContext(Context)
  if (!world) throw new Error('There is no chat around this component.')
  return world
}

/** One part of the chat's state; drawn anew only when that part has changed. */
export function useChatState<T>(select: (snapshot: ChatSnapshot) => T): T {
  const { chat } = useWorld()
  return useSyncExternalStore(chat.subscribe, () => select(chat.snapshot()))
}
