/** A real gateway as a process of its own, in a folder of its own: what a person starts, and what can be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { somePort } from '../ports.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
/** Words of the terminal are looked for: they are English whatever the machine speaks. */
const words = { LC_ALL: 'C' }
const flags = ['--conditions=posthouse-source', '--disable-warning=ExperimentalWarning']

/** What came of a command. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Posthouse extends AsyncDisposable {
  readonly folder: string
  readonly url: string
  readonly setupToken: string
  /** Lines of the log so far, of all runs. */
  readonly log: readonly string[]
  /** What was said beside the log, of all runs. */
  readonly said: string
  configure(config: object): void
  /** Process id of the gateway itself. */
  readonly pid: number
  /** `prefix`: words before the command, of a program that runs it (`strace -f ...`). */
  start(env?: NodeJS.ProcessEnv, prefix?: readonly string[]): Promise<void>
  /** kill -9. */
  kill(): Promise<void>
  /** SIGTERM; answers the exit code. */
  stop(): Promise<number | null>
  signal(name: NodeJS.Signals): void
  /** Resolves with the exit code when the process ends by itself. */
  exited(): Promise<number | null>
  /** Runs a command in the same folder. */
  cli(...args: string[]): Promise<Ended>
  cliWith(env: NodeJS.ProcessEnv, ...args: string[]): Promise<Ended>
  /** Messages and deliveries in its embedded database that have no end yet: looked at often, so without a command's whole process. */
  unsettled(): number
}

/** Makes the folder and writes the configuration; a port is chosen, and kept over restarts. */
export function createPosthouse(config: object): Posthouse {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-journey-'))
  const log: string[] = []
  let child: ChildProcess | undefined
  let url = ''
  let setupToken = ''
  let port = somePort()
  let started = false
  const configure = (wanted: object) => {
    const server = { port, ...(wanted as { server?: object }).server }
    writeFileSync(join(folder, 'posthouse.yaml'), JSON.stringify({ ...wanted, server }, null, 1))
  }
  configure(config)
  let current = config
  let everything = ''
  let pid = 0
  const signal = (name: NodeJS.Signals) => {
    if (child && child.exitCode === null && child.signalCode === null) process.kill(pid, name)
  }
  const ended = async (process: ChildProcess) => {
    if (process.exitCode === null && process.signalCode === null) await once(process, 'exit')
    return process.exitCode
  }
  const cliWith = async (env: NodeJS.ProcessEnv, ...args: string[]): Promise<Ended> => {
    const command = spawn(process.execPath, [...flags, main, ...args], {
      cwd: folder,
      env: { ...process.env, ...words, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    command.stdout.on('data', (data: Buffer) => {
      stdout += data.toString()
    })
    command.stderr.on('data', (data: Buffer) => {
      stderr += data.toString()
    })
    await once(command, 'close')
    return { code: command.exitCode, signal: command.signalCode, stdout, stderr }
  }
  const run = async (env: NodeJS.ProcessEnv, prefix: readonly string[]) => {
    const [program = '', ...args] = [...prefix, process.execPath, ...flags, main, 'start']
    const begun = spawn(program, args, {
      cwd: folder,
      env: { ...process.env, ...words, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child = begun
    pid = begun.pid ?? 0
    let said = ''
    begun.stderr?.on('data', (data: Buffer) => {
      everything += data.toString()
    })
    begun.stdout?.on('data', (data: Buffer) => log.push(...data.toString().split('\n').filter(Boolean)))
    await new Promise<void>((resolve, reject) => {
      begun.stderr?.on('data', (data: Buffer) => {
        said += data.toString()
        url = /runs at (\S+)/.exec(said)?.[1] ?? url
        setupToken = /#setup=(\S+)/.exec(said)?.[1] ?? setupToken
        if (/runs at \S+[\s\S]*\n\n$/.test(said)) resolve()
      })
      begun.once('exit', (code) => reject(new Error(`the gateway ended with ${code}: ${said}\n${log.slice(-5).join('\n')}`)))
    })
  }
  return {
    folder,
    log,
    get said() {
      return everything
    },
    get url() {
      return url
    },
    get setupToken() {
      return setupToken
    },
    configure(wanted) {
      current = wanted
      configure(wanted)
    },
    get pid() {
      return pid
    },
    async start(env = {}, prefix = []) {
      for (let tries = 1; ; tries++) {
        try {
          await run(env, prefix)
          break
        } catch (error) {
          // Somebody may have the port that was chosen; later it is ours.
          if (started || tries === 5 || !/The port \d+ .* is taken/.test(String(error))) throw error
          port = somePort()
          configure(current)
        }
      }
      started = true
      port = Number(new URL(url).port)
      configure(current)
      if (prefix.length > 0) pid = Number(readFileSync(join(folder, 'data/posthouse.pid'), 'utf8'))
    },
    signal,
    async kill() {
      signal('SIGKILL')
      if (child) await ended(child)
    },
    async stop() {
      signal('SIGTERM')
      return child ? await ended(child) : null
    },
    exited: async () => (child ? await ended(child) : null),
    cli: (...args) => cliWith({}, ...args),
    cliWith,
    unsettled() {
      using database = new DatabaseSync(join(folder, 'data/posthouse.db'), { readOnly: true, timeout: 5000 })
      const count = (sql: string) => Number(database.prepare(sql).get()?.count)
      return (
        count('SELECT count(*) AS count FROM inbox WHERE done_at IS NULL') +
        count("SELECT count(*) AS count FROM outbox WHERE state IN ('pending', 'sending')")
      )
    },
    async [Symbol.asyncDispose]() {
      if (child && child.exitCode === null && child.signalCode === null) {
        if (pid > 0) signal('SIGKILL')
        else child.kill('SIGKILL')
        await ended(child)
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Waits until `holds`, looked at again and again. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, limit = 15_000): Promise<void> {
  const end = performance.now() + limit
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`did not come about in ${limit} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
