/** Having a database to oneself: the lock keeps gateways out that are connected, this those that were cut off and may come back. */
import { type Database, DatabaseInUse, type Dialect } from './dialects/dialect.ts'
import { appliedTo } from './migrations/index.ts'
import { createNodes } from './nodes.ts'

/** @throws {DatabaseInUse} when a gateway was seen within the last half minute. */
export async function refuseLiveNodes(dialect: Dialect, database: Database): Promise<void> {
  if (!dialect.shared) return
  // An empty place has no tables; an older version knew of no nodes.
  const applied = await appliedTo(database.read, dialect).catch(() => new Set<string>())
  if (!applied.has('0004-nodes')) return
  const alive = (await createNodes(dialect, database).list()).filter((node) => node.alive).map(({ name }) => name)
  if (alive.length === 0) return
  throw new DatabaseInUse(
    'gateways',
    `A Posthouse (${alive.join(', ')}) was at work on this database within the last half minute. Stop it, or wait, and try again.`,
  )
}
