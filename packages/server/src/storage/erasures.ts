/**
 * What people deleted or made void, by its id alone: a backup that was made before still has it, and a restore must not give it back.
 */
import { type Kysely, sql } from 'kysely'
import type { Erasure } from '../ports/store.ts'
import { prepare, type Query, type Transaction } from './query.ts'
import type { Schema } from './schema.ts'

export interface Erasures {
  /** Writes down what is deleted in this transaction. */
  note(transaction: Transaction, erasure: Erasure): Promise<void>
  /** Deletes it, whether it is there or not. */
  erase(transaction: Transaction, erasure: Erasure): Promise<void>
  list(read: Transaction): Promise<readonly Erasure[]>
}

export function createErasures(builder: Kysely<Schema>): Erasures {
  const note = prepare<{ kind: Erasure['kind']; id: string; at: number }>()((p) =>
    builder
      .insertInto('erasures')
      .values({ kind: p.kind, id: p.id, erased_at: p.at })
      .onConflict((conflict) => conflict.doNothing()),
  )
  const list = prepare()(() => builder.selectFrom('erasures').selectAll())
  // By the messages' ids: the tables have no index by conversation for what is settled.
  const conversation = [
    prepare<{ id: string }>()((p) =>
      builder
        .deleteFrom('inbox')
        .where('message_id', 'in', (e) => e.selectFrom('messages').select('id').where('conversation_id', '=', p.id)),
    ),
    prepare<{ id: string }>()((p) =>
      builder.deleteFrom('outbox').where('id', 'in', (e) => e.selectFrom('messages').select('id').where('conversation_id', '=', p.id)),
    ),
    prepare<{ id: string }>()((p) => builder.deleteFrom('tool_calls').where('conversation_id', '=', p.id)),
    prepare<{ id: string }>()((p) => builder.deleteFrom('messages').where('conversation_id', '=', p.id)),
    prepare<{ id: string }>()((p) => builder.deleteFrom('conversations').where('id', '=', p.id)),
  ]
  const deletions: Readonly<Record<Erasure['kind'], readonly Query<{ id: string }, unknown>[]>> = {
    conversation,
    file: [prepare<{ id: string }>()((p) => builder.deleteFrom('files').where('id', '=', p.id))],
    token: [
      prepare<{ id: string }>()((p) =>
        builder.updateTable('access_tokens').set({ revoked_at: sql`created_at` }).where('id', '=', p.id).where('revoked_at', 'is', null),
      ),
    ],
  }
  return {
    async note(transaction, { kind, id, erasedAt: at }) {
      await transaction.run(note, { kind, id, at })
    },
    async erase(transaction, { kind, id }) {
      for (const deletion of deletions[kind]) await transaction.run(deletion, { id })
    },
    async list(read) {
      return (await read.all(list, {})).map(({ kind, id, erased_at }) => ({ kind, id, erasedAt: Number(erased_at) }))
    },
  }
}
