/** Server-sent events on a reply, with a sign of life, and an end that is noticed. */
import type { FastifyReply } from 'fastify'

export interface EventStream {
  /** Fires when the reader is gone or does not read. */
  readonly closed: AbortSignal
  send(event: string, data: unknown, id?: string): void
  /** One data line without a name, as some clients expect. */
  data(text: string): void
  end(): void
}

const SIGN_OF_LIFE = 15_000
/** Bytes that may wait for a reader that does not read. */
const MOST_WAITING = 4 * 1024 * 1024

export function openEventStream(reply: FastifyReply): EventStream {
  const closed = new AbortController()
  reply.hijack()
  const { raw } = reply
  const write = (text: string) => {
    if (raw.destroyed || raw.writableEnded) return
    raw.write(text)
    if (raw.writableLength > MOST_WAITING) raw.destroy()
  }
  const life = setInterval(() => write(': \n\n'), SIGN_OF_LIFE)
  const leave = () => {
    clearInterval(life)
    closed.abort()
  }
  if (raw.destroyed) leave()
  else {
    raw.on('close', leave)
    raw.writeHead(200, {
      ...(Object.fromEntries(Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined)) as Record<string, string>),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    raw.flushHeaders()
  }
  return {
    closed: closed.signal,
    send: (event, data, id) => write(`${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
    data: (text) => write(`data: ${text}\n\n`),
    end() {
      clearInterval(life)
      raw.end()
    },
  }
}

/** Fires when the caller hangs up before the answer is out. */
export function hangUp(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  if (reply.raw.destroyed) gone.abort()
  else reply.raw.on('close', () => gone.abort())
  return gone.signal
}
