/**
 * A bounded memory of what was used last, in two generations: when the young one is full it becomes the old one, and the old one goes. Nothing is
 * walked through; a list by age would be, over all that was ever deleted from its head.
 */

export interface Generations<V> {
  get(key: string): V | undefined
  /** `size`: its part of the limit. */
  set(key: string, value: V, size: number): void
  delete(key: string): void
}

/** Keeps between a half and all of `limit`. What is larger than a quarter of it is not kept. */
export function createGenerations<V>(limit: number): Generations<V> {
  interface Entry {
    readonly value: V
    readonly size: number
  }
  let young = new Map<string, Entry>()
  let old = new Map<string, Entry>()
  let size = 0
  const add = (key: string, entry: Entry) => {
    size += entry.size - (young.get(key)?.size ?? 0)
    young.set(key, entry)
    if (size <= limit / 2) return
    old = young
    young = new Map()
    size = 0
  }
  return {
    get(key) {
      const entry = young.get(key)
      if (entry) return entry.value
      const aged = old.get(key)
      if (!aged) return undefined
      old.delete(key)
      add(key, aged)
      return aged.value
    },
    set(key, value, entrySize) {
      old.delete(key)
      if (entrySize > limit / 4) this.delete(key)
      else add(key, { value, size: entrySize })
    },
    delete(key) {
      size -= young.get(key)?.size ?? 0
      young.delete(key)
      old.delete(key)
    },
  }
}
