/** Why a server does not serve us, in our own words: nothing that it said. */
import type { McpProblem } from '../ports/mcp.ts'

export class McpFault extends Error {
  override readonly name = 'McpFault'
  readonly code: McpProblem
  /** What the program said last on its error output, for the terminal of its owner: it may quote anything, and no log has it. */
  errors?: string
  constructor(code: McpProblem, message: string) {
    super(message)
    this.code = code
  }
}
