/** `posthouse start`: run until told to stop; take over changes of the configuration while running. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createGateway, type Gateway } from '../app.ts'
import { catalog } from '../catalog.ts'
import { type FileStates, findConfig, type Loaded, loadConfig, statesOf, watchFile } from '../config/index.ts'
import { type AppLogger, createLogger } from '../ops/index.ts'
import type { Call } from './call.ts'
import { problemLines } from './config.ts'
import { logCrashes } from './crash.ts'
import { loadHere } from './local.ts'
import { explainFailure } from './remedy.ts'
import { asCalled, CliError, type Terminal } from './terminal.ts'

/** Secrets of this and of earlier configurations that are kept out of the log. */
const MOST_SECRETS = 1000
const webFolder = join(import.meta.dirname, '../../../web/dist')

export async function start({ config: given, terminal }: Call): Promise<void> {
  const { t } = terminal
  let secrets: readonly string[] = []
  const forPeople = process.stdout.isTTY === true && !terminal.json
  const log = createLogger({
    debug: process.env.AI_DEBUG === 'true',
    secrets: () => secrets,
    terminal: forPeople ? (process.env.NO_COLOR === undefined ? 'coloured' : 'plain') : undefined,
  })
  const path = findConfig(given, process.env, process.cwd())
  // Read once to learn which files it refers to: their states are taken before what counts is read.
  const since = statesOf(path === undefined ? [] : [path, ...loadHere(given).files])
  const loaded = loadHere(given)
  secrets = loaded.secrets
  const told = problemLines(loaded, terminal)
  if (!loaded.config) {
    const refusal = t({
      en: 'The configuration has errors; nothing was started. Correct them and start again.',
      zh: '配置有错误，未启动。请改正后重新启动。',
    })
    throw new CliError([...told, refusal].join('\n'), 2, 'posthouse config check')
  }
  if (told.length > 0) process.stderr.write(`${told.join('\n')}\n`)
  let gateway: Gateway
  try {
    gateway = await createGateway(loaded.config, { log, webFolder: existsSync(webFolder) ? webFolder : undefined })
  } catch (error) {
    const { words, next } = explainFailure(error, loaded.config)
    throw new CliError(t(words), 1, next ?? 'posthouse doctor')
  }
  // Before anybody hears that it runs: from then on it may be told to stop.
  const stopped = Promise.withResolvers<void>()
  const stop = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'stopping: running answers may end first')
    stopped.resolve()
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, stop)
  const watching =
    path === undefined
      ? undefined
      : followConfig(path, since, gateway, log, (more) => {
          // What an answer that is under way still uses is a secret as before.
          secrets = [...new Set([...secrets, ...more])].slice(-MOST_SECRETS)
        })
  logCrashes(log)
  // Last: whoever reads it may stop us at once.
  greet(gateway, loaded, terminal)
  const lost = await Promise.race([stopped.promise, gateway.lost])
  if (lost) log.fatal({ err: lost }, 'a Posthouse of an older version, or a copy, has taken the database; this one ends')
  watching?.[Symbol.dispose]()
  await gateway[Symbol.asyncDispose]()
  log.info({}, 'stopped')
  process.exit(lost ? 1 : 0)
}

function greet({ url, setupUrl }: Gateway, { config, path }: Loaded, { t }: Terminal): void {
  const lines = [t({ en: `Posthouse runs at ${url}`, zh: `Posthouse 已启动：${url}` })]
  if (setupUrl)
    lines.push(
      t({
        en: `Create your account here (the link works once, for 24 hours):\n  ${setupUrl}`,
        zh: `请在此创建账户（链接仅可使用一次，24 小时内有效）：\n  ${setupUrl}`,
      }),
    )
  const init = asCalled('posthouse init')
  if (config?.models.endpoints.every(({ provider }) => provider.id === 'demo'))
    lines.push(
      t({
        en: `The built-in demo model answers. For a real one: \`${init}\`, or models: in posthouse.yaml.`,
        zh: `当前由内置演示模型回答。配置真实模型：\`${init}\`，或在 posthouse.yaml 中填写 models:。`,
      }),
    )
  for (const { id, allowedUsers } of config?.accounts ?? [])
    if (!allowedUsers)
      lines.push(
        t({
          en: `Anybody may talk to the account "${id}". To restrict it: channels.${id}.allowed_users`,
          zh: `任何人都可以与账号“${id}”对话。如需限制，请设置 channels.${id}.allowed_users`,
        }),
      )
  if (path) lines.push(t({ en: `Configuration: ${path}`, zh: `配置文件：${path}` }))
  process.stderr.write(`\n${lines.join('\n')}\n\n`)
}

/** A valid change is taken over, an invalid one is told and the running configuration stays. */
function followConfig(
  path: string,
  since: FileStates,
  gateway: Gateway,
  log: AppLogger,
  hide: (secrets: readonly string[]) => void,
): Disposable {
  let files: readonly string[] = [...since.keys()].filter((file) => file !== path)
  return watchFile(path, since, async () => {
    try {
      const loaded = loadConfig(path, catalog, process.env, dirname(path))
      files = loaded.files
      hide(loaded.secrets)
      const problems = loaded.problems.map(({ text }) => text.en)
      if (!loaded.config) {
        log.error({ problems }, 'the changed configuration has errors; the running one stays')
        return files
      }
      const needsRestart = await gateway.reconfigure(loaded.config)
      log.info({ problems, needsRestart }, 'the changed configuration was taken over')
    } catch (error) {
      log.error({ err: error }, 'the changed configuration could not be taken over')
    }
    return files
  })
}
