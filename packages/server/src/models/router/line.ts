/** Who may call an endpoint now: so many at a time, the others wait in line, people before background work. */
import { ModelError } from '@posthouse/contract'

export type Priority = 'interactive' | 'background'

export interface Line {
  readonly active: number
  readonly waiting: number
  /**
   * Resolves with the function that gives the place back (calling it twice changes nothing).
   * @throws ModelError `rate-limited` at once when the line is full, `cancelled` when the signal fires.
   */
  enter(priority: Priority, signal: AbortSignal): Promise<() => void>
}

interface Waiting {
  readonly admit: () => void
}

export function createLine(limit: number, maxWaiting: number): Line {
  const lines: Readonly<Record<Priority, Set<Waiting>>> = { interactive: new Set(), background: new Set() }
  let active = 0

  const take = () => {
    active += 1
    let given = false
    return () => {
      if (given) return
      given = true
      active -= 1
      const line = lines.interactive.size > 0 ? lines.interactive : lines.background
      for (const next of line) {
        line.delete(next)
        next.admit()
        return
      }
    }
  }

  return {
    get active() {
      return active
    },
    get waiting() {
      return lines.interactive.size + lines.background.size
    },
    async enter(priority, signal) {
      if (signal.aborted) throw cancelled()
      if (active < limit) return take()
      if (lines.interactive.size + lines.background.size >= maxWaiting) {
        throw new ModelError('rate-limited', `${limit} calls are running and ${maxWaiting} are waiting; the line is full`)
      }
      return new Promise((resolve, reject) => {
        const place: Waiting = {
          admit: () => {
            signal.removeEventListener('abort', leave)
            resolve(take())
          },
        }
        const leave = () => {
          lines[priority].delete(place)
          reject(cancelled())
        }
        signal.addEventListener('abort', leave, { once: true })
        lines[priority].add(place)
      })
    },
  }
}

function cancelled(): ModelError {
  return new ModelError('cancelled', 'the call was cancelled while it waited in line')
}
