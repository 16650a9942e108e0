// What every script needs before it runs: the packages, a Node that runs TypeScript, the built web.
// Plain JavaScript for Node >= 20: it runs before anything is installed.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
const NODE_VERSION = '26.10.0'
const NODE_MAJOR = 26

/** Compiled code is kept, also of the entry itself: the second start is quick, and the compiler is never loaded. */
process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules', '.cache', 'posthouse')

/** Node flags for everything that runs from source. */
export const sourceFlags = ['--conditions=posthouse-source', '--disable-warning=ExperimentalWarning']

const terminal = process.stderr.isTTY === true
const say = (text) => process.stderr.write(`${text}\n`)

/** Runs a command, shows that it is alive, keeps its output for the case that it fails. */
async function step(label, command, args, options = {}) {
  const started = Date.now()
  say(`  ${label} ...`)
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32', ...options })
  const output = []
  child.stdout.on('data', (chunk) => output.push(chunk))
  child.stderr.on('data', (chunk) => output.push(chunk))
  const tick = setInterval(() => {
    const seconds = Math.round((Date.now() - started) / 1000)
    if (terminal) process.stderr.write(`\r  ${label} ... ${seconds} s `)
    else if (seconds % 15 === 0) say(`  ${label} ... ${seconds} s`)
  }, 1000)
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  }).finally(() => clearInterval(tick))
  if (terminal) process.stderr.write('\r')
  if (code !== 0) {
    say(Buffer.concat(output).toString())
    say(`  ${label}: failed (exit code ${code}). The output above says why; after fixing it, run the same command again.`)
    process.exit(1)
  }
  say(`  ${label}: done in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

function digestOf(files) {
  const hash = createHash('sha256')
  for (const file of files) hash.update(file).update(readFileSync(join(root, file)))
  return hash.digest('hex')
}

const stampFile = (name) => join(root, 'node_modules', '.posthouse', name)
const readStamp = (name) => (existsSync(stampFile(name)) ? readFileSync(stampFile(name), 'utf8') : '')
function writeStamp(name, value) {
  mkdirSync(dirname(stampFile(name)), { recursive: true })
  writeFileSync(stampFile(name), value)
}

/** Installs exactly what the lockfile names, once per lockfile. */
async function ensurePackages() {
  const manifests = [
    'package.json',
    'package-lock.json',
    ...readdirSync(join(root, 'packages')).map((name) => `packages/${name}/package.json`),
  ]
  const wanted = digestOf(manifests.filter((file) => existsSync(join(root, file))))
  if (readStamp('packages') === wanted) return
  // Not `npm ci`: it refuses a lockfile that lacks the optional binaries of other platforms. This obeys the lockfile, too, and leaves it alone.
  await step('Installing packages', 'npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'])
  writeStamp('packages', wanted)
}

/** The Node that runs our TypeScript: this one if it is new enough, else one fetched as an npm package. */
export function findNode() {
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath
  const own = join(root, '.node', 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  return existsSync(own) && spawnSync(own, ['--version']).stdout?.toString().trim() === `v${NODE_VERSION}` ? own : undefined
}

async function ensureNode() {
  if (findNode()) return
  const folder = join(root, '.node')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts: { node: true } }))
  await step(`Fetching Node ${NODE_VERSION} (this machine has ${process.version})`, 'npm', [
    'install',
    '--prefix',
    folder,
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    `node@${NODE_VERSION}`,
  ])
  if (!findNode()) {
    say(
      `  Node ${NODE_VERSION} was fetched but does not start here. Install Node >= ${NODE_MAJOR} yourself and run the same command again.`,
    )
    process.exit(1)
  }
}

function newestChange(folder) {
  let newest = 0
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) newest = Math.max(newest, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs)
  }
  return newest
}

/** Builds the web when its sources are newer than the last build. */
async function ensureWeb() {
  const web = join(root, 'packages', 'web')
  if (!existsSync(join(web, 'vite.config.ts'))) return
  const sources = Math.max(
    newestChange(join(web, 'src')),
    newestChange(join(root, 'packages', 'contract', 'src')),
    statSync(join(web, 'vite.config.ts')).mtimeMs,
  )
  const wanted = String(sources)
  if (existsSync(join(web, 'dist', 'index.html')) && readStamp('web') === wanted) return
  await step('Building the web chat', findNode(), [join(root, 'node_modules', 'vite', 'bin', 'vite.js'), 'build', '--logLevel', 'warn'], {
    cwd: web,
  })
  writeStamp('web', wanted)
}

/** Makes the checkout ready to run. Silent and fast when nothing is to be done. */
export async function setUp({ web = true } = {}) {
  await ensurePackages()
  await ensureNode()
  if (web) await ensureWeb()
}

/** Runs a script of ours under the right Node and answers with its exit code. */
export function run(args, options = {}) {
  const child = spawn(findNode(), args, { cwd: root, stdio: 'inherit', ...options })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ? 1 : (code ?? 1))))
}
