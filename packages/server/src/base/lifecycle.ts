/** Work that outlives the call that started it, counted so that shutting down can wait for it. */

export interface TaskGroup {
  /** Runs `task` in the background; a rejection goes to `failed`, never to the process. */
  run(task: () => Promise<void>): void
  /** Resolves when nothing is running, or after `ms`; answers whether all ended. */
  idle(ms: number): Promise<boolean>
  readonly size: number
}

/** Makes a group of background tasks. */
export function createTaskGroup(failed: (error: unknown) => void): TaskGroup {
  let size = 0
  let waiting: (() => void)[] = []
  const ended = () => {
    size--
    if (size > 0) return
    for (const resolve of waiting) resolve()
    waiting = []
  }
  return {
    run(task) {
      size++
      task().catch(failed).finally(ended)
    },
    async idle(ms) {
      if (size === 0) return true
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms)
      })
      await Promise.race([new Promise<void>((resolve) => waiting.push(resolve)), late])
      clearTimeout(timer)
      return size === 0
    },
    get size() {
      return size
    },
  }
}
