/** The newest migration that a node's version knows: whether a change that its version cannot bear has to wait for its end. */
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function knows({ builder: { schema } }: Dialect): readonly { compile(): { sql: string } }[] {
  return [schema.alterTable('nodes').addColumn('knows', 'text', (c) => c.notNull().defaultTo(''))]
}
