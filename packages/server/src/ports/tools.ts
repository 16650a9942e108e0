/** Tools as a turn sees them. */
import type { ToolCall, ToolDeclaration } from '@posthouse/contract'

/** `unknown`: the time was over or the signal fired, and nobody can say what the tool had done by then. */
export interface ToolOutcome {
  readonly state: 'done' | 'failed' | 'unknown'
  /** For the model. */
  readonly text: string
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
  readonly declarations: readonly ToolDeclaration[]
  isIdempotent(name: string): boolean
  /** Looks at a call as the model wrote it; a text says why it is not run. */
  check(call: ToolCall): CheckedCall | string
}
