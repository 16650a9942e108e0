/** The gateways on this database, by the database's own clock: those of the machines may differ. */
import type { NodeStore } from '../ports/node.ts'
import type { Database, Dialect } from './dialects/dialect.ts'
import { demandLeast, newest } from './migrations/index.ts'
import { prepare } from './query.ts'

export function createNodes(dialect: Dialect, database: Database): NodeStore {
  const { builder, now, shared } = dialect
  const insert = prepare<{ id: string; name: string; version: string; ttl: number }>()((p) =>
    builder.insertInto('nodes').values((e) => ({
      id: p.id,
      name: p.name,
      version: p.version,
      started_at: now,
      seen_at: now,
      alive_until: e(now, '+', p.ttl),
      draining: 0,
      knows: newest,
    })),
  )
  const beat = prepare<{ id: string; ttl: number; draining: number }>()((p) => {
    const update = builder
      .updateTable('nodes')
      .set((e) => ({ seen_at: now, alive_until: e(now, '+', p.ttl), draining: p.draining }))
      .where('id', '=', p.id)
    // The only one there is cannot be taken for dead, whatever its clock does.
    return shared ? update.where('alive_until', '>', now) : update
  })
  const leave = prepare<{ id: string }>()((p) => builder.deleteFrom('nodes').where('id', '=', p.id))
  const leaveAll = prepare()(() => builder.deleteFrom('nodes'))
  const bury = prepare<{ id: string }>()((p) =>
    builder.deleteFrom('nodes').where('id', '!=', p.id).where('alive_until', '<=', now).returning('name'),
  )
  const list = prepare()(() =>
    builder
      .selectFrom('nodes')
      .selectAll()
      .select((e) => e.case().when('alive_until', '>', now).then(1).else(0).end().as('alive'))
      .orderBy('started_at')
      .orderBy('id'),
  )
  return {
    shared,
    join: ({ id, name, version }, ttl, formerly) =>
      database.write(async (transaction) => {
        if (!shared) await transaction.run(leaveAll, {})
        // Who was away may come back to a database that bears its version no more.
        await demandLeast(transaction, dialect)
        for (const former of formerly) await transaction.run(leave, { id: former })
        await transaction.run(insert, { id, name, version, ttl })
      }),
    beat: (id, ttl, draining) =>
      database.write(async (transaction) => (await transaction.run(beat, { id, ttl, draining: draining ? 1 : 0 })) === 1),
    leave: (id) => database.write(async (transaction) => void (await transaction.run(leave, { id }))),
    bury: (id) => database.write(async (transaction) => (await transaction.all(bury, { id })).map(({ name }) => name)),
    async list() {
      const rows = await database.read.all(list, {})
      return rows.map((row) => ({
        id: row.id,
        name: row.name,
        version: row.version,
        startedAt: Number(row.started_at),
        seenAt: Number(row.seen_at),
        draining: row.draining === 1,
        alive: row.alive === 1,
      }))
    },
  }
}
