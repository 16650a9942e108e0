/** The master key: one file, readable by its owner only, kept beside the data and never in it. */
import { createHash, hkdfSync, randomBytes } from 'node:crypto'
import { chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

export interface MasterKey {
  /** First bytes of a digest: tells keys apart, reveals nothing. */
  readonly id: string
  /** A key for one purpose; different purposes never share one. */
  derive(purpose: 'content' | 'files' | 'tokens' | 'names' | 'links'): Buffer
}

/** A start that must not go on; the message holds the remedy. */
export class KeyProblem extends Error {
  override readonly name = 'KeyProblem'
}

const PREFIX = 'posthouse-key-1:'
const FORM = /^posthouse-key-1:([A-Za-z0-9+/]{43}=)$/

/**
 * Reads the key, or makes one where there is no data yet.
 * @throws {KeyProblem} when the key is missing but data exists, or the file is not a key: a new key would make the data unreadable for ever.
 */
export function loadKey(path: string, dataExists: boolean): MasterKey {
  if (!existsSync(path)) {
    if (dataExists) {
      throw new KeyProblem(
        `The key file ${path} is missing, but there is data sealed with it. Put the key file back (it is in your backup of keys, not of data). To start over without the old data, move the data folder away first.`,
      )
    }
    create(path)
  }
  const secret = Buffer.from(FORM.exec(readFileSync(path, 'utf8').trim())?.[1] ?? '', 'base64')
  if (secret.length !== 32) {
    throw new KeyProblem(`${path} is not a Posthouse key file. Put the right one back; nothing was changed.`)
  }
  if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600)
  return {
    id: createHash('sha256').update('posthouse-key-id').update(secret).digest('hex').slice(0, 8),
    derive: (purpose) => Buffer.from(hkdfSync('sha256', secret, 'posthouse', purpose, 32)),
  }
}

function create(path: string): void {
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(path, 'wx', 0o600)
  try {
    writeSync(file, `${PREFIX}${randomBytes(32).toString('base64')}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  const folder = openSync(dirname(path), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
