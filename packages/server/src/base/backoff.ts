/** How long to wait before another try. */

export interface BackoffOptions {
  /** Milliseconds before the second try. */
  readonly first: number
  /** Milliseconds that no wait exceeds. */
  readonly most: number
  readonly random?: () => number
}

/** Doubles with every failed attempt (1 = the first), capped, and jittered by a quarter so that many do not come back at once. */
export function backoff(attempt: number, { first, most, random = Math.random }: BackoffOptions): number {
  const full = Math.min(most, first * 2 ** Math.min(attempt - 1, 30))
  return Math.round(full * (0.75 + random() * 0.25))
}
