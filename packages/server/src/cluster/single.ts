/** Live frames within one process. */
import type { ServerFrame } from '@posthouse/contract/http'
import type { Live } from '../ports/live.ts'

export interface LocalLive extends Live {
  /** Whether anybody here listens. */
  has(topic: string): boolean
  /** Tells listeners that they may have missed something; without a topic all of them. */
  missed(topic?: string): void
}

interface Listener {
  readonly listener: (frame: ServerFrame) => void
  readonly missed: (() => void) | undefined
}

/** `deaf`: whether there are other nodes, whose frames do not come in. */
export function createSingleLive(deaf: () => boolean = () => false): LocalLive {
  const topics = new Map<string, Set<Listener>>()
  return {
    publish(topic, frame) {
      const listeners = topics.get(topic)
      if (listeners) for (const { listener } of listeners) listener(frame)
    },
    subscribe(topic, listener, missed) {
      const listeners = topics.get(topic) ?? new Set()
      topics.set(topic, listeners)
      const entry: Listener = { listener, missed }
      listeners.add(entry)
      return {
        [Symbol.dispose]() {
          listeners.delete(entry)
          if (listeners.size === 0 && topics.get(topic) === listeners) topics.delete(topic)
        },
      }
    },
    tell() {},
    heed() {},
    get deaf() {
      return deaf()
    },
    has: (topic) => topics.has(topic),
    missed(topic) {
      const told = topic === undefined ? [...topics.values()] : [topics.get(topic) ?? new Set()]
      for (const listeners of told) for (const { missed } of [...listeners]) missed?.()
    },
  }
}
