/** The outbox: what was promised, how far each delivery came, and what came of it. */
import { deliverySteps, type Part, type Receipt, textOf } from '@posthouse/contract'
import { sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { Sealer } from '../ports/sealer.ts'
import { type Conversation, type Delivery, type NewDelivery, type OutboxStore, StaleDelivery } from '../ports/store.ts'
import type { Conversations } from './conversations.ts'
import type { Database, Dialect } from './dialects/dialect.ts'
import { type Messages, ownMessage } from './messages.ts'
import { after, first, prepare, type Transaction, together } from './query.ts'
import { is, isOver, leadsTo } from './steps.ts'

export interface Outbox extends OutboxStore {
  /** Behind what is not settled yet; answers whether any was not begun. The conversation's row must be held. */
  add(
    transaction: Transaction,
    conversation: Pick<Conversation, 'id' | 'account'>,
    deliveries: readonly NewDelivery[],
    by: { at: number; node: string | undefined },
  ): boolean | Promise<boolean>
}

/** Characters of a platform's error text that are kept. */
const DETAIL = 2000
/** Characters of a message that a list shows. */
const PREVIEW = 200
/** How many messages back one of ours is looked for. */
const OURS_REACH = 400

export function createOutbox(
  { builder, hold }: Dialect,
  database: Database,
  sealer: Sealer,
  parts: { conversations: Conversations; messages: Messages },
  { clock }: { clock: Clock },
): Outbox {
  const { conversations, messages } = parts
  /** In one statement with the look at what is not settled: it goes to whoever sends that, and is begun only where there is none. */
  const insert = prepare<{
    id: string
    account: string
    conversation: string
    node: string | null
    replyTo: string | null
    draft: string | null
    begun: number
    at: number
  }>()((p) => {
    const now = sql`ahead.count = 0 and cast(${p.begun} as integer) = 1`
    return builder
      .insertInto('outbox')
      .columns([
        ...(['id', 'account', 'conversation_id', 'node', 'reply_to', 'draft', 'state', 'confirmed', 'attempts', 'unknowns'] as const),
        ...(['receipts', 'next_at', 'attempted_at', 'created_at'] as const),
      ])
      .expression((e) =>
        e
          .selectFrom(
            e
              .selectFrom('outbox')
              .select([sql<string | null>`max(node)`.as('node'), sql<number>`count(*)`.as('count')])
              .where('conversation_id', '=', p.conversation)
              .where('settled_at', 'is', null)
              .as('ahead'),
          )
          .select([
            sql<string>`cast(${p.id} as text)`.as('id'),
            sql<string>`cast(${p.account} as text)`.as('account'),
            sql<string>`cast(${p.conversation} as text)`.as('conversation_id'),
            sql<string | null>`coalesce(ahead.node, ${p.node})`.as('node'),
            sql<string | null>`cast(${p.replyTo} as text)`.as('reply_to'),
            sql<string | null>`cast(${p.draft} as text)`.as('draft'),
            sql<'sending' | 'pending'>`case when ${now} then 'sending' else 'pending' end`.as('state'),
            sql<number>`0`.as('confirmed'),
            sql<number>`case when ${now} then 1 else 0 end`.as('attempts'),
            sql<number>`0`.as('unknowns'),
            sql<string>`'[]'`.as('receipts'),
            sql<number>`cast(${p.at} as bigint)`.as('next_at'),
            sql<number | null>`case when ${now} then cast(${p.at} as bigint) end`.as('attempted_at'),
            sql<number>`cast(${p.at} as bigint)`.as('created_at'),
          ]),
      )
      .returning('state')
  })
  const begin = prepare<{ id: string; node: string; at: number }>()((p) =>
    builder
      .updateTable('outbox')
      .set({ state: 'sending', attempts: sql`attempts + 1`, attempted_at: p.at })
      .where('id', '=', p.id)
      .where('node', '=', p.node)
      .where(leadsTo(deliverySteps, 'sending')),
  )
  // A confirmed piece: the next one begins its own attempts.
  const confirm = prepare<{ id: string; node: string; receipt: string; state: 'sending' | 'sent'; at: number | null }>()((p) =>
    builder
      .updateTable('outbox')
      .set({
        state: p.state,
        confirmed: sql`confirmed + 1`,
        attempts: 0,
        unknowns: 0,
        failure: null,
        receipts: sql`substr(receipts, 1, length(receipts) - 1) || case receipts when '[]' then '' else ',' end || ${p.receipt} || ']'`,
        settled_at: p.at,
      })
      .where('id', '=', p.id)
      .where('node', '=', p.node)
      .where(leadsTo(deliverySteps, 'sent')),
  )
  const retry = prepare<{ id: string; node: string; failure: string; unknown: number; detail: Uint8Array; nextAt: number }>()((p) =>
    builder
      .updateTable('outbox')
      .set({ state: 'pending', failure: p.failure, unknowns: sql`unknowns + ${p.unknown}`, detail: p.detail, next_at: p.nextAt })
      .where('id', '=', p.id)
      .where('node', '=', p.node)
      .where('state', '=', is('sending')),
  )
  const markMaybe = prepare<{ id: string }>()((p) => builder.updateTable('messages').set({ maybe_duplicate: 1 }).where('id', '=', p.id))
  const bury = prepare<{ id: string; node: string; failure: string; detail: Uint8Array; at: number }>()((p) =>
    builder
      .updateTable('outbox')
      .set({ state: 'dead', failure: p.failure, detail: p.detail, settled_at: p.at })
      .where('id', '=', p.id)
      .where('node', '=', p.node)
      .where(leadsTo(deliverySteps, 'dead')),
  )
  const due = prepare<{ node: string; now: number; after: number; limit: number }>()((p) =>
    builder
      .selectFrom('outbox')
      .select(['id', 'seq', 'conversation_id', 'account'])
      .where('settled_at', 'is', null)
      .where('next_at', '<=', p.now)
      .where('seq', '>', p.after)
      .where((e) => e.or([e('node', '=', p.node), isOver(builder, 'outbox.node')]))
      .orderBy('seq')
      .limit(p.limit),
  )
  const held = prepare<{ conversation: string }>()((p) =>
    hold(builder.selectFrom('conversations').select('id').where('id', '=', p.conversation)),
  )
  const inherit = prepare<{ conversation: string; node: string }>()((p) =>
    builder
      .updateTable('outbox')
      .set({ node: p.node })
      .where('conversation_id', '=', p.conversation)
      .where('settled_at', 'is', null)
      .where((e) => e.or([e('node', 'is', null), e('node', '!=', p.node)]))
      .where((e) =>
        e.not(
          e.exists(
            e
              .selectFrom('outbox as other')
              .innerJoin('nodes', 'nodes.id', 'other.node')
              .select('other.seq')
              .where('other.conversation_id', '=', p.conversation)
              .where('other.settled_at', 'is', null)
              .where('other.node', '!=', p.node),
          ),
        ),
      ),
  )
  const release = prepare<{ conversation: string; node: string }>()((p) =>
    builder
      .updateTable('outbox')
      .set({ node: null })
      .where('conversation_id', '=', p.conversation)
      .where('settled_at', 'is', null)
      .where('node', '=', p.node),
  )
  const unsettled = prepare<{ conversation: string; node: string }>()((p) =>
    builder
      .selectFrom('outbox')
      .innerJoin('messages', 'messages.id', 'outbox.id')
      .innerJoin('conversations', 'conversations.id', 'outbox.conversation_id')
      .select([
        'outbox.id',
        'outbox.seq',
        'outbox.account',
        'outbox.conversation_id',
        'outbox.node',
        'outbox.reply_to',
        'outbox.draft',
        'outbox.state',
        'outbox.confirmed',
        'outbox.attempts',
        'outbox.unknowns',
        'outbox.next_at',
        'outbox.created_at',
        'outbox.released_at',
        'conversations.room',
        'conversations.thread',
        'conversations.type',
        'conversations.title',
        'messages.body',
        'messages.status',
      ])
      .where('outbox.conversation_id', '=', p.conversation)
      .where('outbox.settled_at', 'is', null)
      .where('outbox.node', '=', p.node)
      .orderBy('outbox.seq'),
  )
  const ahead = prepare<{ conversation: string }>()((p) =>
    builder
      .selectFrom('outbox')
      .select('seq')
      .where('conversation_id', '=', p.conversation)
      .where('settled_at', 'is', null)
      .limit(sql.lit(1)),
  )
  const sent = prepare<{ account: string; room: string; thread: string }>()((p) =>
    builder
      .selectFrom((e) =>
        e
          .selectFrom('messages')
          .select(['id', 'role'])
          .where('conversation_id', '=', (f) =>
            f
              .selectFrom('conversations')
              .select('id')
              .where('account', '=', p.account)
              .where('room', '=', p.room)
              .where('thread', '=', p.thread),
          )
          .orderBy('seq', 'desc')
          .limit(sql.lit(OURS_REACH))
          .as('newest'),
      )
      .innerJoin('outbox', 'outbox.id', 'newest.id')
      .select(['outbox.receipts', 'outbox.draft'])
      .where('newest.role', '!=', sql.lit('user')),
  )
  const backlog = prepare()(() =>
    builder
      .selectFrom('outbox')
      .select([sql<number>`count(*)`.as('count'), sql<number | null>`min(created_at)`.as('oldest')])
      .where('settled_at', 'is', null),
  )
  const maybe = prepare()(() =>
    builder.selectFrom('messages').select(sql<number>`count(*)`.as('count')).where('maybe_duplicate', '=', sql.lit(1)),
  )
  const maybeList = prepare<{ limit: number }>()((p) =>
    builder
      .selectFrom('messages')
      .innerJoin('conversations', 'conversations.id', 'messages.conversation_id')
      .select([
        'messages.id',
        'messages.body',
        'messages.created_at as at',
        'conversations.id as conversation',
        'conversations.account',
        'conversations.room',
      ])
      .where('messages.maybe_duplicate', '=', sql.lit(1))
      .orderBy('messages.seq', 'desc')
      .limit(p.limit),
  )
  const sealDetail = (id: string, detail: string) => sealer.seal(detail.slice(0, DETAIL), `outbox.detail|${id}`)

  const add: Outbox['add'] = (transaction, { id: conversation, account }, deliveries, { at, node }) => {
    const inserted = together(
      ...deliveries.map(
        (delivery) => () =>
          first(transaction, insert, {
            id: delivery.id,
            account,
            conversation,
            node: node ?? null,
            replyTo: delivery.replyTo ?? null,
            draft: delivery.draft ? JSON.stringify(delivery.draft) : null,
            begun: delivery.begun ? 1 : 0,
            at,
          }),
      ),
    )
    return after(inserted, (rows) => rows.some((row) => row?.state !== 'sending'))
  }

  /** One row, or it is not ours any more. */
  const demand = (id: string, changed: number) => {
    if (changed !== 1) throw new StaleDelivery(`the delivery ${id} is settled, or sent by another node`)
  }

  return {
    add,
    async due(node, now, after, limit) {
      const rows = await database.read.all(due, { node, now, after, limit })
      return rows.map(({ id, seq, conversation_id: conversationId, account }) => ({ id, seq: Number(seq), conversationId, account }))
    },
    adopt: (node, conversation) =>
      database.write(async (transaction) => {
        await transaction.all(held, { conversation })
        await transaction.run(inherit, { conversation, node })
        const rows = await transaction.all(unsettled, { conversation, node })
        return rows.map((row): Delivery => {
          const body = messages.body(row.id, row.body)
          return {
            id: row.id,
            seq: Number(row.seq),
            account: row.account,
            conversationId: row.conversation_id,
            place: conversations.placeOf({ ...row, id: row.conversation_id }),
            text: textOf(body.parts),
            files: body.parts.flatMap((part) => (part.type === 'file' ? [part.file] : [])),
            ...eventIn(body.parts),
            stopped: row.status === 'stopped',
            replyTo: row.reply_to ?? undefined,
            draft: row.draft ? (JSON.parse(row.draft) as Receipt) : undefined,
            state: row.state,
            confirmed: row.confirmed,
            attempts: row.attempts,
            unknowns: row.unknowns,
            nextAt: Number(row.next_at),
            createdAt: Number(row.created_at),
            releasedAt: row.released_at === null ? undefined : Number(row.released_at),
            node,
          }
        })
      }, conversation),
    release: (node, conversation) =>
      database.write(async (transaction) => void (await transaction.run(release, { node, conversation })), conversation),
    begin: (node, id) => database.write(async (transaction) => demand(id, await transaction.run(begin, { id, node, at: clock.now() })), id),
    confirm: (node, id, receipt, last) =>
      database.write(async (transaction) => {
        const changed = await transaction.run(confirm, {
          id,
          node,
          receipt: JSON.stringify(receipt),
          state: last ? 'sent' : 'sending',
          at: last ? clock.now() : null,
        })
        demand(id, changed)
      }, id),
    retry: (node, id, { failure, detail, nextAt, ambiguous }) =>
      database.write(async (transaction) => {
        const unknown = ambiguous ? 1 : 0
        demand(id, await transaction.run(retry, { id, node, failure, unknown, detail: sealDetail(id, detail), nextAt }))
        if (ambiguous) await transaction.run(markMaybe, { id })
      }, id),
    bury: (node, id, reason, detail) =>
      database.write(async (transaction) => {
        demand(id, await transaction.run(bury, { id, node, failure: reason, detail: sealDetail(id, detail), at: clock.now() }))
        if (reason === 'unknown') await transaction.run(markMaybe, { id })
      }, id),
    async isOurs(account, { room, thread = '' }, platformId) {
      // Behind a `/` stands what is the channel's own.
      const names = ({ id }: Receipt) => id === platformId || id.startsWith(`${platformId}/`)
      for (const where of new Set([thread, ''])) {
        const rows = await database.read.all(sent, { account, room, thread: where })
        const receipts = rows.flatMap((row) => [row.receipts, `[${row.draft ?? ''}]`].flatMap((list) => JSON.parse(list) as Receipt[]))
        if (receipts.some(names)) return true
      }
      return false
    },
    isSettled: async (conversation) => (await first(database.read, ahead, { conversation })) === undefined,
    async backlog() {
      const row = await first(database.read, backlog, {})
      return { count: Number(row?.count ?? 0), oldest: row?.oldest === null || row?.oldest === undefined ? undefined : Number(row.oldest) }
    },
    maybeDuplicates: async () => Number((await first(database.read, maybe, {}))?.count ?? 0),
    async listMaybeDuplicates(limit) {
      const rows = await database.read.all(maybeList, { limit })
      return rows.map(({ id, account, conversation, room, at, body }) => ({
        id,
        account,
        conversationId: conversation,
        room,
        at: Number(at),
        text: textOf(messages.body(id, body).parts).slice(0, PREVIEW),
      }))
    },
    stage: ({ id: conversationId, account }, message, delivery) =>
      database.write(async (transaction) => {
        const at = clock.now()
        // First, which holds the conversation: see `ensure`.
        await conversations.revise(transaction, conversationId)
        await conversations.touch(transaction, conversationId)
        const stored = await messages.insert(transaction, ownMessage(conversationId, message, at))
        // Whoever sends what is before it, else the first that looks.
        await add(transaction, { id: conversationId, account }, delivery ? [delivery] : [], { at, node: undefined })
        return stored
      }, conversationId),
  }
}

function eventIn(parts: readonly Part[]): Pick<Delivery, 'event'> {
  const event = parts.find((part) => part.type === 'event')
  return event ? { event } : {}
}
