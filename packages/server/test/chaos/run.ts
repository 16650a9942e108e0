/** `npm run chaos`: plays the fault matrix, or a part of it; USAGE says how. */
import { parseArgs } from 'node:util'
import { severalNodes } from './cluster/rows.ts'
import type { Outcome } from './crowd.ts'
import { missing } from './needs.ts'
import { needsOf, problemsOf, type Row } from './row.ts'
import { oneNode } from './rows.ts'
import { type Result, summary, writeTable } from './table.ts'

const USAGE = `npm run chaos [-- OPTIONS]
  --row F01       only this row; may be given several times
  --part "sent"   only this case of it
  --seed 42       with this seed alone
  --seeds 3       with at most so many seeds
  --cluster       the rows of several nodes, instead of those of one
  --mutants       the broken versions: each must turn its rows red
  --mutant NAME   only this one; beside --row: that row with it
  --list          names the rows
  --write         writes the table of docs/reliability.md`

const say = (line: string) => process.stdout.write(`${line}\n`)

function refuse(why: string): never {
  process.stderr.write(`${why}\n\n${USAGE}\n`)
  process.exit(2)
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        row: { type: 'string', multiple: true },
        seed: { type: 'string' },
        seeds: { type: 'string' },
        part: { type: 'string' },
        mutants: { type: 'boolean', default: false },
        mutant: { type: 'string' },
        list: { type: 'boolean', default: false },
        write: { type: 'boolean', default: false },
        cluster: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error))
  }
}

const given = readOptions()
if (given.help) {
  say(USAGE)
  process.exit(0)
}
for (const name of ['seed', 'seeds'] as const)
  if (given[name] !== undefined && !/^[1-9]\d*$/.test(given[name])) refuse(`--${name} is a number from 1, not ${given[name]}`)

const matrix = given.cluster ? severalNodes : oneNode
const { rows } = matrix

/** Milliseconds that a mutant's lost messages are waited for. */
const PATIENCE = 15_000

const replay = (row: Row, part: string, seed: number, mutant?: string) =>
  `npm run chaos --${given.cluster ? ' --cluster' : ''} --row ${row.id}${part ? ` --part "${part}"` : ''} --seed ${seed}${mutant ? ` --mutant "${mutant}"` : ''}`

/** Plays a row once. An error is a finding, too. */
async function play(
  row: Row,
  part: string,
  seed: number,
  mutant?: string,
  patience?: number,
): Promise<{ problems: readonly string[]; outcome: Outcome | undefined }> {
  try {
    const outcome = await row.run({ seed, part, mutant, ...(patience ? { patience } : {}) })
    return { problems: [...problemsOf(row, outcome), ...outcome.slow], outcome }
  } catch (error) {
    return { problems: [error instanceof Error ? error.message : String(error)], outcome: undefined }
  }
}

async function playRow(row: Row): Promise<Result> {
  const lacking = missing(row.needs)
  if (lacking.length > 0) {
    say(`${row.id} skipped: this machine has no ${lacking.join(', no ')}`)
    return { row, skipped: lacking, outcomes: [], problems: [] }
  }
  const outcomes: Outcome[] = []
  const problems: string[] = []
  const seeds = given.seed
    ? [Number(given.seed)]
    : Array.from({ length: Math.min(row.seeds ?? 1, Number(given.seeds ?? 1000)) }, (_, index) => index + 1)
  for (const part of given.part !== undefined ? [given.part] : (row.parts ?? [''])) {
    const partLacks = missing(row.partNeeds?.[part])
    if (partLacks.length > 0) {
      say(`${row.id} "${part}" skipped: this machine has no ${partLacks.join(', no ')}`)
      continue
    }
    for (const seed of seeds) {
      const began = performance.now()
      const { problems: found, outcome } = await play(row, part, seed, given.mutant)
      if (outcome) outcomes.push(outcome)
      const took = ((performance.now() - began) / 1000).toFixed(1)
      say(
        `${row.id}${part ? ` "${part}"` : ''} seed ${seed}: ${found.length === 0 ? 'green' : 'RED'} (${took} s) ${outcome ? summary(outcome) : ''}`,
      )
      for (const problem of found) say(`    ${problem}`)
      if (found.length > 0) say(`    replay: ${replay(row, part, seed, given.mutant)}`)
      problems.push(...found.map((problem) => `${replay(row, part, seed)}: ${problem}`))
    }
  }
  return { row, skipped: [], outcomes, problems }
}

