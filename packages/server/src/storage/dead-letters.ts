/** Dead letters: messages and deliveries that wait for an operator. */
import { deliverySteps, textOf } from '@posthouse/contract'
import { sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { Sealer } from '../ports/sealer.ts'
import { type DeadLetter, type DeadLetterStore, inboxSteps } from '../ports/store.ts'
import type { Database, Dialect } from './dialects/dialect.ts'
import type { Messages } from './messages.ts'
import { first, prepare } from './query.ts'
import { is } from './steps.ts'

/** Characters of a message that a list shows. */
const PREVIEW = 200

export function createDeadLetters(
  { builder, hold }: Dialect,
  database: Database,
  sealer: Sealer,
  messages: Messages,
  { clock }: { clock: Clock },
): DeadLetterStore {
  const deadMessages = prepare<{ limit: number }>()((p) =>
    builder
      .selectFrom('inbox')
      .innerJoin('messages', 'messages.id', 'inbox.message_id')
      .select(['inbox.message_id as id', 'inbox.account', 'inbox.conversation_id', 'inbox.outcome', 'inbox.done_at as at', 'messages.body'])
      .where('inbox.state', '=', is('dead'))
      .orderBy('inbox.seq', 'desc')
      .limit(p.limit),
  )
  const deadDeliveries = prepare<{ limit: number }>()((p) =>
    builder
      .selectFrom('outbox')
      .innerJoin('messages', 'messages.id', 'outbox.id')
      .select([
        'outbox.id',
        'outbox.account',
        'outbox.conversation_id',
        'outbox.failure',
        'outbox.detail',
        'outbox.settled_at as at',
        'messages.body',
      ])
      .where('outbox.state', '=', is('dead'))
      .orderBy('outbox.seq', 'desc')
      .limit(p.limit),
  )
  const counts = (['inbox', 'outbox'] as const).map((table) =>
    prepare()(() => builder.selectFrom(table).select(sql<number>`count(*)`.as('count')).where('state', '=', is('dead'))),
  )
  const conversationOf = prepare<{ id: string }>()((p) =>
    hold(
      builder
        .selectFrom('conversations')
        .select('id')
        .where('id', '=', (e) => e.selectFrom('inbox').select('conversation_id').where('message_id', '=', p.id)),
    ),
  )
  const retryMessage = prepare<{ id: string; at: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: 'pending', turn_id: null, outcome: null, attempts: 0, released_at: p.at, done_at: null })
      .where('message_id', '=', p.id)
      .where('state', '=', is('dead')),
  )
  const readable = [
    prepare<{ id: string }>()((p) => builder.updateTable('messages').set({ status: 'complete' }).where('id', '=', p.id)),
    prepare<{ id: string }>()((p) =>
      builder
        .updateTable('conversations')
        // What was stopped once is to be answered now.
        .set({ revision: sql`revision + 1`, stopped_before: 0 })
        .where('id', '=', (e) => e.selectFrom('inbox').select('conversation_id').where('message_id', '=', p.id)),
    ),
  ]
  const retryDelivery = prepare<{ id: string; at: number }>()((p) =>
    builder
      .updateTable('outbox')
      .set({ state: 'pending', attempts: 0, unknowns: 0, failure: null, next_at: p.at, released_at: p.at, settled_at: null, node: null })
      .where('id', '=', p.id)
      .where('state', '=', is('dead')),
  )
  const drops = [
    prepare<{ id: string }>()((p) =>
      builder.updateTable('inbox').set({ state: 'dropped' }).where('message_id', '=', p.id).where('state', '=', is('dead')),
    ),
    prepare<{ id: string }>()((p) =>
      builder.updateTable('outbox').set({ state: 'dropped' }).where('id', '=', p.id).where('state', '=', is('dead')),
    ),
  ]
  if (!inboxSteps.dead.includes('pending') || !deliverySteps.dead.includes('pending')) throw new Error('the state tables forbid a retry')

  return {
    async list(limit) {
      const letters: DeadLetter[] = []
      for (const row of await database.read.all(deadMessages, { limit })) {
        letters.push({
          id: row.id,
          kind: 'inbox',
          account: row.account,
          conversationId: row.conversation_id,
          reason: row.outcome ?? 'unknown',
          detail: '',
          at: Number(row.at),
          text: textOf(messages.body(row.id, row.body).parts).slice(0, PREVIEW),
        })
      }
      for (const row of await database.read.all(deadDeliveries, { limit })) {
        letters.push({
          id: row.id,
          kind: 'delivery',
          account: row.account,
          conversationId: row.conversation_id,
          reason: row.failure ?? 'unknown',
          detail: row.detail ? sealer.open(row.detail, `outbox.detail|${row.id}`).toString() : '',
          at: Number(row.at),
          text: textOf(messages.body(row.id, row.body).parts).slice(0, PREVIEW),
        })
      }
      return letters.sort((a, b) => b.at - a.at).slice(0, limit)
    },
    async count() {
      let total = 0
      for (const count of counts) total += Number((await first(database.read, count, {}))?.count ?? 0)
      return total
    },
    retry: (id) =>
      database.write(async (transaction) => {
        const at = clock.now()
        // A lane that is being claimed must not get older messages in between.
        await transaction.all(conversationOf, { id })
        if ((await transaction.run(retryMessage, { id, at })) === 0) return (await transaction.run(retryDelivery, { id, at })) > 0
        for (const update of readable) await transaction.run(update, { id })
        return true
      }),
    drop: (id) =>
      database.write(async (transaction) => {
        let dropped = 0
        for (const drop of drops) dropped += await transaction.run(drop, { id })
        return dropped > 0
      }),
  }
}
