// Runs one of our TypeScript or JavaScript files under the right Node: node scripts/run.mjs FILE [ARGUMENT ...]
import { run, setUp, sourceFlags } from './setup.mjs'

await setUp({ web: false })
process.exitCode = await run([...sourceFlags, ...process.argv.slice(2)])
