/** What a model is: a stream of typed events behind one function. */
import type { Logger } from './channel.ts'
import type { Fetch } from './fetch.ts'
import type { Schema } from './schema.ts'
import type { ToolDeclaration } from './tool.ts'

export type ModelContent =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly mime: string; readonly data: Uint8Array }

export interface ToolCall {
  readonly id: string
  readonly name: string
  /** JSON text as the model wrote it; untrusted. */
  readonly arguments: string
}

export type ModelMessage =
  | { readonly role: 'user'; readonly content: readonly ModelContent[] }
  | { readonly role: 'assistant'; readonly text: string; readonly toolCalls?: readonly ToolCall[] }
  | { readonly role: 'tool'; readonly callId: string; readonly text: string }

export interface ModelRequest {
  /** Instructions; undefined for none. */
  readonly system?: string
  readonly messages: readonly ModelMessage[]
  readonly tools?: readonly ToolDeclaration[]
  readonly maxTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly presencePenalty?: number
  readonly frequencyPenalty?: number
  readonly seed?: number
  /** How long a reasoning model may think, in the provider's own words. */
  readonly reasoningEffort?: string
  /** The answer ends before the first of these. */
  readonly stop?: readonly string[]
  /** As the model likes (unless given), no tool, at least one, or this one. */
  readonly toolChoice?: 'none' | 'required' | { readonly name: string }
  /** `false`: at most one tool call in an answer. */
  readonly parallelToolCalls?: boolean
  /** The form of the answer; free text unless given. */
  readonly responseFormat?:
    | { readonly type: 'json' }
    | { readonly type: 'schema'; readonly name: string; readonly schema: Readonly<Record<string, unknown>>; readonly strict?: boolean }
}

/** Tokens as the provider counted them. */
export interface Usage {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cachedTokens?: number
  /** No model was asked: the answer had been given before. */
  readonly fromCache?: true
}

export type ModelEvent =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'reasoning'; readonly text: string }
  | { readonly type: 'tool-call'; readonly call: ToolCall }
  | { readonly type: 'usage'; readonly usage: Usage }
  /** Always the last event of a stream that did not throw. */
  | { readonly type: 'end'; readonly reason: 'stop' | 'length' | 'tool-calls' | 'refused' }

/**
 * Why a model call failed.
 *
 * - `timeout`, `connection`, `overloaded` (5xx), `rate-limited` (429): another endpoint may answer.
 * - `auth`, `quota`, `not-found` (unknown model), `invalid` (the provider refuses the request), `too-long` (context exceeded),
 *   `malformed` (the answer is no valid stream). `cancelled`: by our signal.
 */
export const modelFailures = [
  'timeout',
  'connection',
  'overloaded',
  'rate-limited',
  'auth',
  'quota',
  'not-found',
  'invalid',
  'too-long',
  'malformed',
  'cancelled',
] as const
export type ModelFailure = (typeof modelFailures)[number]

/** Thrown out of a model's stream. `message` keeps the provider's words for the operator, without secrets. */
export class ModelError extends Error {
  readonly kind: ModelFailure
  readonly status: number | undefined
  /** Milliseconds to wait at least. */
  readonly retryAfter: number | undefined
  constructor(kind: ModelFailure, detail: string, options: { status?: number; retryAfter?: number; cause?: unknown } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ModelError'
    this.kind = kind
    this.status = options.status
    this.retryAfter = options.retryAfter
  }
}

/** A model that can be asked. */
export interface Model {
  /** The endpoint's name in the configuration. */
  readonly id: string
  readonly vision: boolean
  /**
   * Streams the answer. Ends with an `end` event or throws {@link ModelError} (`invalid`, with the field's name, for a wish that the provider
   * has no word for: nothing asked for is left out in silence); leaving the loop or firing the signal closes the
   * connection to the provider at once.
   */
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelEvent>
  /** Vectors for texts, one each; absent if the provider has none. */
  embed?(texts: readonly string[], signal: AbortSignal): Promise<readonly (readonly number[])[]>
  /** Opens a connection ahead of the first call. Best effort. */
  warmUp?(signal: AbortSignal): Promise<void>
}

/** What the gateway lends to a model. */
export interface ModelHost {
  /** The endpoint's name in the configuration. */
  readonly id: string
  readonly log: Logger
  readonly fetch: Fetch
}

/** Makes models of one wire format. */
export interface ModelProvider<S = Record<string, unknown>> {
  readonly id: string
  readonly settings: Schema<S>
  create(settings: S, host: ModelHost): Model
}
