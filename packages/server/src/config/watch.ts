/** Notices that a file, or one that it refers to, has other content, whatever way it got there. */
import { statSync } from 'node:fs'

const EVERY = 300

/** What each file was when somebody looked; undefined while there is none. */
export type FileStates = ReadonlyMap<string, string | undefined>

/**
 * Calls `changed` when the file, or another of `since`, is not what it was then and all have been still for a moment; never twice at once.
 * `changed` answers the files that the file refers to now; one that is new among them is read once more, since it may have changed meanwhile.
 *
 * The files are looked at rather than listened to: an editor that replaces one, a symlink whose target moves (a mounted config map or secret), a
 * bind mount and a network folder each send other events, or none. A look costs microseconds.
 */
export function watchFile(path: string, since: FileStates, changed: () => Promise<readonly string[]>, every = EVERY): Disposable {
  const seen = new Map(since)
  let dirty = false
  let running = false
  const timer = setInterval(() => {
    let still = true
    for (const [file, state] of seen) {
      const now = stateOf(file)
      if (now === state) continue
      seen.set(file, now)
      still = false
    }
    if (!still) dirty = true
    // While the file is gone there is nothing to take over: it is on its way to its place, or removed.
    if (!still || !dirty || running || seen.get(path) === undefined) return
    dirty = false
    running = true
    void changed()
      .then((files) => {
        for (const file of seen.keys()) if (file !== path && !files.includes(file)) seen.delete(file)
        for (const file of files) {
          if (seen.has(file)) continue
          seen.set(file, stateOf(file))
          dirty = true
        }
      })
      .finally(() => {
        running = false
      })
  }, every)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** To be taken before the files are read, so that no change falls between. */
export function statesOf(files: readonly string[]): FileStates {
  return new Map(files.map((file) => [file, stateOf(file)]))
}

/** What tells one content of a file from another. */
function stateOf(path: string): string | undefined {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join(':')
  } catch {
    return undefined
  }
}
