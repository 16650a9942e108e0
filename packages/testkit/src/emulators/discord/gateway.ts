/**
 * Discord's gateway: sessions that outlive their sockets, heartbeats that confirm, RESUME that replays, and the close codes.
 * https://docs.discord.com/developers/events/gateway
 */
import type { WebSocket } from 'ws'
import { newToken } from './store.ts'

export const intents = {
  guilds: 1 << 0,
  guildMessages: 1 << 9,
  guildReactions: 1 << 10,
  directMessages: 1 << 12,
  directReactions: 1 << 13,
  messageContent: 1 << 15,
} as const
const ALL_INTENTS = 0x3ff_ffff
const PRIVILEGED = (1 << 1) | (1 << 8) | intents.messageContent

/** What an event needs to be seen; `content`: what it says is only for who may read messages. */
export interface Audience {
  readonly intent?: number
  /** Takes the place of the payload for those without the message content intent. */
  readonly withoutContent?: object
}

interface Session {
  readonly id: string
  readonly intents: number
  seq: number
  /** What may be replayed. */
  readonly sent: { readonly seq: number; readonly frame: string; readonly counts: boolean }[]
  /** The last sequence number that the other side named. */
  confirmed: number
  socket: WebSocket | undefined
  readonly since: number
}

export interface GatewayOptions {
  token(): string
  /** Milliseconds between heartbeats. Default 41,250, as Discord's. */
  readonly heartbeat?: number
  /** IDENTIFYs that are left today. Default 1000. */
  readonly starts?: number
  /** Milliseconds between two IDENTIFYs. Default 5000. */
  readonly identifyEvery?: number
  /** Events that are kept for a RESUME. Default 1000. */
  readonly replay?: number
  /** Whether MESSAGE_CONTENT is enabled for the application. Default true. */
  readonly messageContent?: boolean
  resumeUrl(): string
  /** What READY says beside the session, and the events behind it. */
  ready(): { readonly fields: object; readonly events: readonly (readonly [string, object])[] }
  /** The limit of IDENTIFYs is passed: the token is made anew. */
  burnt(): void
}

export interface Gateway {
  /** Serves a socket that was opened. */
  serve(socket: WebSocket, query: URLSearchParams): void
  /** Sends an event to every session, connected or not. `counts`: it is a message that must be confirmed. */
  dispatch(type: string, payload: object, audience?: Audience, counts?: boolean): void
  /** The last message once more. */
  redeliver(): void
  /** Messages that the newest session did not confirm. */
  readonly pending: number
  readonly connected: number
  readonly limit: { readonly total: number; readonly remaining: number; readonly reset_after: number; readonly max_concurrency: number }
  readonly counts: { identified: number; resumed: number; invalid: number; readonly closes: number[] }
  /** Ends the sockets: with a code, or by cutting the line. The sessions stay. */
  drop(code?: number): void
  /** Asks everybody to come again. */
  askReconnect(): void
  /** Forgets all sessions: who resumes is told to begin anew. */
  forget(): void
  /** Tells those that are connected that their session is over. */
  invalidate(resumable: boolean): void
  /** Says nothing any more, not even to a heartbeat, until told otherwise. */
  mute(on: boolean): void
}

