/** Conversations and what was said in them. */
import { type Place, PosthouseError } from '@posthouse/contract'
import { type Selectable, sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { Conversation, ConversationStore, StoredMessage, Turn } from '../ports/store.ts'
import type { Database, Dialect } from './dialects/dialect.ts'
import { createErasures } from './erasures.ts'
import type { Messages } from './messages.ts'
import { after, first, prepare, type Transaction } from './query.ts'
import { createRecent } from './recent.ts'
import type { Schema } from './schema.ts'

export type ConversationRow = Selectable<Schema['conversations']>

export interface Conversations extends ConversationStore {
  /**
   * Finds or makes the conversation of a place within a transaction, and holds it until its end: whoever writes to a conversation holds its row
   * first, so that the order of its `seq` is the order of the commits, and a reader that has seen one has seen all before it. `id`: the id for
   * a new one, chosen by a client. Answers its title as it is kept, sealed.
   * @throws PosthouseError `not-found` when it belongs to somebody else.
   */
  ensure(
    transaction: Transaction,
    account: string,
    place: Place,
    options: { owner?: string | undefined; id?: string | undefined },
  ): Promise<Pick<ConversationRow, 'id' | 'title'>>
  /** The place is called like this now. The owner of a conversation names it herself. */
  call(transaction: Transaction, conversation: Pick<ConversationRow, 'id' | 'title'>, title: string): Promise<void>
  /** Marks that something happened. */
  touch(transaction: Transaction, id: string): Promise<void>
  /** The model forgets what came before now. */
  forgetIn(transaction: Transaction, id: string): Promise<void>
  /** A message that was there already changed, or something was said beside a turn: what is kept is void. */
  revise(transaction: Transaction, id: string): Promise<void>
  /** What was asked before this `seq` is not answered any more. */
  stopBefore(transaction: Transaction, id: string, seq: number): Promise<void>
  /** A turn ended: what it claimed and said is known without reading. To be called after the commit. */
  remember({ id, conversation, messages }: Pick<Turn, 'id' | 'conversation' | 'messages'>, said: readonly StoredMessage[]): void
  open(row: ConversationRow): Conversation
  /** Where an answer goes, with what the place is called. */
  placeOf(row: Pick<ConversationRow, 'id' | 'room' | 'type' | 'title'> & { readonly thread?: string }): Place
}

/** Messages read at a time when a context is gathered, and kept in memory for each of the conversations talked in last. */
const PAGE = 32
const KEPT = 48
/** Characters that all kept contexts together may have. */
const KEPT_SIZE = 24_000_000

export function createConversations(
  { builder, hold }: Dialect,
  database: Database,
  sealer: Sealer,
  messages: Messages,
  { clock, newId }: { clock: Clock; newId: NewId },
): Conversations {
  const rows = builder.selectFrom('conversations').selectAll()
  const byId = prepare<{ id: string }>()((p) => rows.where('id', '=', p.id))
  const byKey = prepare<{ account: string; room: string; thread: string }>()((p) =>
    hold(
      builder
        .selectFrom('conversations')
        .select(['id', 'owner', 'title'])
        .where('account', '=', p.account)
        .where('room', '=', p.room)
        .where('thread', '=', p.thread),
    ),
  )
  const held = prepare<{ id: string }>()((p) => hold(builder.selectFrom('conversations').select('id').where('id', '=', p.id)))
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
    builder
      .insertInto('conversations')
      .values({
        id: p.id,
        account: p.account,
        room: p.room,
        thread: p.thread,
        type: p.type,
        owner: p.owner,
        title: p.title,
        context_from: 0,
        revision: 0,
        created_at: p.at,
        updated_at: p.at,
      })
      .onConflict((conflict) => conflict.doNothing()),
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
  const stopBefore = prepare<{ id: string; seq: number }>()((p) =>
    builder.updateTable('conversations').set({ stopped_before: p.seq }).where('id', '=', p.id).where('stopped_before', '<', p.seq),
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
  // A literal limit: SQLite prepares a statement anew whenever a bound one changes hands.
  const visible = prepare<{ id: string; after: number; before: number }>()((p) =>
    builder
      .selectFrom('messages')
      .selectAll()
      .where('conversation_id', '=', p.id)
      .where('seq', '>', p.after)
      .where('seq', '<', p.before)
      .where('replaced_by', 'is', null)
      .orderBy('seq', 'desc')
      .limit(sql.lit(PAGE)),
  )
  const revise = prepare<{ id: string }>()((p) =>
    builder.updateTable('conversations').set({ revision: sql`revision + 1` }).where('id', '=', p.id),
  )
  const message = prepare<{ id: string }>()((p) => builder.selectFrom('messages').selectAll().where('id', '=', p.id))
  const erasures = createErasures(builder)
  const recent = createRecent(KEPT, KEPT_SIZE)
  const sealTitle = (id: string, title: string) => sealer.seal(title, `conversations.title|${id}`)
  const titleOf = ({ id, title }: Pick<ConversationRow, 'id' | 'title'>) =>
    title ? sealer.open(title, `conversations.title|${id}`).toString() : undefined
  const placeOf: Conversations['placeOf'] = (row) => {
    const title = titleOf(row)
    return { room: row.room, type: row.type, ...(row.thread ? { thread: row.thread } : {}), ...(title ? { title } : {}) }
  }

  const open = (row: ConversationRow): Conversation => ({
    id: row.id,
    account: row.account,
    place: placeOf(row),
    owner: row.owner ?? undefined,
    createdAt: Number(row.created_at),
    updatedAt: Number(row.updated_at),
    contextFrom: Number(row.context_from),
    revision: row.revision,
    lastTurn: row.last_turn ?? undefined,
    stoppedBefore: Number(row.stopped_before),
    held: row.held_by === null ? undefined : { by: row.held_by, at: Number(row.held_at) },
  })

  const ensure: Conversations['ensure'] = async (transaction, account, place, options) => {
    const key = { account, room: place.room, thread: place.thread ?? '' }
    const existing = () =>
      after(first(transaction, byKey, key), (found) => {
        if (found && (found.owner ?? undefined) !== options.owner) throw new PosthouseError('not-found')
        return found
      })
    const known = await existing()
    if (known) return known
    const id = options.id ?? newId()
    const title = place.title ? sealTitle(id, place.title) : null
    const added = await transaction.run(insert, { ...key, id, type: place.type, owner: options.owner ?? null, title, at: clock.now() })
    if (added === 1) return { id, title }
    // Another node made it in the same moment; or the id that a client chose is that of another place.
    const theirs = await existing()
    if (!theirs) throw new PosthouseError('not-found')
    return theirs
  }

  /** The conversation's newest visible messages, newest first: from memory when it knows them. */
  const newest = async (conversation: Conversation): Promise<readonly StoredMessage[]> => {
    const { id, contextFrom } = conversation
    const kept = recent.get(conversation)
    if (kept) return contextFrom === 0 ? kept : kept.filter((message) => message.seq > contextFrom)
    const found: StoredMessage[] = []
    for (let before = Number.MAX_SAFE_INTEGER; found.length < KEPT; before = found.at(-1)?.seq ?? 0) {
      const rows = await database.read.all(visible, { id, after: contextFrom, before })
      for (const row of rows) found.push(messages.open(row))
      if (rows.length < PAGE) break
    }
    recent.set(conversation, found)
    return found
  }

  /** Ids of all files that were sent in a conversation. */
  const filesIn = async (id: string): Promise<readonly string[]> => {
    const files = new Set<string>()
    for (let before = Number.MAX_SAFE_INTEGER; ; ) {
      const found = await database.read.all(page, { id, after: 0, before, limit: PAGE })
      for (const row of found) {
        for (const part of messages.open(row).body.parts) if (part.type === 'file' && part.file.id) files.add(part.file.id)
      }
      if (found.length < PAGE) return [...files]
      before = Number(found.at(-1)?.seq ?? 0)
    }
  }

  const findIn = async (transaction: Transaction, id: string) => {
    const row = await first(transaction, byId, { id })
    return row && open(row)
  }

  return {
    ensure,
    open,
    placeOf,
    remember({ id, conversation, messages: claimed }, said) {
      recent.extend(conversation, id, [...said, ...claimed].sort(newestFirst))
    },
    async revise(transaction, id) {
      await transaction.run(revise, { id })
    },
    async call(transaction, conversation, title) {
      if (title === titleOf(conversation)) return
      await transaction.run(setTitle, { id: conversation.id, title: sealTitle(conversation.id, title) })
    },
    async touch(transaction, id) {
      await transaction.run(touch, { id, at: clock.now() })
    },
    async stopBefore(transaction, id, seq) {
      await transaction.run(stopBefore, { id, seq })
    },
    async forgetIn(transaction, id) {
      await transaction.run(forget, { id })
    },
    find: (id) => findIn(database.read, id),
    async list(owner, account, limit, before = Number.MAX_SAFE_INTEGER) {
      return (await database.read.all(list, { owner, account, before, limit })).map(open)
    },
    rename: (id, title) =>
      database.write(async (transaction) => void (await transaction.run(setTitle, { id, title: sealTitle(id, title) }))),
    async remove(id) {
      const files = await filesIn(id)
      const at = clock.now()
      const all = [...files.map((file) => ({ kind: 'file' as const, id: file })), { kind: 'conversation' as const, id }]
      await database.write(async (transaction) => {
        await transaction.all(held, { id })
        for (const each of all) {
          await erasures.erase(transaction, { ...each, erasedAt: at })
          await erasures.note(transaction, { ...each, erasedAt: at })
        }
      })
      return files
    },
    forget: (id) => database.write(async (transaction) => void (await transaction.run(forget, { id }))),
    async messages(id, { after = 0, before = Number.MAX_SAFE_INTEGER }, limit) {
      const found = await database.read.all(page, { id, after, before, limit })
      return found.reverse().map(messages.open)
    },
    async message(id) {
      const row = await first(database.read, message, { id })
      return row && messages.open(row)
    },
    rewrite: ({ id, conversationId, body }, parts) =>
      database.write(async (transaction) => {
        await transaction.run(revise, { id: conversationId })
        await messages.rewrite(transaction, id, { ...body, parts })
      }),
    async context(conversation, before, most) {
      const found: StoredMessage[] = []
      let page: readonly StoredMessage[] = await newest(conversation)
      for (let more = page.length >= KEPT; ; more = page.length >= PAGE) {
        for (const message of page) {
          // A later question waits for its own turn; an answer that was committed after it came in belongs before it.
          if (message.role === 'user' && (message.seq >= before || message.status === 'failed')) continue
          if (found.push(message) === most) return found
        }
        if (!more) return found
        const rows = await database.read.all(visible, {
          id: conversation.id,
          after: conversation.contextFrom,
          before: page.at(-1)?.seq ?? 0,
        })
        page = rows.map(messages.open)
      }
    },
    at: (account, place, owner) =>
      database.write(
        async (transaction) => {
          const found = await findIn(transaction, (await ensure(transaction, account, place, { owner })).id)
          if (!found) throw new Error('a conversation vanished within its own transaction')
          return found
        },
        laneOf(account, place),
      ),
  }
}

/** The lane of a place, before its conversation has an id. */
export const laneOf = (account: string, { room, thread = '' }: Place): string => `${account}\n${room}\n${thread}`

const newestFirst = (a: StoredMessage, b: StoredMessage) => b.seq - a.seq
