/** What was computed once and may be used again for a while. It may be forgotten at any time; nobody's correctness depends on it (law 3). */

export interface Cache {
  /**
   * What is kept under a key. Whoever asks while another is at work on it waits for that one, for a bounded time and no longer than the signal.
   * Without a value the caller is at work on it until disposal, and may keep what comes of it. Never throws.
   */
  find(key: string, signal: AbortSignal): Promise<Found>
  /** Keeps a value for `lifetime` milliseconds, for those who wait, too. Never throws, never waits. */
  keep(key: string, value: string, lifetime: number): void
}

export interface Found extends Disposable {
  readonly value: string | undefined
}

/** The tier behind memory, which nodes share. It sees pseudonyms and sealed values. Both reject when it cannot, or not in time. */
export interface SharedTier {
  get(name: string): Promise<Uint8Array | undefined>
  set(name: string, value: Uint8Array, lifetime: number): Promise<void>
}

export type CacheTier = 'memory' | 'redis'

/**
 * What came of looking into a tier, or of keeping something there. `joined`: somebody here was at work on it already; `foreign`: a value that
 * cannot be opened, which counts as none; `failed`: not reached, not in time, or not taken.
 */
export type CacheResult = 'hit' | 'joined' | 'miss' | 'foreign' | 'failed'
