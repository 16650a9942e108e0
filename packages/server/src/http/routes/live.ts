/** The web chat's socket. Every frame is checked and allowed for itself; what a client missed comes from the store. */
import type { WebSocket } from '@fastify/websocket'
import { type ErrorCode, errorTable, isPosthouseError, PosthouseError, priorities } from '@posthouse/contract'
import type { ClientFrame, ServerFrame } from '@posthouse/contract/http'
import { z } from 'zod'
import type { Principal } from '../../ports/guards.ts'
import { conversationTopic, userTopic } from '../../ports/live.ts'
import type { Conversation } from '../../ports/store.ts'
import { viewMessage } from '../../ports/views.ts'
import { allAfter } from '../answer.ts'
import { languageOf } from '../errors.ts'
import type { Gateway } from '../gateway.ts'
import { endWithCredential } from '../identity.ts'
import { isOwnOrigin } from '../policy.ts'
import { viewPrincipal } from './entry.ts'
import type { Routes } from './routes.ts'

const conversationId = z.uuid()
const TEXT = 100_000
const clientFrame = z.discriminatedUnion('type', [
  z.object({ type: z.literal('subscribe'), conversation_id: conversationId, after: z.number().int().min(0) }),
  z.object({ type: z.literal('unsubscribe'), conversation_id: conversationId }),
  z.object({
    type: z.literal('send'),
    id: z.uuid(),
    conversation_id: conversationId,
    text: z.string().max(TEXT),
    files: z.array(z.uuid()).max(10).exactOptional(),
    replaces: z.uuid().exactOptional(),
  }),
  z.object({ type: z.literal('stop'), conversation_id: conversationId }),
  z.object({ type: z.literal('ping') }),
]) satisfies z.ZodType<ClientFrame>

const HEARTBEAT = 30_000
const MISSED = 200
/** Frames a client may send in ten seconds; more is no person typing. */
const FRAMES = 200
const WINDOW = 10_000
const SUBSCRIPTIONS = 50
/** Live frames that may wait while what was missed is read. */
const HELD = 10_000
/** Bytes that may wait for a reader that does not read; then it must come back and resume. */
const MOST_WAITING = 4 * 1024 * 1024
/** What a client missed goes out as fast as it reads, in portions of this many bytes. */
const PORTION = 1024 * 1024
const COME_BACK = 1012
const RESUME_WITHIN = 2000
/** While frames of other nodes do not come in, what they said is looked for in the store. */
const LOOK_WHILE_DEAF = 2000
/** Messages of a conversation that are looked at then. */
const LATEST = 20
const SIGN_IN_AGAIN = 4401
const TOO_MUCH = 1008

export function liveRoutes(routes: Routes, gateway: Gateway): void {
  const catchUps = new Set<CatchUp>()
  const looking = lookWhileDeaf(gateway, catchUps)
  routes.addHook('onClose', async () => looking[Symbol.dispose]())
  routes.get(
    '/ws',
    {
      websocket: true,
      config: { policy: 'login' },
      schema: { hide: true },
      // A socket is opened with the cookie: only by our own page, or by a program with its token.
      preValidation: async (request) => {
        if (request.principal?.by === 'login' && !isOwnOrigin(request))
          throw new PosthouseError('forbidden', 'this request comes from another site')
      },
    },
    (socket, request) => {
      const principal = gateway.guards.authorize(request.principal, 'chat')
      const { sockets } = routes.posthouse
      const leave = () => socket.close(COME_BACK, 'restarting')
      sockets.add(leave)
      const credential = endWithCredential(request, gateway, routes, () => socket.close(SIGN_IN_AGAIN, 'sign in again'))
      const catchUp = serve(socket, principal, gateway, languageOf(request.headers['accept-language']))
      catchUps.add(catchUp)
      socket.on('close', () => {
        sockets.delete(leave)
        catchUps.delete(catchUp)
        credential[Symbol.dispose]()
      })
    },
  )
}

/** Sends what the store has and no frame told of. */
type CatchUp = () => Promise<void>

/** One socket after the other, however many there are, so that the store is not asked by all at once; the next round when that is done. */
function lookWhileDeaf({ live, clock, log }: Gateway, catchUps: ReadonlySet<CatchUp>): Disposable {
  let looking = false
  return clock.every(LOOK_WHILE_DEAF, async () => {
    if (!live.deaf || looking) return
    looking = true
    for (const catchUp of [...catchUps]) {
      if (!live.deaf) break
      await catchUp().catch((error: unknown) => log.debug({ err: error }, 'what other nodes said could not be read; it is tried again'))
    }
    looking = false
  })
}

