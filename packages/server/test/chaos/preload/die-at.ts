/** Preloaded into a command's process: it ends before the line that CHAOS_DIE names. */
import { backupPoints, restorePoints } from '../backup-points.ts'
import { editSources } from './edit.ts'

editSources(
  [...backupPoints, ...restorePoints].flatMap(({ name, file, line }) =>
    name === process.env.CHAOS_DIE ? [{ file, find: line, replace: `process.kill(process.pid, 'SIGKILL')\n${line}` }] : [],
  ),
)
