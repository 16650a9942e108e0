/** What the model emulator may be told to do, and what it writes down. */

/** The two wire formats. */
export type WireName = 'openai' | 'anthropic'

/** How fast an answer streams; milliseconds. All zero: everything at once. */
export interface Pace {
  readonly firstToken?: number
  readonly interval?: number
  /** Characters (code points) per chunk, or the number of chunks. */
  readonly chunkSize?: number
  readonly chunks?: number
}

export interface ScriptedCall {
  /** Made up when absent; repeat one to play a provider that repeats ids. */
  readonly id?: string
  readonly name: string
  /** Text goes as it is, anything else as JSON. */
  readonly arguments: unknown
}

/** An answer, and the habits of the server that gives it. */
export interface Reply extends Pace {
  readonly text?: string
  readonly reasoning?: string
  readonly toolCalls?: readonly ScriptedCall[]
  /** Default: `tool-calls` when there are any, else `stop`. */
  readonly finish?: 'stop' | 'length' | 'tool-calls' | 'refused'
  /** `false`: the server tells no usage. */
  readonly usage?: false | { readonly input: number; readonly output: number; readonly cached?: number }
  /** `false`: no closing mark behind the reason of the end. */
  readonly done?: boolean
  /** CRLF line ends; comments between the chunks; no role in the first chunk. */
  readonly crlf?: boolean
  readonly comments?: boolean
  readonly role?: boolean
}

/** What a reply function sees. */
export interface Question {
  readonly wire: WireName
  readonly model: string
  /** The text of the last user message. */
  readonly text: string
  readonly system: string
  /** All messages as plain text, oldest first. */
  readonly messages: readonly { readonly role: string; readonly text: string }[]
  readonly images: number
  readonly tools: readonly string[]
  readonly stream: boolean
  /** The parsed body. */
  readonly body: Readonly<Record<string, unknown>>
}

export type Answer = string | Reply | ((question: Question) => string | Reply)

/**
 * A failure to play.
 *
 * - `status`: refuse with `status`, `code`, `message`, `retryAfter` (seconds, or the header's text).
 * - `no-answer`: take the request, never answer. `refuse`: reset the connection before the answer.
 * - `no-first-token`: headers and keep-alive comments, never a token.
 * - `stall`, `reset`, `truncated-json`, `error-event`, `early-end`: after `after` chunks. `early-end` closes cleanly without a reason.
 * - `web-page`: 200 with HTML, as a captive proxy answers.
 */
export interface Failure {
  readonly kind:
    | 'status'
    | 'no-answer'
    | 'refuse'
    | 'no-first-token'
    | 'stall'
    | 'reset'
    | 'truncated-json'
    | 'error-event'
    | 'early-end'
    | 'web-page'
  /** Chunks that are sent before it; default 0. */
  readonly after?: number
  readonly status?: number
  readonly code?: string
  readonly message?: string
  readonly retryAfter?: number | string
  /** Calls that fail; default 1. */
  readonly times?: number
  /** Only calls to this model. */
  readonly model?: string
}

/** One line of the ledger. */
export interface ModelCall {
  readonly number: number
  readonly wire: WireName
  readonly path: string
  /** Epoch milliseconds. */
  readonly at: number
  /** The caller's port: the same for calls over one connection. */
  readonly port?: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Absent when the request was refused before it was understood. */
  readonly question?: Question
  /** The whole text that was to be sent. */
  readonly answer?: string
  readonly failure?: Failure
  /** Chunks of the answer that were handed to the socket. */
  readonly chunks: number
  /** `client-closed`: the caller left first. `failed`: by a played failure. `refused`: by a status. */
  readonly ended?: { readonly how: 'complete' | 'client-closed' | 'failed' | 'refused'; readonly at: number; readonly status: number }
}

/** A refusal in the words of the provider. */
export interface RefusedRequest {
  readonly status: number
  readonly type: string
  readonly code?: string
  readonly param?: string
  readonly message: string
}

/** Thrown by the checks of a request. */
export class Refused extends Error {
  readonly refusal: RefusedRequest
  constructor(refusal: RefusedRequest) {
    super(refusal.message)
    this.refusal = refusal
  }
}
