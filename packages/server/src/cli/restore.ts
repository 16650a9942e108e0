/** `posthouse backup restore` and `erasures`: a backup takes the place of the data, and what people deleted stays deleted. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { databaseOf, problemOfUrl } from '../config/index.ts'
import type { Erasure } from '../ports/store.ts'
import { createSealer, loadKey } from '../security/index.ts'
import { type Restored, restoreBackup } from '../storage/index.ts'
import { explainRefusal } from './backup.ts'
import type { Call, Options } from './call.ts'
import { showProgress } from './database.ts'
import { fromEnvironment, type Local, loadLocal, openLocal } from './local.ts'
import { CliError, type Terminal } from './terminal.ts'

export async function restore(call: Call, _args: readonly string[], options: Options): Promise<void> {
  const given = loadLocal(call)
  const { terminal } = given
  const { t } = terminal
  const help = 'posthouse backup restore --help'
  if (typeof options.from !== 'string')
    throw new CliError(t({ en: 'Name the backup: --from FILE', zh: '请指定备份：--from 文件' }), 2, help)
  const path = resolve(options.from)
  const local = typeof options.to === 'string' ? elsewhere(given, options.to, help) : given
  const { config } = local
  const to = { url: config.database.url, folder: join(config.dataFolder, 'files') }
  let restored: Restored
  try {
    const sealer = createSealer(loadKey(config.keyFile, true))
    const known = typeof options.erasures === 'string' ? readErasures(resolve(options.erasures), terminal) : undefined
    const wanted = { sealer, now: new Date(), replace: options.replace === true, erasures: known }
    restored = await restoreBackup(path, to, wanted, showProgress(terminal))
  } catch (error) {
    throw error instanceof CliError ? error : explainRefusal(error, path, local)
  }
  const { manifest, erasures: erased, setAside, old } = restored
  const rows = manifest.tables.reduce((sum, table) => sum + table.rows, 0)
  const name = config.database.name
  const lines = [
    t({
      en: `${name} is as it was at ${manifest.createdAt}: ${rows} rows and ${manifest.files.count} files, compared with the backup.`,
      zh: `${name} 已恢复到 ${manifest.createdAt} 的状态：${rows} 行、${manifest.files.count} 个文件，已与备份核对。`,
    }),
    ...(old ? [t({ en: `What was there before is kept: ${old}`, zh: `原有数据保留于：${old}` })] : []),
    t({ en: `Deletions since then, carried out again: ${erased}`, zh: `此后的删除操作已重新执行：${erased}` }),
    t({
      en: `Under way at that time, now dead letters for you to judge: ${setAside}`,
      zh: `当时正在处理、现转为死信等待你处理：${setAside}`,
    }),
    t({
      en: 'All channels are paused: nothing is received or sent until `posthouse channel resume --all`. Everybody signs in anew.',
      zh: '所有渠道均已暂停：执行 `posthouse channel resume --all` 之前不会收发任何消息。所有人需要重新登录。',
    }),
    ...(local === given
      ? []
      : [t({ en: 'Now set database.url in posthouse.yaml, and start.', zh: '现在请在 posthouse.yaml 中设置 database.url，然后启动。' })]),
  ]
  terminal.result(
    { database: name, old: old ?? null, erasures: erased, setAside, paused: 'all', manifest },
    lines.join('\n'),
    'posthouse start',
  )
}

/** The same configuration with another database. */
function elsewhere(local: Local, given: string, help: string): Local {
  const { t } = local.terminal
  const url = fromEnvironment(given)
  const problem = problemOfUrl(url)
  if (problem) throw new CliError(t({ en: `--to: ${problem.en}`, zh: `--to：${problem.zh}` }), 2, help)
  return { ...local, config: { ...local.config, ...databaseOf(url, process.cwd()) } }
}

/** Lines of JSON. @throws {CliError} for a line that is none of ours: what is not understood would come back. */
function readErasures(path: string, { t }: Terminal): readonly Erasure[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line, index) => {
      if (line.trim() === '') return []
      try {
        const { kind, id, erasedAt } = JSON.parse(line) as Erasure
        if (['conversation', 'file', 'token'].includes(kind) && typeof id === 'string' && Number.isInteger(erasedAt))
          return [{ kind, id, erasedAt }]
      } catch {
        // Told below.
      }
      throw new CliError(
        t({
          en: `${path}:${index + 1} is no line of \`posthouse backup erasures\`.`,
          zh: `${path}:${index + 1} 不是 \`posthouse backup erasures\` 的输出。`,
        }),
        2,
        'posthouse backup erasures --help',
      )
    })
}

export async function erasures(call: Call, _args: readonly string[], options: Options): Promise<void> {
  const local = loadLocal(call)
  await using opened = await openLocal(local)
  const list = await opened.store.erasures()
  const lines = list.map((each) => `${JSON.stringify(each)}\n`).join('')
  if (typeof options.to !== 'string') {
    process.stdout.write(lines)
    return
  }
  const path = resolve(options.to)
  writeFileSync(path, lines, { mode: 0o600, flag: 'wx' })
  local.terminal.result(
    { path, erasures: list.length },
    local.terminal.t({ en: `${list.length} deletions, ids alone: ${path}`, zh: `${list.length} 条删除记录（仅含 ID）：${path}` }),
    `posthouse backup restore --erasures ${path} --from FILE`,
  )
}
