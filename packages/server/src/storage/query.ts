/** Queries are written over Kysely, compiled once, and run with new parameters: no query building in the message's way. */
import type { CompiledQuery } from 'kysely'

export type Value = string | number | bigint | Uint8Array | null

/** A compiled query; `P` names its parameters, `R` is its row. */
export interface Query<P, R> {
  readonly sql: string
  /** @throws TypeError for a value that no database may get. */
  readonly bind: (params: P) => Value[]
  readonly row?: R
  /** It will not come again: nothing is kept prepared for it. */
  readonly once?: boolean
}

/** What a query runs in. Answers at once on SQLite, later on a network database: always `await` it. */
export interface Transaction {
  all<P, R>(query: Query<P, R>, params: P): R[] | Promise<R[]>
  /** Answers the number of rows changed. */
  run<P>(query: Query<P, unknown>, params: P): number | Promise<number>
  /** Inserts one row; answers its serial key. */
  insert<P>(query: Query<P, unknown>, params: P): number | Promise<number>
}

class Placeholder {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/**
 * Compiles what `build` makes. `build` receives stand-ins for the parameters, typed as the values that they will have.
 *
 * @example
 * const find = prepare<{ id: string }>()((p) => db.selectFrom('users').selectAll().where('id', '=', p.id))
 */
export function prepare<P extends Record<string, Value> = Record<never, never>>() {
  return <R>(build: (params: P) => { compile(): CompiledQuery<R> }): Query<P, R> => {
    const stands = new Proxy({}, { get: (_, name) => new Placeholder(String(name)) }) as P
    const { sql, parameters } = build(stands).compile()
    const plan = parameters.map((value) => (value instanceof Placeholder ? value : { value: value as Value }))
    return {
      sql,
      bind(params) {
        const values = new Array<Value>(plan.length)
        for (let index = 0; index < plan.length; index++) {
          const entry = plan[index] as Placeholder | { value: Value }
          values[index] = entry instanceof Placeholder ? storable(params[entry.name], sql) : entry.value
        }
        return values
      },
    }
  }
}

/** A statement that is made for one occasion. */
export function statement<R>(query: { compile(): CompiledQuery<R> } | string): Query<Record<never, never>, R> {
  if (typeof query === 'string') return { sql: query, bind: () => [], once: true }
  const { sql, parameters } = query.compile()
  return { sql, bind: () => parameters.map((value) => storable(value, sql)), once: true }
}

/**
 * The same on every database: a text has no NUL (PostgreSQL takes none), a number is whole (there is no other column). `undefined`, dates and objects
 * are refused: drivers make something of them, silently.
 */
export function storable(value: unknown, sql = ''): Value {
  if (typeof value === 'string') return value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value
  if (typeof value === 'number') return Number.isInteger(value) ? value : Math.round(value)
  if (value === null || typeof value === 'bigint' || value instanceof Uint8Array) return value
  throw new TypeError(`a parameter of type ${typeof value} can't be stored: ${sql}`)
}

/**
 * Goes on with an answer: at once where it is there at once, as on SQLite. In the message's way a promise for nothing costs as much as the statement.
 */
export function after<T, U>(answer: T | Promise<T>, next: (value: T) => U): U | Promise<U> {
  return answer instanceof Promise ? answer.then(next) : next(answer)
}

/** The first row, if any. */
export function first<P, R>(transaction: Transaction, query: Query<P, R>, params: P): R | undefined | Promise<R | undefined> {
  return after(transaction.all(query, params), (rows) => rows[0])
}

type Answers<Asks extends readonly (() => unknown)[]> = { -readonly [Index in keyof Asks]: Awaited<ReturnType<Asks[Index]>> }

/**
 * Asks for several things at once, in their order: one way to a network database instead of as many. Waits for all of them, also after an error: what went on
 * behind a rollback would write into the next transaction. Rejects with the error of the first in order.
 */
export function together<const Asks extends readonly (() => unknown)[]>(...asks: Asks): Answers<Asks> | Promise<Answers<Asks>> {
  const answers: unknown[] = []
  try {
    for (const ask of asks) answers.push(ask())
  } catch (error) {
    answers.push(Promise.reject(error))
  }
  return (answers.some((answer) => answer instanceof Promise) ? allOf(answers) : answers) as Answers<Asks> | Promise<Answers<Asks>>
}

async function allOf(answers: readonly unknown[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(answers)
  return settled.map((answer) => {
    if (answer.status === 'rejected') throw answer.reason
    return answer.value
  })
}
