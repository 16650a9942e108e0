/**
 * Puts a backup in the place of an installation. A mark stands in the target from the first to the last moment, so that no gateway begins on a half; it
 * names the backup, so that a restore that was killed goes on. The last commit takes the mark away and, with it, deletes again what people had deleted,
 * sets aside what was under way, and pauses every account.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { CompiledQuery } from 'kysely'
import { PAUSED } from '../ports/pauses.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { Erasure } from '../ports/store.ts'
import { refuseLiveNodes } from './alone.ts'
import { CONTENTS, checkWhole, type Manifest, type OpenArchive, openWhole } from './archive.ts'
import { CopyRefused, type Installation } from './copy.ts'
import { type Dialect, fileOf, isServer } from './dialects/dialect.ts'
import { dialectOf } from './dialects/index.ts'
import { createErasures } from './erasures.ts'
import { opens } from './key-check.ts'
import { holdFolder } from './lock.ts'
import { appliedTo, migrate } from './migrations/index.ts'
import { newPlaceOf } from './places/index.ts'
import { copyFile, type FilePlace, fingerprint } from './places/place.ts'
import { statement, type Transaction } from './query.ts'
import { COPYING, KEY_CHECK } from './schema.ts'
import { anyTable, copyTable, digest, type Progress, pagesOf, type Target, tablesAfter, targetOf } from './tables.ts'

export interface RestoreOptions {
  readonly sealer: Sealer
  readonly now: Date
  /** What is there may be moved aside. */
  readonly replace: boolean
  /** Deletions that are known besides those of the database that is replaced. */
  readonly erasures: readonly Erasure[] | undefined
}

export interface Restored {
  readonly manifest: Manifest
  /** Deletions that were applied again, and those of them that the backup still had. */
  readonly erasures: number
  /** Messages and deliveries that were under way: dead letters now. */
  readonly setAside: number
  /** Where what was there before is kept. */
  readonly old: string | undefined
}

interface Mark {
  readonly restore: string
  readonly old: string | undefined
  readonly erasures: readonly Erasure[]
}

/**
 * @throws {CopyRefused} before anything is changed: `foreign`, `newer`, `damaged`, `wrong-key`, `occupied`, `ledger` when what is replaced cannot tell what was
 * deleted in it. {FolderInUse} or {DatabaseInUse} while a gateway works there.
 */
export async function restoreBackup(path: string, to: Installation, options: RestoreOptions, progress: Progress): Promise<Restored> {
  await using opened = new AsyncDisposableStack()
  const whole = opened.use(await openWhole(path))
  await checkWhole(whole, progress)
  const { manifest, archive, keyCheck } = whole
  if (!opens(options.sealer, keyCheck)) throw new CopyRefused('wrong-key', manifest.key)
  const { url, folder } = to
  if (!isServer(url)) opened.use(holdFolder(dirname(fileOf(url))))
  const dialect = await dialectOf(url)
  // A server's lock is its connection's; the lock of a folder is held already, and its file may have to give way first.
  const alone = { as: 'alone' } as const
  const server = isServer(url) ? opened.use(await dialect.open(url, alone)) : undefined
  if (server) await refuseLiveNodes(dialect, server)
  const mark = await claim(dialect, to, idOf(manifest), options)
  if (!server && mark.old) moveFiles(folder, mark.old)

  const database = server ?? opened.use(await dialect.open(url, alone))
  await migrate(database, dialect, { only: new Set(manifest.migrations) })
  const target = targetOf(dialect, database)
  const tables = tablesAfter(new Set(manifest.migrations))
  for (const name of tables) await copyTable(name, archive, target, progress)
  for (const name of tables) {
    const [there, here] = [await digest(name, archive), await digest(name, target)]
    if (there.rows !== here.rows || there.hash !== here.hash) throw new CopyRefused('different', name)
  }
  const gone = new Set(mark.erasures.filter(({ kind }) => kind === 'file').map(({ id }) => id))
  await putFiles(whole, newPlaceOf(dialect, database, folder), gone, progress)
  await migrate(database, dialect)
  await database.write(async (transaction) => {
    for (const each of dialect.analyze) await transaction.run(statement(each), {})
  })
  const setAside = await database.write((transaction) => finish(transaction, target, { mark, keyCheck, at: options.now.getTime() }))
  return { manifest, erasures: mark.erasures.length, setAside, old: mark.old }
}

const idOf = (manifest: Manifest): string => createHash('sha256').update(JSON.stringify(manifest)).digest('hex')

/** Makes the target ours: a mark stands there, and what was there before lies aside. */
async function claim(
  dialect: Dialect,
  { url, folder }: Installation,
  restore: string,
  { replace, erasures, now }: RestoreOptions,
): Promise<Mark> {
  const begun = readMark(await dialect.look(url, COPYING).catch(() => undefined))
  if (begun?.restore === restore) return { ...begun, erasures: union(begun.erasures, erasures ?? []) }
  const occupied = await isOccupied(dialect, url)
  if (occupied && !replace) throw new CopyRefused('occupied')
  const known = occupied ? await ledgerOf(dialect, url).catch(() => undefined) : []
  if (!known && !erasures) throw new CopyRefused('ledger')
  const stamp = now.toISOString().replace(/\D/g, '')
  const aside = occupied ? `before_${stamp}` : undefined
  const mark: Mark = {
    restore,
    old: aside && (isServer(url) ? aside : join(dirname(folder), aside)),
    erasures: union(begun?.erasures ?? [], union(known ?? [], erasures ?? [])),
  }
  await dialect.claim(url, Buffer.from(JSON.stringify(mark)), mark.old)
  return mark
}

