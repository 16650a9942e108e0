/** Preloaded into a gateway's process: it is killed the first time that a mail is handed over, just before the commit or just after it. */
import { editSources } from './edit.ts'

const HANDED_OVER = '  await host.receive(read.message)\n'
const KILL = "  process.kill(process.pid, 'SIGKILL')\n  await new Promise(() => {})\n"

editSources([
  {
    file: 'src/channels/email/index.ts',
    find: HANDED_OVER,
    replace: process.env.CRASH_IN_MAIL === 'before' ? KILL + HANDED_OVER : HANDED_OVER + KILL,
  },
])
