/** Blobs with a bound on all of them together, and on those of one owner (P9). */
import { PosthouseError } from '@posthouse/contract'
import type { Blobs } from '../ports/blobs.ts'
import type { FileStore } from '../ports/store.ts'

export interface Quota {
  /** Bytes of all files, and of the files of one owner. */
  readonly all: number
  readonly each: number
}

/**
 * Counts while the bytes come, files that are under way included, so that many at once do not pass where one would not. A file is counted by its
 * row as soon as that is there.
 */
export function createQuota(blobs: Blobs, files: Pick<FileStore, 'used'>, quota: Quota): Blobs {
  const underWay = { all: 0, each: new Map<string, number>() }
  const count = (owner: string, bytes: number) => {
    underWay.all += bytes
    const own = (underWay.each.get(owner) ?? 0) + bytes
    if (own > 0) underWay.each.set(owner, own)
    else underWay.each.delete(owner)
  }
  return {
    ...blobs,
    async put(id, bytes, limit, owner = '') {
      const used = await files.used(owner)
      let size = 0
      const counted = async function* () {
        for await (const chunk of bytes) {
          size += chunk.length
          count(owner, chunk.length)
          if (used.all + underWay.all > quota.all) throw new PosthouseError('no-room', FULL.all)
          if (used.own + (underWay.each.get(owner) ?? 0) > quota.each) throw new PosthouseError('no-room', FULL.own)
          yield chunk
        }
      }
      try {
        return await blobs.put(id, counted(), limit, owner)
      } finally {
        count(owner, -size)
      }
    },
  }
}

/** Shown in chats, too, whatever their language. */
const FULL = {
  all: 'no room for more files here / 文件总空间已满',
  own: 'no room for more of your files / 你的文件空间已满',
}
