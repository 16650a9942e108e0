/** Memory that a load needed goes back to the system when there is little to do: left alone, V8 keeps what its heap has grown to. */
import { performance } from 'node:perf_hooks'
import type { Clock } from '../base/clock.ts'

const LOOK = 5000
/** Part of the time in which the event loop may have work while there is "little to do", looking after itself on a slow machine; looks in a row that find it so. */
const LITTLE = 0.25
const QUIET_LOOKS = 2
/** Bytes by which the heap must have grown since it was made small: a collection stops the process for one to five tenths of a second. */
const GROWN = 16 * 1024 * 1024

/** The heap of this process. */
export interface Heap {
  /** Bytes that it holds. */
  size(): number
  /** Part of the time since the last call in which the event loop had work. */
  used(): number
  /** Missing where Node was started without `--expose-gc`. */
  readonly shrink: (() => void) | undefined
}

/** Looks every five seconds until disposed. `atWork`: somebody waits for an answer just now. */
export function returnMemory({ clock, atWork, heap = ownHeap() }: { clock: Clock; atWork: () => boolean; heap?: Heap }): Disposable {
  let quiet = 0
  let smallest = 0
  return clock.every(LOOK, () => {
    quiet = heap.used() < LITTLE && !atWork() ? quiet + 1 : 0
    if (!heap.shrink || quiet < QUIET_LOOKS || heap.size() < smallest + GROWN) return
    heap.shrink()
    smallest = heap.size()
  })
}

function ownHeap(): Heap {
  let last = performance.eventLoopUtilization()
  const { gc } = globalThis
  return {
    size: () => process.memoryUsage().heapTotal,
    used() {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, last)
      last = now
      return utilization
    },
    // The ordinary kind leaves the young generation as large as the load made it.
    shrink: gc && (() => void gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })),
  }
}
