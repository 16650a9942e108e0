// `npm test`: check, then every test. `npm test -- FILE ...` runs only the files named.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check } from './check.mjs'
import { root, run, setUp, sourceFlags } from './setup.mjs'
import { testFiles } from './test-files.mjs'

const endAtOnce = new URL('end-at-once.mjs', import.meta.url).href

await setUp()
const named = process.argv.slice(2)
const passed = named.length > 0 || (await check())
const files = named.length > 0 ? named : testFiles(root)
const tested = await run([...sourceFlags, '--import', endAtOnce, join(root, 'scripts/test-run.mjs'), ...files])
let web = 0
if (named.length === 0 && existsSync(join(root, 'packages/web/vite.config.ts'))) {
  web = await run([join(root, 'node_modules/vitest/vitest.mjs'), 'run'], { cwd: join(root, 'packages/web') })
}
process.exitCode = passed && tested === 0 && web === 0 ? 0 : 1
