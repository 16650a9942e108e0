/** Leases: one row each, whose owner is a node that lives. */
import { sql } from 'kysely'
import { type Lease, type LeaseStore, StaleLease } from '../ports/leases.ts'
import type { Database, Dialect } from './dialects/dialect.ts'
import { first, prepare, type Transaction } from './query.ts'
import { isOver } from './steps.ts'

export interface LeaseRows extends LeaseStore {
  /** Within the transaction of what is done in its name; nobody takes it before that ends. @throws {StaleLease} */
  demand(transaction: Transaction, lease: Lease): Promise<void>
}

export function createLeases({ builder, now, keep }: Dialect, database: Database): LeaseRows {
  const take = prepare<{ name: string; node: string }>()((p) =>
    builder
      .insertInto('leases')
      .values({ name: p.name, node: p.node, epoch: 1, taken_at: now })
      .onConflict((conflict) =>
        conflict
          .column('name')
          .doUpdateSet({ node: p.node, epoch: sql`leases.epoch + 1`, taken_at: now })
          .where(isOver(builder, 'leases.node')),
      )
      .returning('epoch'),
  )
  const taken = prepare<{ name: string }>()((p) =>
    builder
      .selectFrom('leases')
      .select('name')
      .where('name', '=', p.name)
      .where((e) => e.not(isOver(builder, 'leases.node'))),
  )
  const ours = prepare<{ name: string; node: string; epoch: number }>()((p) =>
    keep(builder.selectFrom('leases').select('name').where('name', '=', p.name).where('node', '=', p.node).where('epoch', '=', p.epoch)),
  )
  const release = prepare<{ name: string; node: string; epoch: number }>()((p) =>
    builder.updateTable('leases').set({ node: null }).where('name', '=', p.name).where('node', '=', p.node).where('epoch', '=', p.epoch),
  )
  const list = prepare()(() =>
    builder
      .selectFrom('leases')
      .select(['name', 'node', 'epoch'])
      .where((e) => e.not(isOver(builder, 'leases.node')))
      .orderBy('name'),
  )
  return {
    take: (name, node) =>
      database.write(async (transaction) => {
        const row = await first(transaction, take, { name, node })
        return row && { name, node, epoch: Number(row.epoch) }
      }),
    free: async (name) => !(await first(database.read, taken, { name })),
    release: ({ name, node, epoch }) => database.write(async (transaction) => void (await transaction.run(release, { name, node, epoch }))),
    async demand(transaction, { name, node, epoch }) {
      if (!(await first(transaction, ours, { name, node, epoch })))
        throw new StaleLease(`the lease ${name} is not ours any more (epoch ${epoch})`)
    },
    async list() {
      const rows = await database.read.all(list, {})
      return rows.map(({ name, node, epoch }) => ({ name, node: node ?? '', epoch: Number(epoch) }))
    },
  }
}
