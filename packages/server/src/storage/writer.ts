/** Group commit: everything that asks to be written in the same turn of the event loop shares one transaction and one sync. */
import { PosthouseError } from '@posthouse/contract'
import type { Transaction } from './query.ts'

/** A unit of writing. It may be run twice (alone, after its batch failed), so it touches nothing but the database. */
export type Work<T> = (transaction: Transaction) => T | Promise<T>

export interface WriteConnection extends Transaction {
  begin(): void | Promise<void>
  commit(): void | Promise<void>
  rollback(): void | Promise<void>
}

export interface Writer {
  /** Resolves after the commit. @throws what `work` threw, or PosthouseError `unavailable` when the database takes no writes. */
  write<T>(work: Work<T>): Promise<T>
  /** Resolves when nothing is waiting or running. */
  idle(): Promise<void>
}

interface Entry {
  readonly work: Work<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** More than this in one transaction gains nothing and makes the others wait. */
const BATCH = 512

export function createWriter(connection: WriteConnection): Writer {
  const waiting: Entry[] = []
  let running: Promise<void> | undefined

  const flush = async () => {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, BATCH)
      if (!(await commitTogether(connection, batch)) && batch.length > 1) {
        for (const entry of batch) await commitTogether(connection, [entry])
      }
    }
    running = undefined
  }

  return {
    write<T>(work: Work<T>) {
      return new Promise<T>((resolve, reject) => {
        waiting.push({ work, resolve: resolve as (value: unknown) => void, reject })
        running ??= new Promise<void>((done) => setImmediate(() => done())).then(flush)
      })
    },
    async idle() {
      while (running) await running
    },
  }
}

/** Answers false when nothing was committed and nobody was told yet: the batch must be tried one by one. */
async function commitTogether(connection: WriteConnection, batch: readonly Entry[]): Promise<boolean> {
  const results: unknown[] = []
  let began = false
  let failed: unknown
  try {
    await connection.begin()
    began = true
    for (const { work } of batch) {
      const result = work(connection)
      results.push(result instanceof Promise ? await result : result)
    }
  } catch (error) {
    failed = error ?? new Error('rejected without a reason')
  }
  if (!failed) {
    try {
      await connection.commit()
    } catch (error) {
      failed = unavailable(error)
    }
  }
  if (!failed) {
    batch.forEach((entry, index) => {
      entry.resolve(results[index])
    })
    return true
  }
  if (began) await rollback(connection)
  else failed = unavailable(failed)
  if (batch.length > 1) return false
  batch[0]?.reject(isDatabaseError(failed) ? unavailable(failed) : failed)
  return true
}

async function rollback(connection: WriteConnection): Promise<void> {
  try {
    await connection.rollback()
  } catch {
    // A failed COMMIT may have rolled back by itself.
  }
}

/** Disk full, read-only, broken, locked: not the fault of the work. A constraint that was violated is. */
function isDatabaseError(error: unknown): boolean {
  const { code, errcode } = error as { code?: string; errcode?: number }
  const CONSTRAINT = 19
  return code === 'ERR_SQLITE_ERROR' && (errcode ?? 0) % 256 !== CONSTRAINT
}

function unavailable(cause: unknown): PosthouseError {
  if (cause instanceof PosthouseError) return cause
  return new PosthouseError('unavailable', undefined, { cause, retryAfter: 2000 })
}
