/** A RabbitMQ of a test's own, that may be killed, be away, and be short of memory. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'amqplib'
import { freePorts } from '../ports.ts'

/** Its own programs: those on the path are wrappers that become another user in that user's folder. */
const programs = '/usr/lib/rabbitmq/bin'
const hasServer = existsSync(join(programs, 'rabbitmq-server'))

/** Why none can be started here, with the remedy. */
export const noOwnRabbit = hasServer ? undefined : 'there is no RabbitMQ to start: apt-get install rabbitmq-server'

export interface OwnRabbit extends AsyncDisposable {
  readonly url: string
  /** kill -9. */
  kill(): Promise<void>
  /** Answers when it takes connections. */
  start(): Promise<void>
  /** As an administrator would, with `rabbitmqctl`. @throws what it says. */
  control(...args: string[]): void
}

/** Milliseconds. It takes six on a quiet machine, of which Erlang has most. */
const START_WITHIN = 60_000

export async function startRabbit(): Promise<OwnRabbit> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-rabbit-'))
  const [port = 0, between = 0, names = 0] = await freePorts(3)
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    RABBITMQ_NODENAME: `posthouse-${port}@localhost`,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_DIST_PORT: String(between),
    ERL_EPMD_PORT: String(names),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_GENERATED_CONFIG_DIR: join(folder, 'config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    // Nothing of the machine's own.
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: join(folder, 'none'),
  }
  writeFileSync(env.RABBITMQ_ENABLED_PLUGINS_FILE, '[].')
  let child: ChildProcess | undefined
  const answers = () =>
    connect(url, { timeout: 1000 }).then(
      async (connection) => {
        await connection.close()
        return true
      },
      () => false,
    )
  const start = async () => {
    // A group of its own: the server is a child of a script.
    const started = spawn(join(programs, 'rabbitmq-server'), [], { env, cwd: folder, detached: true, stdio: 'ignore' })
    child = started
    const end = performance.now() + START_WITHIN
    while (!(await answers())) {
      if (started.exitCode !== null || performance.now() > end) throw new Error(`RabbitMQ did not start: ${logOf(folder)}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const kill = async () => {
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return
    process.kill(-child.pid, 'SIGKILL')
    await once(child, 'exit')
  }
  const dispose = async () => {
    await kill()
    // The one who knows the names was started beside it, and stays otherwise.
    spawnSync('epmd', ['-kill'], { env, stdio: 'ignore' })
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await start()
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    url,
    kill,
    start,
    control(...args) {
      const { status, stdout, stderr } = spawnSync(join(programs, 'rabbitmqctl'), args, {
        env,
        cwd: folder,
        encoding: 'utf8',
        timeout: 30_000,
      })
      if (status !== 0) throw new Error(`rabbitmqctl ${args.join(' ')} ended with ${status}: ${stdout}${stderr}`)
    },
    [Symbol.asyncDispose]: dispose,
  }
}

function logOf(folder: string): string {
  const path = join(folder, 'log', 'startup')
  return existsSync(path) ? readFileSync(path, 'utf8').slice(-2000) : 'it said nothing'
}
