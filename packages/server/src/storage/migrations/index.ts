/**
 * Brings a database to the newest schema, in one transaction; and knows who may work on it.
 *
 * Two versions work side by side while nodes are upgraded one by one, and after one was taken back. So a migration only adds (columns with a default,
 * tables, indexes); what the version before cannot bear names in `least` the first migration that a version must know to work beside it. Versions
 * that do not know that one refuse to start, and it waits until none of theirs is at work.
 */
import type { Database, Dialect } from '../dialects/dialect.ts'
import { first as firstOf, prepare, statement, type Transaction } from '../query.ts'
import { LEAST } from '../schema.ts'
import { first } from './0001-first.ts'
import { toolCalls } from './0002-tool-calls.ts'
import { lastTurn } from './0003-last-turn.ts'
import { nodes } from './0004-nodes.ts'
import { filesAndErasures } from './0005-files-and-erasures.ts'
import { stops } from './0006-stops.ts'
import { knows } from './0007-knows.ts'
import { handovers } from './0008-handovers.ts'

interface Migration {
  readonly name: string
  readonly statements: (dialect: Dialect) => readonly { compile(): { sql: string } }[]
  /** Name of the migration that a version must know to work beside this one; any version may unless told. */
  readonly least?: string
}

const migrations: readonly Migration[] = [
  { name: '0001-first', statements: first },
  { name: '0002-tool-calls', statements: toolCalls },
  { name: '0003-last-turn', statements: lastTurn },
  { name: '0004-nodes', statements: nodes },
  { name: '0005-files-and-erasures', statements: filesAndErasures },
  { name: '0006-stops', statements: stops },
  { name: '0007-knows', statements: knows },
  { name: '0008-handovers', statements: handovers },
]

/** The newest migration that this version knows. */
export const newest: string = migrations.at(-1)?.name ?? ''

/** Names of the migrations that a database has seen. */
export async function appliedTo(read: Transaction, { builder }: Pick<Dialect, 'builder'>): Promise<ReadonlySet<string>> {
  const names = prepare()(() => builder.selectFrom('migrations').select('name'))
  return new Set((await read.all(names, {})).map((row) => row.name))
}

/** Those that this version does not know. */
export const unknownOf = (names: Iterable<string>): readonly string[] =>
  [...names].filter((name) => !migrations.some((migration) => migration.name === name))

/** Whoever asks is kept from working beside others that cannot bear it. */
export class VersionRefused extends Error {
  override readonly name = 'VersionRefused'
  /** `newer`: the database is of a newer version; `older`: nodes of an older one are at work. */
  readonly reason: 'newer' | 'older'
  constructor(reason: 'newer' | 'older', who: string) {
    super(
      reason === 'newer'
        ? `the database was written by a newer version of Posthouse (${who}). Start that version, or restore a backup.`
        : `nodes of an older version (${who}) cannot work beside this one. Stop them first.`,
    )
    this.reason = reason
  }
}

/**
 * Demands, within the transaction of what follows, that this version may work on the database; no migration changes that before it ends.
 * @throws {VersionRefused}
 */
export async function demandLeast(transaction: Transaction, { builder, keep }: Pick<Dialect, 'builder' | 'keep'>): Promise<void> {
  const least = prepare()(() => keep(builder.selectFrom('meta').select('value').where('key', '=', LEAST)))
  const name = Buffer.from((await firstOf(transaction, least, {}))?.value ?? '').toString()
  if (name > newest) throw new VersionRefused('newer', name)
}

export interface MigrateOptions {
  /** No further than a database that has seen these. */
  readonly only?: ReadonlySet<string>
  /** Work beside a newer version is welcome, where that one bears it. Who reads whole tables would leave out what it does not know. */
  readonly besideNewer?: boolean
}

/** @throws {VersionRefused} and nothing is changed then. */
export async function migrate(database: Database, dialect: Dialect, { only, besideNewer = false }: MigrateOptions = {}): Promise<void> {
  const { builder, beforeMigrating, blob, now } = dialect
  const record = prepare<{ name: string; at: number }>()((p) => builder.insertInto('migrations').values({ name: p.name, applied_at: p.at }))
  const noLeast = prepare<{ value: Uint8Array }>()((p) =>
    builder
      .insertInto('meta')
      .values({ key: LEAST, value: p.value })
      .onConflict((conflict) => conflict.doNothing()),
  )
  const raise = prepare<{ value: Uint8Array }>()((p) => builder.updateTable('meta').set({ value: p.value }).where('key', '=', LEAST))
  const older = prepare<{ least: string }>()((p) =>
    builder.selectFrom('nodes').select('name').where('alive_until', '>', now).where('knows', '<', p.least),
  )
  await database.write(async (transaction) => {
    for (const each of beforeMigrating) await transaction.run(statement(each), {})
    await transaction.run(statement('create table if not exists migrations (name text primary key, applied_at bigint not null)'), {})
    await transaction.run(statement(`create table if not exists meta (key text primary key, value ${blob} not null)`), {})
    const applied = await appliedTo(transaction, dialect)
    const unknown = unknownOf(applied)
    await transaction.run(noLeast, { value: Buffer.from('') })
    await demandLeast(transaction, dialect)
    if (unknown.length > 0 && !besideNewer) throw new VersionRefused('newer', unknown.join(', '))
    for (const { name, statements, least } of migrations) {
      if (applied.has(name) || (only && !only.has(name))) continue
      if (least !== undefined) {
        // First, which waits for those who are just joining and keeps out who comes later.
        await transaction.run(raise, { value: Buffer.from(least) })
        const busy = dialect.shared ? await transaction.all(older, { least }) : []
        if (busy.length > 0) throw new VersionRefused('older', busy.map((node) => node.name).join(', '))
      }
      for (const each of statements(dialect)) await transaction.run(statement(each.compile().sql), {})
      await transaction.run(record, { name, at: Date.now() })
    }
  })
}
