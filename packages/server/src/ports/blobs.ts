/** Bytes of files that people sent or that we made, sealed at rest. */

export interface Blobs {
  /**
   * Stores at most `limit` bytes; answers how many there were. `owner`: whose room they take. Nothing stays behind when it throws.
   * @throws PosthouseError `too-large`; `no-room` beyond the quota.
   */
  put(id: string, bytes: AsyncIterable<Uint8Array>, limit: number, owner?: string): Promise<number>
  /** @throws PosthouseError `not-found`, and an error when the content was changed or cut. */
  get(id: string): AsyncIterable<Uint8Array>
  remove(id: string): Promise<void>
  /** Ids that were made in that time, whether whole or abandoned in the middle, some at a time. */
  ids(from: number, until: number): AsyncIterable<readonly string[]>
}