function readMark(bytes: Uint8Array | undefined): Mark | undefined {
  try {
    return bytes && (JSON.parse(Buffer.from(bytes).toString()) as Mark)
  } catch {
    // Of a copy, not of a restore.
    return undefined
  }
}

/** Whether there is anything that somebody may want back. */
async function isOccupied(dialect: Dialect, url: string): Promise<boolean> {
  try {
    if (!isServer(url)) return existsSync(fileOf(url))
    return (await dialect.look(url, KEY_CHECK)) !== undefined || (await dialect.look(url, COPYING)) !== undefined
  } catch (error) {
    if (isServer(url)) throw error
    return true
  }
}

/** What was deleted in a database. @throws when it cannot be read. */
async function ledgerOf(dialect: Dialect, url: string): Promise<readonly Erasure[]> {
  await using snapshot = await dialect.snapshot(url)
  const migrations = await appliedTo(snapshot.read, dialect)
  // An older version did not write it down.
  if (!tablesAfter(migrations).includes('erasures')) return []
  return await createErasures(dialect.builder).list(snapshot.read)
}

function union(one: readonly Erasure[], two: readonly Erasure[]): readonly Erasure[] {
  return [...new Map([...one, ...two].map((each) => [`${each.kind} ${each.id}`, each])).values()]
}

/** The files of what was there go along with it. A restore that goes on may have put some of its own here: they come again. */
function moveFiles(folder: string, old: string): void {
  const goal = join(old, 'files')
  if (existsSync(goal) || !existsSync(folder)) return
  mkdirSync(old, { recursive: true, mode: 0o700 })
  renameSync(folder, goal)
}

async function putFiles({ archive, manifest }: OpenArchive, place: FilePlace, gone: ReadonlySet<string>, progress: Progress) {
  let done = 0
  for await (const rows of pagesOf(CONTENTS, archive))
    for (const { id, hash } of rows) {
      const file = String(id)
      if (gone.has(file)) await place.remove(file)
      else if ((await fingerprint(place, file))?.hash !== hash) {
        await copyFile(archive.place, place, file)
        if ((await fingerprint(place, file))?.hash !== hash) throw new CopyRefused('different', file)
      }
      progress('files', ++done, manifest.files.count)
    }
}

/** The last commit. Answers how much was under way: nobody knows what became of it after the backup, so it waits for an operator (P5, P6). */
async function finish(
  transaction: Transaction,
  { dialect }: Target,
  { mark, keyCheck, at }: { mark: Mark; keyCheck: Uint8Array; at: number },
): Promise<number> {
  const { builder } = dialect
  const run: Run = async (query) => await transaction.run(statement(query), {})
  const erasures = createErasures(builder)
  for (const erasure of mark.erasures) {
    await erasures.erase(transaction, erasure)
    await erasures.note(transaction, erasure)
  }
  const setAside = await setUnderWayAside(run, dialect, at)
  // Who signed out, or was signed out, since then stays so.
  await run(builder.deleteFrom('logins'))
  await run(builder.deleteFrom('setup_links'))
  const paused = { key: PAUSED, value: JSON.stringify({ '*': at }), updated_at: at }
  await run(
    builder
      .insertInto('settings')
      .values(paused)
      .onConflict((conflict) => conflict.column('key').doUpdateSet(paused)),
  )
  const meta = anyTable(dialect)
  await run(
    meta
      .insertInto('meta')
      .values({ key: KEY_CHECK, value: keyCheck })
      .onConflict((conflict) => conflict.doNothing()),
  )
  await run(meta.deleteFrom('meta').where('key', '=', COPYING))
  return setAside
}

type Run = (query: { compile(): CompiledQuery }) => Promise<number>

/** What had no end when the backup was made: what became of it, the gateway of that time knows. */
async function setUnderWayAside(run: Run, { builder }: Dialect, at: number): Promise<number> {
  // The model must not answer beside the next question what may have been answered since.
  const questions = builder.selectFrom('inbox').select('message_id').where('done_at', 'is', null)
  await run(builder.updateTable('messages').set({ status: 'failed' }).where('id', 'in', questions))
  const inbox = builder.updateTable('inbox').set({ state: 'dead', outcome: 'restored', turn_id: null, done_at: at })
  const outbox = builder.updateTable('outbox').set({ state: 'dead', failure: 'restored', settled_at: at })
  const open = builder.updateTable('conversations').set({ turn_id: null, turn_node: null })
  await run(open.where('turn_id', 'is not', null))
  return (await run(inbox.where('done_at', 'is', null))) + (await run(outbox.where('settled_at', 'is', null)))
}
