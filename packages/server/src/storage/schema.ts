/** The tables. Times are epoch milliseconds; `body`-like columns are sealed bytes; flags are 0 or 1. */
import type { DeliveryState } from '@posthouse/contract'
import type { MessageStatus } from '@posthouse/contract/http'
import type { Generated } from 'kysely'
import type { Erasure, InboxState, Outcome, ToolCallState } from '../ports/store.ts'

/** Rows of `meta`: a known text, sealed with the key of the first start; what is there while a copy is not whole; what a version must know to work here. */
export const KEY_CHECK = 'key_check'
export const COPYING = 'copying'
export const LEAST = 'least'

export interface Schema {
  migrations: { name: string; applied_at: number }
  meta: { key: string; value: Uint8Array }
  conversations: {
    id: string
    account: string
    room: string
    thread: string
    type: 'direct' | 'group'
    owner: string | null
    title: Uint8Array | null
    context_from: number
    revision: number
    turn_id: string | null
    turn_node: string | null
    last_turn: string | null
    stopped_before: Generated<number>
    /** Name of the person who answers here, and when they last did; null: the assistant. */
    held_by: string | null
    held_at: number | null
    created_at: number
    updated_at: number
  }
  messages: {
    seq: Generated<number>
    id: string
    conversation_id: string
    role: 'user' | 'assistant' | 'system'
    body: Uint8Array
    status: MessageStatus
    created_at: number
    reply_to: string | null
    client_id: string | null
    replaced_by: string | null
    model: string | null
    usage: string | null
    maybe_duplicate: number
  }
  inbox: {
    seq: Generated<number>
    message_id: string
    account: string
    platform_key: string
    conversation_id: string
    kind: 'message' | 'command' | 'edit'
    priority: number
    state: InboxState
    attempts: number
    turn_id: string | null
    outcome: Outcome | null
    draft: string | null
    sent_at: number
    received_at: number
    released_at: number | null
    done_at: number | null
  }
  outbox: {
    seq: Generated<number>
    /** The message's own id: a message has one delivery at the most. */
    id: string
    account: string
    conversation_id: string
    /** Who sends it; the unsettled ones of a conversation have one owner. */
    node: string | null
    reply_to: string | null
    draft: string | null
    state: DeliveryState
    confirmed: number
    attempts: number
    unknowns: number
    receipts: string
    failure: string | null
    detail: Uint8Array | null
    next_at: number
    attempted_at: number | null
    created_at: number
    released_at: number | null
    settled_at: number | null
  }
  tool_calls: {
    seq: Generated<number>
    id: string
    turn_id: string
    conversation_id: string
    /** `seq` of the first and last message of the turn that made it. */
    first_message: number
    last_message: number
    step: number
    name: string
    call: Uint8Array
    state: ToolCallState
    result: Uint8Array | null
    intended_at: number
    settled_at: number | null
  }
  account_state: { account: string; key: string; value: Uint8Array; updated_at: number }
  settings: { key: string; value: string; updated_at: number }
  users: { id: string; name: string; role: 'admin' | 'user'; password_hash: string; version: number; created_at: number }
  setup_links: { hash: string; expires_at: number; used_at: number | null }
  logins: { hash: string; user_id: string; user_version: number; created_at: number; expires_at: number }
  access_tokens: {
    id: string
    name: string
    user_id: string
    scopes: string
    created_at: number
    expires_at: number
    revoked_at: number | null
  }
  /** Gateways that are at work; who is dead has no row. Times by the database's clock. */
  nodes: {
    id: string
    name: string
    version: string
    started_at: number
    seen_at: number
    alive_until: number
    draining: number
    knows: Generated<string>
  }
  /** Long connections with one owner. `node`: null while nobody has it. */
  leases: { name: string; node: string | null; epoch: number; taken_at: number }
  files: { id: string; owner: string; kind: string; name: Uint8Array; mime: string; size: number; created_at: number }
  /** Sealed bytes of files, where they are not in a folder; whole when `files` knows them. */
  file_chunks: { file_id: string; part: number; bytes: Uint8Array }
  /** What people deleted: a backup that still has it gives it back to nobody. Ids alone. */
  erasures: { kind: Erasure['kind']; id: string; erased_at: number }
}

const names: Readonly<Record<keyof Schema, true>> = {
  migrations: true,
  meta: true,
  conversations: true,
  messages: true,
  inbox: true,
  outbox: true,
  tool_calls: true,
  account_state: true,
  settings: true,
  users: true,
  setup_links: true,
  logins: true,
  access_tokens: true,
  files: true,
  file_chunks: true,
  erasures: true,
  nodes: true,
  leases: true,
}
/** Every table; the compiler knows that none is missing. */
export const tableNames: readonly string[] = Object.keys(names)
