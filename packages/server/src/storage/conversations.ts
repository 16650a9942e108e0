/** Conversations and what was said in them. */
import { type Place, PosthouseError } from '@posthouse/contract'
import { type Kysely, type Selectable, sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { Conversation, ConversationStore } from '../ports/store.ts'
import type { Database } from './dialects/dialect.ts'
import type { Messages } from './messages.ts'
import { first, prepare, type Transaction } from './query.ts'
import type { Schema } from './schema.ts'

export type ConversationRow = Selectable<Schema['conversations']>

export interface Conversations extends ConversationStore {
  /**
   * Finds or makes the conversation of a place within a transaction. `id`: the id for a new one, chosen by a client.
   * @throws PosthouseError `not-found` when it belongs to somebody else.
   */
  ensure(
    transaction: Transaction,
    account: string,
    place: Place,
    options: { owner?: string | undefined; id?: string | undefined },
  ): Promise<string>
  /** Marks that something happened; sets the title and where the model's view begins when given. */
  touch(transaction: Transaction, id: string, change: { title?: string | undefined; forget?: boolean | undefined }): Promise<void>
  open(row: ConversationRow): Conversation
}

/** Messages read at a time when a context is gathered. */
const PAGE = 32

export function createConversations(
  builder: Kysely<Schema>,
  database: Database,
  sealer: Sealer,
  messages: Messages,
  { clock, newId }: { clock: Clock; newId: NewId },
): Conversations {
  const rows = builder.selectFrom('conversations').selectAll()
  const byId = prepare<{ id: string }>()((p) => rows.where('id', '=', p.id))
  const byKey = prepare<{ account: string; room: string; thread: string }>()((p) =>
    builder
      .selectFrom('conversations')
      .select(['id', 'owner'])
      .where('account', '=', p.account)
      .where('room', '=', p.room)
      .where('thread', '=', p.thread),
  )
  const insert = prepare<{
    id: string
    account: string
    room: string
    thread: string
    type: Place['type']
    owner: string | null
    title: Uint8Array | null
    at: number
  }>()((p) =>
    builder.insertInto('conversations').values({
      id: p.id,
      account: p.account,
      room: p.room,
      thread: p.thread,
      type: p.type,
      owner: p.owner,
      title: p.title,
      context_from: 0,
      created_at: p.at,
      updated_at: p.at,
    }),
  )
  const touch = prepare<{ id: string; at: number }>()((p) =>
    builder.updateTable('conversations').set({ updated_at: p.at }).where('id', '=', p.id),
  )
  const setTitle = prepare<{ id: string; title: Uint8Array }>()((p) =>
    builder.updateTable('conversations').set({ title: p.title }).where('id', '=', p.id),
  )
  const forget = prepare<{ id: string }>()((p) =>
    builder
      .updateTable('conversations')
      .set({
        context_from: (e) =>
          e.selectFrom('messages').select(sql<number>`coalesce(max(seq), 0)`.as('seq')).where('conversation_id', '=', p.id),
      })
      .where('id', '=', p.id),
  )
  const list = prepare<{ owner: string; account: string; before: number; limit: number }>()((p) =>
    rows
      .where('owner', '=', p.owner)
      .where('account', '=', p.account)
      .where('updated_at', '<', p.before)
      .orderBy('updated_at', 'desc')
      .limit(p.limit),
  )
  const page = prepare<{ id: string; after: number; before: number; limit: number }>()((p) =>
    builder
      .selectFrom('messages')
      .selectAll()
      .where('conversation_id', '=', p.id)
      .where('seq', '>', p.after)
      .where('seq', '<', p.before)
      .orderBy('seq', 'desc')
      .limit(p.limit),
  )
  // An answer that was committed after a later question came in belongs before that question.
  const visible = prepare<{ id: string; after: number; before: number; below: number; limit: number }>()((p) =>
    builder
      .selectFrom('messages')
      .selectAll()
      .where('conversation_id', '=', p.id)
      .where('seq', '>', p.after)
      .where('seq', '<', p.below)
      .where((e) => e.or([e('seq', '<', p.before), e('role', '!=', sql.lit('user'))]))
      .where('replaced_by', 'is', null)
      .orderBy('seq', 'desc')
      .limit(p.limit),
  )
  const message = prepare<{ id: string }>()((p) => builder.selectFrom('messages').selectAll().where('id', '=', p.id))
  const removals = (['messages', 'inbox', 'outbox', 'turns'] as const).map((table) =>
    prepare<{ id: string }>()((p) => builder.deleteFrom(table).where('conversation_id', '=', p.id)),
  )
  const remove = prepare<{ id: string }>()((p) => builder.deleteFrom('conversations').where('id', '=', p.id))
  const sealTitle = (id: string, title: string) => sealer.seal(title, `conversations.title|${id}`)

  const open = (row: ConversationRow): Conversation => ({
    id: row.id,
    account: row.account,
    place: { room: row.room, type: row.type, ...(row.thread ? { thread: row.thread } : {}) },
    owner: row.owner ?? undefined,
    title: row.title ? sealer.open(row.title, `conversations.title|${row.id}`).toString() : '',
    createdAt: Number(row.created_at),
    updatedAt: Number(row.updated_at),
    contextFrom: Number(row.context_from),
  })

  const ensure: Conversations['ensure'] = async (transaction, account, place, options) => {
    const key = { account, room: place.room, thread: place.thread ?? '' }
    const found = await first(transaction, byKey, key)
    if (found && (found.owner ?? undefined) !== options.owner) throw new PosthouseError('not-found')
    if (found) return found.id
    const id = options.id ?? newId()
    const title = place.title ? sealTitle(id, place.title) : null
    await transaction.run(insert, { ...key, id, type: place.type, owner: options.owner ?? null, title, at: clock.now() })
    return id
  }

  const findIn = async (transaction: Transaction, id: string) => {
    const row = await first(transaction, byId, { id })
    return row && open(row)
  }

  return {
    ensure,
    open,
    async touch(transaction, id, change) {
      await transaction.run(touch, { id, at: clock.now() })
      if (change.title !== undefined) await transaction.run(setTitle, { id, title: sealTitle(id, change.title) })
      if (change.forget) await transaction.run(forget, { id })
    },
    find: (id) => findIn(database.read, id),
    async list(owner, account, limit, before = Number.MAX_SAFE_INTEGER) {
      return (await database.read.all(list, { owner, account, before, limit })).map(open)
    },
    rename: (id, title) =>
      database.write(async (transaction) => void (await transaction.run(setTitle, { id, title: sealTitle(id, title) }))),
    remove: (id) =>
      database.write(async (transaction) => {
        for (const removal of removals) await transaction.run(removal, { id })
        await transaction.run(remove, { id })
      }),
    forget: (id) => database.write(async (transaction) => void (await transaction.run(forget, { id }))),
    async messages(id, { after = 0, before = Number.MAX_SAFE_INTEGER }, limit) {
      const found = await database.read.all(page, { id, after, before, limit })
      return found.reverse().map(messages.open)
    },
    async message(id) {
      const row = await first(database.read, message, { id })
      return row && messages.open(row)
    },
    rewrite: ({ id, body }, parts) => database.write((transaction) => messages.rewrite(transaction, id, { ...body, parts })),
    async context(conversation, before, take) {
      let below = Number.MAX_SAFE_INTEGER
      for (;;) {
        const found = await database.read.all(visible, { id: conversation.id, after: conversation.contextFrom, before, below, limit: PAGE })
        for (const row of found) {
          if (!take(messages.open(row))) return
          below = Number(row.seq)
        }
        if (found.length < PAGE) return
      }
    },
    at: (account, place, owner) =>
      database.write(async (transaction) => {
        const found = await findIn(transaction, await ensure(transaction, account, place, { owner }))
        if (!found) throw new Error('a conversation vanished within its own transaction')
        return found
      }),
  }
}
