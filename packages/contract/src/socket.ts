/** A WebSocket as channels see it: frames in order, an end that is always told, and no silence that lasts. */

export interface SocketOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly protocols?: readonly string[]
  readonly signal?: AbortSignal
  /** Milliseconds until it is open; default 10 s. */
  readonly connectTimeout?: number
  /** Bytes of one frame; default 8 MiB. A longer one ends the socket. */
  readonly maxFrame?: number
  /**
   * Milliseconds after which a socket that says nothing, not even to a ping (sent after half of it), is taken for dead; default 60 s.
   * 0: the channel looks by its own heartbeat.
   */
  readonly silence?: number
}

/** How a socket ended: the platform's code (1006 when the line was cut) and its words. */
export interface SocketEnd {
  readonly code: number
  readonly reason: string
}

/**
 * An open socket. Iterating gives each frame once (text as a string), waits for who reads it, and ends with the socket; what was not read
 * then is lost, as nothing was acknowledged. Disposing closes it.
 */
export interface Socket extends AsyncIterable<string | Uint8Array>, AsyncDisposable {
  /** Resolves when the frame left this process. @throws FetchError `broken` on a socket that ended. */
  send(frame: string | Uint8Array): Promise<void>
  close(code?: number, reason?: string): void
  /** Resolves when it ended, whoever ended it. */
  readonly ended: Promise<SocketEnd>
}

/**
 * Opens a WebSocket (ws: or wss:).
 * @throws FetchError when it does not come to stand; with `status` when the other side refused it by HTTP.
 */
export type Connect = (url: string, options?: SocketOptions) => Promise<Socket>
