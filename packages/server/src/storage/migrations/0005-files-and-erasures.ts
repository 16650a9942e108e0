/** Bytes of files for nodes that share no folder, and what was deleted, so that no backup brings it back. */
import { type RawBuilder, sql } from 'kysely'
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function filesAndErasures({ builder, blob }: Dialect): readonly { compile(): { sql: string } }[] {
  const { schema } = builder
  return [
    schema
      .createTable('file_chunks')
      .addColumn('file_id', 'text', (c) => c.notNull())
      .addColumn('part', 'integer', (c) => c.notNull())
      .addColumn('bytes', sql.raw(blob) as RawBuilder<unknown>, (c) => c.notNull())
      .addPrimaryKeyConstraint('file_chunks_key', ['file_id', 'part']),
    schema
      .createTable('erasures')
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('id', 'text', (c) => c.notNull())
      .addColumn('erased_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('erasures_key', ['kind', 'id']),
    schema.createIndex('erasures_by_time').on('erasures').column('erased_at'),
  ]
}