interface Subscription extends Disposable {
  readonly catchUp: CatchUp
}

/** Answers how to catch up. */
function serve(socket: WebSocket, principal: Principal, gateway: Gateway, language: 'en' | 'zh'): CatchUp {
  const { live, log, version } = gateway
  const subscriptions = new Map<string, Subscription>()
  let alive = true
  let frames = 0
  let windowEnds = 0

  const send = (frame: ServerFrame) => {
    if (socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount > MOST_WAITING) socket.close(COME_BACK, 'reading too slowly')
    else socket.send(JSON.stringify(frame))
  }
  /** Waits until the reader has taken what went before: catching up is not reading too slowly. */
  const sendInTurn = async (frame: ServerFrame) => {
    if (socket.bufferedAmount < PORTION) send(frame)
    else await new Promise<void>((resolve) => socket.send(JSON.stringify(frame), () => resolve()))
  }
  // Frames of other nodes got lost: the client comes back and resumes from the store, not all clients at once.
  let again: Disposable | undefined
  const comeBack = () => {
    again ??= gateway.clock.after(Math.random() * RESUME_WITHIN, () => socket.close(COME_BACK, 'resume'))
  }
  const person = live.subscribe(userTopic(principal.userId), send, comeBack)
  const heartbeat = setInterval(() => {
    if (!alive) return socket.terminate()
    alive = false
    socket.ping()
  }, HEARTBEAT)
  socket.on('pong', () => {
    alive = true
  })
  socket.on('close', () => {
    clearInterval(heartbeat)
    person[Symbol.dispose]()
    again?.[Symbol.dispose]()
    for (const subscription of subscriptions.values()) subscription[Symbol.dispose]()
  })
  socket.on('error', (error) => log.debug({ err: error }, 'a socket broke'))
  // One frame after the other: what was sent first is admitted first.
  let queue = Promise.resolve()
  let waiting = 0
  socket.on('message', (data, isBinary) => {
    alive = true
    const now = gateway.clock.elapsed()
    if (now > windowEnds) {
      windowEnds = now + WINDOW
      frames = 0
    }
    if (++frames > FRAMES || waiting > FRAMES) return socket.close(TOO_MUCH, 'too many frames')
    waiting++
    queue = queue
      .then(() => take(isBinary ? '' : data.toString()))
      .catch((error: unknown) => log.error({ err: error }, 'a frame failed'))
      .finally(() => {
        waiting--
      })
  })
  send({ type: 'welcome', user: viewPrincipal(principal), version, heartbeat: HEARTBEAT })
  return async () => {
    for (const { catchUp } of [...subscriptions.values()]) await catchUp()
  }

  async function take(text: string): Promise<void> {
    // A socket that is being closed (signed out, too slow) asks for nothing more.
    if (socket.readyState !== socket.OPEN) return
    const { frame, refused } = parse(text)
    if (!frame) return refuse(refused?.id, refused?.code ?? 'invalid', undefined, undefined)
    try {
      await act(frame)
    } catch (error) {
      const { code, detail, retryAfter } = isPosthouseError(error) ? error : new PosthouseError('internal')
      const problem = gateway.newId()
      if (code === 'internal') log.error({ err: error, id: problem }, 'a frame failed')
      refuse(frame.type === 'send' ? frame.id : undefined, code, code === 'internal' ? problem : detail, retryAfter)
    }
  }

  function refuse(id: string | undefined, code: ErrorCode, detail: string | undefined, retryAfter: number | undefined): void {
    const message = `${errorTable[code][language]}${detail ? ` (${detail})` : ''}`
    if (id === undefined) send({ type: 'error', code, message })
    else send({ type: 'refused', id, code, message, ...(retryAfter === undefined ? {} : { retry_after: retryAfter }) })
  }

  async function act(frame: ClientFrame): Promise<void> {
    switch (frame.type) {
      case 'ping':
        return send({ type: 'pong' })
      case 'subscribe':
        return await subscribe(frame.conversation_id, frame.after)
      case 'unsubscribe':
        return unsubscribe(frame.conversation_id)
      case 'stop':
        await mayUse(frame.conversation_id)
        return await gateway.stop(frame.conversation_id)
      case 'send': {
        const known = await mayUse(frame.conversation_id)
        if (known && known.account !== 'web') throw new PosthouseError('not-found')
        const { messageId } = await gateway.receive({
          account: 'web',
          clientId: frame.id,
          conversationId: frame.conversation_id,
          owner: principal.userId,
          author: { id: principal.userId, name: principal.name },
          text: frame.text,
          files: frame.files ?? [],
          replaces: frame.replaces,
          priority: priorities.interactive,
        })
        const stored = await gateway.store.conversations.message(messageId)
        if (stored) send({ type: 'accepted', id: frame.id, message: viewMessage(stored) })
        return
      }
    }
  }

  /** A conversation that is not there yet may be begun; one of somebody else is not there. */
  async function mayUse(id: string): Promise<Conversation | undefined> {
    const conversation = await gateway.store.conversations.find(id)
    if (conversation) gateway.guards.authorize(principal, 'own', { owner: conversation.owner })
    return conversation
  }

  function unsubscribe(id: string): void {
    subscriptions.get(id)?.[Symbol.dispose]()
    subscriptions.delete(id)
  }

  async function subscribe(id: string, after: number): Promise<void> {
    const known = await mayUse(id)
    unsubscribe(id)
    const [oldest] = subscriptions.keys()
    if (subscriptions.size >= SUBSCRIPTIONS && oldest) unsubscribe(oldest)
    // Live frames wait until what was missed is out, so that nothing overtakes and nothing falls between.
    let held: ServerFrame[] | undefined = []
    let ours = known !== undefined
    let asking = false
    let synced = false
    /** The turn whose draft the page has; pieces of another go before it does. */
    let shown: string | undefined
    /** The newest messages that the page has from here. */
    const sent = new Set<number>()
    const note = (seq: number) => {
      sent.add(seq)
      for (const first of sent) {
        if (sent.size <= 2 * LATEST) break
        sent.delete(first)
      }
    }
    const pass = (frame: ServerFrame) => {
      if (frame.type === 'turn') shown = frame.turn.id
      if (frame.type === 'message') note(frame.message.seq)
      if (frame.type !== 'delta' || frame.turn_id === shown) send(frame)
    }
    const take = (frame: ServerFrame) => {
      if (held && held.length >= HELD) return socket.close(COME_BACK, 'reading too slowly')
      if (held) held.push(frame)
      else pass(frame)
      if (!ours && !asking) admit()
    }
    const listening = live.subscribe(conversationTopic(id), take, comeBack)
    const subscription: Subscription = {
      async catchUp() {
        if (!ours && !asking) admit()
        if (held) return
        for (const message of await gateway.store.conversations.messages(id, { after }, LATEST)) {
          if (!sent.has(message.seq)) pass({ type: 'message', message: viewMessage(message) })
        }
      },
      [Symbol.dispose]: () => listening[Symbol.dispose](),
    }
    subscriptions.set(id, subscription)

    /** Somebody began the conversation that was not there: its frames are ours only if that was us. */
    const admit = () => {
      asking = true
      mayUse(id).then(
        (conversation) => {
          asking = false
          if (!conversation || subscriptions.get(id) !== subscription) return
          ours = true
          if (synced) release()
        },
        () => unsubscribe(id),
      )
    }
    const release = () => {
      const frames = held ?? []
      held = undefined
      for (const frame of frames) pass(frame)
    }

    const missed = after > 0 ? await allAfter(gateway.store, id, after) : await gateway.store.conversations.messages(id, { after }, MISSED)
    for (const message of missed) {
      await sendInTurn({ type: 'message', message: viewMessage(message) })
      note(message.seq)
    }
    const turn = gateway.inFlight(id)
    send({ type: 'synced', conversation_id: id, ...(turn ? { turn } : {}) })
    // What went before this is in the messages or in the draft.
    held = held.filter(({ type }) => type !== 'turn' && type !== 'delta')
    shown = turn?.id
    synced = true
    if (ours) release()
    // If it runs on another node, that one shows what is there, in the order of its pieces: nothing falls between.
    if (!turn) live.tell(conversationTopic(id), 'show')
  }
}

interface Parsed {
  readonly frame?: ClientFrame
  /** A message that cannot be taken, named by its client: it must not wait for ever. */
  readonly refused?: { readonly id: string; readonly code: ErrorCode }
}

function parse(text: string): Parsed {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return {}
  }
  const { success, data } = clientFrame.safeParse(value)
  if (success) return { frame: data as ClientFrame }
  const { type, id, text: said } = (value ?? {}) as { type?: unknown; id?: unknown; text?: unknown }
  if (type !== 'send' || !z.uuid().safeParse(id).success) return {}
  return { refused: { id: String(id), code: typeof said === 'string' && said.length > TEXT ? 'too-large' : 'invalid' } }
}
