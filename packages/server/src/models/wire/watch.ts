/** Every wait of a model call has a limit; whatever ends the call closes the provider's socket at once. */
import { FetchError, ModelError } from '@posthouse/contract'

/** Milliseconds. `firstToken` counts from the start of the call, `idle` from one token to the next. */
export interface Timeouts {
  readonly connect: number
  readonly firstToken: number
  readonly idle: number
  readonly total: number
}

export interface Watch extends Disposable {
  /** Hand this to the HTTP client: it fires for the caller's abort and for every limit. */
  readonly signal: AbortSignal
  /** The reader works on what came: the provider is not to blame for the time until `progress`. */
  pause(): void
  /** Tokens came; the next may take `idle` from now. */
  progress(): void
  /** The answer is complete in substance: wait at most `ms` for what may follow. */
  settle(ms: number): void
  /** The body was read to its end: the connection may be kept alive. */
  complete(): void
  /** What an error means, given who ended the call. */
  explain(error: unknown): ModelError
}

/** Watches one call. Disposing it before `complete` closes the connection. */
export function createWatch(timeouts: Timeouts, outer: AbortSignal): Watch {
  const controller = new AbortController()
  let expired: string | undefined
  let paused = false
  let started = false
  let completed = false
  let steps = 0
  /** What came in while this process stood still is read first: the provider is not to blame for that time either. */
  const expire = (words: string) => {
    const before = steps
    setImmediate(() => {
      if (paused || steps !== before) return
      expired ??= words
      controller.abort()
    })
  }
  const onAbort = () => controller.abort()
  if (outer.aborted) controller.abort()
  else outer.addEventListener('abort', onAbort, { once: true })
  const total = setTimeout(() => {
    paused = false
    expire(`the answer took longer than ${timeouts.total} ms in total`)
  }, timeouts.total)
  let timer = setTimeout(() => expire(`no first token within ${timeouts.firstToken} ms`), timeouts.firstToken)
  const restart = (ms: number, words: string) => {
    clearTimeout(timer)
    timer = setTimeout(() => expire(words), ms)
  }
  return {
    signal: controller.signal,
    pause() {
      paused = true
    },
    progress() {
      paused = false
      steps++
      if (started) timer.refresh()
      else restart(timeouts.idle, `no further token within ${timeouts.idle} ms`)
      started = true
    },
    settle(ms) {
      restart(ms, 'the provider did not close the stream')
    },
    complete() {
      completed = true
    },
    explain(error) {
      if (outer.aborted) return new ModelError('cancelled', 'the call was cancelled')
      if (error instanceof ModelError) return error
      if (expired) return new ModelError('timeout', expired, { cause: error })
      if (error instanceof FetchError) return fromFetchError(error)
      // The parser's own words quote the answer.
      const why = error instanceof SyntaxError ? 'it is not valid JSON' : error instanceof Error ? error.message : 'unknown'
      return new ModelError('malformed', `the answer could not be read: ${why}`, { cause: error })
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
      clearTimeout(total)
      outer.removeEventListener('abort', onAbort)
      if (!completed) controller.abort('left')
    },
  }
}

function fromFetchError(error: FetchError): ModelError {
  const timeout = error.kind === 'timeout' || (error.kind === 'connect' && /TIMEOUT|ETIMEDOUT/.test(error.message))
  return new ModelError(timeout ? 'timeout' : 'connection', error.message, { cause: error })
}
