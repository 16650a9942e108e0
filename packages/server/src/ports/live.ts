/** What is shown while it happens: drafts and frames for open sockets. Best effort; whoever misses one asks the store. */
import type { ServerFrame } from '@posthouse/contract/http'

export interface Live {
  /** Topics are `conversation:<id>` and `user:<id>`. Never throws, never waits. */
  publish(topic: string, frame: ServerFrame): void
  subscribe(topic: string, listener: (frame: ServerFrame) => void): Disposable
}

export const conversationTopic = (id: string) => `conversation:${id}`
export const userTopic = (id: string) => `user:${id}`
