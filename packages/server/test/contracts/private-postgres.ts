/** A PostgreSQL of a test's own, which may be stopped as a power cut would stop it; and a line to it that may be cut at a chosen moment. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { somePort } from '../ports.ts'

const root = '/usr/lib/postgresql'
const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
const programs = versions.map((version) => join(root, version, 'bin')).find((folder) => existsSync(join(folder, 'initdb')))
/** The server refuses to run as root. */
const user = process.getuid?.() === 0 ? /^postgres:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8')) : undefined

/** Why no server can be started here, with the remedy. */
export const noServer =
  programs === undefined || (process.getuid?.() === 0 && !user)
    ? 'there is no PostgreSQL to start: apt-get install postgresql (it runs as the user postgres, never as root)'
    : undefined
if (noServer && process.env.CI === 'true') throw new Error(noServer)

export interface PrivatePostgres extends Disposable {
  readonly url: string
  /** What the server has logged so far. */
  readonly log: string
  readonly port: number
  start(): void
  /** As the machine would: without a word to anybody. */
  stop(): void
  /** kill -9 of the server; its children end by themselves, and it may be started again when the last one did. */
  kill(): void
}

export interface PostgresOptions {
  /** Called before there is anything in the folders of the data and of the write-ahead log, with who will own them; undone before they are removed. */
  readonly prepare?: (
    folders: { readonly data: string; readonly log: string },
    owner: { readonly uid: number; readonly gid: number },
  ) => Disposable
}

/** `settings`: as `name=value`. */
export function createPostgres(settings: readonly string[] = [], { prepare }: PostgresOptions = {}): PrivatePostgres {
  const ids = user ? { uid: Number(user[1]), gid: Number(user[2]) } : {}
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-postgres-'))
  if (user) chownSync(folder, Number(user[1]), Number(user[2]))
  const data = join(folder, 'data')
  const wal = join(folder, 'wal')
  for (const place of [data, wal]) {
    mkdirSync(place, { mode: 0o700 })
    if (user) chownSync(place, Number(user[1]), Number(user[2]))
  }
  const prepared = prepare?.(
    { data, log: wal },
    { uid: Number(user?.[1] ?? process.getuid?.()), gid: Number(user?.[2] ?? process.getgid?.()) },
  )
  let port = 0
  const run = (program: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(join(programs ?? '', program), args, {
      ...ids,
      cwd: folder,
      encoding: 'utf8',
      timeout: 60_000,
    })
    if (status !== 0) throw new Error(`${program} ended with ${status}: ${stdout}${stderr}`)
  }
  run('initdb', '-D', data, '-X', wal, '--wal-segsize=1', '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--locale=C', '-N')
  const start = () => {
    const options = [`-p ${port} -k ${folder} -c listen_addresses=127.0.0.1`, ...settings.map((setting) => `-c ${setting}`)]
    run('pg_ctl', '-D', data, '-w', '-l', join(folder, 'log'), '-o', options.join(' '), 'start')
  }
  const stop = () => run('pg_ctl', '-D', data, '-w', '-m', 'immediate', 'stop')
  for (let tries = 1; ; tries++) {
    // Somebody may have it.
    port = somePort()
    try {
      start()
      break
    } catch (error) {
      if (tries === 5) throw error
    }
  }
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    get log() {
      return readFileSync(join(folder, 'log'), 'utf8')
    },
    start,
    stop,
    kill: () => void process.kill(Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]), 'SIGKILL'),
    [Symbol.dispose]() {
      try {
        stop()
      } catch {
        // It is stopped already.
      }
      prepared?.[Symbol.dispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export interface Wire extends AsyncDisposable {
  readonly url: string
  /** Cuts the line once, around the next commit: `before` it reaches the server, or `after` the server confirmed it and before anybody hears of it. */
  cut(when: 'before' | 'after'): void
  readonly cuts: number
}

/** A line to a server, in between which somebody stands with scissors. */
export async function createWire(target: string): Promise<Wire> {
  const { hostname, port } = new URL(target)
  let armed: 'before' | 'after' | undefined
  let cuts = 0
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = dial(Number(port || 5432), hostname)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
        sockets.delete(socket)
      })
    }
    let silent = false
    near.on('data', (data: Buffer) => {
      const commits = data.includes('Q\0\0\0\x0bcommit\0')
      if (commits && armed === 'before') {
        armed = undefined
        cuts++
        near.destroy()
        return
      }
      if (commits && armed === 'after') {
        silent = true
        armed = undefined
      }
      far.write(data)
    })
    far.on('data', (data: Buffer) => {
      if (!silent) near.write(data)
      else if (data.includes('COMMIT\0')) {
        cuts++
        near.destroy()
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(target)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: url.href,
    cut(when) {
      armed = when
    },
    get cuts() {
      return cuts
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
