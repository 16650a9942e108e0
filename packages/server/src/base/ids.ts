/** Ids that rise with time, also within one millisecond (the built-in UUIDv7 does not). */
import { uuidv7 } from 'uuidv7'

export type NewId = () => string

export const newId: NewId = uuidv7
