/** Calls of tools: intents and what came of them (P5). */
import { type RawBuilder, sql } from 'kysely'
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function toolCalls({ builder, serial, blob, count }: Dialect): readonly { compile(): { sql: string } }[] {
  const { schema } = builder
  const bytes = sql.raw(blob) as RawBuilder<unknown>
  return [
    schema
      .createTable('tool_calls')
      .addColumn('seq', count, serial)
      .addColumn('id', 'text', (c) => c.notNull().unique())
      .addColumn('turn_id', 'text', (c) => c.notNull())
      .addColumn('conversation_id', 'text', (c) => c.notNull())
      .addColumn('first_message', 'bigint', (c) => c.notNull())
      .addColumn('last_message', 'bigint', (c) => c.notNull())
      .addColumn('step', 'integer', (c) => c.notNull())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('call', bytes, (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('result', bytes)
      .addColumn('intended_at', 'bigint', (c) => c.notNull())
      .addColumn('settled_at', 'bigint'),
    schema.createIndex('tool_calls_by_message').on('tool_calls').columns(['conversation_id', 'last_message']),
  ]
}
