/**
 * The gateway: one session that is kept over connections and restarts, as each new one is counted (a thousand a day, then the token is made
 * anew). What it brings is taken in order, and only what was admitted is confirmed: by heartbeats, by RESUME and in the account's state.
 * https://docs.discord.com/developers/events/gateway
 */
import { type ChannelHost, DeliveryError, fieldsOf, listIn, parseKept, type Socket } from '@posthouse/contract'
import { type Api, ApiError } from './api.ts'
import { idOfTime, parseFrame } from './receive.ts'

/** A session as it is kept. */
export interface Session {
  /** Blank: it is over, the next connection begins a new one. */
  readonly id: string
  readonly url: string
  /** Everything up to here was admitted. */
  readonly seq: number
  readonly us: { readonly id: string; readonly username: string }
  /** Our roles, in all servers. */
  readonly roles: readonly string[]
  /** When all that was known had been admitted; epoch milliseconds. */
  readonly at: number
  /** Since when messages may have been missed before it. */
  readonly gap?: number
}

export interface Line {
  readonly api: Api
  readonly token: string
  readonly clock: { now(): number; wait(ms: number, signal: AbortSignal): Promise<void> }
  readonly host: Pick<ChannelHost, 'log' | 'connect' | 'state' | 'report' | 'received'>
  readonly stop: AbortSignal
  /** Ids of channels of direct messages, the latest last. */
  directs(): readonly string[]
  /** The session is this one now. */
  changed(session: Session): void
  /** Resolves when all that the event says is admitted. @throws when we have to go. */
  take(event: Event): Promise<void>
  readonly memory: LineMemory
}

/** What is remembered over connections. */
export interface LineMemory {
  /** When a session was last begun. */
  begunAt: number
  /** How often in a row there was no connection where a session goes on. */
  unreachable: number
}

/** An event as it came: `t` names it. */
export interface Event {
  readonly t: string
  readonly s?: number
  readonly d: unknown
}

/** GUILDS, GUILD_MESSAGES, GUILD_MESSAGE_REACTIONS, DIRECT_MESSAGES, DIRECT_MESSAGE_REACTIONS, MESSAGE_CONTENT. */
const INTENTS = (1 << 0) | (1 << 9) | (1 << 10) | (1 << 12) | (1 << 13) | (1 << 15)
/** Any code but 1000 and 1001 keeps the session. */
const KEEP = 4200
const BEGIN_EVERY = 5000
/** Sessions that are left untouched: one too many costs the token. */
const RESERVE = 5
const SAVE_EVERY = 1000
/** Events that wait to be admitted; above it the line is told to wait. */
const MOST_WAITING = 1000
/** A connection that lasted so long ended as all do; it is opened anew without a word. */
const LASTED = 5000
const CALL = 10_000
/** A line on which nobody lets us in is none. */
const LET_IN = 30_000

/** Close codes that no new try mends. */
const REFUSALS: Readonly<Record<number, string>> = {
  4004: 'Discord refused the token; reset it in the Developer Portal, "Bot", and configure the new one',
  4010: 'Discord refused our shard',
  4011: 'the bot is in too many servers for one connection, which is not supported',
  4012: 'Discord does not speak version 10 of its gateway any more; update Posthouse',
  4013: 'Discord does not know one of our intents; update Posthouse',
  4014: 'the Message Content Intent is not enabled: Developer Portal, your application, "Bot", "Privileged Gateway Intents"',
}
/** After these the session is over. */
const SESSION_OVER = [1000, 1001, 4003, 4007, 4009]

/** Listens until the signal fires. @throws DeliveryError when the line broke before it had lasted. */
export async function listenToGateway(line: Line): Promise<void> {
  let session = parseKept<Session>(await line.host.state.get('session'))
  const keep = async (next: Session) => {
    session = next
    await line.host.state.set('session', JSON.stringify(next))
  }
  if (session) line.changed(session)
  while (!line.stop.aborted) {
    const begun = line.clock.now()
    const problem = await connectOnce(line, session, keep)
    if (line.stop.aborted) return
    if (line.clock.now() - begun < LASTED) throw new DeliveryError('transient', problem)
    line.host.log.info({ problem }, 'the gateway is connected anew')
  }
}

