/** What is known of files; their bytes are blobs. */
import type { FileKind } from '@posthouse/contract'
import { type Kysely, sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { FileStore } from '../ports/store.ts'
import type { Database } from './dialects/dialect.ts'
import { first, prepare } from './query.ts'
import type { Schema } from './schema.ts'

export function createFiles(builder: Kysely<Schema>, database: Database, sealer: Sealer, { clock }: { clock: Clock }): FileStore {
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
  return {
    add: (file) =>
      database.write(async (transaction) => {
        await transaction.run(insert, { ...file, name: sealer.seal(file.name, `files.name|${file.id}`), at: clock.now() })
      }),
    async find(id) {
      const row = await first(database.read, find, { id })
      if (!row) return undefined
      const name = sealer.open(row.name, `files.name|${id}`).toString()
      return { id, owner: row.owner, kind: row.kind as FileKind, name, mime: row.mime, size: Number(row.size) }
    },
    async used(owner) {
      const row = await first(database.read, used, { owner })
      return { all: Number(row?.all ?? 0), own: Number(row?.own ?? 0) }
    },
  }
}
