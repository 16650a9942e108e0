/** Whether arrays and objects stand within each other more than `limit` times. Walks without recursion, and stops at the first such place. */
export function isDeeperThan(value: unknown, limit: number): boolean {
  const open: { readonly value: object; readonly depth: number }[] = []
  const look = (entry: unknown, depth: number) => {
    if (typeof entry === 'object' && entry !== null) open.push({ value: entry, depth })
  }
  look(value, 1)
  for (let next = open.pop(); next; next = open.pop()) {
    if (next.depth > limit) return true
    for (const entry of Object.values(next.value)) look(entry, next.depth + 1)
  }
  return false
}
