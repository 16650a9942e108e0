/** The one WebSocket client of the gateway, for addresses that its owner configured. */
import { type Connect, FetchError, type Socket, type SocketEnd, type SocketOptions } from '@posthouse/contract'
import { WebSocket } from 'ws'

const CONNECT = 10_000
const SILENCE = 60_000
const MOST_FRAME = 8 * 1024 * 1024
/** Frames that nobody read yet; above it the line is told to wait. */
const MOST_WAITING = 256
/** How long the other side may take to say good-bye. */
const GOOD_BYE = 2000

/** Opens a WebSocket. @throws {FetchError} */
export const connect: Connect = async (url, options = {}) => {
  const { signal, connectTimeout = CONNECT } = options
  if (signal?.aborted) throw new FetchError('aborted', 'stopped before it was opened')
  const socket = open(url, options)
  // Frames may come with the very packet that opens it: they are kept from here on.
  const kept = keep(socket, options)
  const opened = Promise.withResolvers<void>()
  const fail = (kind: FetchError['kind'], message: string, cause?: unknown, status?: number) => {
    opened.reject(new FetchError(kind, message, cause, status))
    socket.terminate()
  }
  const late = setTimeout(() => fail('connect', `no WebSocket within ${connectTimeout} ms`), connectTimeout)
  const leave = () => fail('aborted', 'stopped while it was opened')
  signal?.addEventListener('abort', leave, { once: true })
  socket.once('open', opened.resolve)
  socket.once('unexpected-response', (_request, response) => {
    response.resume()
    const { statusCode = 0 } = response
    fail('connect', `answered ${statusCode} instead of opening a WebSocket`, undefined, statusCode)
  })
  socket.once('error', (error: NodeJS.ErrnoException) => fail('connect', error.code ?? error.message, error))
  socket.once('close', () => fail('connect', 'closed while it was opened'))
  try {
    await opened.promise
  } finally {
    clearTimeout(late)
    signal?.removeEventListener('abort', leave)
  }
  return kept
}

function open(url: string, { headers = {}, protocols = [], maxFrame = MOST_FRAME }: SocketOptions): WebSocket {
  try {
    return new WebSocket(url, [...protocols], { headers, maxPayload: maxFrame, perMessageDeflate: false, followRedirects: false })
  } catch (error) {
    throw new FetchError('connect', 'this is no address of a WebSocket', error)
  }
}

function keep(socket: WebSocket, { signal, silence = SILENCE }: SocketOptions): Socket {
  const waiting: (string | Uint8Array)[] = []
  const ended = Promise.withResolvers<SocketEnd>()
  let wake: (() => void) | undefined
  let over = false
  const watch = watchSilence(socket, silence)
  const leave = () => close(1000)
  const close = (code = 1000, reason = '') => {
    if (socket.readyState === WebSocket.CONNECTING) return socket.terminate()
    socket.close(code, reason)
    setTimeout(() => socket.terminate(), GOOD_BYE).unref()
  }
  signal?.addEventListener('abort', leave, { once: true })
  socket.on('message', (data: Buffer, binary) => {
    watch.heard()
    waiting.push(binary ? new Uint8Array(data) : data.toString('utf8'))
    if (waiting.length >= MOST_WAITING) socket.pause()
    wake?.()
  })
  socket.on('error', () => {})
  socket.once('close', (code, reason) => {
    over = true
    watch[Symbol.dispose]()
    signal?.removeEventListener('abort', leave)
    ended.resolve({ code, reason: reason.toString('utf8') })
    wake?.()
  })
  return {
    ended: ended.promise,
    close,
    send: (frame) =>
      new Promise((resolve, reject) => {
        if (socket.readyState !== WebSocket.OPEN) return reject(new FetchError('broken', 'the socket has ended'))
        socket.send(frame, (error) => (error ? reject(new FetchError('broken', error.message, error)) : resolve()))
      }),
    async *[Symbol.asyncIterator]() {
      while (true) {
        const frame = waiting.shift()
        if (frame !== undefined) {
          if (waiting.length < MOST_WAITING / 2 && socket.isPaused) socket.resume()
          yield frame
        } else if (over) return
        else {
          await new Promise<void>((resolve) => {
            wake = resolve
          })
          wake = undefined
        }
      }
    },
    async [Symbol.asyncDispose]() {
      close()
      // What nobody reads must not hold the good-bye.
      if (socket.isPaused) socket.resume()
      await ended.promise
    },
  }
}

/** Pings after half of the silence that is allowed, and cuts the line after all of it. */
function watchSilence(socket: WebSocket, silence: number): Disposable & { heard(): void } {
  let last = performance.now()
  const heard = () => {
    last = performance.now()
  }
  socket.on('ping', heard).on('pong', heard).once('open', heard)
  const timer =
    silence > 0
      ? setInterval(() => {
          const quiet = performance.now() - last
          // Who does not read hears no pong either.
          if (quiet >= silence && !socket.isPaused) socket.terminate()
          else if (quiet >= silence / 2 && socket.readyState === WebSocket.OPEN) socket.ping()
        }, silence / 4).unref()
      : undefined
  return { heard, [Symbol.dispose]: () => clearInterval(timer) }
}
