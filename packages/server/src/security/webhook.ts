/** The one check of a platform's proof: over raw bytes, in constant time. */
import { hash, timingSafeEqual } from 'node:crypto'
import type { WebhookVerification } from '@posthouse/contract'

/** Whether the call is the platform's own. `token` needs no body and is checked before one byte of it is read. */
export function verifyWebhook(
  verification: WebhookVerification,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): boolean {
  const given = headers[verification.header.toLowerCase()]
  // Without a secret nothing passes: an unset one must never open the door.
  if (typeof given !== 'string' || verification.secret === '') return false
  return timingSafeEqual(digest(given), digestOf(verification))
}

/** Digests are compared, so that neither content nor length shows in the time. */
const digest = (text: string) => hash('sha256', text, 'buffer')

const digests = new WeakMap<WebhookVerification, Buffer>()

function digestOf(verification: WebhookVerification): Buffer {
  const known = digests.get(verification)
  if (known) return known
  const made = digest(verification.secret)
  digests.set(verification, made)
  return made
}
