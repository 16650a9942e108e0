/**
 * Two tiers: the memory of this process, and behind it what nodes share, if anything. Keys become pseudonyms and values are sealed under them before
 * they leave the process (P12), so that a value under another key does not open. Each value holds its own end: no tier can make it older.
 */
import type { Clock } from '../base/clock.ts'
import { createGenerations } from '../base/generations.ts'
import type { Cache, CacheResult, Found, SharedTier } from '../ports/cache.ts'
import type { Observer } from '../ports/observer.ts'
import type { Sealer } from '../ports/sealer.ts'

/** Milliseconds that one who asks waits for another who is at work on the same. */
const PATIENCE = 30_000
/** Bytes of the largest value; more are not kept. */
const MOST_VALUE = 256 * 1024
/** What a kept value costs beside its characters. */
const OVERHEAD = 300

interface Kept {
  readonly value: string
  /** Epoch milliseconds. */
  readonly until: number
}

/** `limit`: bytes that memory may take. */
export function createCache(parts: {
  readonly limit: number
  readonly shared: SharedTier | undefined
  readonly sealer: Sealer
  readonly pseudonym: (name: string) => string
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly observer: Pick<Observer, 'cached'>
}): Cache {
  const { shared, sealer, pseudonym, clock, observer } = parts
  const memory = createGenerations<Kept>(parts.limit)
  const underway = new Map<string, PromiseWithResolvers<string | undefined>>()
  const nameOf = (key: string) => pseudonym(`cache ${key}`)
  const placeOf = (name: string) => `cache|${name}`

  const remember = (name: string, kept: Kept) => memory.set(name, kept, kept.value.length * 2 + OVERHEAD)
  const recall = (name: string) => {
    const kept = memory.get(name)
    return kept && kept.until > clock.now() ? kept.value : undefined
  }

  const open = (name: string, sealed: Uint8Array): Kept | undefined => {
    try {
      return JSON.parse(sealer.open(sealed, placeOf(name)).toString()) as Kept
    } catch {
      return undefined
    }
  }

  const look = async (tier: SharedTier, name: string): Promise<{ readonly result: CacheResult; readonly kept?: Kept }> => {
    const sealed = await tier.get(name).catch(() => 'failed' as const)
    if (sealed === 'failed') return { result: 'failed' }
    if (!sealed) return { result: 'miss' }
    const kept = open(name, sealed)
    if (!kept) return { result: 'foreign' }
    return kept.until > clock.now() ? { result: 'hit', kept } : { result: 'miss' }
  }

  const ask = async (name: string): Promise<string | undefined> => {
    if (!shared) return undefined
    const { result, kept } = await look(shared, name)
    observer.cached({ tier: 'redis', result })
    if (kept) remember(name, kept)
    return kept?.value
  }

  /** Waits for who is at work on it. */
  const join = async (work: Promise<string | undefined>, signal: AbortSignal): Promise<string | undefined> => {
    const { promise: over, resolve: end } = Promise.withResolvers<undefined>()
    const stop = () => end(undefined)
    using _patience = clock.after(PATIENCE, stop)
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    try {
      return await Promise.race([work, over])
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  return {
    async find(key, signal) {
      const name = nameOf(key)
      const known = recall(name)
      const other = underway.get(name)
      observer.cached({ tier: 'memory', result: known !== undefined ? 'hit' : other ? 'joined' : 'miss' })
      if (known !== undefined) return found(known)
      if (other) return found(await join(other.promise, signal))
      const work = Promise.withResolvers<string | undefined>()
      underway.set(name, work)
      const end = (value?: string) => {
        if (underway.get(name) === work) underway.delete(name)
        work.resolve(value)
      }
      const value = await ask(name)
      if (value !== undefined) end(value)
      return found(value, end)
    },
    keep(key, value, lifetime) {
      const name = nameOf(key)
      if (value.length * 3 <= MOST_VALUE) {
        const kept: Kept = { value, until: clock.now() + lifetime }
        remember(name, kept)
        shared
          ?.set(name, sealer.seal(JSON.stringify(kept), placeOf(name)), lifetime)
          .catch(() => observer.cached({ tier: 'redis', result: 'failed' }))
      }
      underway.get(name)?.resolve(value)
    },
  }
}

const found = (value: string | undefined, end: () => void = () => {}): Found => ({ value, [Symbol.dispose]: () => end() })
