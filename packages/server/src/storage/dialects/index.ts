/** Which database a URL names. A driver is loaded only where it is asked for. */
import { type Dialect, isServer } from './dialect.ts'

export async function dialectOf(url: string): Promise<Dialect> {
  if (isServer(url)) return (await import('./postgres.ts')).postgres
  return (await import('./sqlite.ts')).sqlite
}
