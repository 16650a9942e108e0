/** Where the database is, as the rest of the program needs it: without the password wherever it is shown. */
import { dirname, resolve } from 'node:path'

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

/** What of a URL no line may show. */
export function secretsInUrl(url: string): string[] {
  if (!URL.canParse(url)) return []
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
