/** Names that callers choose (an address of mail as like as not) as they stand beside sealed content: equal names look equal, nobody else can tell whose. */
import { createHmac } from 'node:crypto'
import type { MasterKey } from './key.ts'

/** 128 bits: enough to tell apart all names that there are. */
const LENGTH = 22

/** Answers the pseudonym of a name, the same each time under one key. */
export function createPseudonyms(master: MasterKey): (name: string) => string {
  const key = master.derive('names')
  return (name) => createHmac('sha256', key).update(name).digest('base64url').slice(0, LENGTH)
}
