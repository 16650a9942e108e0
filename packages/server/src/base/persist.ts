/** Writing down what already happened: the write is repeated until the database takes it. */
import { isPosthouseError, type Logger } from '@posthouse/contract'
import { backoff } from './backoff.ts'
import type { Clock } from './clock.ts'

/**
 * Repeats `write` while the database is unavailable.
 * @throws what `write` throws otherwise, or the last refusal when `signal` fires.
 */
export async function persist<T>(
  write: () => Promise<T>,
  { clock, log, signal }: { clock: Clock; log: Logger; signal: AbortSignal },
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write()
    } catch (error) {
      if (!isPosthouseError(error) || error.code !== 'unavailable' || signal.aborted) throw error
      log.error({ err: error, attempt }, 'the database takes no writes; this one is repeated until it does')
      await clock.sleep(backoff(attempt, { first: 100, most: 5000 }), signal)
    }
  }
}
