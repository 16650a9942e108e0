/** Backups of an installation that goes on working, and what is in them. */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Sealer } from '../ports/sealer.ts'
import { type Archive, beginArchive, CONTENTS, checkWhole, clearLeftovers, type Manifest, openWhole } from './archive.ts'
import { createBlobs } from './blobs.ts'
import { CopyRefused, fileIds, type Installation } from './copy.ts'
import { dialectOf } from './dialects/index.ts'
import { opens } from './key-check.ts'
import { createMessages } from './messages.ts'
import { appliedTo, unknownOf } from './migrations/index.ts'
import { folderPlace } from './places/folder.ts'
import { placeOf } from './places/index.ts'
import { copyFile, type FilePlace } from './places/place.ts'
import { statement } from './query.ts'
import { COPYING, KEY_CHECK } from './schema.ts'
import {
  anyTable,
  type CopiedTable,
  copyTable,
  createDigest,
  digest,
  metaOf,
  type Progress,
  pagesOf,
  type Source,
  tablesAfter,
} from './tables.ts'

/** What a key opens: contents of messages, and files. */
export interface Keys {
  readonly sealer: Sealer
  readonly files: Buffer
}

/**
 * Writes a backup to `path`. All rows are of one moment; then come the files, which never change: one that was deleted meanwhile is left out, with its row.
 * @throws {CopyRefused} `empty`, `newer`, `different` when the disk gave back something else.
 */
export async function createBackup(
  { url, folder }: Installation,
  path: string,
  about: { readonly product: string; readonly now: Date },
  progress: Progress,
): Promise<Manifest> {
  const dialect = await dialectOf(url)
  if ((await dialect.look(url, KEY_CHECK)) === undefined) throw new CopyRefused('empty')
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  clearLeftovers(dirname(path))
  await using opened = new AsyncDisposableStack()
  const snapshot = await dialect.snapshot(url)
  opened.use(snapshot)
  const source: Source = { builder: anyTable(dialect), read: snapshot.read }
  const migrations = await appliedTo(snapshot.read, dialect)
  if (unknownOf(migrations).length > 0) throw new CopyRefused('newer', unknownOf(migrations).join(', '))
  const identity = await metaOf(source, KEY_CHECK)
  if (!identity || (await metaOf(source, COPYING))) throw new CopyRefused('empty')
  const begun = opened.use(await beginArchive(path, migrations))
  const { archive } = begun
  const tables: CopiedTable[] = []
  for (const name of tablesAfter(migrations)) {
    const read = createDigest()
    await copyTable(name, source, archive, progress, read.add)
    const { rows, hash } = read.result(name)
    const written = await digest(name, archive)
    if (rows !== written.rows || hash !== written.hash) throw new CopyRefused('different', name)
    tables.push(written)
  }
  await archive.database.write(async (transaction) => {
    await transaction.run(statement(archive.builder.insertInto('meta').values({ key: KEY_CHECK, value: identity })), {})
  })
  // What is read now may be deleted at any moment; nobody waits for us to let go of the past any more.
  await snapshot[Symbol.asyncDispose]()
  const place = dialect.keepsFiles ? placeOf(dialect, opened.use(await dialect.open(url, {})), folder) : folderPlace(folder)
  const files = await copyFiles(place, archive, progress)
  // Rows of files that are gone went, too.
  const left = await digest('files', archive)
  const manifest: Manifest = {
    form: 1,
    product: about.product,
    migrations: [...migrations],
    createdAt: about.now.toISOString(),
    key: keyIdOf(identity),
    tables: tables.map((table) => (table.name === left.name ? left : table)),
    files,
  }
  await begun.finish(manifest)
  return manifest
}

/** A sealed value begins with its version and the id of its key. */
const keyIdOf = (sealed: Uint8Array): string => Buffer.from(sealed.subarray(1, 5)).toString('hex')

async function copyFiles(from: FilePlace, to: Archive, progress: Progress): Promise<Manifest['files']> {
  let [done, bytes] = [0, 0]
  const { rows: of } = await digest('files', to)
  for await (const id of fileIds(to)) {
    const copied = await copyFile(from, to.place, id)
    await to.database.write(async (transaction) => {
      const { builder } = to
      const noted = copied
        ? builder.insertInto(CONTENTS).values({ id, size: copied.size, hash: copied.hash })
        : builder.deleteFrom('files').where('id', '=', id)
      await transaction.run(statement(noted), {})
    })
    bytes += copied?.size ?? 0
    progress('files', ++done, of)
  }
  const { rows: count, hash } = await digest(CONTENTS, to)
  return { count, bytes, hash }
}

export interface Verified {
  readonly manifest: Manifest
  /** What was opened with the key; undefined where there is none. */
  readonly opened: { readonly messages: number; readonly files: number } | undefined
}

/** So many of the messages and files are opened. */
const SAMPLES = 50

/** Reads everything back; with `keys`, opens some of it, too. @throws {CopyRefused} `foreign`, `newer`, `damaged`, `wrong-key`. */
export async function verifyBackup(path: string, keys: Keys | undefined, progress: Progress): Promise<Verified> {
  await using whole = await openWhole(path)
  await checkWhole(whole, progress)
  return { manifest: whole.manifest, opened: keys && (await openSome(whole, keys)) }
}

async function openSome({ archive, manifest, keyCheck }: Awaited<ReturnType<typeof openWhole>>, { sealer, files }: Keys) {
  if (!opens(sealer, keyCheck)) throw new CopyRefused('wrong-key', manifest.key)
  const messages = createMessages(archive.dialect.builder, sealer)
  const blobs = createBlobs(archive.place, files)
  const opened = { messages: 0, files: 0 }
  let trying = ''
  try {
    for await (const rows of pagesOf('messages', archive)) {
      for (const { id, body } of rows.slice(0, SAMPLES - opened.messages)) {
        trying = `message ${id}`
        messages.body(String(id), body as Uint8Array)
        opened.messages++
      }
      if (opened.messages === SAMPLES) break
    }
    for await (const id of fileIds(archive)) {
      trying = `file ${id}`
      for await (const _ of blobs.get(id));
      if (++opened.files === SAMPLES) break
    }
  } catch {
    // As it was written, and yet not to be opened: it was damaged before.
    throw new CopyRefused('damaged', trying)
  }
  return opened
}
