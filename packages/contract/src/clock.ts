/** Time, as tests need it. */
export interface Clock {
  now(): number
  /** Resolves after `ms` or when the signal fires. */
  wait(ms: number, signal: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: Date.now,
  wait: (ms, signal) =>
    new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, signal.aborted ? 0 : ms)
      signal.addEventListener('abort', end, { once: true })
    }),
}
