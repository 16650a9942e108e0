/** What stood in the way of opening the data or listening, and the exact remedy, in words for a person. */
import type { Words } from './terminal.ts'

/** What of the configuration the words name. */
interface Places {
  readonly server: { readonly host: string; readonly port: number }
  readonly databasePath: string
  readonly dataFolder: string
  readonly keyFile: string
}

export interface Explained {
  readonly words: Words
  readonly next: string | undefined
}

/** SQLite's result codes. https://sqlite.org/rescode.html */
const SQLITE = { busy: 5, readOnly: 8, full: 13, cantOpen: 14, notADatabase: 26 }

/** An error without a form of its own keeps its message. */
export function explainFailure(error: unknown, { server, databasePath, dataFolder, keyFile }: Places): Explained {
  const { name, code, syscall, message, errcode } = error as {
    name: string
    code?: string
    syscall?: string
    message: string
    errcode?: number
  }
  const say = (en: string, zh: string, next?: string): Explained => ({ words: { en, zh }, next })
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
  if (name === 'WrongKey')
    return say(
      `The key file ${keyFile} does not fit the data in ${databasePath}. Put back the key file that was used with this data. Nothing was changed.`,
      `密钥文件 ${keyFile} 与 ${databasePath} 中的数据不匹配。请放回该数据所用的密钥文件。未作任何更改。`,
    )
  if (name === 'KeyProblem' && message.includes('missing'))
    return say(
      `The key file ${keyFile} is missing, but there is data sealed with it. Put it back from your backup of keys. To begin anew, move ${dataFolder} away first.`,
      `缺少密钥文件 ${keyFile}，但已有用它加密的数据。请从密钥备份中放回。若要重新开始，请先移走 ${dataFolder}。`,
    )
  if (name === 'KeyProblem')
    return say(
      `${keyFile} is not a Posthouse key file. Put the right one back; nothing was changed.`,
      `${keyFile} 不是 Posthouse 密钥文件。请放回正确的文件；未作任何更改。`,
    )
  if (name === 'DamagedLog')
    return say(
      `${message}. Restore a backup. Or, to go on without those commits, start again after moving ${databasePath}-wal and ${databasePath}-shm away. Nothing was changed.`,
      `${databasePath} 的日志已损坏（${message}）。请从备份恢复；若要放弃这些提交继续运行，请移走 ${databasePath}-wal 和 ${databasePath}-shm 后重新启动。未作任何更改。`,
    )
  if (errcode === SQLITE.notADatabase || message.includes('is damaged'))
    return say(
      `${databasePath} is damaged or no database. Restore it from a backup; nothing was changed.`,
      `${databasePath} 已损坏或不是数据库。请从备份恢复；未作任何更改。`,
    )
  if (errcode === SQLITE.full || code === 'ENOSPC')
    return say(`The disk with ${dataFolder} is full. Free some space.`, `${dataFolder} 所在磁盘已满。请清理空间。`)
  if (errcode === SQLITE.busy)
    return say(
      `${databasePath} is locked by another program for too long. Try again, or stop that program.`,
      `${databasePath} 被其他程序长时间锁定。请重试，或停止该程序。`,
    )
  const noAccess = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(code ?? '')
  if (noAccess || errcode === SQLITE.readOnly || errcode === SQLITE.cantOpen)
    return say(
      `No permission to read and write in ${dataFolder} and at ${keyFile} (${message}). Check who owns them: ls -ld ${dataFolder}`,
      `无权读写 ${dataFolder} 和 ${keyFile}（${message}）。请检查所有者：ls -ld ${dataFolder}`,
    )
  return say(message, message)
}
