/**
 * The Stream connection. The platform ends each from time to time and says so ten seconds ahead: the next one is opened then, and both are
 * read until the old one is over. Robot messages are handed over once, so what came is kept until it is committed.
 * https://open-dingtalk.github.io/developerpedia/docs/learn/stream/protocol
 */
import { type Connect, DeliveryError, type Socket, type SocketEnd, textIn } from '@posthouse/contract'
import { type Frame, openFrame } from './receive.ts'

export interface Line {
  readonly connect: Connect
  readonly clock: { now(): number; wait(ms: number, signal: AbortSignal): Promise<void> }
  /** Asks for an address that is good for one connection. */
  endpoint(signal: AbortSignal): Promise<string>
  /** The platform let us in. */
  opened(): void
  /** It said something. */
  heard(): void
  /** Resolves with what the answer carries (JSON) when what came is committed. */
  take(frame: string): Promise<string | undefined>
  /** What was not taken. */
  refused(problem: unknown): void
}

/** Bytes of a frame. Messages are small: files come by their codes. */
const MOST_FRAME = 2 * 1024 * 1024
/** Handed over and not committed; above it nothing more is read. */
const MOST_AT_ONCE = 100
/** Milliseconds; load balancers cut lines that say nothing. We ping after half of it. */
const SILENCE = 30_000
/** A connection that lasted so long is replaced at once when it breaks: nobody keeps what is said meanwhile. */
const STABLE = 10_000
/** Between two tries to replace a connection that is about to end. */
const TRY_AGAIN = 1000

/** Holds a connection, and those that replace it, until one breaks or the signal fires. @throws FetchError @throws ApiError @throws DeliveryError */
export async function holdStream(line: Line, signal: AbortSignal): Promise<void> {
  const { clock } = line
  const reading = new Set<Promise<SocketEnd>>()
  let socket = await open(line, signal)
  try {
    for (;;) {
      const since = clock.now()
      const noticed = Promise.withResolvers<undefined>()
      const read = readAll(line, socket, () => noticed.resolve(undefined))
      const quiet = read.finally(() => reading.delete(quiet))
      reading.add(quiet)
      const ended = await Promise.race([noticed.promise, read])
      if (signal.aborted) return
      if (ended === undefined) socket = await replace(line, read, signal)
      else if (clock.now() - since >= STABLE) socket = await open(line, signal)
      else throw new DeliveryError('transient', `the connection ended (${ended.code} ${ended.reason})`)
    }
  } finally {
    socket.close()
    await Promise.all(reading)
  }
}

async function open({ connect, endpoint, opened }: Line, signal: AbortSignal): Promise<Socket> {
  const socket = await connect(await endpoint(signal), { signal, silence: SILENCE, maxFrame: MOST_FRAME })
  opened()
  return socket
}

/** Opens the next connection while the old one is there still. @throws what the last try threw */
async function replace(line: Line, old: Promise<SocketEnd>, signal: AbortSignal): Promise<Socket> {
  const over = new AbortController()
  void old.then(() => over.abort())
  for (;;) {
    try {
      return await open(line, signal)
    } catch (error) {
      if (signal.aborted || over.signal.aborted) throw error
      line.refused(error)
      await line.clock.wait(TRY_AGAIN, AbortSignal.any([signal, over.signal]))
    }
  }
}

/** Reads to the end; resolves when all that came is committed. */
async function readAll(line: Line, socket: Socket, notice: () => void): Promise<SocketEnd> {
  const working = new Set<Promise<void>>()
  for await (const bytes of socket) {
    line.heard()
    const work = answer(line, socket, typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('utf8'), notice).catch(line.refused)
    const quiet: Promise<void> = work.finally(() => working.delete(quiet))
    working.add(quiet)
    if (working.size >= MOST_AT_ONCE) await Promise.race(working)
  }
  await Promise.all(working)
  return await socket.ended
}

async function answer(line: Line, socket: Socket, text: string, notice: () => void): Promise<void> {
  const frame: Frame = openFrame(text)
  const topic = textIn(frame.headers.topic)
  if (frame.type === 'SYSTEM' && topic === 'disconnect') return notice()
  if (frame.type === 'SYSTEM') return await say(socket, frame, 200, JSON.stringify(frame.data))
  try {
    const data = await line.take(text)
    await say(socket, frame, 200, data ?? '{"response":null}')
  } catch (error) {
    line.refused(error)
    await say(socket, frame, 500, '{"response":null}')
  }
}

/** The line may be gone by now; the platform asks for no more than a sign. */
async function say(socket: Socket, { headers }: Frame, code: number, data: string): Promise<void> {
  const head = { contentType: 'application/json', messageId: textIn(headers.messageId) }
  const answered = JSON.stringify({ code, headers: head, message: code === 200 ? 'OK' : 'internal error', data })
  await socket.send(answered).catch(() => {})
}
