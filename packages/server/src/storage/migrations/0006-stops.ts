/** What somebody said stop to, on whatever node its turn runs. */
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function stops({ builder, count }: Dialect): readonly { compile(): { sql: string } }[] {
  return [builder.schema.alterTable('conversations').addColumn('stopped_before', count, (c) => c.notNull().defaultTo(0))]
}
