/**
 * Second station: lanes take turns. A lane that has work waits in the line of its priority; when a place is free it is
 * claimed in the database and one turn runs. After its turn a lane goes to the end of the line, so that nobody starves.
 *
 * A lane is in exactly one of: idle (unknown here), waiting (in a line), running. A ticket for a running lane is
 * remembered: the lane waits again when its turn ends (P4). A ticket is taken when its lane runs: until then another node may
 * have it if this one ends.
 *
 * What may be killing the process is tried one by one: a crash is then the fault of one lane, and whoever only ran beside it
 * is not set aside with it.
 */
import { type Logger, type Priority, priorities } from '@posthouse/contract'
import type { TaskGroup } from '../../base/lifecycle.ts'
import { createPlaces } from '../../base/places.ts'
import type { TakeTicket, Ticket } from '../../ports/broker.ts'

/** Works on a lane once; answers whether the lane may have more. */
export type RunLane = (lane: string) => Promise<boolean>

export interface Lanes {
  readonly take: TakeTicket
  /** No lane is started any more; those that run go on. */
  stop(): void
  readonly waiting: number
  readonly running: number
}

export function createLanes(parts: {
  readonly run: RunLane
  readonly concurrency: number
  readonly tasks: TaskGroup
  readonly log: Logger
}): Lanes {
  const { run, concurrency, tasks, log } = parts
  // Maps keep the order of insertion: each is a line and an index at once.
  const lines = new Map<Priority, Map<string, true>>(Object.values(priorities).map((priority) => [priority, new Map()]))
  const suspects = new Map<string, Priority>()
  /** Tickets of lanes that wait: one each. */
  const held = new Map<string, () => void>()
  let tried: string | undefined
  /** `again`: it was asked for meanwhile. */
  const running = new Map<string, { readonly priority: Priority; readonly again?: Priority }>()
  const places = createPlaces(concurrency)
  let stopped = false

  const next = (): Ticket | undefined => {
    if (tried === undefined && places.taken < concurrency) {
      for (const [lane, priority] of suspects) {
        suspects.delete(lane)
        tried = lane
        return { lane, priority, suspect: true }
      }
    }
    for (const [priority, line] of lines) {
      if (!places.mayTake(priority)) continue
      for (const lane of line.keys()) {
        line.delete(lane)
        return { lane, priority }
      }
    }
    return undefined
  }

  const enqueue = ({ lane, priority, suspect = false }: Ticket) => {
    const runs = running.get(lane)
    if (runs) running.set(lane, { ...runs, again: Math.min(priority, runs.again ?? priority) as Priority })
    else if (suspect || suspects.has(lane)) {
      for (const line of lines.values()) line.delete(lane)
      suspects.set(lane, priority)
    } else {
      for (const [other, line] of lines) {
        if (!line.has(lane)) continue
        if (other <= priority) return
        line.delete(lane)
      }
      lines.get(priority)?.set(lane, true)
    }
  }

  const start = ({ lane, priority, suspect = false }: Ticket) => {
    running.set(lane, { priority })
    places.take(priority)
    held.get(lane)?.()
    held.delete(lane)
    tasks.run(async () => {
      let more = false
      try {
        more = await run(lane)
      } catch (error) {
        // The rows stay in the database: the sweep brings the lane back. Other lanes do not notice.
        log.error({ err: error, lane }, 'a lane failed')
      }
      const again = running.get(lane)?.again
      running.delete(lane)
      places.giveBack(priority)
      if (tried === lane) tried = undefined
      if (more || again !== undefined) enqueue({ lane, priority: again ?? priority, suspect })
      pump()
    })
  }

  const pump = () => {
    while (!stopped) {
      const ticket = next()
      if (!ticket) return
      start(ticket)
    }
  }

  return {
    take(ticket, taken) {
      if (stopped) return
      enqueue(ticket)
      // One that runs is looked at again anyway; of one that waits the newest ticket is kept, from the connection that still stands.
      if (running.has(ticket.lane)) taken?.()
      else if (taken) {
        held.get(ticket.lane)?.()
        held.set(ticket.lane, taken)
      }
      pump()
    },
    stop() {
      stopped = true
    },
    get waiting() {
      return [...lines.values()].reduce((sum, line) => sum + line.size, suspects.size)
    },
    get running() {
      return running.size
    },
  }
}
