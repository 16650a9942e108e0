/**
 * Whether the write-ahead log is whole. SQLite reads it up to the first frame that is not right and takes that for its end: after a power
 * cut it is, but a damaged frame takes every commit behind it away, without a word. https://sqlite.org/walformat.html
 */
import { existsSync, readFileSync } from 'node:fs'

/** Commits behind a damage would be lost. */
export class DamagedLog extends Error {
  override readonly name = 'DamagedLog'
}

const HEADER = 32
const FRAME = 24
/** Of a log that this kind of machine wrote; others are not judged. */
const LITTLE_ENDIAN_SUMS = 0x377f0682
const INDEX_HEADER = 48
const BACKFILLED = 96
const AGAIN = 3
const PAUSE = 100

/**
 * Looks at the log of the database at `path`; changes nothing.
 * @throws {DamagedLog} when commits that were synced are behind a damage, or cut off.
 */
export async function checkLog(path: string): Promise<void> {
  for (let look = 1; ; look++) {
    const problem = findDamage(path)
    if (problem === undefined) return
    // A command that writes at this moment may be seen half-way.
    if (look === AGAIN) throw new DamagedLog(`${path}-wal is damaged: ${problem}`)
    await new Promise((resolve) => setTimeout(resolve, PAUSE))
  }
}

function findDamage(path: string): string | undefined {
  // First what is known of the log, then the log: it only grows.
  const index = readIndex(`${path}-shm`)
  const log = existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : Buffer.alloc(0)
  const { whole, behind } = readFrames(log)
  if (behind > 0) return `at least ${behind} commits are behind a frame that is not right`
  if (log.length >= HEADER && log.readUInt32BE(0) !== LITTLE_ENDIAN_SUMS) return undefined
  const same = index && (log.length < HEADER || index.salt.equals(log.subarray(16, 24)))
  if (same && index.frames > Math.max(whole, index.backfilled)) return `it had ${index.frames} frames and has ${whole}`
  return undefined
}

/** What the processes before knew of the log: outlives them, but not the machine. */
function readIndex(path: string): { readonly frames: number; readonly backfilled: number; readonly salt: Buffer } | undefined {
  if (!existsSync(path)) return undefined
  const index = readFileSync(path)
  // Two copies that differ were being written.
  if (index.length < BACKFILLED + 4 || !index.subarray(0, INDEX_HEADER).equals(index.subarray(INDEX_HEADER, 2 * INDEX_HEADER)))
    return undefined
  return { frames: index.readUInt32LE(16), backfilled: index.readUInt32LE(BACKFILLED), salt: index.subarray(32, 40) }
}

/**
 * Frames that SQLite will take, and commits that it will not take although another followed them: each was synced before the next began. A
 * last commit that is torn proves nothing, nor do remains of one that failed: what came after them is not linked to them.
 */
function readFrames(log: Buffer): { readonly whole: number; readonly behind: number } {
  if (log.length < HEADER || log.readUInt32BE(0) !== LITTLE_ENDIAN_SUMS) return { whole: 0, behind: 0 }
  const size = log.readUInt32BE(8)
  const salt = log.subarray(16, 24)
  let before = [log.readUInt32BE(24), log.readUInt32BE(28)] as const
  let committed = false
  let whole = 0
  let right = true
  let behind = 0
  for (let at = HEADER; at + FRAME + size <= log.length; at += FRAME + size) {
    const ours = log.subarray(at + 8, at + 16).equals(salt)
    const told = [log.readUInt32BE(at + 16), log.readUInt32BE(at + 20)] as const
    const sums = checksum(log.subarray(at + FRAME, at + FRAME + size), checksum(log.subarray(at, at + 8), before))
    const linked = ours && sums[0] === told[0] && sums[1] === told[1]
    right &&= linked
    if (right) whole++
    else if (linked && committed) behind++
    before = told
    committed = ours && log.readUInt32BE(at + 4) !== 0
  }
  return { whole, behind }
}

function checksum(bytes: Buffer, [first, second]: readonly [number, number]): readonly [number, number] {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  let s0 = first
  let s1 = second
  for (let at = 0; at < words.length; at += 2) {
    s0 = (s0 + (words[at] ?? 0) + s1) >>> 0
    s1 = (s1 + (words[at + 1] ?? 0) + s0) >>> 0
  }
  return [s0, s1]
}
