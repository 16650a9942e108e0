/** Who may call an endpoint now: so many at a time, the others wait in line, each class behind those before it. */
import { ModelError, type Priority, priorities } from '@posthouse/contract'

export interface Line {
  readonly active: number
  readonly waiting: number
  /**
   * Resolves with the function that gives the place back (calling it twice changes nothing).
   * @throws ModelError `rate-limited` at once when the line is full, `cancelled` when the signal fires.
   */
  enter(priority: Priority, signal: AbortSignal): Promise<() => void>
}

/** What is left to a class of what all share. */
export interface Places {
  readonly taken: number
  mayTake(priority: Priority): boolean
  take(priority: Priority): void
  giveBack(priority: Priority): void
}

interface Waiting {
  readonly admit: () => void
}

/** @param places to call, and to wait */
export function createLine(places: Places, seats: Places): Line {
  const lines = new Map<Priority, Set<Waiting>>(Object.values(priorities).map((priority) => [priority, new Set()]))

  const admitNext = () => {
    for (const [priority, line] of lines) {
      if (!places.mayTake(priority)) continue
      for (const next of line) {
        line.delete(next)
        next.admit()
        return
      }
    }
  }
  const take = (priority: Priority) => {
    places.take(priority)
    let given = false
    return () => {
      if (given) return
      given = true
      places.giveBack(priority)
      admitNext()
    }
  }

  return {
    get active() {
      return places.taken
    },
    get waiting() {
      return seats.taken
    },
    async enter(priority, signal) {
      if (signal.aborted) throw cancelled()
      if (places.mayTake(priority)) return take(priority)
      if (!seats.mayTake(priority))
        throw new ModelError('rate-limited', `${places.taken} calls are running and ${seats.taken} are waiting; the line is full`)
      return new Promise((resolve, reject) => {
        const line = lines.get(priority)
        const place: Waiting = {
          admit: () => {
            signal.removeEventListener('abort', leave)
            seats.giveBack(priority)
            resolve(take(priority))
          },
        }
        const leave = () => {
          line?.delete(place)
          seats.giveBack(priority)
          reject(cancelled())
        }
        signal.addEventListener('abort', leave, { once: true })
        seats.take(priority)
        line?.add(place)
      })
    },
  }
}

function cancelled(): ModelError {
  return new ModelError('cancelled', 'the call was cancelled while it waited in line')
}
