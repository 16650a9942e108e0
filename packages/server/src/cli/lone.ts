/** A channel with settings from a file of their own, for commands that look at it without a gateway. */
import type { Channel } from '@posthouse/contract'
import { web } from '../channels/index.ts'
import { nearest, parseSettings, readText } from '../config/index.ts'
import type { Call, Options } from './call.ts'
import { loadHere } from './local.ts'
import { CliError } from './terminal.ts'

export interface Lone {
  readonly channel: Channel
  readonly settings: Record<string, unknown>
}

/** @throws CliError when there is no such channel, or its settings cannot be used. */
export function openLone({ config, terminal: { t } }: Call, type: string, options: Options): Lone {
  const known: Readonly<Record<string, Channel>> = { ...loadHere(config).channels, web }
  const channel = Object.hasOwn(known, type) ? known[type] : undefined
  if (!channel) {
    const names = Object.keys(known)
    const near = nearest(type, names)
    throw new CliError(
      t({
        en: `There is no channel "${type}". ${near ? `Did you mean "${near}"?` : `Known: ${names.join(', ')}.`}`,
        zh: `没有渠道“${type}”。${near ? `是否想写“${near}”？` : `可用：${names.join('、')}。`}`,
      }),
      2,
    )
  }
  const path = typeof options.settings === 'string' ? options.settings : undefined
  const text = path === undefined ? '{}' : textOf(path, t)
  const { settings, problems, notices } = parseSettings(text, path ?? 'settings.yaml', channel, process.env)
  if (problems.length > 0) throw new CliError(problems.map((problem) => `${path}:${t(problem)}`).join('\n'), 2)
  for (const notice of notices) process.stderr.write(`${t(notice)}\n`)
  return { channel, settings }
}

/** @throws CliError */
export function textOf(path: string, t: Call['terminal']['t']): string {
  try {
    const read = readText(path)
    if ('text' in read) return read.text
    throw new CliError(`${path}: ${t(read.problem)}`, 2)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(
      t({ en: `${path}: there is no such file that can be read.`, zh: `${path}：文件不存在或无法读取。` }),
      2,
      undefined,
      error,
    )
  }
}
