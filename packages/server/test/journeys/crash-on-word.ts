/** Preloaded into a gateway's process: a turn whose message holds the word kills the process, as a bug in a native library would. */
import { registerHooks } from 'node:module'

const FILE = 'src/pipeline/converse/answer.ts'
const FIND = 'const preview = openPreview(work)'
const KILL = "if (JSON.stringify(turn.messages.map(({ body }) => body.parts)).includes('arsenic')) process.kill(process.pid, 'SIGKILL')"

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.endsWith(FILE)) return loaded
    const source = String(loaded.source)
    if (!source.includes(FIND)) throw new Error(`the place for the word is gone from ${FILE}`)
    return { ...loaded, source: source.replace(FIND, () => `${KILL}\n  ${FIND}`) }
  },
})
