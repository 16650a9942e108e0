/** `posthouse start`: run until told to stop; take over changes of the configuration while running. */
import { existsSync, watch } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { createGateway, type Gateway } from '../app.ts'
import { catalog } from '../catalog.ts'
import { findConfig, type Loaded, loadConfig } from '../config/index.ts'
import { type AppLogger, createLogger } from '../ops/index.ts'
import type { Call } from './program.ts'

const SETTLE = 300
const webFolder = join(import.meta.dirname, '../../../web/dist')

export async function start({ config: given }: Call): Promise<void> {
  const terminal = process.stdout.isTTY === true
  const log = createLogger({ debug: process.env.AI_DEBUG === 'true', terminal })
  const folder = process.cwd()
  const path = findConfig(given, process.env, folder)
  const loaded = loadConfig(path, catalog, process.env, folder)
  tell(loaded)
  if (!loaded.config) {
    process.stderr.write('The configuration has errors; nothing was started. Correct them and run `posthouse start` again.\n')
    process.exitCode = 2
    return
  }
  let gateway: Gateway
  try {
    gateway = await createGateway(loaded.config, { log, webFolder: existsSync(webFolder) ? webFolder : undefined })
  } catch (error) {
    process.stderr.write(`${explain(error, loaded.config.server)}\n`)
    process.exitCode = 1
    return
  }
  greet(gateway, loaded)
  const watching = path ? watchConfig(path, gateway, log) : undefined
  const stopped = Promise.withResolvers<void>()
  const stop = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'stopping: running answers may end first')
    stopped.resolve()
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'an unhandled rejection'))
  await stopped.promise
  watching?.close()
  await gateway[Symbol.asyncDispose]()
  log.info({}, 'stopped')
  process.exit(0)
}

function tell({ problems, notices }: Loaded): void {
  for (const { text, account } of problems) process.stderr.write(`${text}${account ? ` (the account ${account} stays closed)` : ''}\n`)
  for (const notice of notices) process.stderr.write(`note: ${notice}\n`)
}

function greet({ url, setupUrl }: Gateway, { config, path }: Loaded): void {
  const lines = [`Posthouse runs at ${url}`]
  if (setupUrl) lines.push(`Create your account here (the link works once, for 24 hours):\n  ${setupUrl}`)
  if (config?.models.endpoints.every(({ provider }) => provider.id === 'demo')) {
    lines.push('The built-in demo model answers. For a real one: `npm run posthouse init`, or models: in posthouse.yaml.')
  }
  for (const { id, allowedUsers } of config?.accounts ?? []) {
    if (!allowedUsers) lines.push(`Anybody may talk to the account "${id}". To restrict it: channels.${id}.allowed_users`)
  }
  if (path) lines.push(`Configuration: ${path}`)
  process.stderr.write(`\n${lines.join('\n')}\n\n`)
}

/** What stood in the way, and what to do. */
function explain(error: unknown, { host, port }: { host: string; port: number }): string {
  const { code, message } = error as { code?: string; message: string }
  if (code === 'EADDRINUSE') return `The port ${port} on ${host} is taken. Stop the other program, or set server.port in posthouse.yaml.`
  if (code === 'EACCES') return `No permission: ${message}. Choose a port above 1024, or check who owns the data folder.`
  return message
}

/** Editors write a file in several steps and some replace it: the folder is watched, and the last word counts. */
function watchConfig(path: string, gateway: Gateway, log: AppLogger) {
  let timer: NodeJS.Timeout | undefined
  const reload = async () => {
    const loaded = loadConfig(path, catalog, process.env, dirname(path))
    if (!loaded.config) {
      log.error({ problems: loaded.problems.map(({ text }) => text) }, 'the changed configuration has errors; the running one stays')
      return
    }
    const restart = await gateway.reconfigure(loaded.config)
    log.info({ problems: loaded.problems.map(({ text }) => text), needsRestart: restart }, 'the changed configuration was taken over')
  }
  return watch(dirname(path), (_event, name) => {
    if (name !== basename(path)) return
    clearTimeout(timer)
    timer = setTimeout(() => {
      reload().catch((error: unknown) => log.error({ err: error }, 'the changed configuration could not be taken over'))
    }, SETTLE)
  })
}
