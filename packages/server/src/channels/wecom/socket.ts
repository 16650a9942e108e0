/**
 * An AI bot's long connection: it says who it is, beats, and each thing it asks is acknowledged under the id that it was asked with. What
 * people say is not acknowledged, so it is not repeated either. developer.work.weixin.qq.com/document/path/101463 and the official client
 */
import { randomUUID } from 'node:crypto'
import { type Connect, DeliveryError, FetchError, type Fields, fieldsOf, type Socket, textIn } from '@posthouse/contract'
import { type Answer, ApiError } from './api.ts'
import { parseFrame } from './receive.ts'

export interface Line {
  readonly connect: Connect
  readonly url: string
  readonly bot_id: string
  readonly secret: string
  readonly clock: { now(): number; wait(ms: number, signal: AbortSignal): Promise<void> }
  /** The platform let us in. */
  opened(desk: Asking): void
  /** It said something. */
  heard(): void
  /** Takes what came; it resolves when that is committed, and never rejects. Frames are given in their order. */
  take(frame: Fields): Promise<void>
  refused(problem: unknown): void
}

export interface Asking {
  /**
   * Asks under an id: a new one unless given. Those of one id wait for each other.
   * @throws ApiError when it is refused. @throws FetchError `connect` when it was surely not asked, another when nobody knows.
   */
  ask(cmd: string, body: object, signal?: AbortSignal, id?: string): Promise<Answer>
}

/** The official client's figures. */
const PING_EVERY = 30_000
const ACKNOWLEDGED_WITHIN = 10_000
/** Taken and not committed; above it nothing more is read. */
const MOST_HELD = 200
const MOST_FRAME = 4 * 1024 * 1024
/** One more connection with our identity came. */
const KICKED = 'disconnected_event'

/** Holds one connection until it breaks or the signal fires. @throws FetchError @throws ApiError @throws DeliveryError */
export async function holdConnection(line: Line, signal: AbortSignal): Promise<void> {
  const { clock, bot_id, secret } = line
  // The heartbeat is ours: no other ping is promised an answer.
  const socket = await line.connect(line.url, { signal, silence: 0, maxFrame: MOST_FRAME })
  const over = new AbortController()
  const asking = createAsking(socket, over.signal)
  const state = { heard: clock.now(), kicked: false, problem: undefined as unknown }
  const leave = () => socket.close()
  signal.addEventListener('abort', leave, { once: true })
  const talking = talk().catch((error: unknown) => {
    state.problem = error
    socket.close()
  })
  let held = 0
  let taken = Promise.resolve()

  async function talk(): Promise<void> {
    await asking.ask('aibot_subscribe', { bot_id, secret })
    line.opened(asking)
    while (!over.signal.aborted) {
      await clock.wait(PING_EVERY, over.signal)
      if (!over.signal.aborted) await asking.ask('ping', {})
    }
  }

  try {
    for await (const bytes of socket) {
      state.heard = clock.now()
      line.heard()
      const frame = readOr(bytes, line.refused)
      if (!frame || asking.acknowledge(frame)) continue
      if (textIn(fieldsOf(fieldsOf(frame.body).event).eventtype) === KICKED) {
        state.kicked = true
        socket.close()
        continue
      }
      held++
      taken = taken.then(() => line.take(frame)).finally(() => held--)
      if (held >= MOST_HELD) await taken
    }
  } finally {
    signal.removeEventListener('abort', leave)
    over.abort()
    socket.close()
    await Promise.all([talking, taken])
  }
  if (state.kicked) throw new DeliveryError('conflict', 'another connection was opened with the same bot_id')
  if (signal.aborted) return
  const { code, reason } = await socket.ended
  throw isTelling(state.problem) ? state.problem : new DeliveryError('transient', `the long connection ended (${code} ${reason})`)
}

/** A refusal says more than the end that came of it; that the line broke is said by the end. */
const isTelling = (problem: unknown): problem is Error =>
  problem instanceof ApiError || (problem instanceof FetchError && problem.kind === 'timeout')

function readOr(bytes: string | Uint8Array, refused: (problem: unknown) => void): Fields | undefined {
  try {
    return parseFrame(bytes)
  } catch (error) {
    refused(error)
    return undefined
  }
}

interface Waiting {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

function createAsking(socket: Socket, over: AbortSignal): Asking & { acknowledge(frame: Fields): boolean } {
  const waiting = new Map<string, Waiting>()
  const lines = new Map<string, Promise<unknown>>()
  over.addEventListener('abort', () => {
    for (const { reject } of waiting.values()) reject(new FetchError('broken', 'the long connection ended before it was acknowledged'))
  })

  /** Once it left this process only the platform ends it: a later one with its id would else get its acknowledgement. */
  const once = async (cmd: string, body: object, id: string): Promise<Answer> => {
    if (over.aborted) throw new FetchError('connect', 'the long connection ended before it was sent')
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    waiting.set(id, { resolve, reject })
    const late = setTimeout(() => {
      reject(new FetchError('timeout', `not acknowledged within ${ACKNOWLEDGED_WITHIN} ms`))
      socket.close()
    }, ACKNOWLEDGED_WITHIN)
    try {
      await Promise.all([promise, socket.send(JSON.stringify({ cmd, headers: { req_id: id }, body }))])
      return await promise
    } finally {
      clearTimeout(late)
      waiting.delete(id)
    }
  }

  return {
    async ask(cmd, body, signal, id = `${cmd}_${randomUUID()}`) {
      const before = lines.get(id) ?? Promise.resolve()
      const work = before.then(() => {
        if (signal?.aborted) throw new FetchError('connect', 'stopped before it was sent')
        return once(cmd, body, id)
      })
      const quiet: Promise<unknown> = work
        .catch(() => undefined)
        .finally(() => {
          if (lines.get(id) === quiet) lines.delete(id)
        })
      lines.set(id, quiet)
      return await stoppable(work, signal)
    },
    acknowledge({ cmd, headers, errcode, errmsg, body }) {
      if (cmd !== undefined && cmd !== '') return false
      const found = waiting.get(textIn(fieldsOf(headers).req_id))
      const code = typeof errcode === 'number' ? errcode : 0
      if (code === 0) found?.resolve(fieldsOf(body))
      else found?.reject(new ApiError(code, 200, textIn(errmsg).slice(0, 500)))
      return true
    },
  }
}

async function stoppable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work
  const stopped = Promise.withResolvers<never>()
  const leave = () => stopped.reject(new FetchError('aborted', 'stopped before it was acknowledged'))
  signal.addEventListener('abort', leave, { once: true })
  try {
    return await Promise.race([work, stopped.promise])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
