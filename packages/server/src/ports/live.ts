/** What is shown while it happens: drafts and frames for open sockets. Best effort; whoever misses one asks the store. */
import type { ServerFrame } from '@posthouse/contract/http'

export interface Live {
  /** Topics are `conversation:<id>` and `user:<id>`. Never throws, never waits. */
  publish(topic: string, frame: ServerFrame): void
  /** `missed`: frames of other nodes may have been lost; the store has what they said. */
  subscribe(topic: string, listener: (frame: ServerFrame) => void, missed?: () => void): Disposable
}

export const conversationTopic = (id: string) => `conversation:${id}`
export const userTopic = (id: string) => `user:${id}`
