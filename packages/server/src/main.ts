/** The process's entry. Compiled code is cached, so that the second start is quick; NODE_COMPILE_CACHE says where. */
import { enableCompileCache } from 'node:module'

enableCompileCache()
const { run } = await import('./cli/program.ts')
await run(process.argv.slice(2))
