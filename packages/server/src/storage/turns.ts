/** Turns: a lane is claimed, worked on, and ended in one commit. */
import type { Receipt } from '@posthouse/contract'
import { type Kysely, sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import { type ClaimedMessage, inboxSteps, type Outcome, StaleTurn, type Turn, type TurnStore, turnSteps } from '../ports/store.ts'
import type { Conversations } from './conversations.ts'
import type { Database } from './dialects/dialect.ts'
import { type Messages, ownMessage } from './messages.ts'
import type { Outbox } from './outbox.ts'
import { first, prepare } from './query.ts'
import type { Schema } from './schema.ts'
import { is, leadsTo } from './steps.ts'

export function createTurns(
  builder: Kysely<Schema>,
  database: Database,
  parts: { conversations: Conversations; messages: Messages; outbox: Outbox },
  { clock, newId }: { clock: Clock; newId: NewId },
): TurnStore {
  const { conversations, messages, outbox } = parts
  const pending = prepare<{ lane: string; limit: number }>()((p) =>
    builder
      .selectFrom('inbox')
      .innerJoin('messages', 'messages.id', 'inbox.message_id')
      .selectAll('messages')
      .select(['inbox.seq as place', 'inbox.kind', 'inbox.attempts', 'inbox.sent_at', 'inbox.released_at', 'inbox.draft'])
      .where('inbox.conversation_id', '=', p.lane)
      .where('inbox.done_at', 'is', null)
      .where('inbox.state', '=', is('pending'))
      .orderBy('inbox.seq')
      .limit(p.limit),
  )
  const conversation = prepare<{ id: string }>()((p) => builder.selectFrom('conversations').selectAll().where('id', '=', p.id))
  const begin = prepare<{ id: string; lane: string; node: string; at: number }>()((p) =>
    builder
      .insertInto('turns')
      .values({ id: p.id, conversation_id: p.lane, state: 'running', node: p.node, started_at: p.at })
      .onConflict((conflict) => conflict.doNothing()),
  )
  const take = prepare<{ turn: string; lane: string; upTo: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: 'claimed', turn_id: p.turn, attempts: sql`attempts + 1` })
      .where('conversation_id', '=', p.lane)
      .where('done_at', 'is', null)
      .where(leadsTo(inboxSteps, 'claimed'))
      .where('seq', '<=', p.upTo),
  )
  const end = prepare<{ id: string; node: string; at: number }>()((p) =>
    builder
      .updateTable('turns')
      .set({ state: 'done', ended_at: p.at })
      .where('id', '=', p.id)
      .where('node', '=', p.node)
      .where(leadsTo(turnSteps, 'done')),
  )
  const settle = prepare<{ turn: string; lane: string; state: 'done' | 'dead'; outcome: Outcome; at: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: p.state, outcome: p.outcome, done_at: p.at })
      .where('conversation_id', '=', p.lane)
      .where('done_at', 'is', null)
      .where('state', '=', is('claimed'))
      .where('turn_id', '=', p.turn),
  )
  const laneOf = prepare<{ id: string }>()((p) => builder.selectFrom('turns').select('conversation_id').where('id', '=', p.id))
  const giveUp = prepare<{ id: string; at: number }>()((p) =>
    builder.updateTable('turns').set({ state: 'released', ended_at: p.at }).where('id', '=', p.id).where(leadsTo(turnSteps, 'released')),
  )
  const giveBack = prepare<{ turn: string; lane: string; uncount: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: 'pending', turn_id: null, attempts: sql`attempts - ${p.uncount}` })
      .where('conversation_id', '=', p.lane)
      .where('done_at', 'is', null)
      .where('state', '=', is('claimed'))
      .where('turn_id', '=', p.turn),
  )
  const draft = prepare<{ turn: string; lane: string; draft: string }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ draft: p.draft })
      .where('conversation_id', '=', p.lane)
      .where('done_at', 'is', null)
      .where('state', '=', is('claimed'))
      .where('turn_id', '=', p.turn),
  )
  const returnOrphans = prepare()(() =>
    builder
      .updateTable('inbox')
      .set({ state: 'pending', turn_id: null })
      .where('done_at', 'is', null)
      .where('state', '=', is('claimed'))
      .where('turn_id', 'not in', (e) => e.selectFrom('turns').select('id').where('state', '=', is('running'))),
  )

  const laneOfTurn = async (turnId: string): Promise<string> => {
    const row = await first(database.read, laneOf, { id: turnId })
    if (!row) throw new StaleTurn(`there is no turn ${turnId}`)
    return row.conversation_id
  }

  return {
    claim: (lane, node, coalesce) =>
      database.write(async (transaction) => {
        const found = await transaction.all(pending, { lane, limit: coalesce + 1 })
        const head = found[0]
        const place = await first(transaction, conversation, { id: lane })
        if (!head || !place) return undefined
        // What may have broken a turn before, and what is a command, goes alone.
        const alone = head.attempts > 0 || head.kind === 'command'
        const stop = found.findIndex((row, index) => index > 0 && (alone || row.kind === 'command' || row.attempts > 0))
        const rows = found.slice(0, stop === -1 ? coalesce : stop)
        const id = newId()
        if ((await transaction.run(begin, { id, lane, node, at: clock.now() })) === 0) return undefined
        await transaction.run(take, { turn: id, lane, upTo: rows.at(-1)?.place ?? head.place })
        const claimed = rows.map(
          (row): ClaimedMessage => ({
            ...messages.open(row),
            attempts: row.attempts + 1,
            sentAt: Number(row.sent_at),
            releasedAt: row.released_at === null ? undefined : Number(row.released_at),
          }),
        )
        const turn: Turn = {
          id,
          conversation: conversations.open(place),
          messages: claimed,
          draft: head.draft ? (JSON.parse(head.draft) as Receipt) : undefined,
          more: found.length > rows.length,
        }
        return turn
      }),

    finish: (node, result) =>
      database.write(async (transaction) => {
        const at = clock.now()
        if ((await transaction.run(end, { id: result.turnId, node, at })) !== 1) {
          throw new StaleTurn(`turn ${result.turnId} is not running on node ${node}`)
        }
        const { lane } = result
        await transaction.run(settle, { turn: result.turnId, lane, state: result.inbox, outcome: result.outcome, at })
        const stored = []
        for (const message of result.messages) stored.push(await messages.insert(transaction, ownMessage(lane, message, at)))
        await outbox.add(transaction, lane, result.deliveries, at)
        await conversations.touch(transaction, lane, { title: result.title, forget: result.forget })
        return stored
      }),

    async release(turnId, counted) {
      const lane = await laneOfTurn(turnId)
      await database.write(async (transaction) => {
        if ((await transaction.run(giveUp, { id: turnId, at: clock.now() })) === 0) return
        await transaction.run(giveBack, { turn: turnId, lane, uncount: counted ? 0 : 1 })
      })
    },

    async noteDraft(turnId, receipt) {
      const lane = await laneOfTurn(turnId)
      await database.write(
        async (transaction) => void (await transaction.run(draft, { turn: turnId, lane, draft: JSON.stringify(receipt) })),
      )
    },

    recover: (liveNodes) =>
      database.write(async (transaction) => {
        const abandon = prepare<{ at: number }>()((p) => {
          const update = builder.updateTable('turns').set({ state: 'abandoned', ended_at: p.at }).where(leadsTo(turnSteps, 'abandoned'))
          return liveNodes.length > 0 ? update.where('node', 'not in', [...liveNodes]) : update
        })
        const abandoned = await transaction.run(abandon, { at: clock.now() })
        await transaction.run(returnOrphans, {})
        return abandoned
      }),
  }
}
