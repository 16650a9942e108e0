/** Opens a connection ahead of the first call. */
import type { Fetch } from '@posthouse/contract'
import { createWatch, type Timeouts } from './watch.ts'

/** Asks for something cheap, so that a kept-alive connection stands. Best effort: what is answered doesn't matter. */
export async function touch(
  fetch: Fetch,
  url: string,
  headers: Readonly<Record<string, string>>,
  timeouts: Timeouts,
  signal: AbortSignal,
): Promise<void> {
  using watch = createWatch({ ...timeouts, total: Math.min(timeouts.total, timeouts.connect + 5000) }, signal)
  try {
    const response = await fetch(url, { headers, signal: watch.signal, connectTimeout: timeouts.connect })
    await response.text()
    watch.complete()
  } catch {
    // The first real call tells what is wrong.
  }
}
