/** Where the database is, as the rest of the program needs it: without the password wherever it is shown. */
import { dirname, resolve } from 'node:path'
import type { Bilingual } from '@posthouse/contract'
import { words } from './validate.ts'

export interface DatabaseConfig {
  /** `sqlite:` with an absolute path, or `postgres://`. It may hold a password: never shown. */
  readonly url: string
  /** Path of the file; undefined where the database is a server. */
  readonly path: string | undefined
  /** How it is called in front of people: the path, or host and database. */
  readonly name: string
}

/** Files, locks and the number of the process lie beside a database that is a file, else in `data`. */
export function databaseOf(url: string, folder: string): { readonly database: DatabaseConfig; readonly dataFolder: string } {
  if (url.startsWith('sqlite:')) {
    const path = resolve(folder, url.slice('sqlite:'.length))
    return { database: { url: `sqlite:${path}`, path, name: path }, dataFolder: dirname(path) }
  }
  const { host, pathname } = URL.canParse(url) ? new URL(url) : { host: '', pathname: '' }
  return { database: { url, path: undefined, name: `${host}${pathname}` }, dataFolder: resolve(folder, 'data') }
}

/** What is wrong with a URL. It is never quoted: a password may stand in any part of a wrong one. */
export function problemOfUrl(url: string): Bilingual | undefined {
  if (/^sqlite:./.test(url)) return undefined
  if (!/^postgres(ql)?:/.test(url))
    return words('expected sqlite:path or postgres://user:password@host/name', '应为 sqlite:路径 或 postgres://user:password@host/name')
  if (!URL.canParse(url))
    return words(
      'this is no URL; special characters of the password are written as %-codes (@ is %40, / is %2F)',
      '不是有效的 URL；密码中的特殊字符须写成 % 编码（@ 为 %40，/ 为 %2F）',
    )
  const { host, pathname, hash, searchParams } = new URL(url)
  if (host === '' || !/^\/[^/]+$/.test(pathname) || hash !== '')
    return words('expected postgres://user:password@host/name', '应为 postgres://user:password@host/name')
  if (['password', 'user', 'host'].some((name) => searchParams.has(name)))
    return words('user, password and host stand before the name, not behind ?', '用户、密码和主机应写在库名之前，而不是 ? 之后')
  return undefined
}

/** What of a URL no line may show; all of one that cannot be read. */
export function secretsInUrl(url: string): string[] {
  if (!URL.canParse(url)) return [url]
  const { password } = new URL(url)
  return password === '' ? [] : [url, password, decoded(password)]
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
