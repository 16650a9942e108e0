#!/usr/bin/env node
// Starts the program under a Node that runs TypeScript: this one if it is new enough, else the one that `npm start` fetched.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeEnvironment, nodeFlags } from './node-flags.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '../../..')
const NODE_MAJOR = 26
const own = join(root, '.node/node_modules/node/bin', process.platform === 'win32' ? 'node.exe' : 'node')
const newEnough = Number(process.versions.node.split('.')[0]) >= NODE_MAJOR
const node = newEnough ? process.execPath : existsSync(own) ? own : undefined
if (!node) {
  process.stderr.write(
    `Posthouse needs Node ${NODE_MAJOR} or newer; this is ${process.version}. Run \`npm start\` once in ${root}: it fetches it.\n`,
  )
  process.exit(1)
}
// Compiled code is kept, also of the entry itself: the compiler is loaded only after a change.
process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules/.cache/posthouse')
const child = spawn(node, [...nodeFlags, join(here, '../src/main.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...nodeEnvironment, ...process.env },
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('close', (code, signal) => {
  process.exitCode = signal ? 1 : (code ?? 1)
})
