/**
 * The long connection: protobuf frames (as in the official clients), a heartbeat, messages in parts, an acknowledgement for each.
 * https://open.feishu.cn/document/server-docs/event-subscription-guide/event-subscription-configure-/request-url-configuration-case
 */
import { type Connect, DeliveryError, FetchError, isPosthouseError, PosthouseError, type Socket } from '@posthouse/contract'
import type { Api } from './api.ts'

// ---- Frames -----------------------------------------------------------------------------------------------------------

export interface Frame {
  readonly seq: bigint
  readonly log: bigint
  readonly service: bigint
  readonly method: bigint
  readonly headers: ReadonlyMap<string, string>
  readonly payload: Uint8Array
  /** Encoding and type of the payload, and another id for logs: given back as they came. */
  readonly notes: ReadonlyMap<number, string>
}

const CONTROL = 0n
const DATA = 1n
const MOST_HEADERS = 64

/** Fields 1 to 4 are numbers, 5 the headers, 6, 7 and 9 texts, 8 the payload. @throws PosthouseError `invalid` */
export function decodeFrame(bytes: Uint8Array): Frame {
  const numbers = new Map<number, bigint>()
  const headers = new Map<string, string>()
  const notes = new Map<number, string>()
  let payload: Uint8Array = new Uint8Array()
  eachField(bytes, (field, value) => {
    if (typeof value === 'bigint') numbers.set(field, value)
    else if (field === 5 && headers.size < MOST_HEADERS) {
      let key = ''
      let text = ''
      eachField(value, (part, inner) => {
        if (part === 1 && typeof inner !== 'bigint') key = utf8(inner)
        if (part === 2 && typeof inner !== 'bigint') text = utf8(inner)
      })
      headers.set(key, text)
    } else if (field === 8) payload = value
    else if (field === 6 || field === 7 || field === 9) notes.set(field, utf8(value))
  })
  const number = (field: number) => numbers.get(field) ?? 0n
  return { seq: number(1), log: number(2), service: number(3), method: number(4), headers, payload, notes }
}

export function encodeFrame({ seq, log, service, method, headers, payload, notes }: Frame): Uint8Array {
  const parts: Uint8Array[] = [seq, log, service, method].map((value, index) => Buffer.concat([varint((index + 1) << 3), varint(value)]))
  for (const [key, value] of headers) parts.push(field(5, Buffer.concat([field(1, Buffer.from(key)), field(2, Buffer.from(value))])))
  for (const [number, text] of notes) parts.push(field(number, Buffer.from(text)))
  parts.push(field(8, payload))
  return Buffer.concat(parts)
}

const utf8 = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')
const field = (number: number, bytes: Uint8Array) => Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes])

function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Uint8Array.from([...bytes, Number(rest)])
}

function eachField(bytes: Uint8Array, look: (field: number, value: bigint | Uint8Array) => void): void {
  let at = 0
  const number = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) break
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new PosthouseError('invalid', 'this is no frame of the long connection')
  }
  while (at < bytes.length) {
    const tag = Number(number())
    const kind = tag & 7
    if (kind === 0) look(tag >> 3, number())
    else {
      const length = kind === 2 ? Number(number()) : kind === 1 ? 8 : kind === 5 ? 4 : Number.NaN
      if (!(at + length <= bytes.length)) throw new PosthouseError('invalid', 'this is no frame of the long connection')
      if (kind === 2) look(tag >> 3, bytes.subarray(at, at + length))
      at += length
    }
  }
}

// ---- Parts ------------------------------------------------------------------------------------------------------------

/** How many messages may be incomplete at a time, how many parts and bytes one may have, and how long it is waited for. */
const MOST_INCOMPLETE = 64
const MOST_PARTS = 256
const MOST_BYTES = 2 * 1024 * 1024
const PATIENCE = 10_000

/** Puts together what comes in parts; answers the whole when its last part is there. */
export function createAssembly(now: () => number): (frame: Frame) => Uint8Array | undefined {
  const incomplete = new Map<string, { readonly since: number; readonly parts: Map<number, Uint8Array> }>()
  return ({ headers, payload }) => {
    const sum = Number(headers.get('sum') ?? 1)
    if (sum <= 1) return payload
    const seq = Number(headers.get('seq'))
    const id = headers.get('message_id') ?? ''
    if (!(Number.isInteger(sum) && sum <= MOST_PARTS && Number.isInteger(seq) && seq >= 0 && seq < sum))
      throw new PosthouseError('invalid', 'this is no part of a message')
    for (const [other, { since }] of incomplete) {
      if (incomplete.size < MOST_INCOMPLETE && now() - since < PATIENCE) break
      incomplete.delete(other)
    }
    const { parts } = incomplete.get(id) ?? { parts: new Map<number, Uint8Array>() }
    if (parts.size === 0) incomplete.set(id, { since: now(), parts })
    parts.set(seq, payload)
    const size = [...parts.values()].reduce((total, part) => total + part.length, 0)
    if (size > MOST_BYTES || parts.size === sum) incomplete.delete(id)
    if (size > MOST_BYTES) throw new PosthouseError('invalid', 'the parts of a message are larger than any message')
    if (parts.size < sum) return undefined
    return Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, part]) => part))
  }
}

