/** One process for one data folder: an operating system's lock, which also a killed process gives back at once. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** Another process has the folder. */
export class FolderInUse extends Error {
  override readonly name = 'FolderInUse'
}

/**
 * Takes the folder for this process, until disposed or dead.
 * @throws {FolderInUse} with the number of the process that has it.
 */
export function holdFolder(folder: string): AsyncDisposable {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const owner = join(folder, 'posthouse.pid')
  // An exclusive transaction of a database of its own: node has no file locks, SQLite has them everywhere.
  const lock = new DatabaseSync(join(folder, 'posthouse.lock'), { timeout: 0 })
  try {
    lock.exec('PRAGMA journal_mode = DELETE; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (cause) {
    lock.close()
    const pid = existsSync(owner) ? readFileSync(owner, 'utf8').trim() : 'unknown'
    throw new FolderInUse(`Another Posthouse (process ${pid}) uses ${folder}. Stop it, or set another database.url.`, { cause })
  }
  writeFileSync(owner, `${process.pid}\n`)
  return {
    async [Symbol.asyncDispose]() {
      if (lock.isOpen) lock.close()
    },
  }
}

const nodeIn = (folder: string) => join(folder, 'posthouse.node')

/** Writes down as which node this process works. */
export function tellNode(folder: string, id: string): void {
  writeFileSync(nodeIn(folder), `${id}\n`)
}

/** As which node the last process of this folder worked. Whoever holds the folder knows that it is no more. */
export function formerNode(folder: string): string | undefined {
  const path = nodeIn(folder)
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
}

const addressIn = (folder: string) => join(folder, 'posthouse.url')

/** Writes down under which address this process serves, for commands on this machine; until disposed. */
export function tellAddress(folder: string, url: string): Disposable {
  writeFileSync(addressIn(folder), `${url}\n`)
  return { [Symbol.dispose]: () => rmSync(addressIn(folder), { force: true }) }
}

/** Where the last process of this folder served, or serves. */
export function toldAddress(folder: string): string | undefined {
  const path = addressIn(folder)
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
}
