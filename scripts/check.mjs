// `npm run check`: format, lint, types, dead code, architecture. All of them run; every failure is shown.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root, run, setUp, sourceFlags } from './setup.mjs'

const tool = (path) => join(root, 'node_modules', path)
const checks = [
  ['format and lint', [tool('@biomejs/biome/bin/biome'), 'check', '.']],
  ['types', [tool('typescript/bin/tsc'), '--noEmit', '-p', 'tsconfig.json']],
  ['types of the web', [tool('typescript/bin/tsc'), '--noEmit', '-p', 'packages/web/tsconfig.json']],
  ['dead code', [tool('knip/bin/knip.js'), '--no-progress']],
  ['architecture', [...sourceFlags, '--test', '--test-reporter=dot', 'packages/server/test/architecture.test.ts']],
]

/** Answers whether all checks passed. */
export async function check() {
  let passed = true
  for (const [name, args] of checks) {
    const started = Date.now()
    const code = await run(args)
    console.log(`check: ${name}: ${code === 0 ? 'passed' : 'FAILED'} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
    passed &&= code === 0
  }
  return passed
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await setUp({ web: false })
  process.exitCode = (await check()) ? 0 : 1
}
