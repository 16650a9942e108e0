/** The one check of a platform's proof: over raw bytes, in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { WebhookVerification } from '@posthouse/contract'

/** Whether the call is the platform's own. `token` needs no body and is checked before one byte of it is read. */
export function verifyWebhook(
  verification: WebhookVerification,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): boolean {
  const given = headers[verification.header.toLowerCase()]
  // Without a secret nothing passes: an unset one must never open the door.
  if (typeof given !== 'string' || verification.secret === '') return false
  return equal(given, verification.secret)
}

/** Compares digests, so that neither content nor length shows in the time. */
function equal(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest())
}
