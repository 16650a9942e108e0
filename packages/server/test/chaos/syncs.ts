/** What a power cut would take: writes of a file since its last sync, as `strace -f -y` tells them. Pure. */

export interface LostWrite {
  readonly path: string
  readonly at: number
  readonly length: number
}

/** Calls of one thread may be told in two lines, `<unfinished ...>` and `<... resumed>`: a sync counts when it is over, a write when it is begun. */
export function lostWrites(trace: string): readonly LostWrite[] {
  const open = new Map<string, LostWrite[]>()
  /** Path of the sync that a thread is in, and how many writes there were when it began. */
  const syncing = new Map<string, { readonly path: string; readonly before: number }>()
  for (const line of trace.split('\n')) {
    const thread = /^\d+/.exec(line)?.[0] ?? ''
    const write = /pwrite64\(\d+<([^>]*)>, .*?, (\d+), (\d+)(?:\)|\s+<unfinished)/.exec(line)
    if (write) {
      const [, path = '', length, at] = write
      const writes = open.get(path) ?? []
      writes.push({ path, at: Number(at), length: Number(length) })
      open.set(path, writes)
      continue
    }
    const sync = /f(?:data)?sync\(\d+<([^>]*)>(?:\)\s+= (-?\d+)| <unfinished)/.exec(line)
    if (sync) {
      const [, path = '', result] = sync
      const before = open.get(path)?.length ?? 0
      if (result === undefined) syncing.set(thread, { path, before })
      else if (result === '0') open.set(path, [])
      continue
    }
    const over = /<\.\.\. f(?:data)?sync resumed>\)\s+= (-?\d+)/.exec(line)
    const begun = over && syncing.get(thread)
    if (!begun) continue
    syncing.delete(thread)
    // What was written while it ran may not be in it.
    if (over[1] === '0') open.set(begun.path, (open.get(begun.path) ?? []).slice(begun.before))
  }
  return [...open.values()].flat()
}
