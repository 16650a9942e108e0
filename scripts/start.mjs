// `npm start`: from a fresh clone to a running gateway.
import { join } from 'node:path'
import { root, run, setUp, sourceFlags } from './setup.mjs'

await setUp()
process.exitCode = await run([...sourceFlags, join(root, 'packages/server/src/main.ts'), 'start', ...process.argv.slice(2)])
