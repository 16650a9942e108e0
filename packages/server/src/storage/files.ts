/** What is known of files; their bytes are blobs. */
import type { FileKind } from '@posthouse/contract'
import { type Kysely, sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import { timeOf } from '../base/ids.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { FileStore } from '../ports/store.ts'
import type { Database } from './dialects/dialect.ts'
import { first, prepare, type Transaction } from './query.ts'
import type { Schema } from './schema.ts'

/** The owner of a file whose bytes are about to go: who looks for it finds none. */
const NOBODY = ''
const BATCH = 500

export interface Files extends FileStore {
  /** The file of `owner` is the conversation's from now on. */
  adopt(transaction: Transaction, id: string, owner: string, conversation: string): Promise<void>
}

export function createFiles(builder: Kysely<Schema>, database: Database, sealer: Sealer, { clock }: { clock: Clock }): Files {
  const insert = prepare<{ id: string; owner: string; kind: string; name: Uint8Array; mime: string; size: number; at: number }>()((p) =>
    builder
      .insertInto('files')
      .values({ id: p.id, owner: p.owner, kind: p.kind, name: p.name, mime: p.mime, size: p.size, created_at: p.at })
      .onConflict((conflict) => conflict.doNothing()),
  )
  const find = prepare<{ id: string }>()((p) => builder.selectFrom('files').selectAll().where('id', '=', p.id))
  const used = prepare<{ owner: string }>()((p) =>
    builder
      .selectFrom('files')
      .select([
        sql<number>`coalesce(sum(size), 0)`.as('all'),
        sql<number>`coalesce(sum(case when owner = ${p.owner} then size end), 0)`.as('own'),
      ]),
  )
  const adopt = prepare<{ id: string; owner: string; conversation: string }>()((p) =>
    builder.updateTable('files').set({ owner: p.conversation }).where('id', '=', p.id).where('owner', '=', p.owner),
  )
  // Ids rise with time: a pass goes on where the last one ended, so none reads more than a batch.
  const next = prepare<{ after: string; limit: number }>()((p) =>
    builder.selectFrom('files').select(['id', 'created_at']).where('id', '>', p.after).orderBy('id').limit(p.limit),
  )
  const abandon = prepare<{ id: string }>()((p) =>
    builder
      .updateTable('files')
      .set({ owner: NOBODY })
      .where('id', '=', p.id)
      .where('owner', 'not in', (e) => e.selectFrom('conversations').select('id')),
  )
  const remove = prepare<{ id: string }>()((p) => builder.deleteFrom('files').where('id', '=', p.id).where('owner', '=', sql.lit(NOBODY)))
  const begun = prepare()(() => builder.selectFrom('migrations').select(sql<number | null>`min(applied_at)`.as('at')))
  let reached = ''
  return {
    async adopt(transaction, id, owner, conversation) {
      await transaction.run(adopt, { id, owner, conversation })
    },
    async abandon(from, until) {
      const batch = await database.read.all(next, { after: reached, limit: BATCH })
      const old = batch.filter((row) => Number(row.created_at) >= from && Number(row.created_at) < until)
      reached = batch.length === BATCH ? (batch.at(-1)?.id ?? '') : ''
      return await database.write(async (transaction) => {
        const abandoned: string[] = []
        for (const { id } of old) if ((await transaction.run(abandon, { id })) === 1) abandoned.push(id)
        return abandoned
      })
    },
    remove: (ids) =>
      database.write(async (transaction) => {
        for (const id of ids) await transaction.run(remove, { id })
      }),
    async lost(ids) {
      // What lay there before the database was: somebody began anew, and may want the old one back.
      const since = Number((await first(database.read, begun, {}))?.at ?? Number.POSITIVE_INFINITY)
      const lost: string[] = []
      for (const id of ids) if (timeOf(id) >= since && !(await first(database.read, find, { id }))) lost.push(id)
      return lost
    },
    add: (file) =>
      database.write(async (transaction) => {
        await transaction.run(insert, { ...file, name: sealer.seal(file.name, `files.name|${file.id}`), at: clock.now() })
      }),
    async find(id) {
      const row = await first(database.read, find, { id })
      if (!row || row.owner === NOBODY) return undefined
      const name = sealer.open(row.name, `files.name|${id}`).toString()
      return { id, owner: row.owner, kind: row.kind as FileKind, name, mime: row.mime, size: Number(row.size) }
    },
    async used(owner) {
      const row = await first(database.read, used, { owner })
      return { all: Number(row?.all ?? 0), own: Number(row?.own ?? 0) }
    },
  }
}
