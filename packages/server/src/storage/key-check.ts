/** A known text, sealed with the key of the first start: whether a key fits is known before anything is opened or written with it. */
import type { Sealer } from '../ports/sealer.ts'
import { KEY_CHECK } from './schema.ts'

const PLACE = `meta.value|${KEY_CHECK}`

export const sealCheck = (sealer: Sealer): Uint8Array => sealer.seal('posthouse', PLACE)

export function opens(sealer: Sealer, sealed: Uint8Array): boolean {
  try {
    sealer.open(sealed, PLACE)
    return true
  } catch {
    return false
  }
}
