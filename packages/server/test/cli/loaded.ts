// Preloaded into a command: writes down at its end which modules were loaded.
import { writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const urls: string[] = []
registerHooks({
  load(url, context, next) {
    urls.push(url)
    return next(url, context)
  },
})
process.on('exit', () => writeFileSync(process.env.POSTHOUSE_LOADED ?? '/dev/null', JSON.stringify(urls)))
