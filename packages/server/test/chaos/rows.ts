/** The fault matrix of one node, as data. */
import { mutants } from './mutants.ts'
import type { MissingRow, Row } from './row.ts'
import { backupRows } from './rows/backup.ts'
import { channelRows } from './rows/channels.ts'
import { diskRows } from './rows/disk.ts'
import { loadRows } from './rows/load.ts'
import { modelRows } from './rows/model.ts'
import { networkRows } from './rows/network.ts'
import { peopleRows } from './rows/people.ts'
import { platformRows } from './rows/platform.ts'
import { processRows } from './rows/process.ts'
import { toolRows } from './rows/tools.ts'
import type { Matrix } from './table.ts'

export const rows: readonly Row[] = [
  ...processRows,
  ...networkRows,
  ...platformRows,
  ...peopleRows,
  ...modelRows,
  ...toolRows,
  ...loadRows,
  ...diskRows,
  ...backupRows,
  ...channelRows,
].toSorted((a, b) => a.id.localeCompare(b.id))

/** What is promised, and no run can play yet. */
export const missingRows: readonly MissingRow[] = []

export const oneNode: Matrix = {
  rows,
  missing: missingRows,
  mutants,
  begin: '<!-- written by npm run chaos -- --write -->',
  end: '<!-- end -->',
  heading: '## The rows',
}