export function createGateway(options: GatewayOptions): Gateway {
  const { heartbeat = 41_250, starts = 1000, identifyEvery = 5000, replay = 1000 } = options
  const sessions = new Map<string, Session>()
  const counts: Gateway['counts'] = { identified: 0, resumed: 0, invalid: 0, closes: [] }
  let lastIdentified = Number.NEGATIVE_INFINITY
  let lastCounting: { type: string; payload: object; audience: Audience } | undefined
  let muted = false

  const write = (socket: WebSocket, frame: object | string) => {
    if (!muted) socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }
  const end = (socket: WebSocket, code: number, reason: string) => {
    counts.closes.push(code)
    socket.close(code, reason)
  }

  const send = (session: Session, type: string, payload: object, isCounting: boolean) => {
    session.seq++
    const frame = JSON.stringify({ t: type, s: session.seq, op: 0, d: payload })
    session.sent.push({ seq: session.seq, frame, counts: isCounting })
    if (session.sent.length > replay) session.sent.shift()
    if (session.socket) write(session.socket, frame)
  }

  const dispatch: Gateway['dispatch'] = (type, payload, audience = {}, isCounting = false) => {
    if (isCounting) lastCounting = { type, payload, audience }
    for (const session of sessions.values()) {
      if (audience.intent !== undefined && (session.intents & audience.intent) === 0) continue
      const blind = audience.withoutContent && (session.intents & intents.messageContent) === 0
      send(session, type, blind ? (audience.withoutContent ?? payload) : payload, isCounting)
    }
  }

  const identify = (socket: WebSocket, given: Record<string, unknown>): Session | undefined => {
    const wanted = given.intents
    if (given.token !== options.token()) return void end(socket, 4004, 'Authentication failed.')
    const properties = given.properties as Record<string, unknown> | undefined
    if (!properties || [properties.os, properties.browser, properties.device].some((each) => typeof each !== 'string'))
      return void end(socket, 4002, 'Error while decoding payload.')
    if (typeof wanted !== 'number' || !Number.isInteger(wanted) || wanted < 0 || wanted > ALL_INTENTS)
      return void end(socket, 4013, 'Invalid intent(s).')
    if ((wanted & PRIVILEGED & ~(options.messageContent === false ? 0 : intents.messageContent)) !== 0)
      return void end(socket, 4014, 'Disallowed intent(s).')
    counts.identified++
    if (counts.identified > starts) {
      options.burnt()
      for (const { socket: other } of sessions.values()) if (other) end(other, 4004, 'Authentication failed.')
      return void end(socket, 4004, 'Authentication failed.')
    }
    const now = performance.now()
    if (now - lastIdentified < identifyEvery) {
      counts.invalid++
      return void write(socket, { op: 9, d: false })
    }
    lastIdentified = now
    const session: Session = { id: newToken(), intents: wanted, seq: 0, sent: [], confirmed: 0, socket, since: Date.now() }
    sessions.set(session.id, session)
    const { fields, events } = options.ready()
    send(session, 'READY', { v: 10, ...fields, session_id: session.id, resume_gateway_url: options.resumeUrl() }, false)
    for (const [type, payload] of events) send(session, type, payload, false)
    return session
  }

  const resume = (socket: WebSocket, given: Record<string, unknown>): Session | undefined => {
    if (given.token !== options.token()) return void end(socket, 4004, 'Authentication failed.')
    const session = sessions.get(String(given.session_id))
    const seq = given.seq
    if (typeof seq !== 'number') return void end(socket, 4002, 'Error while decoding payload.')
    if (session && seq > session.seq) return void end(socket, 4007, 'Invalid sequence.')
    const first = session?.sent[0]?.seq ?? 0
    if (!session || (session.seq > seq && first > seq + 1)) {
      counts.invalid++
      if (session) sessions.delete(session.id)
      return void write(socket, { op: 9, d: false })
    }
    // One socket has the session; who had it before is sent away.
    if (session.socket && session.socket !== socket) end(session.socket, 4000, 'Unknown error.')
    session.socket = socket
    session.confirmed = Math.max(session.confirmed, seq)
    counts.resumed++
    for (const each of session.sent) if (each.seq > seq) write(socket, each.frame)
    send(session, 'RESUMED', {}, false)
    return session
  }

  const confirm = (session: Session, seq: unknown) => {
    if (typeof seq === 'number' && seq <= session.seq) session.confirmed = Math.max(session.confirmed, seq)
  }

  return {
    serve(socket, query) {
      if (query.get('v') !== '10' || query.get('encoding') !== 'json') return end(socket, 4012, 'Invalid API version.')
      let session: Session | undefined
      let beat = performance.now()
      const commands: number[] = []
      const watch = setInterval(() => {
        if (!muted && performance.now() - beat > heartbeat * 2 + 1000) end(socket, 4009, 'Session timed out.')
      }, heartbeat)
      socket.on('message', (data: Buffer) => {
        const now = performance.now()
        let frame: { op?: unknown; d?: unknown }
        try {
          frame = JSON.parse(data.toString('utf8')) as typeof frame
        } catch {
          return end(socket, 4002, 'Error while decoding payload.')
        }
        if (frame.op !== 1) commands.push(now)
        while ((commands[0] ?? now) < now - 60_000) commands.shift()
        if (data.length > 4096) return end(socket, 4002, 'Error while decoding payload.')
        if (commands.length > 120) return end(socket, 4008, 'Rate limited.')
        const given = (typeof frame.d === 'object' && frame.d !== null ? frame.d : {}) as Record<string, unknown>
        if (frame.op === 1) {
          beat = now
          if (session) confirm(session, frame.d)
          write(socket, { op: 11 })
        } else if (frame.op === 2 || frame.op === 6) {
          if (session) return end(socket, 4005, 'Already authenticated.')
          session = frame.op === 2 ? identify(socket, given) : resume(socket, given)
        } else if (!session) end(socket, 4003, 'Not authenticated.')
        else if (![3, 4, 8, 31].includes(Number(frame.op))) end(socket, 4001, 'Unknown opcode.')
      })
      socket.on('close', (code) => {
        clearInterval(watch)
        if (session?.socket !== socket) return
        session.socket = undefined
        // Who says good-bye like this ends the session.
        if (code === 1000 || code === 1001) sessions.delete(session.id)
      })
      socket.on('error', () => {})
      write(socket, { op: 10, d: { heartbeat_interval: heartbeat } })
    },
    dispatch,
    redeliver() {
      if (lastCounting) dispatch(lastCounting.type, lastCounting.payload, lastCounting.audience, true)
    },
    get pending() {
      const newest = [...sessions.values()].toSorted(
        (a, b) => Number(b.socket !== undefined) - Number(a.socket !== undefined) || b.since - a.since,
      )[0]
      return newest?.sent.filter(({ seq, counts: isCounting }) => isCounting && seq > newest.confirmed).length ?? 0
    },
    get connected() {
      return [...sessions.values()].filter(({ socket }) => socket !== undefined).length
    },
    get limit() {
      return { total: 1000, remaining: Math.max(0, starts - counts.identified), reset_after: 3_600_000, max_concurrency: 1 }
    },
    counts,
    drop(code) {
      for (const { socket } of sessions.values()) {
        if (!socket) continue
        if (code === undefined) socket.terminate()
        else end(socket, code, 'As the test wants it.')
      }
    },
    askReconnect() {
      for (const { socket } of sessions.values()) if (socket) write(socket, { op: 7, d: null })
    },
    forget() {
      sessions.clear()
    },
    invalidate(resumable) {
      for (const session of [...sessions.values()]) {
        if (session.socket) write(session.socket, { op: 9, d: resumable })
        if (!resumable) sessions.delete(session.id)
      }
    },
    mute(on) {
      muted = on
    },
  }
}
