/** What a row of the fault matrix is: data with one function. */

import type { Outcome } from './crowd.ts'
import type { Need } from './needs.ts'

export interface Play {
  readonly seed: number
  /** One of the row's cases, when it has any. */
  readonly part: string
  /** The mutant that is played instead of the product. */
  readonly mutant?: string | undefined
  /** Milliseconds that lost messages are waited for. */
  readonly patience?: number
}

/**
 * With every commit a loss is what never comes, on whatever machine and whatever else it does; the bounds of time are those of `npm run chaos`, which has the
 * machine for itself.
 */
export const PATIENCE = 120_000

export interface Row {
  readonly id: string
  readonly title: string
  readonly injection: string
  readonly invariant: string
  readonly bound: string
  /** Played one after the other, each with its seeds. */
  readonly parts?: readonly string[]
  /** Seeds of a whole run; one unless told. */
  readonly seeds?: number
  readonly needs?: readonly Need[]
  /** What one of its parts needs beside. */
  readonly partNeeds?: Readonly<Record<string, readonly Need[]>>
  /** Previews that may be left behind. */
  readonly strays?: number
  run(play: Play): Promise<Outcome>
}

/** A row that no run can play: what it is about is not built. */
export interface MissingRow {
  readonly id: string
  readonly title: string
  readonly notYet: string
}

/** What of an outcome makes a row red, in words. */
export function problemsOf(row: Pick<Row, 'strays'>, outcome: Outcome): readonly string[] {
  const { lost, doubled, outOfOrder, rerun, strays, broken, asked, admitted } = outcome
  const told = (what: string, list: readonly string[]) =>
    list.length > 0 ? [`${what} ${list.length}: ${list.slice(0, 5).join(' | ')}`] : []
  return [
    ...told('lost', lost),
    ...told('doubled', doubled),
    ...told('out of order', outOfOrder),
    ...told('run again', rerun),
    ...(strays.length > (row.strays ?? 0) ? told('previews left behind', strays) : []),
    ...(admitted < asked ? [`never admitted: ${asked - admitted}`] : []),
    ...broken,
  ]
}

/** What this row, or this part of it, needs of a machine. */
export const needsOf = ({ needs = [], partNeeds = {} }: Row, part: string): readonly Need[] => [...needs, ...(partNeeds[part] ?? [])]
