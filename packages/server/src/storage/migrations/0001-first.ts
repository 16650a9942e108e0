/** The first schema: sealed content, one admission per key, one running turn per lane, all from the start. */
import { type RawBuilder, sql } from 'kysely'
import type { Dialect } from '../dialects/dialect.ts'

/** Statements in order. */
export function first({ builder, serial, blob, count }: Dialect): readonly { compile(): { sql: string } }[] {
  const { schema } = builder
  const bytes = sql.raw(blob) as RawBuilder<unknown>
  return [
    schema
      .createTable('conversations')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('account', 'text', (c) => c.notNull())
      .addColumn('room', 'text', (c) => c.notNull())
      .addColumn('thread', 'text', (c) => c.notNull())
      .addColumn('type', 'text', (c) => c.notNull())
      .addColumn('owner', 'text')
      .addColumn('title', bytes)
      .addColumn('context_from', 'bigint', (c) => c.notNull())
      .addColumn('revision', 'integer', (c) => c.notNull())
      // P4, held by the database: a lane has room for one running turn.
      .addColumn('turn_id', 'text')
      .addColumn('turn_node', 'text')
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('updated_at', 'bigint', (c) => c.notNull())
      .addUniqueConstraint('conversations_key', ['account', 'room', 'thread']),
    schema
      .createIndex('conversations_by_owner')
      .on('conversations')
      .columns(['owner', 'account', 'updated_at'])
      .where('owner', 'is not', null),
    schema
      .createTable('messages')
      .addColumn('seq', count, serial)
      .addColumn('id', 'text', (c) => c.notNull().unique())
      .addColumn('conversation_id', 'text', (c) => c.notNull())
      .addColumn('role', 'text', (c) => c.notNull())
      .addColumn('body', bytes, (c) => c.notNull())
      .addColumn('status', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('reply_to', 'text')
      .addColumn('client_id', 'text')
      .addColumn('replaced_by', 'text')
      .addColumn('model', 'text')
      .addColumn('usage', 'text')
      .addColumn('maybe_duplicate', 'integer', (c) => c.notNull().defaultTo(0)),
    schema.createIndex('messages_by_conversation').on('messages').columns(['conversation_id', 'seq']),
    schema.createIndex('messages_maybe_duplicate').on('messages').column('seq').where(sql.ref('maybe_duplicate'), '=', sql`1`),
    schema
      .createTable('inbox')
      .addColumn('seq', count, serial)
      .addColumn('message_id', 'text', (c) => c.notNull().unique())
      .addColumn('account', 'text', (c) => c.notNull())
      .addColumn('platform_key', 'text', (c) => c.notNull())
      .addColumn('conversation_id', 'text', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('priority', 'integer', (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('attempts', 'integer', (c) => c.notNull().defaultTo(0))
      .addColumn('turn_id', 'text')
      .addColumn('outcome', 'text')
      .addColumn('draft', 'text')
      .addColumn('sent_at', 'bigint', (c) => c.notNull())
      .addColumn('received_at', 'bigint', (c) => c.notNull())
      .addColumn('released_at', 'bigint')
      .addColumn('done_at', 'bigint')
      .addUniqueConstraint('inbox_one_admission', ['account', 'platform_key']),
    // Everything that waits or runs; small, whatever the history.
    schema.createIndex('inbox_open').on('inbox').columns(['conversation_id', 'seq']).where(sql.ref('done_at'), 'is', null),
    schema.createIndex('inbox_dead').on('inbox').column('seq').where(sql.ref('state'), '=', sql`'dead'`),
    schema
      .createTable('outbox')
      .addColumn('seq', count, serial)
      .addColumn('id', 'text', (c) => c.notNull().unique())
      .addColumn('account', 'text', (c) => c.notNull())
      .addColumn('conversation_id', 'text', (c) => c.notNull())
      .addColumn('reply_to', 'text')
      .addColumn('draft', 'text')
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('confirmed', 'integer', (c) => c.notNull())
      .addColumn('attempts', 'integer', (c) => c.notNull())
      .addColumn('unknowns', 'integer', (c) => c.notNull())
      .addColumn('receipts', 'text', (c) => c.notNull())
      .addColumn('failure', 'text')
      .addColumn('detail', bytes)
      .addColumn('next_at', 'bigint', (c) => c.notNull())
      .addColumn('attempted_at', 'bigint')
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('released_at', 'bigint')
      .addColumn('settled_at', 'bigint'),
    schema.createIndex('outbox_open').on('outbox').column('seq').where(sql.ref('settled_at'), 'is', null),
    schema.createIndex('outbox_dead').on('outbox').column('seq').where(sql.ref('state'), '=', sql`'dead'`),
    schema
      .createTable('account_state')
      .addColumn('account', 'text', (c) => c.notNull())
      .addColumn('key', 'text', (c) => c.notNull())
      .addColumn('value', bytes, (c) => c.notNull())
      .addColumn('updated_at', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('account_state_key', ['account', 'key']),
    schema
      .createTable('settings')
      .addColumn('key', 'text', (c) => c.primaryKey())
      .addColumn('value', 'text', (c) => c.notNull())
      .addColumn('updated_at', 'bigint', (c) => c.notNull()),
    schema
      .createTable('users')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('name', 'text', (c) => c.notNull().unique())
      .addColumn('role', 'text', (c) => c.notNull())
      .addColumn('password_hash', 'text', (c) => c.notNull())
      .addColumn('version', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull()),
    schema
      .createTable('setup_links')
      .addColumn('hash', 'text', (c) => c.primaryKey())
      .addColumn('expires_at', 'bigint', (c) => c.notNull())
      .addColumn('used_at', 'bigint'),
    schema
      .createTable('logins')
      .addColumn('hash', 'text', (c) => c.primaryKey())
      .addColumn('user_id', 'text', (c) => c.notNull())
      .addColumn('user_version', 'integer', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('expires_at', 'bigint', (c) => c.notNull()),
    schema
      .createTable('access_tokens')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('user_id', 'text', (c) => c.notNull())
      .addColumn('scopes', 'text', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull())
      .addColumn('expires_at', 'bigint', (c) => c.notNull())
      .addColumn('revoked_at', 'bigint'),
    schema
      .createTable('files')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('owner', 'text', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('name', bytes, (c) => c.notNull())
      .addColumn('mime', 'text', (c) => c.notNull())
      .addColumn('size', 'bigint', (c) => c.notNull())
      .addColumn('created_at', 'bigint', (c) => c.notNull()),
  ]
}
