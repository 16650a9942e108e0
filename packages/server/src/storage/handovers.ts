/** Handing over: a person answers in a conversation, and nothing of the assistant's goes out there any more. */
import type { Receipt } from '@posthouse/contract'
import { deliverySteps } from '@posthouse/contract'
import { sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { HandoverStore } from '../ports/store.ts'
import type { Conversations } from './conversations.ts'
import type { Database, Dialect } from './dialects/dialect.ts'
import { type Messages, ownMessage } from './messages.ts'
import type { Outbox } from './outbox.ts'
import { first, prepare } from './query.ts'
import { is, leadsTo } from './steps.ts'

export function createHandovers(
  { builder }: Dialect,
  database: Database,
  parts: { conversations: Conversations; messages: Messages; outbox: Outbox },
  { clock }: { clock: Clock },
): HandoverStore {
  const { conversations, messages, outbox } = parts
  /** First, which holds the conversation. A turn that is not named there can write nothing more (P7), on whatever node. */
  const hold = prepare<{ id: string; by: string; at: number }>()((p) =>
    builder
      .updateTable('conversations')
      .set({
        held_by: p.by,
        held_at: p.at,
        turn_id: null,
        turn_node: null,
        // Whoever is at work on it ends, too: it looks at this.
        stopped_before: (e) =>
          e.selectFrom('messages').select(sql<number>`coalesce(max(seq), 0) + 1`.as('seq')).where('conversation_id', '=', p.id),
      })
      .where('id', '=', p.id),
  )
  const preview = prepare<{ id: string }>()((p) =>
    builder
      .selectFrom('inbox')
      .select('draft')
      .where('conversation_id', '=', p.id)
      .where('done_at', 'is', null)
      .where('draft', 'is not', null)
      .limit(sql.lit(1)),
  )
  const leave = prepare<{ id: string; at: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: 'done', outcome: 'handed', done_at: p.at })
      .where('conversation_id', '=', p.id)
      .where('done_at', 'is', null),
  )
  /** What is on its way at this moment may arrive. */
  const doubt = prepare<{ id: string }>()((p) =>
    builder
      .updateTable('messages')
      .set({ maybe_duplicate: 1 })
      .where('id', 'in', (e) =>
        e
          .selectFrom('outbox')
          .select('id')
          .where('conversation_id', '=', p.id)
          .where('settled_at', 'is', null)
          .where('state', '=', is('sending')),
      ),
  )
  const keepBack = prepare<{ id: string; at: number }>()((p) =>
    builder
      .updateTable('outbox')
      .set({ state: 'dead', failure: 'handed', settled_at: p.at })
      .where('conversation_id', '=', p.id)
      .where('settled_at', 'is', null)
      .where(leadsTo(deliverySteps, 'dead')),
  )
  const again = prepare<{ id: string; by: string; at: number }>()((p) =>
    builder.updateTable('conversations').set({ held_by: p.by, held_at: p.at }).where('id', '=', p.id).where('held_at', 'is not', null),
  )
  const said = prepare<{ id: string; at: number }>()((p) =>
    builder.updateTable('conversations').set({ held_at: p.at }).where('id', '=', p.id).where('held_at', 'is not', null),
  )
  const giveBack = prepare<{ id: string }>()((p) =>
    builder.updateTable('conversations').set({ held_by: null, held_at: null }).where('id', '=', p.id).where('held_at', 'is not', null),
  )
  const known = prepare<{ id: string; conversation: string }>()((p) =>
    builder.selectFrom('messages').selectAll().where('id', '=', p.id).where('conversation_id', '=', p.conversation),
  )
  const list = prepare<{ limit: number }>()((p) =>
    builder.selectFrom('conversations').selectAll().where('held_at', 'is not', null).orderBy('held_at').limit(p.limit),
  )
  const inRoom = prepare<{ account: string; room: string; limit: number }>()((p) =>
    builder.selectFrom('conversations').selectAll().where('account', '=', p.account).where('room', '=', p.room).limit(p.limit),
  )

  return {
    take: (id, by) =>
      database.write(async (transaction) => {
        const at = clock.now()
        if ((await transaction.run(again, { id, by, at })) === 1) return undefined
        await transaction.run(hold, { id, by, at })
        const shown = (await first(transaction, preview, { id }))?.draft
        await transaction.run(leave, { id, at })
        await transaction.run(doubt, { id })
        await transaction.run(keepBack, { id, at })
        await conversations.revise(transaction, id)
        return shown ? (JSON.parse(shown) as Receipt) : undefined
      }, id),
    say: ({ id, account }, message, draft) =>
      database.write(async (transaction) => {
        const at = clock.now()
        // First, which holds the conversation; and the person is there still.
        await conversations.revise(transaction, id)
        const before = await first(transaction, known, { id: message.id, conversation: id })
        if (before) return messages.open(before)
        await transaction.run(said, { id, at })
        await conversations.touch(transaction, id)
        const stored = await messages.insert(transaction, ownMessage(id, message, at))
        await outbox.add(transaction, { id, account }, [{ id: message.id, begun: false, ...(draft ? { draft } : {}) }], {
          at,
          node: undefined,
        })
        return stored
      }, id),
    giveBack: (id) => database.write(async (transaction) => (await transaction.run(giveBack, { id })) === 1, id),
    list: async (limit) => (await database.read.all(list, { limit })).map(conversations.open),
    inRoom: async (account, room, limit) => (await database.read.all(inRoom, { account, room, limit })).map(conversations.open),
  }
}
