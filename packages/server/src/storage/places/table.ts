/** Files in the database, in pieces: for nodes that share nothing else, and within a backup. */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../dialects/dialect.ts'
import { first, prepare } from '../query.ts'
import type { Schema } from '../schema.ts'
import type { FilePlace } from './place.ts'

/** Bytes of a piece: what is in memory of a file, either way. */
const PIECE = 256 * 1024
const BATCH = 500

export function tablePlace(builder: Kysely<Schema>, database: Pick<Database, 'read' | 'write'>): FilePlace {
  const add = prepare<{ id: string; part: number; bytes: Uint8Array }>()((p) =>
    builder.insertInto('file_chunks').values({ file_id: p.id, part: p.part, bytes: p.bytes }),
  )
  const find = prepare<{ id: string; part: number }>()((p) =>
    builder.selectFrom('file_chunks').select('bytes').where('file_id', '=', p.id).where('part', '=', p.part),
  )
  const remove = prepare<{ id: string }>()((p) => builder.deleteFrom('file_chunks').where('file_id', '=', p.id))
  const next = prepare<{ after: string }>()((p) =>
    builder
      .selectFrom('file_chunks')
      .select('file_id')
      .where('file_id', '>', p.after)
      .where('part', '=', sql.lit(0))
      .orderBy('file_id')
      .limit(sql.lit(BATCH)),
  )
  const removeAll = (id: string) => database.write(async (transaction) => void (await transaction.run(remove, { id })), id)
  return {
    async write(id, chunks) {
      let part = 0
      const keep = async (bytes: Uint8Array) => {
        const piece = { id, part: part++, bytes }
        await database.write(async (transaction) => void (await transaction.run(add, piece)), id)
      }
      try {
        const piece = Buffer.allocUnsafe(PIECE)
        let size = 0
        for await (const chunk of chunks)
          for (const bytes of chunk)
            for (let at = 0; at < bytes.length; ) {
              const taken = bytes.subarray(at, at + PIECE - size)
              piece.set(taken, size)
              size += taken.length
              at += taken.length
              if (size < PIECE) continue
              await keep(piece)
              size = 0
            }
        if (size > 0 || part === 0) await keep(piece.subarray(0, size))
      } catch (error) {
        // If the database is away, the sweep finds what is left.
        await removeAll(id).catch(() => {})
        throw error
      }
    },
    async open(id) {
      let part = 0
      let at = 0
      let piece = (await first(database.read, find, { id, part }))?.bytes
      if (!piece) return undefined
      return {
        async fill(buffer) {
          let size = 0
          while (piece && size < buffer.length) {
            if (at === piece.length) {
              part++
              at = 0
              piece = (await first(database.read, find, { id, part }))?.bytes
              continue
            }
            const taken = piece.subarray(at, at + buffer.length - size)
            buffer.set(taken, size)
            size += taken.length
            at += taken.length
          }
          return size
        },
        async [Symbol.asyncDispose]() {},
      }
    },
    remove: removeAll,
    async *ids() {
      for (let after = ''; ; ) {
        const rows = await database.read.all(next, { after })
        const last = rows.at(-1)
        if (!last) return
        yield rows.map((row) => row.file_id)
        after = last.file_id
      }
    },
  }
}
