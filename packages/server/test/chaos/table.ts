/** What came of the rows, as the table of docs/reliability.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Outcome } from './crowd.ts'
import type { Mutant } from './mutants.ts'
import type { MissingRow, Row } from './row.ts'

export interface Result {
  readonly row: Row
  readonly skipped: readonly string[]
  readonly outcomes: readonly Outcome[]
  readonly problems: readonly string[]
}

const page = join(import.meta.dirname, '../../../../docs/reliability.md')

/** One of the matrices: that of a single node, and that of several. */
export interface Matrix {
  readonly rows: readonly Row[]
  readonly missing: readonly MissingRow[]
  /** Each must turn its rows red. */
  readonly mutants: readonly Mutant[]
  /** What stands before its part of the page, and behind it. */
  readonly begin: string
  readonly end: string
  readonly heading: string
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`

/** One outcome on a line. */
export function summary({ admitted, answered, told, dead, lost, doubled, marked, strays, recoveries, figures }: Outcome): string {
  const away = recoveries.length > 0 ? `, serving again in ${seconds(Math.max(...recoveries))}` : ''
  const left = strays.length > 0 ? `, ${strays.length} previews left` : ''
  return `${admitted} admitted, ${answered} answered, ${told} told, ${dead} dead, ${lost.length} lost, ${doubled.length} doubled, ${marked} marked${left}${away}${figures && `; ${figures}`}`
}

function line({ row, skipped, outcomes, problems }: Result): string {
  const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((total, outcome) => total + of(outcome), 0)
  const recoveries = outcomes.flatMap((outcome) => outcome.recoveries)
  const state = skipped.length > 0 ? `skipped: no ${skipped.join(', no ')}` : problems.length > 0 ? `**red** (${problems.length})` : 'green'
  const cells = [
    row.id,
    state,
    outcomes.length,
    sum(({ admitted }) => admitted),
    sum(({ lost }) => lost.length),
    sum(({ doubled }) => doubled.length),
    sum(({ marked }) => marked),
    recoveries.length > 0 ? seconds(Math.max(...recoveries)) : '',
    outcomes.at(-1)?.figures ?? '',
  ]
  return `| ${cells.join(' | ')} |`
}

const described = ({ id, title, injection, invariant, bound, parts, needs }: Row) =>
  [
    `### ${id} ${title}`,
    '',
    `- Injected: ${injection}.`,
    `- Must hold: ${invariant}.`,
    `- Bound: ${bound}.`,
    ...(parts && parts.length < 10 ? [`- Parts: ${parts.join('; ')}.`] : []),
    ...(needs ? [`- Needs: ${needs.join(', ')}.`] : []),
  ].join('\n')

/** Writes what came of the rows, and what they are, into the page. Rows that were not played keep their line. */
export function writeTable({ rows, missing, begin, end, heading }: Matrix, results: readonly Result[]): void {
  const text = readFileSync(page, 'utf8')
  const [head = '', rest = ''] = text.split(begin)
  const [old = '', tail = ''] = rest.split(end)
  const kept = new Map([...old.matchAll(/^\| (F\d+) \| .*$/gm)].map(([whole, id]) => [id, whole]))
  for (const result of results) kept.set(result.row.id, line(result))
  for (const { id, notYet } of missing) kept.set(id, `| ${id} | not yet: ${notYet} | | | | | | | |`)
  const ids = [...kept.keys()].filter((id) => [...rows, ...missing].some((row) => row.id === id)).toSorted()
  const columns = ['Row', 'State', 'Runs', 'Admitted', 'Lost', 'Doubled', 'Marked', 'Serving again, worst', 'Figures of the last run']
  const table = [`| ${columns.join(' | ')} |`, `| ${columns.map(() => '---').join(' | ')} |`, ...ids.map((id) => kept.get(id))]
  const parts = [begin, table.join('\n'), heading, ...rows.map(described), end]
  writeFileSync(page, `${head}${parts.join('\n\n')}${tail}`)
}
