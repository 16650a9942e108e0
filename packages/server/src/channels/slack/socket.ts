/** One socket of Slack's after the other: the next is open before the last is left, and each frame is acknowledged after its commit. */
import { type ChannelHost, DeliveryError, isPosthouseError, type Socket } from '@posthouse/contract'
import type { SlackReading } from './receive.ts'

export interface SocketParts {
  readonly host: Pick<ChannelHost, 'connect' | 'log' | 'report'>
  readonly clock: { wait(ms: number, signal: AbortSignal): Promise<void> }
  /** Where the next socket is to be opened. */
  address(signal: AbortSignal): Promise<string>
  heard(): void
  /** @throws PosthouseError `invalid` */
  read(frame: unknown): SlackReading
  /** Resolves when it is committed. */
  admit(reading: SlackReading): Promise<void>
}

const HELLO_WITHIN = 15_000
/** Slack pings every few seconds. */
const SILENCE = 30_000
/** Frames that were read and not yet acknowledged; above it the line is told to wait. */
const MOST_IN_FLIGHT = 100

/** How long to wait after the gateway refused a message, in milliseconds. */
export function retryAfter(refusal: unknown): number {
  return (isPosthouseError(refusal) && refusal.retryAfter) || 1000
}

/** One socket, from its hello to its end. */
interface Line {
  /** Of this app when it greeted us, this one included: https://docs.slack.dev/apis/events-api/using-socket-mode */
  readonly connections: number
  /** Resolves when Slack asks for another one, or we are to stop; rejects when it broke. */
  readonly over: Promise<void>
  /** Ends it when what was read is committed and acknowledged. */
  leave(): Promise<void>
}

/** Resolves when the signal fired and all is quiet. @throws DeliveryError when the connection broke. */
export async function keepSocket(parts: SocketParts, signal: AbortSignal): Promise<void> {
  let line: Line | undefined
  try {
    while (!signal.aborted) {
      // What comes over the old one meanwhile is taken.
      const next = await openLine(parts, signal)
      const strangers = next.connections - (line ? 2 : 1)
      await line?.leave()
      line = next
      parts.host.report('connected', strangers > 0 ? sharedWords(strangers) : undefined)
      await line.over
    }
  } finally {
    await line?.leave()
  }
}

/** Slack gives each message to one of the connections: what a stray program takes is missed here, and nothing else tells of it. */
const sharedWords = (others: number) =>
  `when this connection was opened, ${others} more took messages of this app: unless that was another node of yours or one that had just died, stop the other program or make a new app_token`

async function openLine(parts: SocketParts, signal: AbortSignal): Promise<Line> {
  const url = await parts.address(signal)
  const socket = await open(parts, url, signal)
  const hello = Promise.withResolvers<number>()
  const over = Promise.withResolvers<void>()
  const leaving = new AbortController()
  const inFlight = createInFlight()
  const reading = readFrames(parts, { socket, inFlight, hello, over, leaving: AbortSignal.any([signal, leaving.signal]) }).catch(
    over.reject,
  )
  over.promise.catch(() => undefined)
  signal.addEventListener('abort', () => over.resolve(), { once: true })
  const leave = async () => {
    leaving.abort()
    await inFlight.quiet()
    socket.close()
    await reading
  }
  const late = setTimeout(() => over.reject(new DeliveryError('transient', 'Slack did not greet us')), HELLO_WITHIN)
  try {
    const connections = await Promise.race([hello.promise, over.promise.then(() => 1)])
    return { connections, over: over.promise, leave }
  } catch (error) {
    await leave()
    throw error
  } finally {
    clearTimeout(late)
  }
}

/** The signal cuts short the opening only: what was read is acknowledged before the socket ends. */
async function open({ host }: SocketParts, url: string, signal: AbortSignal): Promise<Socket> {
  const opening = new AbortController()
  const stop = () => opening.abort()
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await host.connect(url, { signal: opening.signal, silence: SILENCE })
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

interface Frames {
  readonly socket: Socket
  readonly inFlight: InFlight
  readonly hello: PromiseWithResolvers<number>
  readonly over: PromiseWithResolvers<void>
  /** Fires when nothing more may be taken. */
  readonly leaving: AbortSignal
}

/** Rejects when the socket ended. */
async function readFrames(parts: SocketParts, frames: Frames): Promise<void> {
  const { socket, hello, over, leaving } = frames
  for await (const text of socket) {
    const frame = objectOf(text)
    if (!frame) {
      parts.host.log.warn({}, 'skipped a frame that is no JSON object')
      continue
    }
    parts.heard()
    if (frame.type === 'hello') hello.resolve(Number.isSafeInteger(frame.num_connections) ? Number(frame.num_connections) : 1)
    else if (frame.type === 'disconnect') {
      if (frame.reason === 'link_disabled') throw new DeliveryError('auth', 'Socket Mode is switched off for this app')
      if (frame.reason === 'too_many_websockets') throw new DeliveryError('conflict', 'too many connections of this app are open')
      over.resolve()
    } else if (!leaving.aborted) await take(parts, frames, frame)
  }
  throw new DeliveryError('transient', `the socket ended with ${(await socket.ended).code}`)
}

async function take(parts: SocketParts, { socket, inFlight, leaving }: Frames, frame: Readonly<Record<string, unknown>>): Promise<void> {
  const { host, clock } = parts
  const { envelope_id: id } = frame
  if (typeof id !== 'string') return
  const acknowledge = (reading?: SlackReading) =>
    socket.send(JSON.stringify({ envelope_id: id, ...answerOf(reading) })).catch(() => undefined)
  let reading: SlackReading
  try {
    reading = parts.read(frame)
  } catch (error) {
    // It would be no better the next time.
    host.log.warn({ problem: String(error) }, 'skipped a malformed frame')
    await acknowledge()
    return
  }
  await inFlight.run(reading.messages[0]?.place.room ?? id, async () => {
    // A refusal is waited off here and not by Slack's repetition, which would come behind what was said later.
    while (!leaving.aborted) {
      try {
        await parts.admit(reading)
        await acknowledge(reading)
        return
      } catch (error) {
        host.log.warn({ problem: String(error) }, 'a message was not taken; it is tried again')
        await clock.wait(retryAfter(error), leaving)
      }
    }
  })
}

/** What a slash command is answered with its acknowledgement. */
function answerOf(reading: SlackReading | undefined): object {
  const payload = objectOf(reading?.response?.body)
  return payload ? { payload } : {}
}

function objectOf(text: string | Uint8Array | undefined): Readonly<Record<string, unknown>> | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

type InFlight = ReturnType<typeof createInFlight>

/** What is being committed: in order within a room, and only so much at once. */
function createInFlight() {
  const rooms = new Map<string, Promise<void>>()
  const all = new Set<Promise<void>>()
  return {
    async run(room: string, work: () => Promise<void>): Promise<void> {
      while (all.size >= MOST_IN_FLIGHT) await Promise.race(all)
      const mine: Promise<void> = (rooms.get(room) ?? Promise.resolve()).then(work).finally(() => {
        all.delete(mine)
        if (rooms.get(room) === mine) rooms.delete(room)
      })
      rooms.set(room, mine)
      all.add(mine)
    },
    async quiet(): Promise<void> {
      while (all.size > 0) await Promise.all(all)
    },
  }
}
