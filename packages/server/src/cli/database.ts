/** `posthouse database`: moving from one database to another. */
import { join } from 'node:path'
import { databaseOf, problemOfUrl } from '../config/index.ts'
import { type Copied, copyDatabase, hasData } from '../storage/index.ts'
import type { Call, Options } from './call.ts'
import { fromEnvironment, loadLocal } from './local.ts'
import { explainFailure } from './remedy.ts'
import { CliError, megabytes, type Terminal, table, type Words } from './terminal.ts'

const REFUSALS: Readonly<Record<string, (from: string, to: string, table: string) => Words>> = {
  empty: (from) => ({
    en: `${from} holds nothing: no Posthouse was ever started on it.`,
    zh: `${from} 中没有数据：从未用它启动过 Posthouse。`,
  }),
  occupied: (_, to) => ({
    en: `${to} holds something else. Name an empty database; nothing was changed.`,
    zh: `${to} 中已有其他数据。请指定一个空数据库；未作任何更改。`,
  }),
  different: (from, to, name) => ({
    en: `${name} differs between ${from} and ${to}. Either one of them was used after the copy, or the copy is broken: make the target anew and copy again.`,
    zh: `${name} 在 ${from} 与 ${to} 中不一致。可能复制后其中之一被使用过，或复制有误：请重建目标数据库后再次复制。`,
  }),
}

export async function copy(call: Call, _args: readonly string[], options: Options): Promise<void> {
  const { terminal } = call
  const { t } = terminal
  const { config } = loadLocal(call)
  const from = placeOf('--from', options.from ?? config.database.url, terminal)
  const to = placeOf('--to', options.to ?? '', terminal)
  if (from.database.url === to.database.url)
    throw new CliError(t({ en: '--from and --to are the same database.', zh: '--from 与 --to 是同一个数据库。' }), 2)
  let copied: Copied
  let at = from
  try {
    // A file that is not there would be made.
    if (!(await hasData(from.database.url))) throw Object.assign(new Error(), { reason: 'empty' })
    at = to
    copied = await copyDatabase(installationOf(from), installationOf(to), showProgress(terminal))
  } catch (error) {
    const { reason, what } = error as { reason?: string; what?: string }
    const refusal = REFUSALS[reason ?? '']?.(from.database.name, to.database.name, what ?? '')
    if (refusal) throw new CliError(t(refusal), 1, 'posthouse database copy --help')
    if ((error as Error).name === 'FolderInUse') at = from.database.path === undefined ? to : from
    const { words, next } = explainFailure(error, { ...config, database: at.database, dataFolder: at.dataFolder })
    throw new CliError(t(words), 1, next ?? 'posthouse doctor')
  }
  const { tables, files } = copied
  const rows = tables.reduce((sum, { rows: some }) => sum + some, 0)
  const text = [
    table(
      t({ en: 'table|rows|hash', zh: '表|行数|哈希' }).split('|'),
      tables.map(({ name, rows: some, hash }) => [name, String(some), hash.slice(0, 16)]),
    ),
    t({
      en: `${rows} rows are in ${to.database.name}, equal by number and content. ${from.database.name} is as it was.`,
      zh: `${to.database.name} 中已有 ${rows} 行，数量与内容均一致。${from.database.name} 保持原样。`,
    }),
    ...(files.count > 0
      ? [
          t({
            en: `${files.count} files with ${megabytes(files.bytes)} went along, each read back.`,
            zh: `已一并复制 ${files.count} 个文件（${megabytes(files.bytes)}），并逐一回读核对。`,
          }),
        ]
      : []),
    t({ en: 'Now set database.url in posthouse.yaml, and start.', zh: '现在请在 posthouse.yaml 中设置 database.url，然后启动。' }),
  ]
  terminal.result({ from: from.database.name, to: to.database.name, rows, tables, files }, text.join('\n'), 'posthouse start')
}

function placeOf(option: string, given: string | boolean | undefined, { t }: Terminal) {
  const url = fromEnvironment(String(given))
  const problem = problemOfUrl(url)
  if (problem)
    throw new CliError(t({ en: `${option}: ${problem.en}`, zh: `${option}：${problem.zh}` }), 2, 'posthouse database copy --help')
  return databaseOf(url, process.cwd())
}

const installationOf = ({ database, dataFolder }: ReturnType<typeof placeOf>) => ({ url: database.url, folder: join(dataFolder, 'files') })

/** One line that is written over, at a terminal only. */
export function showProgress({ json }: Terminal): (name: string, done: number, of: number) => void {
  if (json || !process.stderr.isTTY) return () => {}
  return (name, done, of) => process.stderr.write(`\r\x1b[K${name}: ${done} / ${of}${done >= of ? '\n' : ''}`)
}
