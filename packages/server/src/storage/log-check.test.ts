import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import { checkLog, DamagedLog } from './log-check.ts'

const FRAME = 24 + 4096

/** A database as a killed process leaves it: twenty commits in the log, none in the file; `play` may damage it. */
async function left(play: (path: string) => void | Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-log-'))
  const database = new DatabaseSync(join(folder, 'live.db'))
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE letters (text)')
    for (let n = 0; n < 20; n++) database.exec(`INSERT INTO letters VALUES ('letter ${n}')`)
    for (const end of ['', '-wal', '-shm']) copyFileSync(join(folder, `live.db${end}`), join(folder, `left.db${end}`))
    await play(join(folder, 'left.db'))
  } finally {
    database.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

const change = (path: string, at: number) => {
  const bytes = readFileSync(path)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(path, bytes)
}
const lettersIn = (path: string) => {
  const database = new DatabaseSync(path)
  const { count } = database.prepare('SELECT count(*) AS count FROM letters').get() as { count: number }
  database.close()
  return count
}

describe('the log of the database', () => {
  it('is whole after a kill, also without what was known of it', () =>
    left(async (path) => {
      await checkLog(path)
      rmSync(`${path}-shm`)
      await checkLog(path)
      assert.equal(lettersIn(path), 20)
      await checkLog(path)
    }))

  it('is told damaged where SQLite would lose commits without a word', () =>
    left(async (path) => {
      change(`${path}-wal`, 32 + 5 * FRAME + 2000)
      rmSync(`${path}-shm`)
      await assert.rejects(checkLog(path), DamagedLog)
      assert.ok(lettersIn(path) < 20, 'SQLite says nothing')
    }))

  it('may end torn: that is what a power cut leaves of a commit that was never confirmed', () =>
    left(async (path) => {
      rmSync(`${path}-shm`)
      change(`${path}-wal`, readFileSync(`${path}-wal`).length - 100)
      await checkLog(path)
      truncateSync(`${path}-wal`, readFileSync(`${path}-wal`).length - 1000)
      await checkLog(path)
    }))

  it('may hold what is left of commits that failed', () =>
    left(async (path) => {
      rmSync(`${path}-shm`)
      // As after a failed long commit, a failed short one, and a good one in their place: nothing behind is linked to what is before it.
      const log = readFileSync(`${path}-wal`)
      const frame = (n: number) => log.subarray(32 + n * FRAME, 32 + (n + 1) * FRAME)
      writeFileSync(`${path}-wal`, Buffer.concat([log.subarray(0, 32 + 10 * FRAME), frame(14), frame(19)]))
      await checkLog(path)
    }))

  it('is told cut when more was known of it', () =>
    left(async (path) => {
      truncateSync(`${path}-wal`, 32 + 10 * FRAME)
      await assert.rejects(checkLog(path), /had \d+ frames and has 10/)
    }))
})
