/** Files in a folder, for one node: whole under their name, or not there. */
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { FilePlace } from './place.ts'

const PART = '.part'

export function folderPlace(folder: string): FilePlace {
  const pathOf = (id: string) => join(folder, id.slice(-2), id)
  return {
    async write(id, chunks) {
      const path = pathOf(id)
      const part = `${path}${PART}`
      await mkdir(join(path, '..'), { recursive: true })
      const file = await open(part, 'w', 0o600)
      try {
        for await (const chunk of chunks) await file.writev([...chunk])
        await file.sync()
        await file.close()
        await rename(part, path)
      } catch (error) {
        await file.close().catch(() => {})
        await rm(part, { force: true })
        throw error
      }
    },
    async open(id) {
      const file = await absent(open(pathOf(id), 'r'))
      return file && { fill: (buffer) => fill(file, buffer), [Symbol.asyncDispose]: () => file.close() }
    },
    async remove(id) {
      for (const path of [pathOf(id), `${pathOf(id)}${PART}`]) await rm(path, { force: true })
    },
    async *ids() {
      for (const below of (await absent(readdir(folder))) ?? []) {
        const names = (await absent(readdir(join(folder, below)))) ?? []
        yield [...new Set(names.map((name) => name.replace(PART, '')))]
      }
    },
  }
}

/** What is not there, or no folder. */
async function absent<T>(asked: Promise<T>): Promise<T | undefined> {
  return await asked.catch((error: { code?: string }) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw error
  })
}

async function fill(file: FileHandle, buffer: Uint8Array): Promise<number> {
  for (let size = 0; ; ) {
    const { bytesRead } = await file.read(buffer, size, buffer.length - size)
    size += bytesRead
    if (bytesRead === 0 || size === buffer.length) return size
  }
}
