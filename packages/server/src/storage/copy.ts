/**
 * Copies a whole installation from one database to another, whatever each is. A row that stands in `meta` from the first to the last moment says that
 * the copy is not whole: no gateway begins on it, and a copy that was killed goes on where it was.
 */
import { createHash } from 'node:crypto'
import { dirname } from 'node:path'
import { type Kysely, sql } from 'kysely'
import { type Database, DatabaseInUse, type Dialect, fileOf, isServer } from './dialects/dialect.ts'
import { dialectOf } from './dialects/index.ts'
import { holdFolder } from './lock.ts'
import { migrate } from './migrations/index.ts'
import { createNodes } from './nodes.ts'
import { statement, storable, type Value } from './query.ts'
import { COPYING, KEY_CHECK, type Schema } from './schema.ts'

/** Every table with its key, but for those that tell of running processes. */
const TABLES: Readonly<Record<Exclude<keyof Schema, 'meta' | 'migrations' | 'nodes' | 'leases'>, readonly string[]>> = {
  conversations: ['id'],
  messages: ['seq'],
  inbox: ['seq'],
  outbox: ['seq'],
  tool_calls: ['seq'],
  account_state: ['account', 'key'],
  settings: ['key'],
  users: ['id'],
  setup_links: ['hash'],
  logins: ['hash'],
  access_tokens: ['id'],
  files: ['id'],
}
const PAGE = 200

/** `empty`: there is nothing to copy. `occupied`: the target holds something else. `different`: afterwards a table was not what it should be. */
export class CopyRefused extends Error {
  override readonly name = 'CopyRefused'
  readonly reason: 'empty' | 'occupied' | 'different'
  readonly table: string | undefined
  constructor(reason: CopyRefused['reason'], table?: string) {
    super(`${reason}${table ? `: ${table}` : ''}`)
    this.reason = reason
    this.table = table
  }
}

export interface CopiedTable {
  readonly name: string
  readonly rows: number
  /** Of all rows in a form that no database changes, in any order. */
  readonly hash: string
}

type Row = Readonly<Record<string, Value>>
type AnyTable = Kysely<Record<string, Record<string, Value>>>

interface End {
  readonly dialect: Dialect
  readonly database: Database
  readonly builder: AnyTable
}

/**
 * Copies, then counts and hashes every table on both sides. Nothing is changed at the source but its schema, which is brought to this version as a start
 * would do. `progress` is told how many of a table's rows are there.
 * @throws {CopyRefused}, {FolderInUse} or {DatabaseInUse} while a gateway runs on either.
 */
export async function copyDatabase(
  fromUrl: string,
  toUrl: string,
  progress: (table: string, done: number, of: number) => void,
): Promise<readonly CopiedTable[]> {
  await using opened = new AsyncDisposableStack()
  const from = await openAlone(fromUrl, opened)
  const identity = await metaOf(from, KEY_CHECK)
  if (!identity) throw new CopyRefused('empty')
  const to = await openAlone(toUrl, opened)
  await claimTarget(to, identity)
  for (const name of Object.keys(TABLES)) await copyTable(name, from, to, progress)
  await to.database.write(async (transaction) => {
    for (const each of to.dialect.analyze) await transaction.run(statement(each), {})
  })
  const copied: CopiedTable[] = []
  for (const name of Object.keys(TABLES)) {
    const [there, here] = [await digest(name, from), await digest(name, to)]
    if (there.rows !== here.rows || there.hash !== here.hash) throw new CopyRefused('different', name)
    copied.push(here)
  }
  await finish(to, identity)
  return copied
}

