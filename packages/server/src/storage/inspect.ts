/** Looks at a database without changing it or needing its key: what `posthouse doctor` asks, and what a start must know first. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Sealer } from '../ports/sealer.ts'
import { type Findings, fileOf, isServer } from './dialects/dialect.ts'
import { dialectOf } from './dialects/index.ts'
import { opens } from './key-check.ts'
import { KEY_CHECK } from './schema.ts'

export type { Findings }

/** @throws when it is no database or cannot be opened. */
export async function inspectDatabase(url: string): Promise<Findings> {
  return (await dialectOf(url)).inspect(url)
}

/** Whether something was kept there: then its key must be there, too. @throws when a server cannot be asked. */
export async function hasData(url: string): Promise<boolean> {
  return isServer(url) ? (await (await dialectOf(url)).look(url, KEY_CHECK)) !== undefined : existsSync(fileOf(url))
}

/** Whether the data was sealed with this key; undefined when nothing was sealed yet. */
export async function keyFits(url: string, sealer: Sealer): Promise<boolean | undefined> {
  const sealed = await (await dialectOf(url)).look(url, KEY_CHECK)
  return sealed && opens(sealer, sealed)
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
