/** How much of what all share each class of work may fill: what is begun is not interrupted, so room is kept for those before it. */
import { type Priority, priorities, priorityNames } from '@posthouse/contract'

/** Together with the classes behind it. */
const SHARES: Readonly<Record<Priority, number>> = { 0: 1, 1: 0.75, 2: 0.5 }
const classes = Object.values(priorities)

/** Of so many places in all; never none. */
export function placesFor(priority: Priority, all: number): number {
  return Math.max(1, Math.floor(all * SHARES[priority]))
}

/** Places that are taken, by class. */
export interface Places {
  readonly taken: number
  mayTake(priority: Priority): boolean
  take(priority: Priority): void
  giveBack(priority: Priority): void
}

export function createPlaces(all: number): Places {
  const counts = priorityNames.map(() => 0)
  const takenFrom = (priority: Priority) => counts.reduce((sum, count, of) => (of >= priority ? sum + count : sum), 0)
  const add = (priority: Priority, change: number) => {
    counts[priority] = (counts[priority] ?? 0) + change
  }
  return {
    get taken() {
      return takenFrom(priorities.interactive)
    },
    mayTake: (priority) => classes.every((of) => of > priority || takenFrom(of) < placesFor(of, all)),
    take: (priority) => add(priority, 1),
    giveBack: (priority) => add(priority, -1),
  }
}
