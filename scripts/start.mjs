// `npm start`: from a fresh clone to a running gateway.
import { join } from 'node:path'
import { nodeEnvironment, nodeFlags } from '../packages/server/bin/node-flags.mjs'
import { root, run, setUp } from './setup.mjs'

await setUp()
process.exitCode = await run([...nodeFlags, join(root, 'packages/server/src/main.ts'), 'start', ...process.argv.slice(2)], {
  env: { ...nodeEnvironment, ...process.env },
})
