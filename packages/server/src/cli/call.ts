/** What a command is called with. */
import type { Terminal } from './terminal.ts'

export interface Call {
  /** Path of the configuration, as given. */
  readonly config: string | undefined
  readonly terminal: Terminal
}

export type Options = Readonly<Record<string, string | boolean | undefined>>
