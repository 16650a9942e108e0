/** State machines, enforced: an update names its goal, and touches only rows whose state may lead there. */
import { type RawBuilder, sql } from 'kysely'

/** States from which `goal` may be reached, as literals: a partial index serves only conditions that it can see. */
export function before<S extends string>(steps: Readonly<Record<S, readonly S[]>>, goal: S): RawBuilder<S>[] {
  const states = (Object.keys(steps) as S[]).filter((state) => steps[state].includes(goal))
  return states.map((state) => sql.lit(state))
}

/** A state as a literal, for the same reason. */
export const is = <S extends string>(state: S): RawBuilder<S> => sql.lit(state)
