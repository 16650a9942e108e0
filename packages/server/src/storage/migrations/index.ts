/** Brings a database to the newest schema, each migration in one transaction of its own. */

import type { Database, Dialect } from '../dialects/dialect.ts'
import { prepare } from '../query.ts'
import { first } from './0001-first.ts'
import { toolCalls } from './0002-tool-calls.ts'
import { lastTurn } from './0003-last-turn.ts'

const migrations = [
  { name: '0001-first', statements: first },
  { name: '0002-tool-calls', statements: toolCalls },
  { name: '0003-last-turn', statements: lastTurn },
]

/** @throws when the database was written by a newer version. */
export async function migrate(database: Database, dialect: Dialect): Promise<void> {
  const { builder } = dialect
  await database.execute('create table if not exists migrations (name text primary key, applied_at bigint not null)')
  await database.execute(`create table if not exists meta (key text primary key, value ${dialect.blob} not null)`)
  const applied = new Set(
    (
      await database.read.all(
        prepare()(() => builder.selectFrom('migrations').select('name')),
        {},
      )
    ).map((row) => row.name),
  )
  const unknown = [...applied].filter((name) => !migrations.some((migration) => migration.name === name))
  if (unknown.length > 0) {
    throw new Error(
      `the database was written by a newer version of Posthouse (${unknown.join(', ')}). Start that version, or restore a backup.`,
    )
  }
  const record = prepare<{ name: string; at: number }>()((p) => builder.insertInto('migrations').values({ name: p.name, applied_at: p.at }))
  for (const { name, statements } of migrations) {
    if (applied.has(name)) continue
    await database.write(async (transaction) => {
      for (const statement of statements(dialect)) await transaction.run({ sql: statement.compile().sql, bind: () => [] }, {})
      await transaction.run(record, { name, at: Date.now() })
    })
  }
}
