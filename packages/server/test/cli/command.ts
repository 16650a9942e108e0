/** Commands as a person calls them, in a folder of their own. */
import { type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const main = join(import.meta.dirname, '../../src/main.ts')
const preload = join(import.meta.dirname, 'loaded.ts')

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** Modules that the command loaded. */
  loaded(): readonly string[]
}

export interface Folder extends Disposable {
  readonly path: string
  /** `LC_ALL=...` may come first. */
  posthouse(...args: string[]): Promise<Ran>
}

export function createFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'posthouse-cli-'))
  const lists = mkdtempSync(join(tmpdir(), 'posthouse-loaded-'))
  let count = 0
  return {
    path,
    async posthouse(...args) {
      const list = join(lists, `${++count}.json`)
      const zh = args[0] === 'LC_ALL=zh_CN.UTF-8'
      const options: SpawnOptions = {
        cwd: path,
        env: { ...process.env, LC_ALL: zh ? 'zh_CN.UTF-8' : 'C', npm_lifecycle_event: undefined, POSTHOUSE_LOADED: list },
        stdio: ['ignore', 'pipe', 'pipe'],
      }
      const flags = ['--conditions=posthouse-source', '--disable-warning=ExperimentalWarning', '--import', preload]
      const child = spawn(process.execPath, [...flags, main, ...args.slice(zh ? 1 : 0)], options)
      let [stdout, stderr] = ['', '']
      child.stdout?.on('data', (data: Buffer) => {
        stdout += data.toString()
      })
      child.stderr?.on('data', (data: Buffer) => {
        stderr += data.toString()
      })
      await once(child, 'close')
      return { code: child.exitCode, stdout, stderr, loaded: () => JSON.parse(readFileSync(list, 'utf8')) as string[] }
    },
    [Symbol.dispose]() {
      for (const folder of [path, lists]) rmSync(folder, { recursive: true, force: true })
    },
  }
}
