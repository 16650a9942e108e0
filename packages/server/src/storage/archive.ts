/**
 * A backup: one file, which is an SQLite database with the same tables, the sealed bytes of all files, and a manifest. It is written under another name
 * and gets its own when it is whole and synced; so what has the name is whole.
 */
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { CopyRefused } from './copy.ts'
import type { Database } from './dialects/dialect.ts'
import { openArchive, sqlite } from './dialects/sqlite.ts'
import { migrate, unknownOf } from './migrations/index.ts'
import { type FilePlace, fingerprint } from './places/place.ts'
import { tablePlace } from './places/table.ts'
import { statement } from './query.ts'
import { KEY_CHECK } from './schema.ts'
import { type CopiedTable, digest, metaOf, type Progress, pagesOf, type Target, tablesAfter, targetOf } from './tables.ts'

export interface Manifest {
  readonly form: 1
  /** Version of the product that made it. */
  readonly product: string
  readonly migrations: readonly string[]
  /** When the rows were as they are here. */
  readonly createdAt: string
  /** Which key opens it; the key itself is not in it. */
  readonly key: string
  readonly tables: readonly CopiedTable[]
  readonly files: { readonly count: number; readonly bytes: number; readonly hash: string }
}

export interface Archive extends Target {
  readonly place: FilePlace
}

const MANIFEST = 'manifest'
/** Size and hash of each file, in the archive alone. */
export const CONTENTS = 'contents'
const PART = '.part'

const archiveOf = (database: Database): Archive => ({ ...targetOf(sqlite, database), place: tablePlace(sqlite.builder, database) })

/** Clears what killed backups left in a folder. One that is being written is held by its writer. */
export function clearLeftovers(folder: string): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (!name.endsWith(`.backup${PART}`)) continue
    const path = join(folder, name)
    try {
      const held = new DatabaseSync(path, { timeout: 0 })
      try {
        held.exec('BEGIN EXCLUSIVE')
      } finally {
        held.close()
      }
    } catch (error) {
      if (isBusy(error)) continue
    }
    removePart(path)
  }
}

function removePart(path: string): void {
  for (const each of [path, `${path}-journal`]) rmSync(each, { force: true })
}

/** An archive that is being written: `finish` gives it its name. Disposed before, nothing of it stays. */
export interface NewArchive extends AsyncDisposable {
  readonly archive: Archive
  finish(manifest: Manifest): Promise<void>
}

export async function beginArchive(path: string, migrations: ReadonlySet<string>): Promise<NewArchive> {
  const part = `${path}${PART}`
  const database = openPart(part)
  const archive = archiveOf(database)
  let whole = false
  const close = () => database[Symbol.asyncDispose]()
  try {
    await migrate(database, sqlite, { only: migrations })
    await database.write(async (transaction) => {
      // Whatever the schema: files are in it, too.
      await transaction.run(
        statement('create table if not exists file_chunks (file_id text, part integer, bytes blob, primary key (file_id, part))'),
        {},
      )
      await transaction.run(statement(`create table ${CONTENTS} (id text primary key, size integer not null, hash text not null)`), {})
    })
  } catch (error) {
    await close()
    removePart(part)
    throw error
  }
  return {
    archive,
    async finish(manifest) {
      await database.write(async (transaction) => {
        const row = { key: MANIFEST, value: Buffer.from(JSON.stringify(manifest)) }
        await transaction.run(statement(archive.builder.insertInto('meta').values(row)), {})
      })
      await close()
      sync(part)
      renameSync(part, path)
      whole = true
      sync(dirname(path))
    },
    async [Symbol.asyncDispose]() {
      if (whole) return
      await close()
      removePart(part)
    },
  }
}

/** @throws {CopyRefused} `busy` */
function openPart(path: string): Database {
  try {
    return openArchive(path, 'new')
  } catch (error) {
    if (isBusy(error)) throw new CopyRefused('busy', basename(path))
    throw error
  }
}

const BUSY = 5
const isBusy = (error: unknown): boolean => (error as { errcode?: number }).errcode === BUSY

function sync(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

export interface OpenArchive extends AsyncDisposable {
  readonly archive: Archive
  readonly manifest: Manifest
  /** The text that the first start sealed: tells whether a key fits. */
  readonly keyCheck: Uint8Array
}

/** @throws {CopyRefused} `foreign` when it is no backup, `newer`, `damaged`. */
export async function openWhole(path: string): Promise<OpenArchive> {
  if (!existsSync(path)) throw new CopyRefused('absent', basename(path))
  await using opened = new AsyncDisposableStack()
  try {
    const archive = archiveOf(opened.use(openArchive(path, 'read')))
    const [told, keyCheck] = [await metaOf(archive, MANIFEST), await metaOf(archive, KEY_CHECK)]
    if (!told || !keyCheck) throw new CopyRefused('foreign', basename(path))
    const manifest = JSON.parse(Buffer.from(told).toString()) as Manifest
    if (manifest.form !== 1 || unknownOf(manifest.migrations).length > 0) throw new CopyRefused('newer', manifest.product)
    const parts = opened.move()
    return { archive, manifest, keyCheck, [Symbol.asyncDispose]: () => parts.disposeAsync() }
  } catch (error) {
    if (error instanceof CopyRefused) throw error
    const NOT_A_DATABASE = 26
    throw new CopyRefused((error as { errcode?: number }).errcode === NOT_A_DATABASE ? 'foreign' : 'damaged', MANIFEST)
  }
}

/** Reads everything back and compares it with the manifest. @throws {CopyRefused} `damaged`, with the first table or file that is not what it was. */
export async function checkWhole({ archive, manifest }: OpenArchive, progress: Progress): Promise<void> {
  const found = async <T>(what: string, read: () => Promise<T>): Promise<T> => {
    try {
      return await read()
    } catch {
      // Also where SQLite itself finds a page that makes no sense.
      throw new CopyRefused('damaged', what)
    }
  }
  const told = new Map(manifest.tables.map((table) => [table.name, table]))
  for (const name of tablesAfter(new Set(manifest.migrations))) {
    const { rows, hash } = await found(name, () => digest(name, archive))
    if (rows !== told.get(name)?.rows || hash !== told.get(name)?.hash) throw new CopyRefused('damaged', name)
    progress(name, rows, rows)
  }
  const contents = await found(CONTENTS, () => digest(CONTENTS, archive))
  if (contents.rows !== manifest.files.count || contents.hash !== manifest.files.hash) throw new CopyRefused('damaged', CONTENTS)
  let done = 0
  for await (const rows of pagesOf(CONTENTS, archive))
    for (const { id, size, hash } of rows) {
      const file = await found(String(id), () => fingerprint(archive.place, String(id)))
      if (file?.size !== size || file?.hash !== hash) throw new CopyRefused('damaged', `file ${id}`)
      progress('files', ++done, contents.rows)
    }
}
