/** Tools: the registry, and what is built in. */
import type { Tool } from '@posthouse/contract'
import { createCurrentTime } from './current-time.ts'

/** `now`: epoch milliseconds. */
export const builtInTools = (now: () => number): readonly Tool[] => [createCurrentTime(now)]
export { createTools } from './registry.ts'
