/** A platform's side of a webhook: each event is called until it is acknowledged, in order within its room, and later each time. */
import { pause } from './pause.ts'

/** A call that is to be made; `headers` may depend on when it is made (signatures over the time). */
export interface WebhookEvent {
  /** Events of one room wait for each other. */
  readonly room: string
  /** Made anew for each attempt, counted from 1. */
  request(attempt: number): {
    readonly url: string
    readonly headers: Readonly<Record<string, string>>
    readonly body: string | Uint8Array<ArrayBuffer>
  }
  /** Whether this answer acknowledges it; any 2xx unless given. */
  isAcknowledged?(status: number, body: string): boolean
}

export interface WebhookCallsOptions {
  /** Milliseconds before a call that was not acknowledged is repeated; doubles each time. Default 1000. */
  readonly retryDelay?: number
  /** The longest such wait. Default one minute. */
  readonly maxRetryDelay?: number
  /** How often it is called at most; then the event is given up. Default: for ever. */
  readonly attempts?: number
  /** Milliseconds after which the platform no longer waits for the answer. Default 3000. */
  readonly deadline?: number
  /** How a call is made; by HTTP unless given. Rejects when no answer came. */
  readonly post?: (
    request: ReturnType<WebhookEvent['request']>,
    signal: AbortSignal,
  ) => Promise<{ readonly status: number; readonly body: string }>
}

export interface WebhookAttempt {
  readonly event: WebhookEvent
  readonly attempt: number
  /** 0 when no answer came. */
  readonly status: number
  readonly body: string
  /** Milliseconds from call to answer. */
  readonly took: number
}

export interface WebhookCalls extends AsyncDisposable {
  call(event: WebhookEvent): void
  /** Events that were neither acknowledged nor given up. */
  readonly pending: number
  readonly attempts: readonly WebhookAttempt[]
}

const byHttp: NonNullable<WebhookCallsOptions['post']> = async ({ url, headers, body }, signal) => {
  const response = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'manual' })
  return { status: response.status, body: await response.text() }
}

export function createWebhookCalls(options: WebhookCallsOptions = {}): WebhookCalls {
  const { retryDelay = 1000, maxRetryDelay = 60_000, attempts: most = Number.POSITIVE_INFINITY, deadline = 3000, post = byHttp } = options
  const rooms = new Map<string, Promise<void>>()
  const attempts: WebhookAttempt[] = []
  const closing = new AbortController()
  let pending = 0

  const attemptOnce = async (event: WebhookEvent, attempt: number): Promise<boolean> => {
    const started = performance.now()
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(deadline)])
    const answer = await post(event.request(attempt), signal).catch(() => ({ status: 0, body: '' }))
    attempts.push({ event, attempt, ...answer, took: performance.now() - started })
    return event.isAcknowledged?.(answer.status, answer.body) ?? (answer.status >= 200 && answer.status < 300)
  }

  const callUntilTaken = async (event: WebhookEvent) => {
    for (let attempt = 1; attempt <= most && !closing.signal.aborted; attempt++) {
      if (await attemptOnce(event, attempt)) return
      await pause(Math.min(retryDelay * 2 ** (attempt - 1), maxRetryDelay), closing.signal)
    }
  }

  return {
    attempts,
    get pending() {
      return pending
    },
    call(event) {
      pending++
      const before = rooms.get(event.room) ?? Promise.resolve()
      const work = before.then(() => callUntilTaken(event)).finally(() => pending--)
      rooms.set(event.room, work)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.allSettled(rooms.values())
    },
  }
}
