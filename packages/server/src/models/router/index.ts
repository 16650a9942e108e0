/** Many endpoints, one answer: the primary, then the fallbacks, also when one dies in the middle of its answer. */
import { type Logger, ModelError, type ModelEvent, type ModelFailure, type ModelRequest, type Usage } from '@posthouse/contract'
import { continueRequest, createSeam } from './continuation.ts'
import {
  type BreakerSettings,
  createGate,
  type Endpoint,
  type EndpointStatus,
  failureEffects,
  type Gate,
  type RouterClock,
} from './endpoint.ts'
import type { Priority } from './line.ts'

export type RouterEvent =
  | ModelEvent
  /** The events from here on come from this endpoint; `fallback` when it is not the one that was asked for. */
  | { readonly type: 'using'; readonly model: string; readonly fallback: boolean }

/** One call to one endpoint, for metrics. Durations are milliseconds. */
export interface CallRecord {
  readonly endpoint: string
  readonly outcome: 'ok' | ModelFailure
  readonly fallback: boolean
  /** In line. */
  readonly waited: number
  readonly firstToken?: number
  readonly duration: number
  readonly usage?: Usage
}

export interface RouterOptions {
  readonly models: readonly Endpoint[]
  /** Ids in the order in which they are tried. */
  readonly fallback: readonly string[]
  readonly clock: RouterClock
  readonly log: Logger
  readonly observe?: (record: CallRecord) => void
  /** Milliseconds for one answer over all endpoints, waiting included; default 300 s. */
  readonly totalTimeout?: number
  /** Default: open after 5 failures in a row, for 5 s, at most 5 min. */
  readonly breaker?: Partial<BreakerSettings>
}

export interface RouteOptions {
  /** The endpoint to ask first. */
  readonly primary: string
  readonly priority: Priority
}

export interface ModelRouter {
  /**
   * Streams one answer. Ends with `end`, or throws {@link ModelError}: `too-long` and `invalid` as the endpoint said it,
   * else the last real failure with the story of all endpoints in its message.
   */
  stream(request: ModelRequest, options: RouteOptions, signal: AbortSignal): AsyncIterable<RouterEvent>
  status(): readonly EndpointStatus[]
  /** Opens connections ahead of the first call. Never throws. */
  warmUp(signal: AbortSignal): Promise<void>
}

/** What of the answer the user has seen already. */
interface Progress {
  text: string
  toolCalls: boolean
}

interface Attempt {
  readonly id: string
  readonly error: ModelError
  /** Whether the provider was asked at all. */
  readonly real: boolean
}

export function createModelRouter(options: RouterOptions): ModelRouter {
  const { clock, log, observe, totalTimeout = 300_000 } = options
  const breaker = { threshold: 5, coolDown: 5000, maxCoolDown: 300_000, ...options.breaker }
  const gates = new Map<string, Gate>(options.models.map((endpoint) => [endpoint.model.id, createGate(endpoint, breaker, clock)]))

  async function* stream(request: ModelRequest, { primary, priority }: RouteOptions, signal: AbortSignal): AsyncGenerator<RouterEvent> {
    const progress: Progress = { text: '', toolCalls: false }
    const attempts: Attempt[] = []
    using limit = createLimit(clock, totalTimeout, signal)
    for (const id of new Set([primary, ...options.fallback])) {
      const fallback = id !== primary
      try {
        const gate = gates.get(id)
        if (!gate) throw new ModelError('not-found', 'there is no endpoint of this name')
        yield* ask(gate, request, progress, fallback, priority, limit.signal)
        return
      } catch (error) {
        const failure = limit.explain(toFailure(error))
        attempts.push({ id, error: failure, real: !(error instanceof NotAsked) })
        // A tool call is on its way to be run: no other model can take it back.
        if (progress.toolCalls || limit.signal.aborted || failureEffects[failure.kind].call === 'throw')
          throw summarize(attempts, attempts.at(-1))
        log.warn({ model: id, kind: failure.kind, detail: failure.message, partial: progress.text.length }, 'the model failed')
      }
    }
    throw summarize(
      attempts,
      attempts.findLast(({ real }) => real),
    )
  }

  /** One call to one endpoint; goes on with what the user has seen already. */
  async function* ask(
    gate: Gate,
    request: ModelRequest,
    progress: Progress,
    fallback: boolean,
    priority: Priority,
    signal: AbortSignal,
  ): AsyncGenerator<RouterEvent> {
    const asked = clock.elapsed()
    const entry = await gate.enter(priority, signal).catch((error: unknown) => {
      throw new NotAsked(toFailure(error))
    })
    const started = clock.elapsed()
    const endpoint = gate.model.id
    let outcome: CallRecord['outcome'] = 'cancelled'
    let firstToken: number | undefined
    let usage: Usage | undefined
    // White space alone can't be gone on with: the next model begins anew and the seam drops what is there already.
    const goesOn = progress.text.trim() !== ''
    const seam = createSeam(progress.text)
    try {
      for await (const event of gate.model.stream(goesOn ? continueRequest(request, progress.text) : request, signal)) {
        if (firstToken === undefined) {
          firstToken = clock.elapsed() - started
          yield { type: 'using', model: endpoint, fallback }
        }
        if (event.type === 'text') {
          const text = seam.push(event.text)
          progress.text += text
          if (text) yield text === event.text ? event : { type: 'text', text }
          continue
        }
        if (event.type === 'usage') usage = event.usage
        if (event.type === 'end' || event.type === 'tool-call') {
          const text = seam.flush()
          progress.text += text
          if (text) yield { type: 'text', text }
        }
        if (event.type === 'tool-call') progress.toolCalls = true
        if (event.type === 'end') {
          outcome = 'ok'
          entry.succeeded()
        }
        yield event
      }
      if (outcome !== 'ok') throw new ModelError('malformed', 'the stream ended without an end')
    } catch (error) {
      const failure = toFailure(error)
      outcome = failure.kind
      entry.failed(failure)
      throw failure
    } finally {
      entry.leave()
      observe?.({
        endpoint,
        outcome,
        fallback,
        waited: started - asked,
        duration: clock.elapsed() - started,
        ...(firstToken === undefined ? {} : { firstToken }),
        ...(usage === undefined ? {} : { usage }),
      })
    }
  }

  return {
    stream,
    status: () => [...gates.values()].map((gate) => gate.status()),
    async warmUp(signal) {
      await Promise.allSettled([...gates.values()].map(({ model }) => model.warmUp?.(signal)))
    },
  }
}

