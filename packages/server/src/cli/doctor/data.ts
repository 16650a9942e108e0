/** Configuration, database and key. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import type { Config, Loaded } from '../../config/index.ts'
import { createSealer, loadKey } from '../../security/index.ts'
import { type Findings, folderHolder, hasData, inspectDatabase, keyFits } from '../../storage/index.ts'
import { closedWords } from '../config.ts'
import { explainFailure } from '../remedy.ts'
import { type Check, check, type Finding, fail, ok, warn } from './finding.ts'

/** The very loader of the start. */
export function checkConfiguration(loaded: Loaded): Check {
  const { path, problems, notices, config } = loaded
  const finding = (state: Finding['state'], cause: Finding['cause'], remedy?: Finding['remedy']): Finding => ({
    group: 'configuration',
    name: 'file',
    state,
    cause,
    ...(remedy ? { remedy } : {}),
  })
  return {
    group: 'configuration',
    name: 'file',
    async run() {
      if (path === undefined) return [finding('ok', { en: 'no file; the defaults apply', zh: '没有配置文件，使用默认值' })]
      const found = [
        ...problems.map(({ text, account }) =>
          account === undefined
            ? finding('fail', text, 'posthouse config check')
            : finding('fail', { en: text.en + closedWords(account).en, zh: text.zh + closedWords(account).zh }, 'posthouse config check'),
        ),
        ...notices.map((notice) => finding('warn', notice, 'posthouse config explain')),
        ...(config ? modeOf(path, loaded).map((cause) => finding('warn', cause, `chmod 600 ${path}`)) : []),
      ]
      return found.length > 0 ? found : [finding('ok', { en: `${path}: no problems`, zh: `${path}：没有问题` })]
    },
  }
}

/** A secret written out in a file that others may read. */
function modeOf(path: string, { config, written }: Loaded): Finding['cause'][] {
  if (process.platform === 'win32' || (statSync(path).mode & 0o077) === 0) return []
  const isPlain = (value: unknown) => (typeof value === 'string' || typeof value === 'number') && !String(value).startsWith('${')
  const secrets = (prefix: string[], { fields }: { readonly fields: object }, id: string) =>
    Object.entries(fields as Record<string, { format?: string }>).some(
      ([name, { format }]) => format === 'secret' && isPlain(written([...prefix, id, name])),
    )
  const found =
    ['database', 'broker', 'redis'].some((name) => /:[^/@]+@/.test(String(written([name, 'url']) ?? '').replace(/\$\{[^}]*\}/g, ''))) ||
    config?.accounts.some(({ id, channel }) => secrets(['channels'], channel.settings, id)) ||
    config?.models.endpoints.some(({ id, provider }) => secrets(['models', 'endpoints'], provider.settings, id))
  return found
    ? [{ en: 'it holds secrets, and other users of this machine may read it', zh: '文件中有密钥，而本机其他用户可以读取它' }]
    : []
}

