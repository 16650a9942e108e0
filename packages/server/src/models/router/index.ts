/** Many endpoints, one answer: the primary, then the fallbacks, also when one dies in the middle of its answer. */
import {
  type Logger,
  type Model,
  ModelError,
  type ModelEvent,
  type ModelFailure,
  type ModelRequest,
  type Priority,
  type Usage,
} from '@posthouse/contract'
import { continueRequest, createSeam } from './continuation.ts'
import {
  type BreakerSettings,
  createGate,
  type Endpoint,
  type EndpointStatus,
  type Entry,
  failureEffects,
  type Gate,
  type RouterClock,
} from './endpoint.ts'
import type { Places } from './line.ts'

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
  /** Divides so many among the classes of work. */
  readonly places: (all: number) => Places
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

/** One call to one endpoint. */
interface Call {
  /** Whether the endpoint was asked at all. */
  readonly real: boolean
  enter(priority: Priority, signal: AbortSignal): Promise<Model>
  request(request: ModelRequest): ModelRequest
  /** What the user gets to see of an event. */
  read(event: ModelEvent): readonly RouterEvent[]
  /** @throws ModelError `malformed` when no end was seen. */
  ended(): void
  failed(error: unknown): ModelError
  /** Must be called at the end, whatever happened. */
  leave(): void
}

interface Attempt {
  readonly id: string
  readonly error: ModelError
  /** Whether the provider was asked at all. */
  readonly real: boolean
}

export function createModelRouter(options: RouterOptions): ModelRouter {
  const { clock, log, observe, places, totalTimeout = 300_000 } = options
  const breaker = { threshold: 5, coolDown: 5000, maxCoolDown: 300_000, ...options.breaker }
  const gates = new Map<string, Gate>(
    options.models.map((endpoint) => [endpoint.model.id, createGate(endpoint, { breaker, clock, places })]),
  )

  async function* stream(request: ModelRequest, { primary, priority }: RouteOptions, signal: AbortSignal): AsyncGenerator<RouterEvent> {
    const progress: Progress = { text: '', toolCalls: false }
    const attempts: Attempt[] = []
    using limit = createLimit(clock, totalTimeout, signal)
    for (const id of new Set([primary, ...options.fallback])) {
      const call = begin(id, id !== primary, progress)
      try {
        const model = await call.enter(priority, limit.signal)
        for await (const event of model.stream(call.request(request), limit.signal)) {
          for (const out of call.read(event)) yield out
        }
        call.ended()
        return
      } catch (error) {
        const failure = limit.explain(call.failed(error))
        attempts.push({ id, error: failure, real: call.real })
        // A tool call is on its way to be run: no other model can take it back.
        if (progress.toolCalls || limit.signal.aborted || failureEffects[failure.kind].call === 'throw')
          throw summarize(attempts, attempts.at(-1))
        log.warn({ model: id, kind: failure.kind, detail: failure.message, partial: progress.text.length }, 'the model failed')
      } finally {
        call.leave()
      }
    }
    throw summarize(
      attempts,
      attempts.findLast(({ real }) => real),
    )
  }

  /** One call to one endpoint; goes on with what the user has seen already. */
  function begin(id: string, fallback: boolean, progress: Progress): Call {
    const asked = clock.elapsed()
    // White space alone can't be gone on with: the next model begins anew and the seam drops what is there already.
    const goesOn = progress.text.trim() !== ''
    const seam = createSeam(progress.text)
    let started = asked
    let entry: Entry | undefined
    let outcome: CallRecord['outcome'] = 'cancelled'
    let firstToken: number | undefined
    let usage: Usage | undefined
    const grown = (text: string): RouterEvent[] => {
      progress.text += text
      return text === '' ? [] : [{ type: 'text', text }]
    }
    return {
      get real() {
        return entry !== undefined
      },
      async enter(priority, signal) {
        const gate = gates.get(id)
        if (!gate) throw new ModelError('not-found', 'there is no endpoint of this name')
        entry = await gate.enter(priority, signal)
        started = clock.elapsed()
        return gate.model
      },
      request: (request) => (goesOn ? continueRequest(request, progress.text) : request),
      read(event) {
        const out: RouterEvent[] = []
        if (firstToken === undefined) {
          firstToken = clock.elapsed() - started
          out.push({ type: 'using', model: id, fallback })
        }
        if (event.type === 'text') return [...out, ...grown(seam.push(event.text))]
        if (event.type === 'usage') usage = event.usage
        if (event.type === 'end' || event.type === 'tool-call') out.push(...grown(seam.flush()))
        if (event.type === 'tool-call') progress.toolCalls = true
        if (event.type === 'end') {
          outcome = 'ok'
          entry?.succeeded()
        }
        out.push(event)
        return out
      },
      ended() {
        if (outcome !== 'ok') throw new ModelError('malformed', 'the stream ended without an end')
      },
      failed(error) {
        const failure = toFailure(error)
        outcome = failure.kind
        entry?.failed(failure)
        return failure
      },
      leave() {
        if (!entry) return
        entry.leave()
        observe?.({
          endpoint: id,
          outcome,
          fallback,
          waited: started - asked,
          duration: clock.elapsed() - started,
          ...(firstToken === undefined ? {} : { firstToken }),
          ...(usage === undefined ? {} : { usage }),
        })
      },
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
  let expired = false
  const onAbort = () => controller.abort()
  if (outer.aborted) controller.abort()
  else outer.addEventListener('abort', onAbort, { once: true })
  const timer = clock.after(ms, () => {
    expired = true
    controller.abort()
  })
  return {
    signal: controller.signal,
    explain: (error) =>
      expired && !outer.aborted ? new ModelError('timeout', `no answer within ${ms} ms over all endpoints`, { cause: error }) : error,
    [Symbol.dispose]() {
      timer[Symbol.dispose]()
      outer.removeEventListener('abort', onAbort)
    },
  }
}

function toFailure(error: unknown): ModelError {
  if (error instanceof ModelError) return error
  // A model of a plugin may carry its own copy of the contract, or throw what it likes.
  const { name, kind, message } = error as Partial<ModelError>
  if (name === 'ModelError' && kind !== undefined && kind in failureEffects) return new ModelError(kind, message ?? '', { cause: error })
  return new ModelError('malformed', `the model threw: ${message ?? 'unknown'}`, { cause: error })
}

export type { BreakerSettings, Endpoint, EndpointStatus, RouterClock } from './endpoint.ts'
