/** Tools as a turn sees them. */
import type { Tool, ToolCall, ToolDeclaration } from '@posthouse/contract'

/** `unknown`: the time was over or the signal fired, and nobody can say what the tool had done by then. */
export interface ToolOutcome {
  readonly state: 'done' | 'failed' | 'unknown'
  /** For the model. */
  readonly text: string
}

/**
 * A tool of a server beside us. Its schema is what that server wrote: of it is checked what is understood here, and the server judges the rest.
 */
export interface ServerTool extends Tool {
  /** Milliseconds for one call. */
  readonly timeout: number
}

/** Thrown by a tool when nobody can say what it had done by then; any other error means that nothing was. */
export class OutcomeUnknown extends Error {
  override readonly name = 'OutcomeUnknown'
}

/** A call of a tool that is there, with arguments that fit. */
export interface CheckedCall {
  readonly idempotent: boolean
  /** The arguments in one form: equal calls have equal texts. */
  readonly arguments: string
  /** Never throws. */
  run(callId: string, signal: AbortSignal): Promise<ToolOutcome>
}

export interface Tools {
  /** As they are now; the same list for as long as nothing changes. */
  readonly declarations: readonly ToolDeclaration[]
  isIdempotent(name: string): boolean
  /** Looks at a call as the model wrote it; a text says why it is not run. */
  check(call: ToolCall): CheckedCall | string
}