// ---- The connection ---------------------------------------------------------------------------------------------------

export interface Line {
  readonly api: Pick<Api, 'endpoint'>
  readonly connect: Connect
  readonly clock: { now(): number; wait(ms: number, signal: AbortSignal): Promise<void> }
  /** The platform let us in. */
  opened(): void
  /** It said something. */
  heard(): void
  /** Resolves with the answer (JSON) when what came is committed; what it throws makes it come again. */
  take(payload: Uint8Array): Promise<string | undefined>
  /** What was not taken. */
  refused(problem: unknown): void
}

/** Seconds between two heartbeats, unless the platform tells otherwise, and how long their answer may take. */
const PING_EVERY = 120
const PONG_WITHIN = 15_000
/** Handed over and not acknowledged; above it nothing more is read. */
const MOST_AT_ONCE = 100

/** Holds one connection until it breaks or the signal fires. @throws FetchError @throws ApiError @throws DeliveryError */
export async function holdConnection(line: Line, signal: AbortSignal): Promise<void> {
  const { api, connect, clock } = line
  const { url, config } = await api.endpoint({ signal })
  // The heartbeat is ours: no other ping is promised an answer.
  const socket = await connect(url, { signal, silence: 0, maxFrame: MOST_BYTES }).catch(refusedAtDoor)
  const over = new AbortController()
  const working = new Set<Promise<void>>()
  const service = BigInt(/[?&]service_id=(\d{1,18})(?:&|$)/.exec(url)?.[1] ?? 0)
  const state = { heard: clock.now(), every: everyOf(config) ?? PING_EVERY * 1000, deaf: false }
  const assemble = createAssembly(clock.now)
  line.opened()
  const beating = beat(socket, service, state, clock, over.signal)
  try {
    for await (const bytes of socket) {
      state.heard = clock.now()
      line.heard()
      if (typeof bytes === 'string') continue
      const work = answer(socket, bytes, assemble, line, state).catch(line.refused)
      const quiet: Promise<void> = work.finally(() => working.delete(quiet))
      working.add(quiet)
      if (working.size >= MOST_AT_ONCE) await Promise.race(working)
    }
  } finally {
    over.abort()
    socket.close()
    await Promise.all(working)
    await beating
  }
  if (signal.aborted) return
  const { code, reason } = await socket.ended
  throw new DeliveryError(
    'transient',
    state.deaf ? 'the long connection does not answer any more' : `the long connection ended (${code} ${reason})`,
  )
}

function refusedAtDoor(error: unknown): never {
  const status = error instanceof FetchError ? error.status : undefined
  if (status !== 401 && status !== 403) throw error
  throw new DeliveryError('auth', `the long connection was refused (${status})`)
}

function everyOf({ PingInterval: seconds }: Readonly<Record<string, unknown>>): number | undefined {
  return typeof seconds === 'number' && seconds >= 1 && seconds <= 3600 ? seconds * 1000 : undefined
}

interface Pulse {
  heard: number
  every: number
  deaf: boolean
}

async function beat(socket: Socket, service: bigint, state: Pulse, clock: Line['clock'], over: AbortSignal): Promise<void> {
  const ping = {
    seq: 0n,
    log: 0n,
    service,
    method: CONTROL,
    headers: new Map([['type', 'ping']]),
    payload: new Uint8Array(),
    notes: new Map(),
  }
  while (!over.aborted) {
    const sent = clock.now()
    await socket.send(encodeFrame(ping)).catch(() => {})
    await clock.wait(Math.min(PONG_WITHIN, state.every), over)
    if (!over.aborted && state.heard < sent) {
      state.deaf = true
      socket.close()
      return
    }
    await clock.wait(Math.max(state.every - PONG_WITHIN, 0), over)
  }
}

/** The acknowledgement is the frame itself with another payload: 200, or 500 for what must come again. */
async function answer(
  socket: Socket,
  bytes: Uint8Array,
  assemble: ReturnType<typeof createAssembly>,
  line: Line,
  state: Pulse,
): Promise<void> {
  const frame = decodeFrame(bytes)
  const type = frame.headers.get('type')
  if (frame.method === CONTROL && type === 'pong' && frame.payload.length > 0) {
    state.every = everyOf(JSON.parse(utf8(frame.payload)) as Record<string, unknown>) ?? state.every
  }
  if (frame.method !== DATA || (type !== 'event' && type !== 'card')) return
  const whole = assemble(frame)
  if (!whole) return
  const started = line.clock.now()
  const said = await line.take(whole).then(
    (data) => ({ code: 200, ...(data === undefined ? {} : { data: Buffer.from(data).toString('base64') }) }),
    (error: unknown) => {
      line.refused(error)
      return { code: isPosthouseError(error) && error.code === 'invalid' ? 400 : 500 }
    },
  )
  const headers = new Map([...frame.headers, ['biz_rt', String(line.clock.now() - started)]])
  await socket.send(encodeFrame({ ...frame, headers, payload: Buffer.from(JSON.stringify(said)) })).catch(() => {})
}