export function checkDatabase(config: Config): Check[] {
  const { database, dataFolder } = config
  const free = check('database', 'folder', () => {
    const there = existsSync(dataFolder) ? dataFolder : dirname(dataFolder)
    try {
      accessSync(there, constants.R_OK | constants.W_OK | constants.X_OK)
    } catch {
      return fail(`no permission to write in ${there}`, `无权写入 ${there}`, `ls -ld ${there}`)
    }
    return ok(`${there} may be written`, `可写入 ${there}`)
  })
  const { path, name } = database
  if (path !== undefined && !existsSync(path))
    return [free, check('database', 'file', () => ok('no data yet; it is made at the first start', '尚无数据，首次启动时创建'))]
  const whole = check('database', path === undefined ? 'server' : 'file', async () => {
    let findings: Findings
    try {
      findings = await inspectDatabase(database.url)
    } catch (error) {
      const { en, zh } = explainFailure(error, config).words
      return fail(en, zh, path === undefined ? undefined : { en: 'restore it from a backup', zh: '从备份恢复' })
    }
    const { kind, integrity, corrected, refusal, holder, gateways } = findings
    if (path === undefined) {
      if (refusal !== undefined) return fail(`${name}: ${refusal}`, `${name}：${refusal}`)
      const used = holder === undefined ? { en: '', zh: '' } : { en: `; a gateway uses it (${holder})`, zh: `；网关正在使用（${holder}）` }
      if (gateways > 1 && config.redis.url === undefined)
        return warn(
          `${kind} at ${name}: takes writes; ${gateways} gateways use it, and redis.url is not set: an open page does not see an answer grow that another one writes`,
          `${name} 的 ${kind}：可写入；有 ${gateways} 个网关在使用，但未设置 redis.url：打开的页面看不到其他网关正在生成的回答`,
          'posthouse config explain redis.url',
        )
      return ok(`${kind} at ${name}: takes writes, every commit synced${used.en}`, `${name} 的 ${kind}：可写入，每次提交均落盘${used.zh}`)
    }
    if (integrity !== 'ok')
      return fail(`damaged: ${integrity}`, `已损坏：${integrity}`, {
        en: 'stop the gateway and restore the data from a backup',
        zh: '停止网关并从备份恢复数据',
      })
    if (refusal !== undefined) return fail(`takes no writes: ${refusal}`, `无法写入：${refusal}`, `ls -l ${path}*`)
    if (corrected !== undefined)
      return warn(
        `journal ${corrected} instead of wal; the start sets it`,
        `日志模式为 ${corrected} 而非 wal；启动时会修正`,
        'posthouse start',
      )
    return ok('whole, takes writes, write-ahead log, every commit synced', '完整，可写入，预写日志，每次提交均落盘')
  })
  const holder = check('database', 'lock', () => {
    const pid = folderHolder(dataFolder)
    return pid === undefined ? ok('nobody uses it', '无进程占用') : ok(`in use by process ${pid}`, `进程 ${pid} 正在使用`)
  })
  return [free, whole, holder]
}

export function checkKeyFile(config: Config): Check[] {
  const { keyFile, database, dataFolder } = config
  const inside = relative(dataFolder, keyFile)
  const place = check('key', 'place', () =>
    inside.startsWith('..')
      ? ok('apart from the data', '与数据分开存放')
      : warn(`${keyFile} is inside the data folder: a stolen backup could be read`, `${keyFile} 位于数据文件夹内：备份一旦泄露即可被读取`, {
          en: `move it, and set security.key_file: mv ${keyFile} ${dirname(dataFolder)}/`,
          zh: `请移出，并设置 security.key_file：mv ${keyFile} ${dirname(dataFolder)}/`,
        }),
  )
  if (!existsSync(keyFile)) {
    const { en, zh } = explainFailure(Object.assign(new Error('missing'), { name: 'KeyProblem' }), config).words
    return [
      check('key', 'file', async () =>
        (await hasData(database.url))
          ? fail(en, zh, { en: `put it back at ${keyFile}`, zh: `放回 ${keyFile}` })
          : ok('no key yet; it is made at the first start', '尚无密钥，首次启动时生成'),
      ),
    ]
  }
  const file = check('key', 'file', async () => {
    // Loading it would correct the mode silently.
    if (process.platform !== 'win32' && (statSync(keyFile).mode & 0o077) !== 0)
      return fail(`other users of this machine may read ${keyFile}`, `本机其他用户可以读取 ${keyFile}`, `chmod 600 ${keyFile}`)
    try {
      const key = loadKey(keyFile, true)
      const fits = await keyFits(database.url, createSealer(key))
      if (fits === false) throw Object.assign(new Error(), { name: 'WrongKey' })
      return ok(
        `${keyFile} (${key.id})${fits ? ' fits the data' : ''}; keep a copy of it apart from the data`,
        `${keyFile}（${key.id}）${fits ? '与数据匹配' : ''}；请与数据分开保存一份副本`,
      )
    } catch (error) {
      const { en, zh } = explainFailure(error, config).words
      return fail(en, zh, { en: `put the right one back at ${keyFile}`, zh: `将正确的密钥放回 ${keyFile}` })
    }
  })
  return [place, file]
}
