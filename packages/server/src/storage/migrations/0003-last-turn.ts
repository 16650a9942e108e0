/** Which turn ended last in a conversation: whoever ended it knows the conversation's newest messages without reading them. */
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function lastTurn({ builder }: Dialect): readonly { compile(): { sql: string } }[] {
  return [builder.schema.alterTable('conversations').addColumn('last_turn', 'text')]
}
