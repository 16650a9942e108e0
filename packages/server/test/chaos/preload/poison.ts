/**
 * Preloaded into a gateway's process: a turn whose message holds the word `arsenic` kills the process, as a bug in a native library would;
 * one with `hemlock` breaks, as a bug of ours would.
 */
import { editSources } from './edit.ts'

const PLACE = 'const preview = openPreview(work)'

editSources([
  {
    file: 'src/pipeline/converse/answer.ts',
    find: PLACE,
    replace: `const words = JSON.stringify(turn.messages.map(({ body }) => body.parts))
  if (words.includes('arsenic')) process.kill(process.pid, 'SIGKILL')
  if (words.includes('hemlock')) throw new TypeError('a bug')
  ${PLACE}`,
  },
])
