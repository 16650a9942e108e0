/** Bodies of the HTTP API and frames of the web chat's socket (`/ws`): the types that server, web and clients share. */
import type { ErrorCode } from './errors.ts'
import type { FileKind } from './message.ts'
import type { Usage } from './model.ts'
import type { PriorityName } from './priority.ts'

export interface ErrorBody {
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly detail?: string; readonly id?: string }
}

// ---- REST -------------------------------------------------------------------------------------------------------------

export interface ChatRequest {
  readonly query: string
  readonly conversation_id?: string
  /** The person on whose behalf the caller asks; conversations of different users never mix. */
  readonly user?: string
  /** Who is answered first when not all can be; `interactive` unless told otherwise. */
  readonly priority?: PriorityName
}

export interface ChatResponse {
  readonly answer: string
  readonly conversation_id: string
  readonly message_id: string
  readonly model: string
  readonly usage: Usage
}

export interface FileView {
  readonly id: string
  readonly kind: FileKind
  readonly name: string
  readonly mime: string
  readonly size: number
}

/** `stopped`: ended by the user, the text is what had arrived. `failed`: a notice in the place of an answer. */
export type MessageStatus = 'complete' | 'stopped' | 'failed'

export interface MessageView {
  readonly id: string
  /** Rises within the server; a client resumes from the last one that it has. */
  readonly seq: number
  readonly conversation_id: string
  readonly role: 'user' | 'assistant' | 'system'
  /** Markdown. */
  readonly text: string
  readonly status: MessageStatus
  /** Epoch milliseconds. */
  readonly created_at: number
  readonly files: readonly FileView[]
  /** The user's message that an answer belongs to. */
  readonly reply_to?: string
  /** The id that the client gave to its own message. */
  readonly client_id?: string
  /** The message that took the place of this one (asked again, or edited and sent again). */
  readonly replaced_by?: string
  readonly model?: string
  readonly usage?: Usage
  /** The answer may have arrived twice in the chat tool (P6). */
  readonly maybe_duplicate?: boolean
}

export interface HistoryResponse {
  readonly conversation_id: string
  /** Oldest first. */
  readonly messages: readonly MessageView[]
  /** Pass as `before` for the page before this one; absent on the first page. */
  readonly before?: number
}

export interface ConversationView {
  readonly id: string
  readonly title: string
  readonly created_at: number
  readonly updated_at: number
}

export interface ConversationsResponse {
  /** Newest first. */
  readonly conversations: readonly ConversationView[]
  readonly before?: number
}

export interface SetupStatus {
  /** True until the first account exists. */
  readonly needed: boolean
}

export interface SetupRequest {
  readonly token: string
  readonly name: string
  readonly password: string
}

export interface LoginRequest {
  readonly name: string
  readonly password: string
}

export interface MeResponse {
  readonly id: string
  readonly name: string
  readonly role: 'admin' | 'user'
}

export interface ModelsResponse {
  readonly current: string
  readonly models: readonly { readonly id: string; readonly provider: string; readonly vision: boolean; readonly demo: boolean }[]
}

// ---- The web chat's socket ------------------------------------------------------------------------------------------------

/** Frames from the browser. Every one is at most 256 KiB of JSON. */
export type ClientFrame =
  /** Wants messages with `seq > after` and everything that follows. A conversation that doesn't exist yet is answered as empty. */
  | { readonly type: 'subscribe'; readonly conversation_id: string; readonly after: number }
  | { readonly type: 'unsubscribe'; readonly conversation_id: string }
  /**
   * `id`: chosen by the client (UUID), the same over all repeats. `conversation_id`: chosen by the client for a new conversation (UUID).
   * `replaces`: id of an own earlier message; it and all that followed it leave the model's view of the conversation.
   */
  | {
      readonly type: 'send'
      readonly id: string
      readonly conversation_id: string
      readonly text: string
      readonly files?: readonly string[]
      readonly replaces?: string
    }
  | { readonly type: 'stop'; readonly conversation_id: string }
  | { readonly type: 'ping' }

/** Frames to the browser. */
export type ServerFrame =
  | { readonly type: 'welcome'; readonly user: MeResponse; readonly version: string; readonly heartbeat: number }
  /** The message is committed (also the answer to a repeat of it). */
  | { readonly type: 'accepted'; readonly id: string; readonly message: MessageView }
  /** The message was not taken; with `retry_after` (milliseconds) it may be sent again by itself, else the user decides. */
  | { readonly type: 'refused'; readonly id: string; readonly code: ErrorCode; readonly message: string; readonly retry_after?: number }
  | { readonly type: 'message'; readonly message: MessageView }
  /** All messages up to here were sent; `turn` is the one in flight, if any. */
  | { readonly type: 'synced'; readonly conversation_id: string; readonly turn?: TurnView }
  /** A turn began, was restarted (its draft is void) or ended (its messages came before this frame). */
  | { readonly type: 'turn'; readonly conversation_id: string; readonly turn: TurnView }
  /** More of the draft. `offset`: its length (UTF-16 units) before `text`; a gap means: subscribe again. */
  | { readonly type: 'delta'; readonly conversation_id: string; readonly turn_id: string; readonly offset: number; readonly text: string }
  | { readonly type: 'conversation'; readonly conversation: ConversationView }
  | { readonly type: 'conversation-deleted'; readonly conversation_id: string }
  | { readonly type: 'error'; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'pong' }

export interface TurnView {
  readonly id: string
  readonly state: 'running' | 'ended'
  /** Ids of the user's messages that it answers. */
  readonly answers: readonly string[]
  /** The draft so far; absent when the turn ended. */
  readonly draft?: string
}
