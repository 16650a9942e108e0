/** `posthouse backup create` and `verify`: all data in one file, written while the gateway works, and read back. */
import { existsSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createSealer, loadKey } from '../security/index.ts'
import { createBackup, type Manifest, type Verified, verifyBackup } from '../storage/index.ts'
import { version } from '../version.ts'
import type { Call, Options } from './call.ts'
import { showProgress } from './database.ts'
import { type Local, loadLocal } from './local.ts'
import { explainFailure } from './remedy.ts'
import { CliError, megabytes, type Terminal, type Words } from './terminal.ts'

/** Why a backup or a restore did not go on, by the reason of the refusal. `what`: the table, the file, the key or the version. */
const REFUSALS: Readonly<Record<string, (file: string, database: string, what: string) => Words>> = {
  empty: (_, database) => ({
    en: `${database} holds nothing that could be kept: no Posthouse was ever started on it, or a restore into it did not end.`,
    zh: `${database} 中没有可备份的数据：从未用它启动过 Posthouse，或对它的恢复尚未完成。`,
  }),
  absent: (file) => ({ en: `There is no file ${file}.`, zh: `没有文件 ${file}。` }),
  foreign: (file) => ({ en: `${file} is no backup of Posthouse.`, zh: `${file} 不是 Posthouse 的备份。` }),
  newer: (file, _, what) => ({
    en: `${file}: made by a newer version (${what}). Use that version.`,
    zh: `${file}：由更新的版本（${what}）创建。请使用该版本。`,
  }),
  damaged: (file, _, what) => ({
    en: `${file} is damaged: ${what} is not what was written. Take another backup; nothing was changed.`,
    zh: `${file} 已损坏：${what} 与写入时不一致。请改用另一份备份；未作任何更改。`,
  }),
  different: (file, _, what) => ({
    en: `${what} read back from the disk is not what was written (${file}). Check the disk; nothing of it counts.`,
    zh: `${what} 从磁盘读回的内容与写入的不一致（${file}）。请检查磁盘；本次结果无效。`,
  }),
  'wrong-key': (file, _, what) => ({
    en: `The key file does not fit ${file}: it was sealed with the key ${what}. Put that key file at security.key_file; nothing was changed.`,
    zh: `密钥文件与 ${file} 不匹配：它由密钥 ${what} 加密。请将该密钥文件放到 security.key_file 处；未作任何更改。`,
  }),
  busy: (file) => ({ en: `Another command writes ${file} at this moment.`, zh: `另一条命令正在写入 ${file}。` }),
  occupied: (_, database) => ({
    en: `${database} holds data already. Give --replace to move it aside (it is kept); nothing was changed.`,
    zh: `${database} 中已有数据。使用 --replace 可将其移到一旁保留；未作任何更改。`,
  }),
  ledger: (_, database) => ({
    en: `${database} cannot be read, so nobody knows what people deleted in it. Give --erasures FILE with what is known (an empty file: nothing); nothing was changed.`,
    zh: `无法读取 ${database}，因此不知道其中删除过什么。请用 --erasures 文件 提供已知的删除记录（空文件表示没有）；未作任何更改。`,
  }),
}

/** In words for a person, with the remedy. */
export function explainRefusal(error: unknown, file: string, { config, terminal: { t } }: Local): CliError {
  const { reason, what = '' } = error as { reason?: string; what?: string }
  const refusal = REFUSALS[reason ?? '']?.(file, config.database.name, what)
  if (refusal) return new CliError(t(refusal), 1, 'posthouse backup --help', error)
  // A write that was not taken says why only within.
  const { code, cause: within } = error as { code?: string; cause?: unknown }
  const cause = code === 'unavailable' && within ? within : error
  const full = (cause as { errcode?: number; code?: string }).errcode === FULL || (cause as { code?: string }).code === 'ENOSPC'
  if (full)
    return new CliError(
      t({
        en: `The disk is full. Free some space and run it again; what was begun counts for nothing (${file}).`,
        zh: `磁盘已满。请清理空间后重新运行；未完成的部分不作数（${file}）。`,
      }),
      1,
      undefined,
      error,
    )
  const { words, next } = explainFailure(cause, config)
  return new CliError(t(words), 1, next ?? 'posthouse doctor', error)
}

/** SQLite's code. */
const FULL = 13

export async function create(call: Call, _args: readonly string[], options: Options): Promise<void> {
  const local = loadLocal(call)
  const { config, terminal } = local
  const { t } = terminal
  const now = new Date()
  const name = `posthouse-${now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-')}.backup`
  const path = resolve(typeof options.to === 'string' ? options.to : join('backups', name))
  if (existsSync(path))
    throw new CliError(t({ en: `${path} is there already.`, zh: `${path} 已存在。` }), 2, 'posthouse backup create --help')
  let manifest: Manifest
  try {
    const from = { url: config.database.url, folder: join(config.dataFolder, 'files') }
    manifest = await createBackup(from, path, { product: version, now }, showProgress(terminal))
  } catch (error) {
    throw explainRefusal(error, path, local)
  }
  const { size } = statSync(path)
  terminal.result(
    { path, size, manifest },
    [
      summary(manifest, terminal),
      `${path} (${megabytes(size)})`,
      t({
        en: `The key is not in it. Keep ${config.keyFile} (key ${manifest.key}) in another place: without it nobody can read the backup.`,
        zh: `备份中不含密钥。请将 ${config.keyFile}（密钥 ${manifest.key}）保存在另一处：没有它，任何人都无法读取备份。`,
      }),
    ].join('\n'),
    `posthouse backup verify ${path}`,
  )
}

export async function verify(call: Call, [file = '']: readonly string[]): Promise<void> {
  const local = loadLocal(call)
  const { config, terminal } = local
  const { t } = terminal
  const path = resolve(file)
  let found: Verified
  try {
    const key = existsSync(config.keyFile) ? loadKey(config.keyFile, true) : undefined
    const keys = key && { sealer: createSealer(key), files: key.derive('files') }
    found = await verifyBackup(path, keys, showProgress(terminal))
  } catch (error) {
    throw explainRefusal(error, path, local)
  }
  const { manifest, opened } = found
  terminal.result(
    { path, manifest, opened: opened ?? null },
    [
      summary(manifest, terminal),
      t({ en: 'Everything reads back as it was written.', zh: '全部内容读回后与写入时一致。' }),
      opened
        ? t({
            en: `The key ${manifest.key} opens it (${opened.messages} messages and ${opened.files} files tried).`,
            zh: `密钥 ${manifest.key} 可以打开（已试 ${opened.messages} 条消息和 ${opened.files} 个文件）。`,
          })
        : t({
            en: `There is no key file here; it needs the key ${manifest.key}.`,
            zh: `此处没有密钥文件；打开它需要密钥 ${manifest.key}。`,
          }),
    ].join('\n'),
    'posthouse backup restore --help',
  )
}

function summary({ createdAt, product, tables, files }: Manifest, { t }: Terminal): string {
  const rows = tables.reduce((sum, table) => sum + table.rows, 0)
  const messages = tables.find(({ name }) => name === 'messages')?.rows ?? 0
  return t({
    en: `As of ${createdAt}, version ${product}: ${messages} messages, ${rows} rows in all, ${files.count} files with ${megabytes(files.bytes)}.`,
    zh: `截至 ${createdAt}，版本 ${product}：${messages} 条消息，共 ${rows} 行，${files.count} 个文件（${megabytes(files.bytes)}）。`,
  })
}
