/** State machines, enforced: an update names its goal, and touches only rows whose state may lead there. */
import { type Expression, type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely'
import type { Schema } from './schema.ts'

/** Whether the row's state may be followed by `goal`. States are literals: a partial index serves only conditions that it can see. */
export function leadsTo<S extends string>(steps: Readonly<Record<S, readonly S[]>>, goal: S): RawBuilder<SqlBool> {
  const states = (Object.keys(steps) as S[]).filter((state) => steps[state].includes(goal))
  const [only] = states
  return states.length === 1 ? sql`state = ${sql.lit(only)}` : sql`state in (${sql.join(states.map((state) => sql.lit(state)))})`
}

/** A state as a literal, for the same reason. */
export const is = <S extends string>(state: S): RawBuilder<S> => sql.lit(state)

/** Whether what a column names is no node any more: what belongs to it is anybody's. */
export const isOver = (builder: Kysely<Schema>, column: 'leases.node' | 'outbox.node' | 'conversations.turn_node'): Expression<SqlBool> =>
  sql<SqlBool>`(${sql.ref(column)} is null or not exists ${builder.selectFrom('nodes').select('id').where('nodes.id', '=', sql.ref<string>(column))})`