/** Opens a database that nobody else works on. */
async function openAlone(url: string, opened: AsyncDisposableStack): Promise<End> {
  if (!isServer(url)) opened.use(holdFolder(dirname(fileOf(url))))
  const dialect = await dialectOf(url)
  const database = opened.use(await dialect.open(url, { as: 'alone' }))
  await migrate(database, dialect)
  // Cut off from the database, and maybe about to come back.
  const nodes = dialect.shared ? await createNodes(dialect, database).list() : []
  const alive = nodes.filter(({ alive }) => alive).map(({ name }) => name)
  if (alive.length > 0)
    throw new DatabaseInUse(
      'gateways',
      `A Posthouse (${alive.join(', ')}) was at work on this database within the last half minute. Stop it, or wait, and try again.`,
    )
  return { dialect, database, builder: dialect.builder as unknown as AnyTable }
}

async function metaOf({ builder, database }: End, key: string): Promise<Uint8Array | undefined> {
  const [row] = await database.read.all(statement(builder.selectFrom('meta').selectAll().where('key', '=', key)), {})
  return row?.value as Uint8Array | undefined
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
  for (const name of Object.keys(TABLES)) if ((await countOf(name, to)) > 0) throw new CopyRefused('occupied')
  await to.database.write(async (transaction) => {
    await transaction.run(statement(to.builder.insertInto('meta').values({ key: COPYING, value: identity })), {})
  })
}

async function finish(to: End, identity: Uint8Array): Promise<void> {
  await to.database.write(async (transaction) => {
    const { builder } = to
    const known = builder.insertInto('meta').values({ key: KEY_CHECK, value: identity })
    await transaction.run(statement(known.onConflict((conflict) => conflict.doNothing())), {})
    await transaction.run(statement(builder.deleteFrom('meta').where('key', '=', COPYING)), {})
  })
}

async function countOf(name: string, { builder, database }: End): Promise<number> {
  const [row] = await database.read.all(statement(builder.selectFrom(name).select(sql<number>`count(*)`.as('count'))), {})
  return Number(row?.count)
}

/** All rows in the order of their keys, some at a time. */
async function* pagesOf(name: string, { builder, database }: End, after?: readonly Value[]): AsyncGenerator<readonly Row[]> {
  const keys = TABLES[name as keyof typeof TABLES]
  for (let last = after; ; ) {
    let query = builder.selectFrom(name).selectAll().limit(PAGE)
    for (const key of keys) query = query.orderBy(key)
    if (last) query = query.where(sql<boolean>`(${sql.join(keys.map((key) => sql.ref(key)))}) > (${sql.join(last)})`)
    const rows = (await database.read.all(statement(query), {})) as readonly Row[]
    const newest = rows.at(-1)
    if (!newest) return
    yield rows
    last = keys.map((key) => newest[key] ?? null)
  }
}

async function copyTable(name: string, from: End, to: End, progress: (table: string, done: number, of: number) => void): Promise<void> {
  const counted = TABLES[name as keyof typeof TABLES][0] === 'seq'
  const of = await countOf(name, from)
  const [top] = counted
    ? await to.database.read.all(statement(to.builder.selectFrom(name).select(sql<number | null>`max(seq)`.as('seq'))), {})
    : []
  const there = top?.seq ?? undefined
  let done = there === undefined ? 0 : await countOf(name, to)
  for await (const rows of pagesOf(name, from, there === undefined ? undefined : [there])) {
    await to.database.write(async (transaction) => {
      const added = to.builder.insertInto(name).values([...rows])
      await transaction.run(statement(added.onConflict((conflict) => conflict.doNothing())), {})
    })
    done += rows.length
    progress(name, done, of)
  }
  if (!counted) return
  for (const each of to.dialect.afterCopying(name))
    await to.database.write(async (transaction) => void (await transaction.all(statement(each), {})))
}

/** Rows are combined without an order: databases sort texts differently. */
async function digest(name: string, end: End): Promise<CopiedTable> {
  const sum = Buffer.alloc(32)
  let rows = 0
  for await (const page of pagesOf(name, end)) {
    for (const row of page) {
      const hash = createHash('sha256').update(canonical(row)).digest()
      for (let index = 0; index < sum.length; index++) sum[index] = (sum[index] ?? 0) ^ (hash[index] ?? 0)
    }
    rows += page.length
  }
  return { name, rows, hash: sum.toString('hex') }
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
