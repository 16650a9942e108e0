/** Looks at a database without changing it or needing its key: what `posthouse doctor` asks. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Sealer } from '../ports/sealer.ts'
import { KEY_CHECK } from './store.ts'

export interface DatabaseFindings {
  /** `ok`, or what SQLite found to be damaged. */
  readonly integrity: string
  readonly journal: string
  /** Whether a commit went through. */
  readonly writes: boolean
  /** Why not. */
  readonly refusal: string | undefined
}

const PATIENCE = 2000

/** @throws when it is no database or cannot be opened. */
export function inspectDatabase(path: string): DatabaseFindings {
  const database = new DatabaseSync(path, { timeout: PATIENCE })
  try {
    const ask = (pragma: string) => Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]
    const integrity = String(ask('quick_check(1)'))
    const journal = String(ask('journal_mode'))
    try {
      // The same number again is a commit that changes nothing.
      database.exec(`PRAGMA synchronous = FULL; BEGIN IMMEDIATE; PRAGMA user_version = ${Number(ask('user_version'))}; COMMIT`)
      return { integrity, journal, writes: true, refusal: undefined }
    } catch (error) {
      return { integrity, journal, writes: false, refusal: (error as Error).message }
    }
  } finally {
    database.close()
  }
}

/** Whether the data was sealed with this key; undefined when nothing was sealed yet. */
export function keyFits(path: string, sealer: Sealer): boolean | undefined {
  const database = new DatabaseSync(path, { timeout: PATIENCE, readOnly: true })
  try {
    const row = database.prepare(`SELECT value FROM meta WHERE key = '${KEY_CHECK.key}'`).get() as { value: Uint8Array } | undefined
    if (!row) return undefined
    sealer.open(row.value, KEY_CHECK.place)
    return true
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_SQLITE_ERROR') return undefined
    return false
  } finally {
    database.close()
  }
}

/** Number of the process that holds a data folder; undefined when it is free. */
export function folderHolder(folder: string): string | undefined {
  const path = join(folder, 'posthouse.lock')
  if (!existsSync(path)) return undefined
  const lock = new DatabaseSync(path, { timeout: 0, readOnly: true })
  try {
    lock.prepare('SELECT count(*) FROM sqlite_schema').get()
    return undefined
  } catch {
    const owner = join(folder, 'posthouse.pid')
    return existsSync(owner) ? readFileSync(owner, 'utf8').trim() : 'unknown'
  } finally {
    lock.close()
  }
}
