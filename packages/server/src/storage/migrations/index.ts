/** Brings a database to the newest schema, in one transaction. */

import type { Database, Dialect } from '../dialects/dialect.ts'
import { prepare, statement } from '../query.ts'
import { first } from './0001-first.ts'
import { toolCalls } from './0002-tool-calls.ts'
import { lastTurn } from './0003-last-turn.ts'
import { nodes } from './0004-nodes.ts'
import { stops } from './0005-stops.ts'

const migrations = [
  { name: '0001-first', statements: first },
  { name: '0002-tool-calls', statements: toolCalls },
  { name: '0003-last-turn', statements: lastTurn },
  { name: '0004-nodes', statements: nodes },
  { name: '0005-stops', statements: stops },
]

/** @throws when the database was written by a newer version; nothing is changed then. */
export async function migrate(database: Database, dialect: Dialect): Promise<void> {
  const { builder, beforeMigrating, blob } = dialect
  const names = prepare()(() => builder.selectFrom('migrations').select('name'))
  const record = prepare<{ name: string; at: number }>()((p) => builder.insertInto('migrations').values({ name: p.name, applied_at: p.at }))
  await database.write(async (transaction) => {
    for (const each of beforeMigrating) await transaction.run(statement(each), {})
    await transaction.run(statement('create table if not exists migrations (name text primary key, applied_at bigint not null)'), {})
    await transaction.run(statement(`create table if not exists meta (key text primary key, value ${blob} not null)`), {})
    const applied = new Set((await transaction.all(names, {})).map((row) => row.name))
    const unknown = [...applied].filter((name) => !migrations.some((migration) => migration.name === name))
    if (unknown.length > 0) {
      throw new Error(
        `the database was written by a newer version of Posthouse (${unknown.join(', ')}). Start that version, or restore a backup.`,
      )
    }
    for (const { name, statements } of migrations) {
      if (applied.has(name)) continue
      for (const each of statements(dialect)) await transaction.run(statement(each.compile().sql), {})
      await transaction.run(record, { name, at: Date.now() })
    }
  })
}
