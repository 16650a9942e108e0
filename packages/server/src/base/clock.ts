/** Time, injected: code that waits can be tested without waiting. */

export interface Clock {
  /** Epoch milliseconds. */
  now(): number
  /** Milliseconds that only ever rise; for durations and deadlines. */
  elapsed(): number
  /** Resolves after `ms`, or at once when the signal fires: the caller looks at the signal. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls `task` once after `ms`, unless disposed before. */
  after(ms: number, task: () => void): Disposable
  /** Calls `task` every `ms` until disposed. The timer does not keep the process alive. */
  every(ms: number, task: () => void): Disposable
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  sleep(ms, signal) {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, Math.min(ms, 2 ** 31 - 1))
      signal?.addEventListener('abort', done, { once: true })
    })
  },
  after(ms, task) {
    const timer = setTimeout(task, Math.min(ms, 2 ** 31 - 1))
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
  every(ms, task) {
    const timer = setInterval(task, ms)
    timer.unref()
    return { [Symbol.dispose]: () => clearInterval(timer) }
  },
}
