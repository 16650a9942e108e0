/**
 * Preloaded into a gateway's process: adds the tool `book`, which cannot be taken back. Each run is a line in a file; at its first run for
 * `crash` the process dies behind the line, and for `wait` it waits for its signal.
 */
import { editSources } from './edit.ts'

const FILE = 'src/tools/index.ts'
const FIND = '[createCurrentTime(now)]'
const TOOL = `{
  name: 'book',
  description: 'Books a seat.',
  parameters: { type: 'object', properties: { what: { type: 'string' } }, required: ['what'] },
  idempotent: false,
  async run({ what }, { callId, signal }) {
    const { appendFileSync, readFileSync } = await import('node:fs')
    appendFileSync('ledger', what + ' ' + callId + '\\n')
    const runs = readFileSync('ledger', 'utf8').split('\\n').length - 1
    if (what === 'crash' && runs === 1) process.kill(process.pid, 'SIGKILL')
    if (what === 'wait') {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      appendFileSync('ledger', 'signal ' + callId + '\\n')
      throw new Error('stopped')
    }
    return 'booked: ' + what
  },
}`

editSources([{ file: FILE, find: FIND, replace: `[createCurrentTime(now), ${TOOL}]` }])