/** The error that says most, with the story of all endpoints. Without a real failure: the last reason why nobody was asked. */
function summarize(attempts: readonly Attempt[], chosen: Attempt | undefined): ModelError {
  const error = chosen?.error ?? attempts.at(-1)?.error
  if (!error) return new ModelError('not-found', 'no model is configured')
  const waits = attempts.flatMap((attempt) => attempt.error.retryAfter ?? [])
  const retryAfter = chosen ? error.retryAfter : waits.length > 0 ? Math.min(...waits) : undefined
  const story = attempts.map(({ id, error: { kind, message } }) => `${id}: ${kind}: ${message}`).join('; ')
  return new ModelError(error.kind, story, {
    ...(error.status === undefined ? {} : { status: error.status }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
    cause: attempts.length === 1 ? error : new AggregateError(attempts.map((attempt) => attempt.error)),
  })
}

interface Limit extends Disposable {
  readonly signal: AbortSignal
  explain(error: ModelError): ModelError
}

/** One signal for the caller's wish and the time of the whole answer. */
function createLimit(clock: RouterClock, ms: number, outer: AbortSignal): Limit {
  const controller = new AbortController()
  const timer = new AbortController()
  let expired = false
  const onAbort = () => controller.abort()
  if (outer.aborted) controller.abort()
  else outer.addEventListener('abort', onAbort, { once: true })
  void clock.sleep(ms, timer.signal).then(() => {
    if (timer.signal.aborted) return
    expired = true
    controller.abort()
  })
  return {
    signal: controller.signal,
    explain: (error) =>
      expired && !outer.aborted ? new ModelError('timeout', `no answer within ${ms} ms over all endpoints`, { cause: error }) : error,
    [Symbol.dispose]() {
      // A reason of our own: without one an exception with its stack is made each time.
      timer.abort('over')
      outer.removeEventListener('abort', onAbort)
    },
  }
}

/** Thrown when an endpoint was not asked: its gate was shut or its line full. */
class NotAsked extends Error {
  readonly failure: ModelError
  constructor(failure: ModelError) {
    super(failure.message)
    this.failure = failure
  }
}

function toFailure(error: unknown): ModelError {
  if (error instanceof NotAsked) return error.failure
  if (error instanceof ModelError) return error
  // A model of a plugin may carry its own copy of the contract, or throw what it likes.
  const { name, kind, message } = error as Partial<ModelError>
  if (name === 'ModelError' && kind !== undefined && kind in failureEffects) return new ModelError(kind, message ?? '', { cause: error })
  return new ModelError('malformed', `the model threw: ${message ?? 'unknown'}`, { cause: error })
}

export type { BreakerSettings, Endpoint, EndpointStatus, RouterClock } from './endpoint.ts'
