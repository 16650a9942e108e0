/** What is shown while it happens: drafts and frames for open sockets. Best effort; whoever misses one asks the store. */
import type { ServerFrame } from '@posthouse/contract/http'

export interface Live {
  /**
   * Topics are `conversation:<id>` and `user:<id>`. Never throws, never waits. Pieces of a draft reach other nodes from when one of them said
   * `show` until the turn ends.
   */
  publish(topic: string, frame: ServerFrame): void
  /** `missed`: frames of other nodes may have been lost; the store has what they said. */
  subscribe(topic: string, listener: (frame: ServerFrame) => void, missed?: () => void): Disposable
  /** Says a word about a topic to the other nodes. It may get lost. Never throws, never waits. */
  tell(topic: string, word: LiveWord): void
  /** Hears what other nodes say. */
  heed(listener: (topic: string, word: LiveWord) => void): void
  /** Frames of other nodes do not come in just now: what they do is in the store. */
  readonly deaf: boolean
}

/** `show`: whoever is at work on it shows all that is there; `stop`: the database says that it was stopped. */
export type LiveWord = 'show' | 'stop'

export const conversationTopic = (id: string) => `conversation:${id}`
export const userTopic = (id: string) => `user:${id}`