/** One connection. Answers why it ended. @throws DeliveryError when Discord does not want us. */
async function connectOnce(line: Line, known: Session | undefined, keep: (session: Session) => Promise<void>): Promise<string> {
  const { host, clock, stop, token } = line
  const isResume = known !== undefined && known.id !== ''
  const socket = await (isResume ? openAgain(line, known, keep) : open(line, await begin(line)))
  let session = known
  let savedAt = clock.now()
  let isDirty = false
  let isIn = false
  let acknowledged = true
  let goes: string | undefined
  let failure: { readonly error: unknown } | undefined
  const over = new AbortController()
  const leave = (why: string) => {
    goes ??= why
    socket.close(KEEP, '')
  }
  const quit = () => leave('stopped')
  stop.addEventListener('abort', quit, { once: true })
  const say = (op: number, d: unknown) => socket.send(JSON.stringify({ op, d })).catch(() => {})
  const save = async () => {
    if (!session || !isDirty) return
    isDirty = false
    savedAt = clock.now()
    await keep(session)
  }

  const beat = async (interval: number) => {
    // The first one comes at random, so that not all that were cut off come back at once.
    for (let wait = interval * Math.random(); ; wait = interval) {
      await clock.wait(wait, over.signal)
      if (over.signal.aborted) return
      // Who does not read hears no answer either.
      if (!acknowledged && !queue.isFull) return leave('Discord did not answer a heartbeat')
      acknowledged = false
      await save()
      await say(1, session?.id ? session.seq : null)
    }
  }

  const work = async () => {
    for (let event = await queue.next(); event && !stop.aborted; event = await queue.next()) {
      if (event.t === 'READY') {
        session = readySession(event, session, clock.now())
        line.changed(session)
        await keep(session)
        if (session.gap !== undefined) for (const direct of line.directs()) await fill(line, direct, undefined, session.gap)
      } else if (session) {
        if (event.t === 'GUILD_CREATE' || event.t === 'GUILD_MEMBER_UPDATE') {
          session = withRoles(session, event)
          line.changed(session)
        }
        if (event.t === 'GUILD_CREATE') await fillGuild(line, event, session)
        else await line.take(event)
        session = { ...session, seq: event.s ?? session.seq, ...(queue.size === 0 ? { at: clock.now() } : {}) }
      }
      isDirty = true
      if (clock.now() - savedAt >= SAVE_EVERY) await save()
    }
  }

  const waitToBeLetIn = async () => {
    await clock.wait(LET_IN, over.signal)
    if (!isIn && !over.signal.aborted) leave('Discord did not let us in')
  }

  const queue = createQueue<Event>(MOST_WAITING)
  const fail = (error: unknown) => {
    failure ??= { error }
    leave('broken')
  }
  const working = work().catch(fail)
  const timers: Promise<void>[] = [waitToBeLetIn()]
  try {
    for await (const raw of socket) {
      const frame = readFrame(raw)
      if (!frame) {
        host.log.warn({ length: raw.length }, 'skipped a malformed frame')
      } else if (frame.op === 10) {
        if (timers.length === 1) timers.push(beat(intervalIn(frame.d)).catch(fail))
        if (isResume) await say(6, { token, session_id: known.id, seq: known.seq })
        else await say(2, { token, intents: INTENTS, properties: { os: process.platform, browser: 'posthouse', device: 'posthouse' } })
      } else if (frame.op === 11) {
        acknowledged = true
        if (isIn) {
          if (queue.size === 0 && session) {
            session = { ...session, at: clock.now() }
            isDirty = true
          }
          host.received()
        }
      } else if (frame.op === 1) await say(1, session?.id ? session.seq : null)
      else if (frame.op === 7) leave('Discord asked us to connect anew')
      else if (frame.op === 9) {
        if (frame.d !== true && session) {
          session = { ...session, id: '' }
          isDirty = false
          await keep(session)
        }
        // https://docs.discord.com/developers/events/gateway-events#invalid-session
        await clock.wait(1000 + Math.random() * 4000, stop)
        leave('Discord ended the session')
      } else if (frame.op === 0 && typeof frame.t === 'string') {
        if (!isIn) host.report('connected')
        isIn = true
        host.received()
        await queue.push({ t: frame.t, d: frame.d, ...(Number.isSafeInteger(frame.s) ? { s: frame.s as number } : {}) })
      }
    }
  } finally {
    stop.removeEventListener('abort', quit)
    over.abort()
    queue.end()
    await Promise.all([working, ...timers])
    socket.close(KEEP, '')
    await save().catch((error: unknown) => {
      failure ??= { error }
    })
  }
  if (failure && !stop.aborted) throw failure.error
  const { code } = await socket.ended
  const refused = REFUSALS[code]
  if (goes === undefined && session?.id && (refused || SESSION_OVER.includes(code))) await keep({ ...session, id: '' })
  if (goes === undefined && refused) throw new DeliveryError('auth', `${code}: ${refused}`)
  return goes ?? `the connection ended (${code})`
}

