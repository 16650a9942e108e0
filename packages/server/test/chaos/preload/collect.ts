/** Preloaded into a gateway's process: collects its garbage from time to time and writes down what is left, so that a leak is no matter of luck. */
import { writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread } from 'node:worker_threads'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
if (isMainThread) {
  setInterval(() => {
    collect()
    writeFileSync('memory', JSON.stringify(process.memoryUsage()))
  }, 4000).unref()
}
