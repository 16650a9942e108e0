/** The identity of a conversation. */
import type { Place } from './message.ts'

/** Account, room and thread: what makes a conversation this one and no other. */
export interface ConversationKey {
  readonly account: string
  readonly room: string
  readonly thread: string
}

/** The conversation that a message written at `place` belongs to. */
export function conversationKey(account: string, place: Place): ConversationKey {
  return { account, room: place.room, thread: place.thread ?? '' }
}
