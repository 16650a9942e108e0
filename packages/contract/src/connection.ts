/** What every open account needs to close well: its work under way is waited for, and what cannot end is cut off. */
import type { KeyValue } from './channel.ts'
import type { SendOptions } from './delivery.ts'
import { PosthouseError } from './errors.ts'
import { parseKept } from './fields.ts'

/** Work under way of one open account. Disposing it waits until all of it has ended. */
export interface UnderWay extends AsyncDisposable {
  /** Fires when the account closes: nothing new is begun, nothing is received. */
  readonly closing: AbortSignal
  /** Remembers work that closing must wait for. */
  tracked<T>(work: Promise<T>): Promise<T>
  /** The same for a send, which goes on for a while when the account closes: one that is aborted may have arrived. */
  calling<T>(options: SendOptions, call: (options: SendOptions) => Promise<T>): Promise<T>
}

/** How long a send that is under way may go on while the account closes. */
const GRACE = 5000

export function trackWork(): UnderWay {
  const closing = new AbortController()
  /** Each call has a signal of its own: one that is made of two costs more than the rest of a call. */
  const calls = new Set<AbortController>()
  const pending = new Set<Promise<unknown>>()
  const tracked: UnderWay['tracked'] = (work) => {
    const quiet: Promise<unknown> = work.catch(() => undefined).finally(() => pending.delete(quiet))
    pending.add(quiet)
    return work
  }
  const callOnce: UnderWay['calling'] = async (options, call) => {
    const abort = new AbortController()
    const leave = () => abort.abort()
    if (options.signal.aborted) leave()
    options.signal.addEventListener('abort', leave, { once: true })
    calls.add(abort)
    try {
      return await call({ ...options, signal: abort.signal })
    } finally {
      calls.delete(abort)
      options.signal.removeEventListener('abort', leave)
    }
  }
  return {
    closing: closing.signal,
    tracked,
    calling: (options, call) => tracked(callOnce(options, call)),
    async [Symbol.asyncDispose]() {
      closing.abort()
      const late = setTimeout(() => {
        for (const call of calls) call.abort()
      }, GRACE)
      while (pending.size > 0) await Promise.all(pending)
      clearTimeout(late)
    },
  }
}

/** Who we are on the platform, kept in the account's state: no message waits for that question, and only the first start has to ask it. */
export interface KeptIdentity<I> {
  readonly known: I | undefined
  /** Asks the platform, and keeps the answer. */
  ask(signal: AbortSignal): Promise<I>
  /** For what the platform calls us with: while nobody knows it is asked beside. @throws PosthouseError `unavailable`: the platform is to come again */
  demand(): I
}

/** @param of whose identity it is (an app's id, a digest of a token): under other credentials what is kept does not count */
export async function keepIdentity<I>(
  state: KeyValue,
  of: string,
  question: (signal: AbortSignal) => Promise<I>,
  { closing, tracked }: UnderWay,
): Promise<KeptIdentity<I>> {
  let kept = await state.get('identity')
  const found = parseKept<{ of?: string; us?: I }>(kept)
  let known = found?.of === of ? found.us : undefined
  let asking: Promise<unknown> | undefined
  const ask = async (signal: AbortSignal) => {
    const us = await question(signal)
    known = us
    const next = JSON.stringify({ of, us })
    if (next !== kept) await state.set('identity', next)
    kept = next
    return us
  }
  return {
    get known() {
      return known
    },
    ask,
    demand() {
      if (known !== undefined) return known
      if (!asking) {
        const asked = () => {
          asking = undefined
        }
        asking = tracked(ask(closing)).then(asked, asked)
      }
      throw new PosthouseError('unavailable', 'the platform has not said yet who we are', { retryAfter: 1000 })
    },
  }
}

/** Remembers the newest; what is beyond `most` is forgotten. */
export function keepNewest<K, V>(map: Map<K, V>, key: K, value: V, most: number): void {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= most) break
    map.delete(oldest)
  }
}

/** The bytes as they come, as long as there are not more. @throws PosthouseError `too-large` as soon as there are */
export async function* limited(body: AsyncIterable<Uint8Array>, limit: number, told = limit): AsyncGenerator<Uint8Array> {
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > limit) throw new PosthouseError('too-large', `more than ${told} bytes`)
    yield chunk
  }
}
