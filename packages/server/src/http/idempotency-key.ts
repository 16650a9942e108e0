/** The name that a caller gives a request, so that repeating it does nothing twice. */
import type { IncomingHttpHeaders } from 'node:http'
import { PosthouseError } from '@posthouse/contract'

const KEY = /^[\x21-\x7e]{1,128}$/

/** Undefined: it has none. @throws PosthouseError `invalid` */
export function idempotencyKeyOf({ 'idempotency-key': key }: IncomingHttpHeaders): string | undefined {
  if (key === undefined) return undefined
  if (typeof key !== 'string' || !KEY.test(key)) throw new PosthouseError('invalid', 'Idempotency-Key: 1 to 128 visible characters')
  return key
}
