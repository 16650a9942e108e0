/** Passwords: argon2id, with the parameters in the hash so that they can rise later. */
import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'

// OWASP's figures for argon2id: 19 MiB, two passes, one lane.
const MEMORY = 19_456
const PASSES = 2
const LANES = 1
const LENGTH = 32

/** What a password must be, for people: length is what counts. */
export const passwordRule = { least: 10, most: 256 }

/** Answers a hash in the PHC string format. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(password, salt, MEMORY, PASSES, LANES)
  return `$argon2id$v=19$m=${MEMORY},t=${PASSES},p=${LANES}$${encode(salt)}$${encode(hash)}`
}

/** Whether the password fits. An unknown person costs the same time as a known one: pass `undefined` for no hash. */
export async function checkPassword(password: string, stored: string | undefined): Promise<boolean> {
  const match = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([^$]+)\$([^$]+)$/.exec(stored ?? '')
  if (!match) {
    await derive(password, Buffer.alloc(16), MEMORY, PASSES, LANES)
    return false
  }
  const [, memory, passes, lanes, salt, hash] = match
  const wanted = Buffer.from(hash ?? '', 'base64')
  const found = await derive(password, Buffer.from(salt ?? '', 'base64'), Number(memory), Number(passes), Number(lanes))
  return found.length === wanted.length && timingSafeEqual(found, wanted)
}

const encode = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')

function derive(password: string, nonce: Buffer, memory: number, passes: number, parallelism: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    argon2('argon2id', { message: password.normalize('NFC'), nonce, memory, passes, parallelism, tagLength: LENGTH }, (error, hash) => {
      if (error) reject(error)
      else resolve(hash)
    })
  })
}
