/** Notices that a file has other content, whatever way it got there. */
import { statSync } from 'node:fs'

const EVERY = 300

/**
 * Calls `changed` when the file is another than it was at `since` and has been still for a moment; never twice at once.
 *
 * The file is looked at rather than listened to: an editor that replaces it, a symlink whose target moves (a mounted config map), a bind
 * mount and a network folder each send other events, or none. A look costs microseconds.
 */
export function watchFile(path: string, since: FileState, changed: () => Promise<void>, every = EVERY): Disposable {
  let seen = since
  let dirty = false
  let running = false
  const timer = setInterval(() => {
    const now = stateOf(path)
    if (now !== seen) {
      seen = now
      dirty = true
      return
    }
    // While a file is gone there is nothing to take over: it is on its way to its place, or removed.
    if (!dirty || running || now === undefined) return
    dirty = false
    running = true
    void changed().finally(() => {
      running = false
    })
  }, every)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** What tells one content of a file from another; undefined when there is none. */
export type FileState = string | undefined

/** To be taken before the file is read, so that no change falls between. */
export function stateOf(path: string): FileState {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(':')
  } catch {
    return undefined
  }
}
