/** Live frames within one process. */
import type { ServerFrame } from '@posthouse/contract/http'
import type { Live } from '../ports/live.ts'

export function createSingleLive(): Live {
  const topics = new Map<string, Set<(frame: ServerFrame) => void>>()
  return {
    publish(topic, frame) {
      const listeners = topics.get(topic)
      if (listeners) for (const listener of listeners) listener(frame)
    },
    subscribe(topic, listener) {
      const listeners = topics.get(topic) ?? new Set()
      topics.set(topic, listeners)
      listeners.add(listener)
      return {
        [Symbol.dispose]() {
          listeners.delete(listener)
          if (listeners.size === 0) topics.delete(topic)
        },
      }
    },
  }
}
