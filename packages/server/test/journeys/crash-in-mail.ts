/** Preloaded into a gateway's process: it is killed the first time that a mail is handed over, just before the commit or just after it. */
import { registerHooks } from 'node:module'

const FILE = 'src/channels/email/index.ts'
const FIND = '  await host.receive(read.message)\n'
const KILL = "  process.kill(process.pid, 'SIGKILL')\n  await new Promise(() => {})\n"

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.endsWith(FILE)) return loaded
    const source = String(loaded.source)
    if (!source.includes(FIND)) throw new Error(`the place for the crash is gone from ${FILE}`)
    return { ...loaded, source: source.replace(FIND, () => (process.env.CRASH_IN_MAIL === 'before' ? KILL + FIND : FIND + KILL)) }
  },
})
