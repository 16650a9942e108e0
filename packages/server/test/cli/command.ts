/** Commands as a person calls them, in a folder of their own. */
import { type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const main = join(import.meta.dirname, '../../src/main.ts')

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** Milliseconds from the start of the process to its end. */
  readonly took: number
}

export interface Folder extends Disposable {
  readonly path: string
  /** `LC_ALL=...` may come first. */
  posthouse(...args: string[]): Promise<Ran>
}

export function createFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'posthouse-cli-'))
  return {
    path,
    async posthouse(...args) {
      const zh = args[0] === 'LC_ALL=zh_CN.UTF-8'
      const options: SpawnOptions = {
        cwd: path,
        env: { ...process.env, LC_ALL: zh ? 'zh_CN.UTF-8' : 'C', npm_lifecycle_event: undefined },
        stdio: ['ignore', 'pipe', 'pipe'],
      }
      const began = performance.now()
      const flags = ['--conditions=posthouse-source', '--disable-warning=ExperimentalWarning']
      const child = spawn(process.execPath, [...flags, main, ...args.slice(zh ? 1 : 0)], options)
      let [stdout, stderr] = ['', '']
      child.stdout?.on('data', (data: Buffer) => {
        stdout += data.toString()
      })
      child.stderr?.on('data', (data: Buffer) => {
        stderr += data.toString()
      })
      await once(child, 'close')
      return { code: child.exitCode, stdout, stderr, took: performance.now() - began }
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  }
}
