/** What a tool is: a function that a model may ask for. */

/** A tool as a model sees it. */
export interface ToolDeclaration {
  /** Letters, digits, `_` and `-`; at most 64. */
  readonly name: string
  readonly description: string
  /** JSON Schema of the arguments. */
  readonly parameters: Readonly<Record<string, unknown>>
}

/** A tool that can be run. */
export interface Tool extends ToolDeclaration {
  /**
   * Whether the same call may run twice and change nothing more than once. Only then is a call whose outcome is unknown (the process
   * died, the time was over) repeated by itself.
   */
  readonly idempotent: boolean
  /**
   * Answers text for the model. `args` fit `parameters`. `callId` is the gateway's own: unique, and the same when an interrupted call is
   * repeated. `signal` fires when somebody says stop or the time is over.
   * @throws anything when nothing was done; the message is shown to the model.
   */
  run(args: Readonly<Record<string, unknown>>, call: { readonly callId: string; readonly signal: AbortSignal }): Promise<string>
}
