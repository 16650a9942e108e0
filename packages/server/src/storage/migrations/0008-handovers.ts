/** Conversations that a person answers. A node of an older version does not know of it: while versions stand beside each other, it may answer there, too. */
import { sql } from 'kysely'
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function handovers({ builder: { schema }, count }: Dialect): readonly { compile(): { sql: string } }[] {
  return [
    schema.alterTable('conversations').addColumn('held_by', 'text'),
    schema.alterTable('conversations').addColumn('held_at', count),
    schema.createIndex('conversations_held').on('conversations').column('held_at').where(sql.ref('held_at'), 'is not', null),
  ]
}
