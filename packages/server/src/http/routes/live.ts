/** The web chat's socket. Every frame is checked and allowed for itself; what a client missed comes from the store. */
import type { WebSocket } from '@fastify/websocket'
import { errorTable, isPosthouseError, PosthouseError } from '@posthouse/contract'
import type { ClientFrame, ServerFrame } from '@posthouse/contract/http'
import { z } from 'zod'
import type { Principal } from '../../ports/guards.ts'
import { conversationTopic, userTopic } from '../../ports/live.ts'
import { viewMessage } from '../../ports/views.ts'
import { principalOf } from '../identity.ts'
import { isOwnOrigin } from '../policy.ts'
import type { Gateway } from '../server.ts'
import { viewPrincipal } from './entry.ts'
import type { Routes } from './routes.ts'

const conversationId = z.uuid()
const clientFrame = z.discriminatedUnion('type', [
  z.object({ type: z.literal('subscribe'), conversation_id: conversationId, after: z.number().int().min(0) }),
  z.object({ type: z.literal('unsubscribe'), conversation_id: conversationId }),
  z.object({
    type: z.literal('send'),
    id: z.uuid(),
    conversation_id: conversationId,
    text: z.string().max(100_000),
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
/** Bytes that may wait for a reader that does not read; then it must come back and resume. */
const MOST_WAITING = 4 * 1024 * 1024
const COME_BACK = 1012
const SIGN_IN_AGAIN = 4401
const TOO_MUCH = 1008

export function liveRoutes(routes: Routes, gateway: Gateway): void {
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
      serve(socket, principal, gateway, routes.posthouse.sockets, async () => (await principalOf(request, gateway)) !== undefined)
    },
  )
}

function serve(
  socket: WebSocket,
  principal: Principal,
  gateway: Gateway,
  sockets: Set<() => void>,
  stillValid: () => Promise<boolean>,
): void {
  const { live, log, version } = gateway
  const subscriptions = new Map<string, Disposable>()
  let alive = true
  let frames = 0
  let windowEnds = 0

  const send = (frame: ServerFrame) => {
    if (socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount > MOST_WAITING) socket.close(COME_BACK, 'reading too slowly')
    else socket.send(JSON.stringify(frame))
  }
  const leave = () => socket.close(COME_BACK, 'restarting')
  sockets.add(leave)
  const person = live.subscribe(userTopic(principal.userId), send)
  const heartbeat = setInterval(() => {
    if (!alive) return socket.terminate()
    alive = false
    socket.ping()
    stillValid().then(
      (valid) => valid || socket.close(SIGN_IN_AGAIN, 'sign in again'),
      () => {},
    )
  }, HEARTBEAT)
  socket.on('pong', () => {
    alive = true
  })
  socket.on('close', () => {
    clearInterval(heartbeat)
    sockets.delete(leave)
    person[Symbol.dispose]()
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

  async function take(text: string): Promise<void> {
    const frame = parse(text)
    if (!frame) return send({ type: 'error', code: 'invalid', message: errorTable.invalid.en })
    try {
      await act(frame)
    } catch (error) {
      const code = isPosthouseError(error) ? error.code : 'internal'
      if (code === 'internal') log.error({ err: error }, 'a frame failed')
      const message = isPosthouseError(error) && error.detail ? error.detail : errorTable[code].en
      if (frame.type === 'send') {
        const retryAfter = isPosthouseError(error) ? error.retryAfter : undefined
        send({ type: 'refused', id: frame.id, code, message, ...(retryAfter === undefined ? {} : { retry_after: retryAfter }) })
      } else send({ type: 'error', code, message })
    }
  }

  async function act(frame: ClientFrame): Promise<void> {
    switch (frame.type) {
      case 'ping':
        return send({ type: 'pong' })
      case 'subscribe':
        return await subscribe(frame.conversation_id, frame.after)
      case 'unsubscribe':
        subscriptions.get(frame.conversation_id)?.[Symbol.dispose]()
        subscriptions.delete(frame.conversation_id)
        return
      case 'stop':
        await mayUse(frame.conversation_id)
        gateway.stop(frame.conversation_id)
        return
      case 'send': {
        await mayUse(frame.conversation_id)
        const { messageId } = await gateway.receive({
          account: 'web',
          clientId: frame.id,
          conversationId: frame.conversation_id,
          owner: principal.userId,
          author: { id: principal.userId, name: principal.name },
          text: frame.text,
          files: frame.files ?? [],
          replaces: frame.replaces,
        })
        const stored = await gateway.store.conversations.message(messageId)
        if (stored) send({ type: 'accepted', id: frame.id, message: viewMessage(stored) })
        return
      }
    }
  }

  /** A conversation that is not there yet may be begun; one of somebody else is not there. */
  async function mayUse(id: string): Promise<void> {
    const conversation = await gateway.store.conversations.find(id)
    if (conversation) gateway.guards.authorize(principal, 'own', { owner: conversation.owner })
  }

  async function subscribe(id: string, after: number): Promise<void> {
    await mayUse(id)
    if (subscriptions.size >= SUBSCRIPTIONS && !subscriptions.has(id)) {
      const [oldest] = subscriptions.keys()
      subscriptions.get(oldest ?? '')?.[Symbol.dispose]()
      subscriptions.delete(oldest ?? '')
    }
    subscriptions.get(id)?.[Symbol.dispose]()
    // Live frames wait until what was missed is out, so that nothing overtakes and nothing falls between.
    let held: ServerFrame[] | undefined = []
    subscriptions.set(
      id,
      live.subscribe(conversationTopic(id), (frame) => {
        if (held) held.push(frame)
        else send(frame)
      }),
    )
    const missed = await gateway.store.conversations.messages(id, { after }, MISSED)
    for (const message of missed) send({ type: 'message', message: viewMessage(message) })
    const turn = gateway.inFlight(id)
    send({ type: 'synced', conversation_id: id, ...(turn ? { turn } : {}) })
    for (const frame of held) {
      // Deltas up to now are in the draft that went with `synced`.
      if (frame.type !== 'delta' || frame.offset >= (turn?.draft?.length ?? 0)) send(frame)
    }
    held = undefined
  }
}

function parse(text: string): ClientFrame | undefined {
  try {
    return clientFrame.safeParse(JSON.parse(text)).data as ClientFrame | undefined
  } catch {
    return undefined
  }
}
