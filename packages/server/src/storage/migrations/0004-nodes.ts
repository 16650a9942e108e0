/** Several gateways on one database: who is there, who owns which long connection, and who sends a conversation's answers. */
import { sql } from 'kysely'
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function nodes({ builder: { schema } }: Dialect): readonly { compile(): { sql: string } }[] {
  return [
    schema
      .createTable('nodes')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('version', 'text', (c) => c.notNull())
      .addColumn('started_at', 'bigint', (c) => c.notNull())
      .addColumn('seen_at', 'bigint', (c) => c.notNull())
      .addColumn('alive_until', 'bigint', (c) => c.notNull())
      .addColumn('draining', 'integer', (c) => c.notNull()),
    schema
      .createTable('leases')
      .addColumn('name', 'text', (c) => c.primaryKey())
      .addColumn('node', 'text')
      .addColumn('epoch', 'bigint', (c) => c.notNull())
      .addColumn('taken_at', 'bigint', (c) => c.notNull()),
    schema.alterTable('outbox').addColumn('node', 'text'),
    // What waits is asked for by its conversation now.
    schema.dropIndex('outbox_open'),
    schema.createIndex('outbox_open').on('outbox').columns(['conversation_id', 'seq']).where(sql.ref('settled_at'), 'is', null),
  ]
}
