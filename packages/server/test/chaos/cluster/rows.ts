/** The fault matrix of several nodes, as data: `npm run chaos -- --cluster`. */
import { clusterMutants } from '../../cluster/mutants.ts'
import { mutants } from '../mutants.ts'
import type { Row } from '../row.ts'
import type { Matrix } from '../table.ts'
import { balancerRows } from './rows/balancers.ts'
import { cutOffRows } from './rows/cut-off.ts'
import { frozenRows } from './rows/frozen.ts'
import { nodeRows } from './rows/nodes.ts'
import { serverRows } from './rows/servers.ts'
import { upgradeRows } from './rows/upgrades.ts'

export const clusterRows: readonly Row[] = [
  ...nodeRows,
  ...frozenRows,
  ...cutOffRows,
  ...upgradeRows,
  ...serverRows,
  ...balancerRows,
].toSorted((a, b) => a.id.localeCompare(b.id))

/** Those of one node that rows of several must notice, too. */
const alsoHere: Readonly<Record<string, readonly string[]>> = { 'acknowledge before commit': ['F15:killed'] }

export const severalNodes: Matrix = {
  rows: clusterRows,
  missing: [],
  mutants: [
    ...clusterMutants.flatMap(({ rows = [], ...mutant }) => (rows.length > 0 ? [{ ...mutant, rows }] : [])),
    ...mutants.flatMap((mutant) => (alsoHere[mutant.name] ? [{ ...mutant, rows: alsoHere[mutant.name] ?? [] }] : [])),
  ],
  begin: '<!-- written by npm run chaos -- --cluster --write -->',
  end: '<!-- end of several nodes -->',
  heading: '## The rows of several nodes',
}
