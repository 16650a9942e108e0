/** What stood in the way of opening the data or listening, and the exact remedy, in words for a person. */
import type { Words } from './terminal.ts'

/** What of the configuration the words name. */
interface Places {
  readonly server: { readonly host: string; readonly port: number }
  readonly database: { readonly path: string | undefined; readonly name: string }
  readonly dataFolder: string
  readonly keyFile: string
}

export interface Explained {
  readonly words: Words
  readonly next: string | undefined
}

/** SQLite's result codes. https://sqlite.org/rescode.html */
const SQLITE = { busy: 5, readOnly: 8, full: 13, cantOpen: 14, notADatabase: 26 }

/** What keeps a database server from us, by the codes of PostgreSQL and of the system. No words of the server are passed on: they may quote. */
const SERVER: readonly { readonly codes: readonly string[]; readonly en: string; readonly zh: string }[] = [
  {
    codes: ['28P01', '28000'],
    en: 'it does not let us in. Check user and password in database.url, and pg_hba.conf.',
    zh: '服务器拒绝登录。请检查 database.url 中的用户名和密码，以及 pg_hba.conf。',
  },
  { codes: ['3D000'], en: 'there is no such database. Make it: createdb NAME', zh: '没有此数据库。请创建：createdb 库名' },
  {
    codes: ['42501', '3F000'],
    en: 'this user may not make tables there. As its administrator: GRANT ALL ON SCHEMA public TO USER',
    zh: '该用户无权在其中建表。请由管理员执行：GRANT ALL ON SCHEMA public TO 用户',
  },
  { codes: ['53300'], en: 'it has no free connection. Raise max_connections.', zh: '服务器没有空闲连接。请调高 max_connections。' },
  { codes: ['57P03'], en: 'it is starting up or shutting down. Try again.', zh: '服务器正在启动或关闭。请重试。' },
  {
    codes: ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ECONNRESET', 'timeout expired'],
    en: 'it cannot be reached. Check the address, and whether it runs.',
    zh: '无法连接。请检查地址，以及它是否在运行。',
  },
]

function explainServer(error: unknown, database: string): Explained | undefined {
  const { name, code, message } = error as { name: string; code?: string; message: string }
  const say = (en: string, zh: string): Explained => ({ words: { en, zh }, next: undefined })
  const known = SERVER.find(({ codes }) => codes.includes(code ?? message))
  if (known) return say(`The database ${database}: ${known.en}`, `数据库 ${database}：${known.zh}`)
  if (name === 'UnsafeDatabase') return say(`The database ${database} is not fit: ${message}`, `数据库 ${database} 不适用：${message}`)
  if (name === 'HalfCopied')
    return say(
      `A copy into ${database} was begun and did not end. Run it again: it goes on where it was.`,
      `向 ${database} 的复制尚未完成。请重新运行：会从中断处继续。`,
    )
  return undefined
}

