/** Addresses of files for people who cannot sign in: good for one file and for a time, and proven by a signature of ours. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { MasterKey } from './key.ts'

interface Links {
  /** Path of the file's address, good until `expires` (epoch milliseconds). The same each time. */
  make(fileId: string, expires: number): string
  /** Whether the signature is of this file and this time, and the time is not over. */
  check(fileId: string, expires: number, signature: string, now: number): boolean
}

/** 192 bits, which nobody guesses. */
const LENGTH = 32

export function createLinks(master: MasterKey): Links {
  const key = master.derive('links')
  const sign = (fileId: string, expires: number) =>
    createHmac('sha256', key).update(`${fileId}\n${expires}`).digest('base64url').slice(0, LENGTH)
  return {
    make: (fileId, expires) => `/api/files/${fileId}/${expires}/${sign(fileId, expires)}`,
    check(fileId, expires, signature, now) {
      const wanted = Buffer.from(sign(fileId, expires))
      const given = Buffer.from(signature)
      return given.length === wanted.length && timingSafeEqual(given, wanted) && now < expires
    },
  }
}
