/** Encryption at rest as storage sees it (P12). */

export interface Sealer {
  /** Encrypts; `at` names the place (`table.column|row`), so that a sealed value moved elsewhere does not open. */
  seal(plain: string | Uint8Array, at: string): Uint8Array
  /** @throws when the value was changed, moved, or sealed with another key. */
  open(sealed: Uint8Array, at: string): Buffer
}
