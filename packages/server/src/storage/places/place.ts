/** Where the bytes of files lie, sealed as they are: nothing here needs the key. */
import { createHash } from 'node:crypto'

export interface FilePlace {
  /** @throws what `chunks` throws; nothing stays behind then. */
  write(id: string, chunks: AsyncIterable<readonly Uint8Array[]>): Promise<void>
  /** Undefined when there is no such file. */
  open(id: string): Promise<OpenFile | undefined>
  remove(id: string): Promise<void>
  /** What lies here, what was begun and abandoned included, some ids at a time. */
  ids(): AsyncIterable<readonly string[]>
}

export interface OpenFile extends AsyncDisposable {
  /** Reads on until the buffer is full or the file ends; answers how much was read. */
  fill(buffer: Uint8Array): Promise<number>
}

/** New files come to `place`; what an earlier version kept in `old` is found there. */
export function withOld(place: FilePlace, old: FilePlace): FilePlace {
  return {
    ...place,
    open: async (id) => (await place.open(id)) ?? (await old.open(id)),
    async remove(id) {
      await place.remove(id)
      await old.remove(id)
    },
  }
}

export interface Fingerprint {
  readonly size: number
  readonly hash: string
}

const STEP = 256 * 1024

/** Size and hash of the sealed bytes; undefined when there is no such file. */
export async function fingerprint(place: FilePlace, id: string): Promise<Fingerprint | undefined> {
  const found = { size: 0, hash: createHash('sha256') }
  const there = await steps(place, id, (chunk) => {
    found.size += chunk.length
    found.hash.update(chunk)
  })
  return there ? { size: found.size, hash: found.hash.digest('hex') } : undefined
}

/** Copies one file, whatever lay at its goal; answers what was read, undefined when there is no such file. */
export async function copyFile(from: FilePlace, to: FilePlace, id: string): Promise<Fingerprint | undefined> {
  const source = await from.open(id)
  if (!source) return undefined
  await using file = source
  const found = { size: 0, hash: createHash('sha256') }
  async function* chunks() {
    const buffer = Buffer.allocUnsafe(STEP)
    for (let read = STEP; read === STEP; ) {
      read = await file.fill(buffer)
      const chunk = buffer.subarray(0, read)
      found.size += read
      found.hash.update(chunk)
      if (read > 0) yield [chunk]
    }
  }
  await to.remove(id)
  await to.write(id, chunks())
  return { size: found.size, hash: found.hash.digest('hex') }
}

async function steps(place: FilePlace, id: string, each: (chunk: Uint8Array) => void): Promise<boolean> {
  await using file = await place.open(id)
  if (!file) return false
  const buffer = Buffer.allocUnsafe(STEP)
  for (let read = STEP; read === STEP; ) {
    read = await file.fill(buffer)
    each(buffer.subarray(0, read))
  }
  return true
}
