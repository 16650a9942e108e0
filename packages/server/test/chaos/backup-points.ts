/** Where a backup and a restore are killed: what is changed in their source, so that the process ends just before that line. */
import type { Edit } from './preload/edit.ts'

export interface DeadlyLine {
  readonly name: string
  readonly file: Edit['file']
  readonly line: string
}

const [archive, backup, restore, sqlite] = ['archive', 'backup', 'restore', 'dialects/sqlite'].map((name) => `src/storage/${name}.ts`) as [
  string,
  string,
  string,
  string,
]

export const backupPoints: readonly DeadlyLine[] = [
  { name: 'archive begun', file: archive, line: 'await migrate(database, sqlite, { only: migrations })' },
  { name: 'rows kept', file: backup, line: 'await snapshot[Symbol.asyncDispose]()' },
  { name: 'files kept', file: backup, line: 'await begun.finish(manifest)' },
  { name: 'manifest kept', file: archive, line: 'sync(part)' },
  { name: 'archive synced', file: archive, line: 'renameSync(part, path)' },
]

export const restorePoints: readonly DeadlyLine[] = [
  { name: 'backup read', file: restore, line: 'const mark = await claim(' },
  { name: 'mark written', file: sqlite, line: 'emptyLog(path)' },
  { name: 'old one linked', file: sqlite, line: 'renameSync(fresh, path)' },
  { name: 'claimed', file: restore, line: 'if (!server && mark.old) moveFiles(' },
  { name: 'files aside', file: restore, line: 'const database = server ??' },
  { name: 'tables made', file: restore, line: 'for (const name of tables) await copyTable(' },
  { name: 'rows restored', file: restore, line: 'const gone = new Set(' },
  { name: 'files restored', file: restore, line: 'await migrate(database, dialect)\n' },
  { name: 'before the last commit', file: restore, line: 'const setAside = await database.write(' },
  { name: 'after the last commit', file: restore, line: 'return { manifest, erasures: mark.erasures.length' },
]
