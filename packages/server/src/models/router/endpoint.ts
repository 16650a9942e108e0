/** One endpoint with what stands before it: its line, its breaker, its rest after a rate limit. */
import { type Model, ModelError, type ModelFailure, type Priority } from '@posthouse/contract'
import { type Breaker, type BreakerState, createBreaker, type Pass } from './breaker.ts'
import { createLine, type Line, type Places } from './line.ts'

/** A model and how much of it may be used at a time. */
export interface Endpoint {
  readonly model: Model
  /** Calls at the same time; default 64. */
  readonly maxConcurrency?: number
  /** Calls that may wait; default 1000. */
  readonly maxWaiting?: number
}

export interface EndpointStatus {
  readonly id: string
  readonly vision: boolean
  /** `resting`: its rate limit was hit and the wait that it named is not over. */
  readonly state: BreakerState | 'resting'
  /** Milliseconds until it may be called again. */
  readonly wait: number
  readonly active: number
  readonly waiting: number
  /** Epoch milliseconds of the last answer that came whole. */
  readonly answeredAt?: number
  readonly lastError?: { readonly kind: ModelFailure; readonly detail: string; readonly at: number }
}

/** Milliseconds. */
export interface RouterClock {
  now(): number
  elapsed(): number
  /** Calls `task` once, unless disposed before. */
  after(ms: number, task: () => void): Disposable
}

export interface BreakerSettings {
  readonly threshold: number
  readonly coolDown: number
  readonly maxCoolDown: number
}

/** What a failure means for the endpoint and for the call. */
export const failureEffects: Readonly<
  Record<ModelFailure, { readonly endpoint: 'counts' | 'rests' | 'healthy' | 'unknown'; readonly call: 'next' | 'throw' }>
> = {
  timeout: { endpoint: 'counts', call: 'next' },
  connection: { endpoint: 'counts', call: 'next' },
  overloaded: { endpoint: 'counts', call: 'next' },
  'rate-limited': { endpoint: 'rests', call: 'next' },
  auth: { endpoint: 'counts', call: 'next' },
  quota: { endpoint: 'counts', call: 'next' },
  'not-found': { endpoint: 'counts', call: 'next' },
  malformed: { endpoint: 'counts', call: 'next' },
  invalid: { endpoint: 'healthy', call: 'throw' },
  'too-long': { endpoint: 'healthy', call: 'throw' },
  cancelled: { endpoint: 'unknown', call: 'throw' },
}

/** Rest when a provider says "too often" and not for how long; the longest rest that it may ask for. */
const REST = 5000
const LONGEST_REST = 600_000

/** The right to make one call. */
export interface Entry {
  succeeded(): void
  failed(error: ModelError): void
  /** Must be called at the end, whatever happened. */
  leave(): void
}

export interface Gate {
  readonly model: Model
  /** Throws the reason why a call makes no sense now; that was no call. */
  check(): void
  /** Waits for a place. Throws like `check`, and like the line. */
  enter(priority: Priority, signal: AbortSignal): Promise<Entry>
  status(): EndpointStatus
}

export function createGate(
  endpoint: Endpoint,
  { breaker: settings, clock, places }: { breaker: BreakerSettings; clock: RouterClock; places: (all: number) => Places },
): Gate {
  const { model } = endpoint
  const elapsed = () => clock.elapsed()
  const breaker: Breaker = createBreaker({ ...settings, elapsed })
  const line: Line = createLine(places(endpoint.maxConcurrency ?? 64), places(endpoint.maxWaiting ?? 1000))
  let restUntil = 0
  let answeredAt: number | undefined
  let lastError: EndpointStatus['lastError']

  const check = () => {
    const rest = restUntil - elapsed()
    if (rest > 0) throw new ModelError('rate-limited', `not asked: it rests for ${rest} ms more after its rate limit`, { retryAfter: rest })
    if (breaker.state === 'open') throw spared()
  }
  const spared = () => {
    const wait = breaker.wait
    const last = lastError ? `; last: ${lastError.detail}` : ''
    const words = wait > 0 ? `not asked: it kept failing, next try in ${wait} ms` : 'not asked: it kept failing and is being probed'
    return new ModelError(lastError?.kind ?? 'overloaded', words + last, { retryAfter: Math.max(wait, 1) })
  }
  const entryFor = (pass: Pass, leave: () => void): Entry => ({
    succeeded() {
      answeredAt = clock.now()
      pass.succeeded()
    },
    failed(error) {
      const effect = failureEffects[error.kind].endpoint
      if (effect !== 'unknown') lastError = { kind: error.kind, detail: error.message, at: clock.now() }
      if (effect === 'rests') restUntil = elapsed() + Math.min(error.retryAfter ?? REST, LONGEST_REST)
      if (effect === 'counts') pass.failed()
      else if (effect === 'healthy') pass.succeeded()
      else pass.dropped()
    },
    leave() {
      pass.dropped()
      leave()
    },
  })

  return {
    model,
    check,
    async enter(priority, signal) {
      check()
      const leave = await line.enter(priority, signal)
      try {
        // Things may have changed while this call stood in line.
        check()
        const pass = breaker.enter()
        if (!pass) throw spared()
        return entryFor(pass, leave)
      } catch (error) {
        leave()
        throw error
      }
    },
    status() {
      const rest = Math.max(0, restUntil - elapsed())
      return {
        id: model.id,
        vision: model.vision,
        state: breaker.state === 'closed' && rest > 0 ? 'resting' : breaker.state,
        wait: Math.max(rest, breaker.wait),
        active: line.active,
        waiting: line.waiting,
        ...(answeredAt === undefined ? {} : { answeredAt }),
        ...(lastError === undefined ? {} : { lastError }),
      }
    },
  }
}