/** Each mutant must turn each of its rows red with one of three seeds. Answers those that live. */
async function playMutants(): Promise<readonly string[]> {
  const alive: string[] = []
  const known = new Map<string, readonly string[]>()
  for (const { name, rows: wanted, notYet } of matrix.mutants.filter((mutant) => !given.mutant || mutant.name === given.mutant)) {
    if (notYet) say(`mutant "${name}" skipped: ${notYet}`)
    for (const spot of notYet ? [] : wanted) {
      const [id, part] = spot.split(':')
      const row = rows.find((one) => one.id === id)
      if (!row) throw new Error(`mutant "${name}" names a row that is not there: ${spot}`)
      const lacking = missing(needsOf(row, part ?? ''))
      if (lacking.length > 0) {
        say(`mutant "${name}" skipped on ${spot}: this machine has no ${lacking.join(', no ')}`)
        continue
      }
      // A row that the product does not pass either would notice nothing.
      known.set(spot, known.get(spot) ?? (await play(row, part ?? row.parts?.[0] ?? '', 1, undefined, PATIENCE)).problems)
      const own = known.get(spot) ?? []
      if (own.length > 0) alive.push(`${name} on ${spot}: red without it, too (${own[0]})`)
      let seen: readonly string[] = []
      for (let seed = 1; seed <= 3 && seen.length === 0; seed++)
        seen = (await play(row, part ?? row.parts?.[0] ?? '', seed, name, PATIENCE)).problems
      say(`mutant "${name}" on ${spot}: ${seen.length > 0 ? `red, as it must be (${seen[0]?.slice(0, 120)})` : 'NOT NOTICED'}`)
      if (seen.length === 0) alive.push(`${name} on ${spot}`)
    }
  }
  return alive
}

if (given.list) {
  for (const row of rows) say(`${row.id}  ${row.title}${row.parts ? `: ${row.parts.join(', ')}` : ''}`)
  for (const { id, title, notYet } of matrix.missing) say(`${id}  ${title} (not yet: ${notYet})`)
} else if (given.mutants) {
  const alive = await playMutants()
  say(alive.length > 0 ? `not noticed: ${alive.join(', ')}` : 'every mutant that was played was noticed')
  process.exitCode = alive.length > 0 ? 1 : 0
} else {
  const unknown = given.row?.filter((id) => !rows.some((row) => row.id === id)) ?? []
  if (unknown.length > 0) refuse(`there is no row ${unknown.join(', ')}${given.cluster ? '' : ' for one node; --cluster has others'}`)
  if (given.part !== undefined && !given.row) refuse('--part needs --row')
  const parts = new Set(rows.flatMap((row) => (given.row?.includes(row.id) ? (row.parts ?? []) : [])))
  if (given.part !== undefined && !parts.has(given.part)) refuse(`there is no part "${given.part}"; there are: ${[...parts].join(', ')}`)
  const results: Result[] = []
  for (const row of rows) if (!given.row || given.row.includes(row.id)) results.push(await playRow(row))
  for (const { id, notYet } of matrix.missing) if (!given.row) say(`${id} not yet: ${notYet}`)
  const red = results.flatMap(({ problems }) => problems)
  if (given.write) writeTable(matrix, results)
  say(red.length > 0 ? `\nred:\n  ${red.join('\n  ')}` : '\nall green')
  process.exitCode = red.length > 0 ? 1 : 0
}
