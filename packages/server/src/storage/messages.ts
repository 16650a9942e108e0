/** Messages: the sealed content of every conversation. Used by the repositories that write or read them. */
import type { Usage } from '@posthouse/contract'
import type { Kysely, Selectable } from 'kysely'
import type { Sealer } from '../ports/sealer.ts'
import type { MessageBody, NewMessage, StoredMessage } from '../ports/store.ts'
import { createOpened } from './opened.ts'
import { after, prepare, type Transaction } from './query.ts'
import type { Schema } from './schema.ts'

export type MessageRow = Selectable<Schema['messages']>

export interface Messages {
  insert(transaction: Transaction, message: Omit<StoredMessage, 'seq'>): StoredMessage | Promise<StoredMessage>
  /** Takes back what this transaction inserted. */
  remove(transaction: Transaction, id: string): Promise<void>
  /** Puts a new body in the place of the old one. */
  rewrite(transaction: Transaction, id: string, body: MessageBody): Promise<void>
  open(row: MessageRow): StoredMessage
  /** The content alone. */
  body(id: string, sealed: Uint8Array): MessageBody
}

/** Bodies that were sealed or opened last stay open: most of them are read again within their turn. */
const KEPT = 4_000_000

export function createMessages(builder: Kysely<Schema>, sealer: Sealer): Messages {
  const insert = prepare<{
    id: string
    conversation: string
    role: MessageRow['role']
    body: Uint8Array
    status: MessageRow['status']
    at: number
    replyTo: string | null
    clientId: string | null
    model: string | null
    usage: string | null
  }>()((p) =>
    builder.insertInto('messages').values({
      id: p.id,
      conversation_id: p.conversation,
      role: p.role,
      body: p.body,
      status: p.status,
      created_at: p.at,
      reply_to: p.replyTo,
      client_id: p.clientId,
      model: p.model,
      usage: p.usage,
      maybe_duplicate: 0,
    }),
  )
  const rewrite = prepare<{ id: string; body: Uint8Array }>()((p) =>
    builder.updateTable('messages').set({ body: p.body }).where('id', '=', p.id),
  )
  const remove = prepare<{ id: string }>()((p) => builder.deleteFrom('messages').where('id', '=', p.id))
  const place = (id: string) => `messages.body|${id}`
  const kept = createOpened(KEPT)
  const body = (id: string, sealed: Uint8Array) =>
    kept.get(id, sealed) ?? kept.set(id, sealed, JSON.parse(sealer.open(sealed, place(id)).toString()) as MessageBody)

  return {
    body,
    insert(transaction, message) {
      const sealed = sealer.seal(JSON.stringify(message.body), place(message.id))
      kept.set(message.id, sealed, message.body)
      const inserted = transaction.insert(insert, {
        id: message.id,
        conversation: message.conversationId,
        role: message.role,
        body: sealed,
        status: message.status,
        at: message.createdAt,
        replyTo: message.replyTo ?? null,
        clientId: message.clientId ?? null,
        model: message.model ?? null,
        usage: message.usage ? JSON.stringify(message.usage) : null,
      })
      return after(inserted, (seq) => ({ ...message, seq }))
    },
    async remove(transaction, id) {
      await transaction.run(remove, { id })
    },
    async rewrite(transaction, id, body) {
      await transaction.run(rewrite, { id, body: sealer.seal(JSON.stringify(body), place(id)) })
    },
    open(row) {
      return {
        id: row.id,
        seq: Number(row.seq),
        conversationId: row.conversation_id,
        role: row.role,
        body: body(row.id, row.body),
        status: row.status,
        createdAt: Number(row.created_at),
        replyTo: row.reply_to ?? undefined,
        clientId: row.client_id ?? undefined,
        replacedBy: row.replaced_by ?? undefined,
        model: row.model ?? undefined,
        usage: row.usage ? (JSON.parse(row.usage) as Usage) : undefined,
        maybeDuplicate: row.maybe_duplicate === 1,
      }
    },
  }
}

/** A message of ours, ready to be inserted. */
export function ownMessage(conversationId: string, message: NewMessage, createdAt: number): Omit<StoredMessage, 'seq'> {
  return {
    id: message.id,
    conversationId,
    role: message.role,
    body: { parts: message.parts },
    status: message.status,
    createdAt,
    replyTo: message.replyTo,
    clientId: undefined,
    replacedBy: undefined,
    model: message.model,
    usage: message.usage,
    maybeDuplicate: false,
  }
}
