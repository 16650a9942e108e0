/** What the emulated server of tools offers, and what it does wrong: data, so that a running program can be told anew. */
export interface McpTool {
  readonly name: string
  readonly description: string
  readonly inputSchema: Readonly<Record<string, unknown>>
  readonly annotations?: { readonly readOnlyHint?: boolean; readonly idempotentHint?: boolean }
}

export interface McpFault {
  /** With which request. A call has taken effect by then. */
  readonly at: 'initialize' | 'list' | 'call'
  /**
   * `hang`: no answer. `exit`: the program ends, the line breaks. `slow`: the answer comes after `ms`. `refuse`: an error of the protocol.
   * `garbage`: what is no message. `wrong-id`: an answer to a question that nobody asked. `wrong-shape`: a result without what belongs into it.
   * `flood-line`: one line without an end. `flood-messages`: messages without an end. `flood-errors`: the same on the error output.
   */
  readonly kind:
    | 'hang'
    | 'exit'
    | 'slow'
    | 'refuse'
    | 'garbage'
    | 'wrong-id'
    | 'wrong-shape'
    | 'flood-line'
    | 'flood-messages'
    | 'flood-errors'
  readonly ms?: number
  /** Only calls of this tool. */
  readonly tool?: string
}

export interface McpScript {
  readonly tools?: readonly McpTool[]
  readonly faults?: readonly McpFault[]
  /** Tools on one page of the list; all unless given. */
  readonly pageSize?: number
  /** A rising number: by how much it rose, so often the server says that its tools are others. */
  readonly announced?: number
}

/** What was asked, and what a call did. Lines are added, never taken away. */
export interface McpEntry {
  readonly at: number
  /** Of the process, which tells starts apart. */
  readonly pid: number
  readonly what: 'start' | 'initialize' | 'list' | 'call' | 'end'
  readonly tool?: string
  /** Names of the variables that a program was started with. */
  readonly environment?: readonly string[]
  readonly arguments?: Readonly<Record<string, unknown>>
}

const object = (properties: object, required: readonly string[] = Object.keys(properties)) => ({ type: 'object', properties, required })
const text = { type: 'string' }

/** Offered unless the script says otherwise. */
export const usualTools: readonly McpTool[] = [
  {
    name: 'echo',
    description: 'Says the same again.',
    inputSchema: object({ text }),
    annotations: { readOnlyHint: true, idempotentHint: true },
  },
  { name: 'book', description: 'Books a seat. It cannot be taken back.', inputSchema: object({ what: text }) },
  { name: 'picture', description: 'A picture, a recording and a file.', inputSchema: object({}), annotations: { readOnlyHint: true } },
  { name: 'fail', description: 'Fails.', inputSchema: object({}) },
]
