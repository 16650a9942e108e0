/** Every table as a copy sees it: rows in a form that no database changes, read by their keys, counted and hashed. */
import { createHash } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import type { Database, Dialect } from './dialects/dialect.ts'
import { prepare, type Query, statement, storable, type Transaction, type Value } from './query.ts'
import type { Schema } from './schema.ts'

interface Table {
  readonly key: readonly string[]
  /** The migration that made it, unless the first. */
  readonly since?: string
}

/** All but what a copy makes itself, and what tells of running processes. Bytes of files are copied file by file. */
const TABLES: Readonly<Record<Exclude<keyof Schema, 'meta' | 'migrations' | 'file_chunks' | 'nodes' | 'leases'>, Table>> = {
  conversations: { key: ['id'] },
  messages: { key: ['seq'] },
  inbox: { key: ['seq'] },
  outbox: { key: ['seq'] },
  tool_calls: { key: ['seq'], since: '0002-tool-calls' },
  account_state: { key: ['account', 'key'] },
  settings: { key: ['key'] },
  users: { key: ['id'] },
  setup_links: { key: ['hash'] },
  logins: { key: ['hash'] },
  access_tokens: { key: ['id'] },
  files: { key: ['id'] },
  erasures: { key: ['kind', 'id'], since: '0005-files-and-erasures' },
}
const PAGE = 200

/** Tables of a database that these migrations made. */
export const tablesAfter = (migrations: ReadonlySet<string>): readonly string[] =>
  Object.entries(TABLES).flatMap(([name, { since }]) => (since === undefined || migrations.has(since) ? [name] : []))
const keyOf = (table: string) => TABLES[table as keyof typeof TABLES]?.key ?? ['id']

export interface CopiedTable {
  readonly name: string
  readonly rows: number
  /** Of all rows in a form that no database changes, in any order. */
  readonly hash: string
}

export type Row = Readonly<Record<string, Value>>
type AnyTable = Kysely<Record<string, Record<string, Value>>>

/** Where rows come from. */
export interface Source {
  readonly builder: AnyTable
  readonly read: Transaction
}

/** Where rows go to. */
export interface Target extends Source {
  readonly dialect: Dialect
  readonly database: Database
}

export type Progress = (table: string, done: number, of: number) => void

/** What a query builder that knows no table can be asked. */
export const anyTable = ({ builder }: Pick<Dialect, 'builder'>) => builder as unknown as AnyTable
export const targetOf = (dialect: Dialect, database: Database): Target => ({
  dialect,
  database,
  builder: anyTable(dialect),
  read: database.read,
})

export async function countOf(table: string, { builder, read }: Source): Promise<number> {
  const [row] = await read.all(statement(builder.selectFrom(table).select(sql<number>`count(*)`.as('count'))), {})
  return Number(row?.count)
}

export async function metaOf({ builder, read }: Source, key: string): Promise<Uint8Array | undefined> {
  const [row] = await read.all(statement(builder.selectFrom('meta').selectAll().where('key', '=', key)), {})
  return row?.value as Uint8Array | undefined
}

/** All rows in the order of their keys, some at a time. */
export async function* pagesOf(table: string, { builder, read }: Source, after?: readonly Value[]): AsyncGenerator<readonly Row[]> {
  const keys = keyOf(table)
  for (let last = after; ; ) {
    let query = builder.selectFrom(table).selectAll().limit(PAGE)
    for (const key of keys) query = query.orderBy(key)
    if (last) query = query.where(sql<boolean>`(${sql.join(keys.map((key) => sql.ref(key)))}) > (${sql.join(last)})`)
    const rows = (await read.all(statement(query), {})) as readonly Row[]
    const newest = rows.at(-1)
    if (!newest) return
    yield rows
    last = keys.map((key) => newest[key] ?? null)
  }
}

/** Copies what is not there yet; `seen` is told every row that was read. */
export async function copyTable(table: string, from: Source, to: Target, progress: Progress, seen?: (row: Row) => void): Promise<void> {
  const counted = keyOf(table)[0] === 'seq'
  const of = await countOf(table, from)
  const [top] = counted ? await to.read.all(statement(to.builder.selectFrom(table).select(sql<number | null>`max(seq)`.as('seq'))), {}) : []
  const there = top?.seq ?? undefined
  let done = there === undefined ? 0 : await countOf(table, to)
  let insert: { size: number; query: Query<Record<string, Value>, unknown> } = { size: 0, query: statement('') }
  for await (const rows of pagesOf(table, from, there === undefined ? undefined : [there])) {
    if (insert.size !== rows.length) insert = { size: rows.length, query: insertOf(table, to, rows) }
    const values = Object.fromEntries(rows.flatMap((row, at) => Object.entries(row).map(([column, value]) => [`${at} ${column}`, value])))
    await to.database.write(async (transaction) => void (await transaction.run(insert.query, values)))
    if (seen) rows.forEach(seen)
    done += rows.length
    progress(table, done, of)
  }
  if (!counted) return
  for (const each of to.dialect.afterCopying(table))
    await to.database.write(async (transaction) => void (await transaction.all(statement(each), {})))
}

/** Compiled once for all pages of a size: compiling it takes longer than running it. */
function insertOf(table: string, { builder }: Target, rows: readonly Row[]): Query<Record<string, Value>, unknown> {
  return prepare<Record<string, Value>>()((p) => {
    const stands = rows.map((row, at) => Object.fromEntries(Object.keys(row).map((column) => [column, p[`${at} ${column}`] as Value])))
    return builder
      .insertInto(table)
      .values(stands)
      .onConflict((conflict) => conflict.doNothing())
  })
}

/** Rows are combined without an order: databases sort texts differently. */
export function createDigest() {
  const sum = Buffer.alloc(32)
  let rows = 0
  return {
    add(row: Row) {
      const hash = createHash('sha256').update(canonical(row)).digest()
      for (let index = 0; index < sum.length; index++) sum[index] = (sum[index] ?? 0) ^ (hash[index] ?? 0)
      rows++
    },
    result: (name: string): CopiedTable => ({ name, rows, hash: sum.toString('hex') }),
  }
}

export async function digest(table: string, from: Source): Promise<CopiedTable> {
  const found = createDigest()
  for await (const page of pagesOf(table, from)) page.forEach(found.add)
  return found.result(table)
}

function canonical(row: Row): string {
  const value = (each: Value | undefined) => {
    const stored = storable(each ?? null)
    return stored instanceof Uint8Array ? { bytes: Buffer.from(stored).toString('base64') } : stored
  }
  return JSON.stringify(
    Object.keys(row)
      .sort()
      .map((column) => [column, value(row[column])]),
  )
}
