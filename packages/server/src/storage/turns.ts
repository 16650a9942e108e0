/**
 * Turns: a lane is claimed, worked on, and ended in one commit. Which turn runs in a lane stands in its conversation's row, so there cannot be a
 * second one (P4); every write of a turn names itself and its node there, so a turn that was taken away cannot write any more (P7).
 */
import type { Priority, Receipt } from '@posthouse/contract'
import { type Kysely, sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import { type ClaimedMessage, inboxSteps, type Outcome, StaleTurn, type Turn, type TurnStore } from '../ports/store.ts'
import type { Conversations } from './conversations.ts'
import type { Database } from './dialects/dialect.ts'
import { type Messages, ownMessage } from './messages.ts'
import type { Outbox } from './outbox.ts'
import { first, prepare, statement, type Transaction, together } from './query.ts'
import type { Schema } from './schema.ts'
import { is, isOver, leadsTo } from './steps.ts'

/** Messages that one turn may take, whatever is asked for. */
const MOST = 20

/** Outcomes of messages that the model must not see with a later one either. */
const WITHHELD: ReadonlySet<Outcome> = new Set(['refused', 'quarantined'])

export function createTurns(
  builder: Kysely<Schema>,
  database: Database,
  parts: { conversations: Conversations; messages: Messages; outbox: Outbox },
  { clock, newId }: { clock: Clock; newId: NewId },
): TurnStore {
  const { conversations, messages, outbox } = parts
  // A literal limit: SQLite prepares a statement anew whenever a bound one changes hands.
  const pending = prepare<{ lane: string }>()((p) =>
    builder
      .selectFrom('inbox')
      .innerJoin('messages', 'messages.id', 'inbox.message_id')
      .selectAll('messages')
      .select(['inbox.seq as place', 'inbox.kind', 'inbox.priority', 'inbox.attempts', 'inbox.sent_at', 'inbox.released_at', 'inbox.draft'])
      .where('inbox.conversation_id', '=', p.lane)
      .where('inbox.done_at', 'is', null)
      .where('inbox.state', '=', is('pending'))
      .orderBy('inbox.seq')
      .limit(sql.lit(MOST + 1)),
  )
  const begin = prepare<{ id: string; lane: string; node: string }>()((p) =>
    builder
      .updateTable('conversations')
      .set({ turn_id: p.id, turn_node: p.node })
      .where('id', '=', p.lane)
      .where('turn_id', 'is', null)
      .where((e) =>
        e.exists(
          e
            .selectFrom('inbox')
            .select('seq')
            .where('conversation_id', '=', p.lane)
            .where('done_at', 'is', null)
            .where('state', '=', is('pending')),
        ),
      )
      .returningAll(),
  )
  /** As if it had not begun. */
  const unbegin = prepare<{ id: string; lane: string }>()((p) =>
    builder.updateTable('conversations').set({ turn_id: null, turn_node: null }).where('id', '=', p.lane).where('turn_id', '=', p.id),
  )
  const end = prepare<{ id: string; lane: string; node: string; at: number }>()((p) =>
    builder
      .updateTable('conversations')
      .set({ turn_id: null, turn_node: null, updated_at: p.at, last_turn: p.id })
      .where('id', '=', p.lane)
      .where('turn_id', '=', p.id)
      .where('turn_node', '=', p.node),
  )
  /** The lane's open inbox rows of one turn. */
  const claimedBy = (turn: string, lane: string) =>
    builder
      .updateTable('inbox')
      .where('conversation_id', '=', lane)
      .where('done_at', 'is', null)
      .where('state', '=', is('claimed'))
      .where('turn_id', '=', turn)
  const take = prepare<{ turn: string; lane: string; upTo: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: 'claimed', turn_id: p.turn, attempts: sql`attempts + 1` })
      .where('conversation_id', '=', p.lane)
      .where('done_at', 'is', null)
      .where(leadsTo(inboxSteps, 'claimed'))
      .where('seq', '<=', p.upTo),
  )
  const settle = prepare<{ turn: string; lane: string; state: 'done' | 'dead'; outcome: Outcome; at: number }>()((p) =>
    claimedBy(p.turn, p.lane).set({ state: p.state, outcome: p.outcome, done_at: p.at }),
  )
  /** While the rows are open: what is open is found by its own small index. */
  const withhold = prepare<{ turn: string; lane: string }>()((p) =>
    builder
      .updateTable('messages')
      .set({ status: 'failed' })
      .where('id', 'in', (e) =>
        e
          .selectFrom('inbox')
          .select('message_id')
          .where('conversation_id', '=', p.lane)
          .where('done_at', 'is', null)
          .where('turn_id', '=', p.turn),
      ),
  )
  const giveBack = prepare<{ turn: string; lane: string; uncount: number }>()((p) =>
    claimedBy(p.turn, p.lane).set({ state: 'pending', turn_id: null, attempts: sql`attempts - ${p.uncount}` }),
  )
  const draft = prepare<{ turn: string; lane: string; draft: string }>()((p) => claimedBy(p.turn, p.lane).set({ draft: p.draft }))
  const running = prepare()(() =>
    builder
      .selectFrom('inbox')
      .select((e) => e.fn.count<number>('conversation_id').distinct().as('count'))
      .where('done_at', 'is', null)
      .where('state', '=', is('claimed')),
  )
  const abandoned = prepare()(() =>
    builder
      .selectFrom('inbox')
      .innerJoin('conversations', 'conversations.id', 'inbox.conversation_id')
      .select(['conversations.id as lane', 'conversations.turn_id as turn'])
      .distinct()
      .where('inbox.done_at', 'is', null)
      .where('inbox.state', '=', is('claimed'))
      .where(isOver(builder, 'conversations.turn_node')),
  )
  const abandon = prepare<{ lane: string; turn: string }>()((p) =>
    builder
      .updateTable('conversations')
      .set({ turn_id: null, turn_node: null })
      .where('id', '=', p.lane)
      .where('turn_id', '=', p.turn)
      .where(isOver(builder, 'conversations.turn_node')),
  )

  const claimed = prepare<{ lane: string }>()((p) =>
    builder
      .selectFrom('inbox')
      .innerJoin('messages', 'messages.id', 'inbox.message_id')
      .select(sql<number | null>`max(messages.seq)`.as('seq'))
      .where('inbox.conversation_id', '=', p.lane)
      .where('inbox.done_at', 'is', null)
      .where('inbox.state', '=', is('claimed')),
  )

  /** Turns at work here. */
  const working = new Map<string, Turn>()

  const claimIn = async (transaction: Transaction, lane: string, node: string, coalesce: number): Promise<Turn | undefined> => {
    const id = newId()
    // First, which holds the conversation: what is read after it is not another's any more.
    const [place, found] = await together(
      () => first(transaction, begin, { id, lane, node }),
      () => transaction.all(pending, { lane }),
    )
    if (!place) return undefined
    const head = found[0]
    if (!head) {
      await transaction.run(unbegin, { id, lane })
      return undefined
    }
    // What may have broken a turn before, and what is a command, goes alone.
    const alone = head.attempts > 0 || head.kind === 'command'
    // So does what another person wrote: who may, and who may not, never share an outcome.
    const author = messages.open(head).body.author?.id
    const apart = (row: typeof head) => row.kind === 'command' || row.attempts > 0 || messages.open(row).body.author?.id !== author
    const stop = found.findIndex((row, index) => index > 0 && (alone || apart(row)))
    const rows = found.slice(0, Math.min(coalesce, MOST, stop === -1 ? MOST : stop))
    const taken = await transaction.run(take, { turn: id, lane, upTo: rows.at(-1)?.place ?? head.place })
    if (taken !== rows.length) throw new Error(`a claim of ${rows.length} messages took ${taken}`)
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
      priority: Math.min(...found.map(({ priority }) => priority)) as Priority,
      draft: head.draft ? (JSON.parse(head.draft) as Receipt) : undefined,
      more: found.length > rows.length,
    }
    return turn
  }

  return {
    async claim(lane, node, coalesce) {
      const turn = await database.write((transaction) => claimIn(transaction, lane, node, coalesce), lane)
      if (turn) working.set(turn.id, turn)
      return turn
    },

    async finish(node, { turnId, lane, ...result }) {
      const turn = working.get(turnId)
      working.delete(turnId)
      const stored = await database.write(async (transaction) => {
        const at = clock.now()
        const failed = WITHHELD.has(result.outcome)
        // What is not this turn's any more is taken back with all of it.
        const [ended, said, waits] = await together(
          () => transaction.run(end, { id: turnId, lane, node, at }),
          () => together(...result.messages.map((message) => () => messages.insert(transaction, ownMessage(lane, message, at)))),
          () => outbox.add(transaction, { id: lane, account: result.account }, result.deliveries, { at, node }),
          () => failed && transaction.run(withhold, { turn: turnId, lane }),
          () => failed && conversations.revise(transaction, lane),
          () => transaction.run(settle, { turn: turnId, lane, state: result.inbox, outcome: result.outcome, at }),
          () => result.forget && conversations.forgetIn(transaction, lane),
        )
        if (ended !== 1) throw new StaleTurn(`turn ${turnId} is not running on node ${node}`)
        return { messages: said, waits }
      }, lane)
      if (turn) conversations.remember(turn, stored.messages)
      return stored
    },

    async release(node, { id, conversation: { id: lane } }, counted) {
      working.delete(id)
      await database.write(async (transaction) => {
        if ((await transaction.run(end, { id, lane, node, at: clock.now() })) === 0) return
        await transaction.run(giveBack, { turn: id, lane, uncount: counted ? 0 : 1 })
      }, lane)
    },

    stop: (lane) =>
      database.write(async (transaction) => {
        const seq = (await first(transaction, claimed, { lane }))?.seq
        if (seq) await conversations.stopBefore(transaction, lane, Number(seq) + 1)
      }, lane),

    async stopped(lanes) {
      const stopped = builder
        .selectFrom('conversations')
        .select(['id', 'stopped_before'])
        .where('id', 'in', [...lanes])
        .where('stopped_before', '>', 0)
      const rows = lanes.length === 0 ? [] : await database.read.all(statement(stopped), {})
      return new Map(rows.map(({ id, stopped_before }) => [id, Number(stopped_before)]))
    },

    noteDraft: ({ id, conversation: { id: lane } }, receipt) =>
      database.write(async (transaction) => void (await transaction.run(draft, { turn: id, lane, draft: JSON.stringify(receipt) })), lane),

    running: async () => Number((await first(database.read, running, {}))?.count ?? 0),
    async recover() {
      let given = 0
      for (const { lane, turn } of await database.read.all(abandoned, {})) {
        if (turn === null) continue
        // One by one: whoever is just writing there holds none of the others.
        const back = database.write(async (transaction) => {
          if ((await transaction.run(abandon, { lane, turn })) === 0) return 0
          await transaction.run(giveBack, { turn, lane, uncount: 0 })
          return 1
        }, lane)
        given += await back
      }
      return given
    },
  }
}
