/** Brings a database to the newest schema, in one transaction. */

import type { Database, Dialect } from '../dialects/dialect.ts'
import { prepare, statement, type Transaction } from '../query.ts'
import { first } from './0001-first.ts'
import { toolCalls } from './0002-tool-calls.ts'
import { lastTurn } from './0003-last-turn.ts'
import { nodes } from './0004-nodes.ts'
import { filesAndErasures } from './0005-files-and-erasures.ts'
import { stops } from './0006-stops.ts'

const migrations = [
  { name: '0001-first', statements: first },
  { name: '0002-tool-calls', statements: toolCalls },
  { name: '0003-last-turn', statements: lastTurn },
  { name: '0004-nodes', statements: nodes },
  { name: '0005-files-and-erasures', statements: filesAndErasures },
  { name: '0006-stops', statements: stops },
]

/** Names of the migrations that a database has seen. */
export async function appliedTo(read: Transaction, { builder }: Pick<Dialect, 'builder'>): Promise<ReadonlySet<string>> {
  const names = prepare()(() => builder.selectFrom('migrations').select('name'))
  return new Set((await read.all(names, {})).map((row) => row.name))
}

/** Those that this version does not know. */
export const unknownOf = (names: Iterable<string>): readonly string[] =>
  [...names].filter((name) => !migrations.some((migration) => migration.name === name))

/**
 * `only`: no further than a database that has seen these.
 * @throws when the database was written by a newer version; nothing is changed then.
 */
export async function migrate(database: Database, dialect: Dialect, only?: ReadonlySet<string>): Promise<void> {
  const { builder, beforeMigrating, blob } = dialect
  const record = prepare<{ name: string; at: number }>()((p) => builder.insertInto('migrations').values({ name: p.name, applied_at: p.at }))
  await database.write(async (transaction) => {
    for (const each of beforeMigrating) await transaction.run(statement(each), {})
    await transaction.run(statement('create table if not exists migrations (name text primary key, applied_at bigint not null)'), {})
    await transaction.run(statement(`create table if not exists meta (key text primary key, value ${blob} not null)`), {})
    const applied = await appliedTo(transaction, dialect)
    const unknown = unknownOf(applied)
    if (unknown.length > 0) {
      throw new Error(
        `the database was written by a newer version of Posthouse (${unknown.join(', ')}). Start that version, or restore a backup.`,
      )
    }
    for (const { name, statements } of migrations) {
      if (applied.has(name) || (only && !only.has(name))) continue
      for (const each of statements(dialect)) await transaction.run(statement(each.compile().sql), {})
      await transaction.run(record, { name, at: Date.now() })
    }
  })
}
