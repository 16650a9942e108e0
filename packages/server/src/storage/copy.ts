/**
 * Copies a whole installation from one database to another, whatever each is. A row that stands in `meta` from the first to the last moment says that
 * the copy is not whole: no gateway begins on it, and a copy that was killed goes on where it was.
 */
import { dirname } from 'node:path'
import { refuseLiveNodes } from './alone.ts'
import { fileOf, isServer } from './dialects/dialect.ts'
import { dialectOf } from './dialects/index.ts'
import { holdFolder } from './lock.ts'
import { appliedTo, migrate } from './migrations/index.ts'
import { newPlaceOf, placeOf } from './places/index.ts'
import { copyFile, type FilePlace, fingerprint } from './places/place.ts'
import { statement } from './query.ts'
import { COPYING, KEY_CHECK } from './schema.ts'
import {
  type CopiedTable,
  copyTable,
  countOf,
  digest,
  metaOf,
  type Progress,
  pagesOf,
  type Source,
  type Target,
  tablesAfter,
  targetOf,
} from './tables.ts'

/**
 * `empty`: there is nothing to copy. `occupied`: the target holds something else. `different`: afterwards a table or a file was not what it should be.
 * Of a backup: `absent`, `foreign` when it is none, `newer`, `damaged`, `wrong-key`; `busy`: it is being written. `ledger`: what is replaced cannot tell what
 * was deleted in it.
 */
export class CopyRefused extends Error {
  override readonly name = 'CopyRefused'
  readonly reason: 'empty' | 'occupied' | 'different' | 'absent' | 'foreign' | 'newer' | 'damaged' | 'wrong-key' | 'busy' | 'ledger'
  /** The table or the file. */
  readonly what: string | undefined
  constructor(reason: CopyRefused['reason'], what?: string) {
    super(`${reason}${what ? `: ${what}` : ''}`)
    this.reason = reason
    this.what = what
  }
}

/** A database, and the folder in which its files lie unless they are rows of it. */
export interface Installation {
  readonly url: string
  readonly folder: string
}

export interface CopiedFiles {
  readonly count: number
  readonly bytes: number
}

export interface Copied {
  readonly tables: readonly CopiedTable[]
  readonly files: CopiedFiles
}

interface End extends Target {
  readonly place: FilePlace
  readonly tables: readonly string[]
}

/**
 * Copies, then counts and hashes every table and file on both sides. Nothing is changed at the source but its schema, which is brought to this version
 * as a start would do. `progress` is told how many of a table's rows are there.
 * @throws {CopyRefused}, {FolderInUse} or {DatabaseInUse} while a gateway runs on either.
 */
export async function copyDatabase(from: Installation, to: Installation, progress: Progress): Promise<Copied> {
  await using opened = new AsyncDisposableStack()
  const source = await openAlone(from, placeOf, opened)
  const identity = await metaOf(source, KEY_CHECK)
  if (!identity) throw new CopyRefused('empty')
  const target = await openAlone(to, newPlaceOf, opened)
  await claimTarget(target, identity)
  for (const name of source.tables) await copyTable(name, source, target, progress)
  await target.database.write(async (transaction) => {
    for (const each of target.dialect.analyze) await transaction.run(statement(each), {})
  })
  const tables: CopiedTable[] = []
  for (const name of source.tables) {
    const [there, here] = [await digest(name, source), await digest(name, target)]
    if (there.rows !== here.rows || there.hash !== here.hash) throw new CopyRefused('different', name)
    tables.push(here)
  }
  const apart = source.dialect.keepsFiles || target.dialect.keepsFiles || from.folder !== to.folder
  const files = apart ? await copyFiles(source, target, progress) : { count: 0, bytes: 0 }
  await finish(target, identity)
  return { tables, files }
}

/** Opens a database that nobody else works on. */
async function openAlone({ url, folder }: Installation, placeIn: typeof placeOf, opened: AsyncDisposableStack): Promise<End> {
  if (!isServer(url)) opened.use(holdFolder(dirname(fileOf(url))))
  const dialect = await dialectOf(url)
  const database = opened.use(await dialect.open(url, { as: 'alone' }))
  await migrate(database, dialect)
  await refuseLiveNodes(dialect, database)
  const tables = tablesAfter(await appliedTo(database.read, dialect))
  return { ...targetOf(dialect, database), place: placeIn(dialect, database, folder), tables }
}

/** The target is empty, or holds the beginning of this very copy. */
async function claimTarget(to: End, identity: Uint8Array): Promise<void> {
  const begun = await metaOf(to, COPYING)
  if (begun) {
    if (Buffer.compare(begun, identity) !== 0) throw new CopyRefused('occupied')
    return
  }
  const owner = await metaOf(to, KEY_CHECK)
  // The copy of an earlier call is looked through again.
  if (owner && Buffer.compare(owner, identity) === 0) return
  if (owner) throw new CopyRefused('occupied')
  for (const name of to.tables) if ((await countOf(name, to)) > 0) throw new CopyRefused('occupied')
  await to.database.write(async (transaction) => {
    await transaction.run(statement(to.builder.insertInto('meta').values({ key: COPYING, value: identity })), {})
  })
}

/** Ids of all files that rows know. */
export async function* fileIds(from: Source): AsyncGenerator<string> {
  for await (const rows of pagesOf('files', from)) for (const row of rows) yield String(row.id)
}

/** Copies files that are not there yet, and reads each back. A row whose bytes are gone is no reason to stop. */
async function copyFiles(from: End, to: End, progress: Progress): Promise<CopiedFiles> {
  const of = await countOf('files', from)
  let [done, count, bytes] = [0, 0, 0]
  for await (const id of fileIds(from)) {
    const there = await fingerprint(to.place, id)
    const here = await fingerprint(from.place, id)
    if (here && here.hash !== there?.hash) {
      const read = await copyFile(from.place, to.place, id)
      const written = await fingerprint(to.place, id)
      if (!read || written?.hash !== read.hash) throw new CopyRefused('different', id)
    }
    if (here) count++
    bytes += here?.size ?? 0
    progress('files', ++done, of)
  }
  return { count, bytes }
}

async function finish(to: End, identity: Uint8Array): Promise<void> {
  await to.database.write(async (transaction) => {
    const { builder } = to
    const known = builder.insertInto('meta').values({ key: KEY_CHECK, value: identity })
    await transaction.run(statement(known.onConflict((conflict) => conflict.doNothing())), {})
    await transaction.run(statement(builder.deleteFrom('meta').where('key', '=', COPYING)), {})
  })
}