/** Asks where to begin, when it may. */
async function begin(line: Line): Promise<string> {
  const { api, clock, stop } = line
  await clock.wait(Math.max(0, line.memory.begunAt + BEGIN_EVERY - clock.now()), stop)
  const { url, session_start_limit: limit } = await api.call<{
    url: unknown
    session_start_limit?: { remaining?: number; reset_after?: number }
  }>('GET', '/gateway/bot', undefined, { signal: stop, timeout: CALL, knock: true })
  if (typeof url !== 'string' || !/^wss?:\/\//.test(url)) throw new DeliveryError('transient', 'Discord names no address of its gateway')
  if (typeof limit?.remaining === 'number' && limit.remaining <= RESERVE)
    throw new DeliveryError('rate-limited', 'Discord allows no new sessions today: something connected anew too often', {
      retryAfter: limit.reset_after ?? 3_600_000,
    })
  line.memory.begunAt = clock.now()
  return url
}

/** Its end is ours to say: closed by a signal, it would be closed with the code that ends the session. */
async function open({ host, stop }: Line, url: string): Promise<Socket> {
  const opening = new AbortController()
  const leave = () => opening.abort()
  if (stop.aborted) leave()
  stop.addEventListener('abort', leave, { once: true })
  try {
    return await host.connect(`${url.replace(/\/*(\?.*)?$/, '')}/?v=10&encoding=json`, { signal: opening.signal, silence: 0 })
  } finally {
    stop.removeEventListener('abort', leave)
  }
}

/** A session whose address is not reached several times is given up. */
async function openAgain(line: Line, session: Session, keep: (session: Session) => Promise<void>): Promise<Socket> {
  const { memory, stop } = line
  try {
    const socket = await open(line, session.url)
    memory.unreachable = 0
    return socket
  } catch (error) {
    if (!stop.aborted && ++memory.unreachable >= TRIES) {
      memory.unreachable = 0
      await keep({ ...session, id: '' })
    }
    throw error
  }
}

function readFrame(raw: string | Uint8Array) {
  try {
    return parseFrame(typeof raw === 'string' ? raw : new TextDecoder('utf-8', { fatal: true }).decode(raw))
  } catch {
    return undefined
  }
}

/** Between what would be a loop and what would be deaf. */
function intervalIn(hello: unknown): number {
  const interval = Number((hello as { heartbeat_interval?: unknown } | null)?.heartbeat_interval)
  return interval >= 10 && interval <= 600_000 ? interval : 41_250
}

// ---- Sessions ---------------------------------------------------------------------------------------------------------

/** Nothing older than this is fetched. */
const MOST_GAP = 86_400_000
/** What was on its way when all seemed to be there. */
const MARGIN = 60_000
const MOST_ROLES = 2000

function readySession({ d, s }: Event, before: Session | undefined, now: number): Session {
  const {
    session_id: id,
    resume_gateway_url: url,
    user,
  } = (d ?? {}) as { session_id?: unknown; resume_gateway_url?: unknown; user?: { id?: unknown; username?: unknown } }
  if (typeof id !== 'string' || typeof url !== 'string' || !/^wss?:\/\//.test(url) || typeof user?.id !== 'string')
    throw new DeliveryError('transient', 'Discord began a session without saying which')
  const since = before?.gap ?? before?.at
  return {
    id,
    url,
    seq: s ?? 1,
    us: { id: user.id, username: String(user.username ?? '') },
    roles: [],
    at: before?.at ?? now,
    ...(since === undefined ? {} : { gap: Math.max(since - (before?.gap === undefined ? MARGIN : 0), now - MOST_GAP) }),
  }
}

/** The role that came with us, and those that we were given. */
function withRoles(session: Session, { t, d }: Event): Session {
  const { roles, members, user } = fieldsOf(d)
  const us = session.us.id
  const ours =
    t === 'GUILD_MEMBER_UPDATE'
      ? fieldsOf(user).id === us && listIn(roles)
      : listIn(roles)
          .filter((role) => fieldsOf(fieldsOf(role).tags).bot_id === us)
          .map((role) => fieldsOf(role).id)
  const given = listIn(members).flatMap((member) => (fieldsOf(fieldsOf(member).user).id === us ? listIn(fieldsOf(member).roles) : []))
  const found = [...(ours || []), ...given].filter((id) => typeof id === 'string')
  return found.length === 0 ? session : { ...session, roles: [...new Set([...session.roles, ...found])].slice(-MOST_ROLES) }
}

// ---- Gaps -------------------------------------------------------------------------------------------------------------

const MOST_CHANNELS = 50
const MOST_PAGES = 5
const PAGE = 100
const TRIES = 3

/** What was said in a server while no session listened: in the channels and threads where something was. */
async function fillGuild(line: Line, { d }: Event, { gap }: Session): Promise<void> {
  const { id: guild, joined_at: joined, channels, threads } = fieldsOf(d)
  // Of a server that we came to since then nothing was missed.
  if (gap === undefined || typeof guild !== 'string' || !(Date.parse(String(joined)) < gap)) return
  const since = BigInt(idOfTime(gap))
  const lively = [...listIn(channels), ...listIn(threads)]
    .map(fieldsOf)
    .filter(({ id, last_message_id: last }) => isId(id) && isId(last) && BigInt(last) > since)
    .toSorted((a, b) => (BigInt(String(a.last_message_id)) < BigInt(String(b.last_message_id)) ? 1 : -1))
  if (lively.length > MOST_CHANNELS)
    line.host.log.warn({ channels: lively.length, looked: MOST_CHANNELS }, 'not all channels are looked through for what was missed')
  for (const { id } of lively.slice(0, MOST_CHANNELS)) await fill(line, String(id), guild, gap)
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,20}$/.test(value)
}

/** Admits what was written in a channel since then, oldest first. What is there already is known by its key. */
async function fill(line: Line, channel: string, guild: string | undefined, since: number): Promise<void> {
  let after = idOfTime(since)
  for (let page = 0; page < MOST_PAGES && !line.stop.aborted; page++) {
    const found = await history(line, channel, after)
    for (const message of found.toReversed()) {
      await line.take({ t: 'MESSAGE_CREATE', d: { ...fieldsOf(message), ...(guild === undefined ? {} : { guild_id: guild }) } })
    }
    const { id: latest } = fieldsOf(found[0])
    if (found.length < PAGE || !isId(latest)) return
    after = latest
  }
}

async function history({ api, clock, stop, host }: Line, channel: string, after: string): Promise<readonly unknown[]> {
  for (let attempt = 1; !stop.aborted; attempt++) {
    try {
      const found = await api.call<unknown>('GET', `/channels/${channel}/messages?after=${after}&limit=${PAGE}`, undefined, {
        signal: stop,
        timeout: CALL,
      })
      return listIn(found)
    } catch (error) {
      // No longer ours to read, or gone.
      if (error instanceof ApiError && (error.status === 403 || error.status === 404)) break
      if (attempt >= TRIES) {
        host.log.warn({ channel, problem: String(error) }, 'what was said while we were away could not be fetched')
        break
      }
      await clock.wait((error instanceof ApiError && error.retryAfter) || 1000 * attempt, stop)
    }
  }
  return []
}

// ---- A queue ----------------------------------------------------------------------------------------------------------

/** In order, to one reader; who pushes into a full one waits. Once ended nothing more is handed out. */
function createQueue<T>(most: number) {
  const waiting: T[] = []
  let wake: (() => void) | undefined
  let room: (() => void) | undefined
  let ended = false
  return {
    get size() {
      return waiting.length
    },
    get isFull() {
      return waiting.length >= most
    },
    async push(value: T): Promise<void> {
      if (ended) return
      waiting.push(value)
      wake?.()
      while (waiting.length >= most && !ended) {
        await new Promise<void>((resolve) => {
          room = resolve
        })
      }
    },
    async next(): Promise<T | undefined> {
      while (!ended) {
        const value = waiting.shift()
        if (waiting.length < most) room?.()
        if (value !== undefined) return value
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return undefined
    },
    end() {
      ended = true
      wake?.()
      room?.()
    },
  }
}
