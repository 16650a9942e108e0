/** Tickets within one process: handed on in the next turn of the event loop. */
import type { Broker, TakeTicket } from '../ports/broker.ts'

/** No ticket gets lost here; what an operator lets go again has none. */
const SWEEP_EVERY = 2000

export function createEmbeddedBroker(): Broker {
  let take: TakeTicket | undefined
  let closed = false
  return {
    problem: undefined,
    sweepEvery: SWEEP_EVERY,
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
