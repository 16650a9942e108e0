/** Group commit: everything that asks to be written in the same turn of the event loop shares one transaction and one sync. */
import { setTimeout as sleep } from 'node:timers/promises'
import { PosthouseError } from '@posthouse/contract'
import { backoff } from '../base/backoff.ts'
import type { Transaction } from './query.ts'

/** A unit of writing. It may be run again (alone, after its batch failed, or after a conflict), so it touches nothing but the database. */
export type Work<T> = (transaction: Transaction) => T | Promise<T>

/**
 * What an error of a database says. `work`: the fault of what was asked. `conflict`: another transaction was in the way, the next try may go through.
 * `worn`: what this connection remembers does not fit any more, the next one may do. `busy`: the database takes no such write now.
 * `lost`: there is no connection any more.
 */
export type Verdict = 'work' | 'conflict' | 'worn' | 'busy' | 'lost'

export interface WriteConnection extends Transaction {
  /** Whether statements that are asked for at the same time are under way at the same time. */
  readonly interleaves: boolean
  begin(): void | Promise<void>
  /** When it throws, nothing was committed. `more`: another transaction is begun at once. */
  commit(more: boolean): void | Promise<void>
  rollback(): void | Promise<void>
  judge(error: unknown): Verdict
}

/** `lane`: works of different lanes may run at the same time within one transaction; one without a lane runs while no other does. */
export type Write = <T>(work: Work<T>, lane?: string) => Promise<T>

export interface Writer {
  /** Resolves after the commit. @throws what `work` threw, or PosthouseError `unavailable` when the database takes no writes. */
  readonly write: Write
  /** Resolves when nothing is waiting or running. */
  idle(): Promise<void>
}

interface Entry {
  readonly work: Work<unknown>
  readonly lane: string | undefined
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/** More than this in one transaction gains nothing and makes the others wait. */
const BATCH = 512
/** Tries of a work that met a conflict. */
const TRIES = 5
const AGAIN = { first: 10, most: 250 }
/** A batch that failed is tried one by one for so many milliseconds; whoever is left then is refused. */
const PATIENCE = 3000
/** Nobody waits longer behind a batch that does not end: what became of its commit may be unknown for as long as the database is away. */
const BEHIND = 5000

/** `elapsed`: milliseconds of a clock that never jumps. */
export function createWriter(connection: WriteConnection, elapsed = () => performance.now()): Writer {
  const waiting: Entry[] = []
  let running: Promise<void> | undefined
  let stuck: PosthouseError | undefined

  const refuse = () => {
    stuck = unavailable(new Error('an earlier write has not ended'))
    for (const { reject } of waiting.splice(0)) reject(stuck)
  }
  const flush = async () => {
    while (waiting.length > 0) {
      const batch = waiting.splice(0, BATCH)
      const late = setTimeout(refuse, BEHIND)
      const failure = await commit(connection, batch, () => waiting.length > 0)
      if (failure) await oneByOne(connection, batch, failure, elapsed)
      clearTimeout(late)
      stuck = undefined
    }
    running = undefined
  }

  return {
    write<T>(work: Work<T>, lane?: string) {
      if (stuck) return Promise.reject(stuck)
      return new Promise<T>((resolve, reject) => {
        waiting.push({ work, lane, resolve: resolve as (value: unknown) => void, reject })
        running ??= new Promise<void>((done) => setImmediate(() => done())).then(flush)
      })
    },
    async idle() {
      while (running) await running
    },
  }
}

interface Failure {
  readonly verdict: Verdict
  readonly error: unknown
}

/** Nobody pays for another's mistake: each is tried for itself, as long as there is somebody to ask and time to do so. */
async function oneByOne(connection: WriteConnection, batch: readonly Entry[], together: Failure, elapsed: () => number): Promise<void> {
  const until = elapsed() + PATIENCE
  let last = together
  for (const entry of batch) {
    if (batch.length > 1 && (last.verdict === 'lost' || elapsed() > until)) {
      entry.reject(unavailable(last.error))
      continue
    }
    const first = batch.length > 1 ? await commit(connection, [entry]) : together
    const failure = await again(connection, entry, first)
    if (!failure) continue
    last = failure
    entry.reject(failure.verdict === 'work' ? failure.error : unavailable(failure.error))
  }
}

const MAY_GO_THROUGH: readonly (Verdict | undefined)[] = ['conflict', 'worn']

/** Tries a work that met a conflict until it goes through, or often enough. */
async function again(connection: WriteConnection, entry: Entry, first: Failure | undefined): Promise<Failure | undefined> {
  let failure = first
  for (let tries = 1; MAY_GO_THROUGH.includes(failure?.verdict) && tries < TRIES; tries++) {
    await sleep(backoff(tries, AGAIN))
    failure = await commit(connection, [entry])
  }
  return failure
}

/** Commits all and tells them, or nothing. */
async function commit(
  connection: WriteConnection,
  batch: readonly Entry[],
  more: () => boolean = () => false,
): Promise<Failure | undefined> {
  let results: readonly unknown[]
  try {
    await connection.begin()
  } catch (error) {
    return { verdict: 'lost', error }
  }
  try {
    results = connection.interleaves ? await runInterleaved(connection, batch) : await runInTurn(connection, batch)
    await connection.commit(more())
  } catch (error) {
    const failure = { verdict: connection.judge(error), error: error ?? new Error('rejected without a reason') }
    await rollback(connection)
    return failure
  }
  batch.forEach((entry, index) => {
    entry.resolve(results[index])
  })
  return undefined
}

async function runInTurn(connection: WriteConnection, batch: readonly Entry[]): Promise<unknown[]> {
  const results: unknown[] = []
  for (const { work } of batch) {
    const result = work(connection)
    results.push(result instanceof Promise ? await result : result)
  }
  return results
}

/** Lanes side by side, each in its order; then one by one what has no lane. */
async function runInterleaved(connection: WriteConnection, batch: readonly Entry[]): Promise<unknown[]> {
  const results: unknown[] = new Array(batch.length)
  const run = async (index: number) => {
    results[index] = await batch[index]?.work(connection)
  }
  const lanes = Map.groupBy(batch.keys(), (index) => batch[index]?.lane)
  const alone = lanes.get(undefined) ?? []
  lanes.delete(undefined)
  let failed: { readonly error: unknown } | undefined
  await Promise.all(
    [...lanes.values()].map(async (indexes) => {
      try {
        for (const index of indexes) await run(index)
      } catch (error) {
        // The first is the reason of the others.
        failed ??= { error }
      }
    }),
  )
  if (failed) throw failed.error
  for (const index of alone) await run(index)
  return results
}

async function rollback(connection: WriteConnection): Promise<void> {
  try {
    await connection.rollback()
  } catch {
    // A failed COMMIT may have rolled back by itself; a connection that is lost did.
  }
}

export function unavailable(cause: unknown): PosthouseError {
  if (cause instanceof PosthouseError && cause.code === 'unavailable') return cause
  return new PosthouseError('unavailable', undefined, { cause, retryAfter: 2000 })
}
