/** The inbox: one row for each admitted message, unique by the platform's key. */
import { type InboundMessage, type Part, type Priority, textOf } from '@posthouse/contract'
import { type Kysely, sql } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { InboxStore, MessageBody, NewInbound, Recorded, StoredMessage } from '../ports/store.ts'
import { type Conversations, laneOf } from './conversations.ts'
import type { Database } from './dialects/dialect.ts'
import type { Files } from './files.ts'
import type { LeaseRows } from './leases.ts'
import type { Messages } from './messages.ts'
import { first, prepare, type Transaction, together } from './query.ts'
import type { Schema } from './schema.ts'
import { is } from './steps.ts'

/** Attempts after which a message may be what kills the process; once is what happens to all that run while it is killed. */
const SUSPECT = 2
/** How many messages back an edit of an answered message is looked for, and in how many other threads of its room. */
const EDIT_REACH = 50
const EDIT_THREADS = 20
/** Threads of a room that are looked at for the liveliest of them. */
const MOST_THREADS = 1000

export function createInbox(
  builder: Kysely<Schema>,
  database: Database,
  conversations: Conversations,
  messages: Messages,
  files: Pick<Files, 'adopt'>,
  leases: Pick<LeaseRows, 'demand'>,
  { clock, newId }: { clock: Clock; newId: NewId },
): InboxStore {
  const insert = prepare<{
    message: string
    account: string
    key: string
    conversation: string
    kind: 'message' | 'command' | 'edit'
    state: 'pending' | 'done'
    priority: number
    sentAt: number
    at: number
    doneAt: number | null
    outcome: 'noted' | 'refused' | null
  }>()((p) =>
    builder
      .insertInto('inbox')
      .values({
        message_id: p.message,
        account: p.account,
        platform_key: p.key,
        conversation_id: p.conversation,
        kind: p.kind,
        priority: p.priority,
        state: p.state,
        attempts: 0,
        sent_at: p.sentAt,
        received_at: p.at,
        done_at: p.doneAt,
        outcome: p.outcome,
      })
      .onConflict((conflict) => conflict.doNothing()),
  )
  const byKey = prepare<{ account: string; key: string }>()((p) =>
    builder
      .selectFrom('inbox')
      .select(['message_id', 'conversation_id'])
      .where('account', '=', p.account)
      .where('platform_key', '=', p.key),
  )
  const replace = prepare<{ conversation: string; replaced: string; by: string }>()((p) =>
    builder
      .updateTable('messages')
      .set({ replaced_by: p.by })
      .where('conversation_id', '=', p.conversation)
      .where('replaced_by', 'is', null)
      .where('id', '!=', p.by)
      .where('seq', '>=', (e) =>
        e.selectFrom('messages').select('seq').where('id', '=', p.replaced).where('conversation_id', '=', p.conversation),
      ),
  )
  const dropReplaced = prepare<{ conversation: string; by: string; at: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: is('done'), outcome: 'replaced', done_at: p.at })
      .where('conversation_id', '=', p.conversation)
      .where('done_at', 'is', null)
      .where('state', '=', is('pending'))
      .where('message_id', 'in', (e) =>
        e.selectFrom('messages').select('id').where('conversation_id', '=', p.conversation).where('replaced_by', '=', p.by),
      ),
  )
  const withdraw = prepare<{ message: string; at: number }>()((p) =>
    builder
      .updateTable('inbox')
      .set({ state: is('done'), outcome: 'withdrawn', done_at: p.at })
      .where('message_id', '=', p.message)
      .where('done_at', 'is', null)
      .where('state', '=', is('pending')),
  )
  const recent = prepare<{ conversation: string }>()((p) =>
    builder
      .selectFrom('messages')
      .selectAll()
      .where('conversation_id', '=', p.conversation)
      .where('role', '=', 'user')
      .orderBy('seq', 'desc')
      .limit(EDIT_REACH),
  )
  /** What was said last decides, not what was answered last: a message may be taken back before its turn. */
  const liveliest = prepare<{ account: string; room: string; except: string }>()((p) =>
    builder
      .selectFrom((e) =>
        e
          .selectFrom('conversations')
          .select('id')
          .where('account', '=', p.account)
          .where('room', '=', p.room)
          .where('id', '!=', p.except)
          .orderBy('updated_at', 'desc')
          .limit(sql.lit(MOST_THREADS))
          .as('threads'),
      )
      .select('threads.id')
      .orderBy(
        (e) => e.selectFrom('messages').select(sql<number>`coalesce(max(seq), 0)`.as('seq')).whereRef('conversation_id', '=', 'threads.id'),
        'desc',
      )
      .limit(sql.lit(EDIT_THREADS)),
  )
  const stateOf = prepare<{ message: string }>()((p) =>
    builder.selectFrom('inbox').select(['state', 'outcome']).where('message_id', '=', p.message),
  )
  const waiting = prepare<{ limit: number }>()((p) =>
    builder
      .selectFrom('inbox')
      .select(['conversation_id', sql<Priority>`min(priority)`.as('priority'), sql<number>`max(attempts)`.as('attempts')])
      .where('done_at', 'is', null)
      .where('state', '=', is('pending'))
      .where((e) =>
        e.exists(
          e
            .selectFrom('conversations')
            .select('id')
            .whereRef('conversations.id', '=', 'inbox.conversation_id')
            .where('conversations.turn_id', 'is', null),
        ),
      )
      .groupBy('conversation_id')
      .orderBy(sql`min(priority)`)
      .orderBy(sql`min(seq)`)
      .limit(p.limit),
  )
  const depth = prepare()(() => builder.selectFrom('inbox').select(sql<number>`count(*)`.as('count')).where('done_at', 'is', null))
  const depthOf = prepare<{ account: string; room: string; thread: string }>()((p) =>
    builder
      .selectFrom('inbox')
      .select(sql<number>`count(*)`.as('count'))
      .where('done_at', 'is', null)
      .where('conversation_id', '=', (e) =>
        e
          .selectFrom('conversations')
          .select('id')
          .where('account', '=', p.account)
          .where('room', '=', p.room)
          .where('thread', '=', p.thread),
      ),
  )
  const oldest = prepare()(() =>
    builder
      .selectFrom('inbox')
      .select(['priority', sql<number>`min(received_at)`.as('at')])
      .where('done_at', 'is', null)
      .where('state', '=', is('pending'))
      .groupBy('priority'),
  )

  const admit = async (transaction: Transaction, inbound: NewInbound): Promise<Recorded> => {
    const { account, message, priority } = inbound
    if (inbound.lease) await leases.demand(transaction, inbound.lease)
    const { owner, conversationId: id } = inbound
    const conversation = await conversations.ensure(transaction, account, message.place, { owner, id })
    const conversationId = conversation.id
    const messageId = newId()
    const at = clock.now()
    const changes = message.kind === 'edit' || message.kind === 'delete'
    const ended = changes ? 'noted' : inbound.refused ? 'refused' : null
    // A repeat takes its message back.
    const [added, stored] = await together(
      () =>
        transaction.run(insert, {
          message: messageId,
          account,
          key: message.key,
          conversation: conversationId,
          kind: changes ? 'edit' : message.command ? 'command' : 'message',
          state: ended ? 'done' : 'pending',
          priority,
          sentAt: message.sentAt,
          at,
          doneAt: ended ? at : null,
          outcome: ended,
        }),
      () => (changes ? undefined : messages.insert(transaction, questionOf(inbound, { id: messageId, conversationId, at }))),
    )
    if (added === 0) {
      if (stored) await messages.remove(transaction, messageId)
      return await repeated(transaction, account, message.key)
    }
    if (!stored) return await edit(transaction, { account, conversationId, messageId }, message)
    if (!owner && message.place.title) await conversations.call(transaction, conversation, message.place.title)
    if (inbound.stops) await conversations.stopBefore(transaction, conversationId, stored.seq)
    if (message.replaces) {
      await transaction.run(replace, { conversation: conversationId, replaced: message.replaces, by: messageId })
      await transaction.run(dropReplaced, { conversation: conversationId, by: messageId, at })
      await conversations.revise(transaction, conversationId)
    }
    if (owner) {
      await conversations.touch(transaction, conversationId)
      for (const part of message.parts) {
        if (part.type === 'file' && part.file.id) await files.adopt(transaction, part.file.id, owner, conversationId)
      }
    }
    return { status: ended ? 'refused' : 'admitted', messageId, conversationId, stored }
  }

  const repeated = async (transaction: Transaction, account: string, key: string): Promise<Recorded> => {
    const found = await first(transaction, byKey, { account, key })
    if (!found) throw new Error('a key is taken and cannot be found')
    return { status: 'duplicate', messageId: found.message_id, conversationId: found.conversation_id, stored: undefined }
  }

  /** An edit never asks for another answer: it corrects what the model will read. What was taken back is gone, and not answered if it waits. */
  const edit = async (
    transaction: Transaction,
    { account, conversationId, messageId }: { account: string; conversationId: string; messageId: string },
    message: InboundMessage,
  ): Promise<Recorded> => {
    const own = { account, room: message.place.room, conversation: conversationId }
    const conversation = await conversationOf(transaction, own, message.id)
    if (conversation !== undefined) await conversations.revise(transaction, conversation)
    // Only now the row is held: what is read stays as it is.
    const found = conversation === undefined ? undefined : await said(transaction, conversation, message.id)
    if (!found) return { status: 'noted', messageId, conversationId, stored: undefined }
    const taken = message.kind === 'delete'
    // Who takes it back may be an administrator: the author stays who wrote it.
    const body = taken ? { ...found.body, parts: [] } : { ...bodyOf(message), parts: merged(found.body.parts, message.parts) }
    if (taken) await transaction.run(withdraw, { message: found.id, at: clock.now() })
    await messages.rewrite(transaction, found.id, body)
    return { status: 'noted', messageId: found.id, conversationId: found.conversationId, stored: { ...found, body } }
  }

  const said = async (transaction: Transaction, conversation: string, platformId: string): Promise<StoredMessage | undefined> => {
    const rows = await transaction.all(recent, { conversation })
    return rows.map(messages.open).find(({ body }) => body.platformId === platformId)
  }

  /** The own one, else another of the room: not every platform says in which thread a message was. */
  const conversationOf = async (
    transaction: Transaction,
    { account, room, conversation }: { account: string; room: string; conversation: string },
    platformId: string,
  ): Promise<string | undefined> => {
    if (await said(transaction, conversation, platformId)) return conversation
    for (const { id } of await transaction.all(liveliest, { account, room, except: conversation }))
      if (await said(transaction, id, platformId)) return id
    return undefined
  }

  return {
    record(inbound) {
      const { account, message } = inbound
      // What changes other messages has the transaction for itself while it does.
      const lane = message.replaces || message.kind === 'edit' || message.kind === 'delete' ? undefined : laneOf(account, message.place)
      return database.write((transaction) => admit(transaction, inbound), lane)
    },
    async waitingLanes(limit) {
      const rows = await database.read.all(waiting, { limit })
      return rows.map((row) => ({ lane: row.conversation_id, priority: row.priority, suspect: row.attempts >= SUSPECT }))
    },
    async depth(of) {
      const { account, place } = of ?? {}
      const row = place
        ? await first(database.read, depthOf, { account: account ?? '', room: place.room, thread: place.thread ?? '' })
        : await first(database.read, depth, {})
      return Number(row?.count ?? 0)
    },
    async oldestPending() {
      const rows = await database.read.all(oldest, {})
      return new Map(rows.map(({ priority, at }) => [priority as Priority, Number(at)]))
    },
    async outcome(messageId) {
      const row = await first(database.read, stateOf, { message: messageId })
      return row && { state: row.state, outcome: row.outcome ?? undefined }
    },
  }
}

/** As it is kept. What was not read is not for the model either. */
function questionOf(
  { message, refused, clientId }: NewInbound,
  { id, conversationId, at }: { id: string; conversationId: string; at: number },
): Omit<StoredMessage, 'seq'> {
  return {
    id,
    conversationId,
    role: 'user',
    body: bodyOf(message),
    status: refused ? 'failed' : 'complete',
    createdAt: at,
    replyTo: undefined,
    clientId,
    replacedBy: undefined,
    model: undefined,
    usage: undefined,
    maybeDuplicate: false,
  }
}

function bodyOf(message: InboundMessage): MessageBody {
  const parts =
    message.callbackData !== undefined && textOf(message.parts) === ''
      ? [{ type: 'text' as const, text: message.callbackData }, ...message.parts]
      : message.parts
  return { parts, author: message.author, platformId: message.id, ...(message.command ? { command: message.command } : {}) }
}

/** An edited caption must not lose the file that it stands under. */
function merged(old: readonly Part[], edited: readonly Part[]): readonly Part[] {
  return edited.some((part) => part.type !== 'text') ? edited : [...edited, ...old.filter((part) => part.type !== 'text')]
}