/** An error without a form of its own keeps its message. */
export function explainFailure(error: unknown, places: Places): Explained {
  const { server, database, dataFolder, keyFile } = places
  const { name, code, syscall, message, errcode } = error as {
    name: string
    code?: string
    syscall?: string
    message: string
    errcode?: number
  }
  const say = (en: string, zh: string, next?: string): Explained => ({ words: { en, zh }, next })
  const anew =
    database.path === undefined
      ? { en: 'name an empty database first', zh: '指定一个空数据库' }
      : { en: `move ${dataFolder} away first`, zh: `移走 ${dataFolder}` }
  if (code === 'EADDRINUSE')
    return say(
      `The port ${server.port} on ${server.host} is taken. Stop the other program, or set server.port in posthouse.yaml.`,
      `${server.host} 的端口 ${server.port} 已被占用。请停止占用它的程序，或在 posthouse.yaml 中修改 server.port。`,
      'posthouse doctor',
    )
  if (code === 'EADDRNOTAVAIL')
    return say(
      `${server.host} is no address of this machine. Set server.host to 127.0.0.1 or 0.0.0.0.`,
      `${server.host} 不是本机地址。请将 server.host 设为 127.0.0.1 或 0.0.0.0。`,
    )
  if (code === 'EACCES' && syscall === 'listen')
    return say(
      `The port ${server.port} may not be used by this user. Choose one above 1024 (server.port).`,
      `当前用户无权使用端口 ${server.port}。请改用 1024 以上的端口（server.port）。`,
    )
  if (name === 'FolderInUse') {
    const pid = /process (\w+)/.exec(message)?.[1] ?? '?'
    return say(
      `Another Posthouse (process ${pid}) uses ${dataFolder}. Stop it (kill ${pid}), or set another database.url.`,
      `另一个 Posthouse（进程 ${pid}）正在使用 ${dataFolder}。请先停止它（kill ${pid}），或另设 database.url。`,
      'posthouse status',
    )
  }
  if (name === 'DatabaseInUse') {
    const holder = /\((.*)\)/.exec(message)?.[1] ?? '?'
    if ((error as { by?: unknown }).by === 'one alone')
      return say(
        `A Posthouse of an older version, or a copy of the database, has ${database.name} for itself (${holder}). Stop it, or wait for its end.`,
        `旧版本的 Posthouse 或数据库复制任务正在独占 ${database.name}（${holder}）。请停止它或等待其结束。`,
        'posthouse status',
      )
    return say(
      `Another Posthouse (${holder}) uses the database. Stop all of its nodes, and try again after half a minute.`,
      `另一个 Posthouse（${holder}）正在使用该数据库。请停止其所有节点，半分钟后重试。`,
      'posthouse status',
    )
  }
  if (name === 'VersionRefused') {
    const who = /\(([^)]*)\)/.exec(message)?.[1] ?? '?'
    if ((error as { reason?: unknown }).reason === 'older')
      return say(
        `Nodes of an older version (${who}) are at work on ${database.name} and cannot work beside this one. Stop them, or upgrade them to the version between. Nothing was changed.`,
        `旧版本的节点（${who}）正在使用 ${database.name}，无法与本版本并存。请先停止它们，或先升级到中间版本。未作任何更改。`,
        'posthouse status',
      )
    return say(
      `${database.name} is of a newer version (${who}) that this one cannot work beside. Start that version, or restore a backup. Nothing was changed.`,
      `${database.name} 由更新的版本写入（${who}），本版本无法与之并存。请启动该版本，或从备份恢复。未作任何更改。`,
    )
  }
  if (name === 'WrongKey')
    return say(
      `The key file ${keyFile} does not fit the data in ${database.name}. Put back the key file that was used with this data. Nothing was changed.`,
      `密钥文件 ${keyFile} 与 ${database.name} 中的数据不匹配。请放回该数据所用的密钥文件。未作任何更改。`,
    )
  if (name === 'KeyProblem' && message.includes('missing'))
    return say(
      `The key file ${keyFile} is missing, but there is data sealed with it. Put it back from your backup of keys. To begin anew, ${anew.en}.`,
      `缺少密钥文件 ${keyFile}，但已有用它加密的数据。请从密钥备份中放回。若要重新开始，请先${anew.zh}。`,
    )
  if (name === 'KeyProblem')
    return say(
      `${keyFile} is not a Posthouse key file. Put the right one back; nothing was changed.`,
      `${keyFile} 不是 Posthouse 密钥文件。请放回正确的文件；未作任何更改。`,
    )
  if (name === 'DamagedLog')
    return say(
      `${message}. Restore a backup. Or, to go on without those commits, start again after moving ${database.path}-wal and ${database.path}-shm away. Nothing was changed.`,
      `${database.path} 的日志已损坏（${message}）。请从备份恢复；若要放弃这些提交继续运行，请移走 ${database.path}-wal 和 ${database.path}-shm 后重新启动。未作任何更改。`,
    )
  if (errcode === SQLITE.notADatabase || message.includes('is damaged'))
    return say(
      `${database.name} is damaged or no database. Restore it from a backup; nothing was changed.`,
      `${database.name} 已损坏或不是数据库。请从备份恢复；未作任何更改。`,
    )
  if (errcode === SQLITE.full || code === 'ENOSPC')
    return say(`The disk with ${dataFolder} is full. Free some space.`, `${dataFolder} 所在磁盘已满。请清理空间。`)
  if (errcode === SQLITE.busy)
    return say(
      `${database.name} is locked by another program for too long. Try again, or stop that program.`,
      `${database.name} 被其他程序长时间锁定。请重试，或停止该程序。`,
    )
  if (database.path === undefined) {
    const explained = explainServer(error, database.name)
    if (explained) return explained
  }
  const noAccess = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(code ?? '')
  if (noAccess || errcode === SQLITE.readOnly || errcode === SQLITE.cantOpen)
    return say(
      `No permission to read and write in ${dataFolder} and at ${keyFile} (${message}). Check who owns them: ls -ld ${dataFolder}`,
      `无权读写 ${dataFolder} 和 ${keyFile}（${message}）。请检查所有者：ls -ld ${dataFolder}`,
    )
  return say(message, message)
}
