/** Tickets within one process: handed on in the next turn of the event loop. */
import type { Broker, Ticket } from '../ports/broker.ts'

export function createEmbeddedBroker(): Broker {
  let take: ((ticket: Ticket) => void) | undefined
  let closed = false
  return {
    publish(ticket) {
      setImmediate(() => {
        if (!closed) take?.(ticket)
      })
    },
    consume(consumer) {
      take = consumer
    },
    async [Symbol.asyncDispose]() {
      closed = true
    },
  }
}
