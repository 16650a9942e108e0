/** Bytes of files that people sent or that we made, sealed at rest. */

export interface Blobs {
  /** Stores at most `limit` bytes; answers how many there were. @throws PosthouseError `too-large`. Nothing stays behind when it throws. */
  put(id: string, bytes: AsyncIterable<Uint8Array>, limit: number): Promise<number>
  /** @throws PosthouseError `not-found`, and an error when the content was changed or cut. */
  get(id: string): AsyncIterable<Uint8Array>
  remove(id: string): Promise<void>
}
