/** UUIDv7 that rise with time, also within one millisecond: the built-in ones do not, and indexes stay small by it. */
import { createHash, randomFillSync } from 'node:crypto'

export type NewId = () => string

/** Random bytes are fetched for so many ids at a time. */
const POOL = 512
const BYTES = 16
const COUNTER = 0x1000

/** Makes a source of ids: 48 bits of time, a counter of 12 bits, 62 random bits (RFC 9562, section 6.2, method 1). */
export function createIds(now: () => number): NewId {
  const pool = Buffer.allocUnsafe(POOL * BYTES)
  let used = pool.length
  let time = 0
  let counter = 0
  return () => {
    if (used === pool.length) {
      randomFillSync(pool)
      used = 0
    }
    const at = used
    used += BYTES
    const clock = now()
    counter += 1
    if (clock > time) {
      time = clock
      // Begins low, so that there is room to count up within the millisecond.
      counter = pool.readUInt16BE(at + 6) & 0x7ff
    } else if (counter === COUNTER) {
      // Used up, or the clock went back: the ids go ahead of it rather than repeat.
      time += 1
      counter = 0
    }
    pool.writeUIntBE(time, at, 6)
    pool.writeUInt16BE(0x7000 | counter, at + 6)
    pool[at + 8] = 0x80 | ((pool[at + 8] as number) & 0x3f)
    const hex = pool.toString('hex', at, at + BYTES)
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
}

export const newId: NewId = createIds(Date.now)

/** The id of what has a name already: the same for the same name (RFC 9562, section 5.8). */
export function namedId(name: string): string {
  const bytes = createHash('sha256').update(name).digest()
  bytes[6] = 0x80 | ((bytes[6] as number) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f)
  const hex = bytes.toString('hex', 0, BYTES)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** When an id was made, in epoch milliseconds. */
export const timeOf = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
