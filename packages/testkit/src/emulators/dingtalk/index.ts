/**
 * A DingTalk of one's own: an in-process server that speaks the open platform's API, its Stream connections and its calls strictly,
 * refuses what the platform refuses, and is written in with verbs. https://open.dingtalk.com/document
 */
import type { Fault, Faults } from '../faults.ts'
import { type PlatformAnswer, type PlatformEntry, type PlatformOptions, servePlatform } from '../platform.ts'
import { createPosts } from '../posts.ts'
import type { WebhookAttempt } from '../webhook-calls.ts'
import { createEvents, type Subscription, type Wish } from './events.ts'
import { authorize, OldRefusal, Refusal, routes, type World } from './methods.ts'
import { createStore, type DingtalkPost, newId } from './store.ts'
import { createVerbs, type DingtalkSaying, type DingtalkVerbs } from './verbs.ts'

export {
  seal as sealAsDingtalk,
  signCard as signAsDingtalkCard,
  signEvent as signAsDingtalkEvent,
  signRobot as signAsDingtalk,
  unseal as unsealAsDingtalk,
} from './events.ts'
export { textOfMarkdown as textOfDingtalkMarkdown } from './markdown.ts'
export { dingtalkStage } from './stage.ts'
export type { DingtalkFile, DingtalkPost } from './store.ts'
export type { DingtalkSaid, DingtalkSaying, DingtalkVerbs } from './verbs.ts'

export interface DingtalkEmulatorOptions extends PlatformOptions, Partial<Subscription> {
  readonly robot_code?: string
  readonly card_template_id?: string
  /** Milliseconds that a token lasts. Default two hours. */
  readonly tokenLife?: number
  /** Milliseconds that an answer's address lasts. Default an hour and a half. */
  readonly sessionLife?: number
  /** Serves the verbs below `/control/` too. */
  readonly control?: boolean
}

export interface DingtalkEmulator extends DingtalkVerbs, Pick<Faults, 'failNext' | 'heal' | 'dropReplyOf' | 'delay'>, AsyncDisposable {
  /** The `base_url` and `old_base_url` to configure. */
  readonly url: string
  readonly client_id: string
  readonly client_secret: string
  readonly robot_code: string
  readonly card_template_id: string
  readonly token: string
  readonly aes_key: string
  /** Of a group's own robot; what it posts is in the room `group-robot`. */
  readonly access_token: string
  readonly secret: string
  /** Every call with its outcome, oldest first. */
  readonly ledger: readonly PlatformEntry[]
  /** What was not acknowledged yet. */
  readonly pending: number
  /** How often something was handed over, and what came of it. */
  readonly attempts: readonly WebhookAttempt[]
  /** Connections that something may be handed over to. */
  readonly connections: number
  readonly pongs: number
  /** What the robot posted and people can see, in order; of one room or of all. */
  posted(room?: string): readonly DingtalkPost[]
  waitForPosted(is: (post: DingtalkPost) => boolean, timeout?: number): Promise<DingtalkPost>
  onPosted(listener: (post: DingtalkPost) => void): Disposable
  redeliver(id: string): void
  /** Robot messages come by this webhook from now on; without it by connections again. */
  subscribe(url: string | undefined): void
  /** Events come by this one, after the platform's question was answered. */
  subscribeEvents(url: string): Promise<void>
  /** The robot is taken out of a group. */
  close(group: string, closed?: boolean): void
  /** The secret is not accepted any more, nor any token. */
  revoke(): void
  /** Tokens that were given out end now. */
  expireTokens(): void
  /** Answers' addresses that were given out end now. */
  expireSessions(): void
  /** The app lacks this right from now on. */
  withdraw(right: string): void
  /** Cuts every connection. */
  cut(): void
  /** Gives notice to every connection, and ends it a while later. */
  dismiss(): void
}

const DEFAULTS = { attempts: 1, retryDelay: 1000, maxRetryDelay: 60_000, deadline: 60_000, notice: 10_000 }
/** Milliseconds that a ticket is good for. */
const TICKET_LIFE = 90_000

/** Starts an emulator; disposing it closes every connection. */
export async function createDingtalkEmulator(options: DingtalkEmulatorOptions = {}): Promise<DingtalkEmulator> {
  const { card_template_id = 'emulated-template.schema', tokenLife = 7_200_000, sessionLife = 5_400_000 } = options
  const subscription: Subscription = {
    ...DEFAULTS,
    client_id: 'dingemulated0000001',
    client_secret: 'emulated-secret-of-the-testkit-02',
    token: 'emulated-event-token',
    aes_key: 'emulatedKeyOfTheTestkitWith43Characters0123',
    ...options,
  }
  const { client_id, client_secret, token, aes_key } = subscription
  const app = { client_id, client_secret, robot_code: options.robot_code ?? client_id }
  const store = createStore()
  const posts = createPosts<DingtalkPost>(store.posts, ({ room, text }) => `${room}: ${text}`)
  const events = createEvents(subscription)
  const tickets = new Map<string, { readonly wishes: readonly Wish[]; readonly until: number }>()
  let url = ''
  const world: World = {
    app,
    card_template_id,
    group: { access_token: 'emulated-token-of-the-group-robot', secret: 'SECemulatedSecretOfTheGroupRobot' },
    store,
    tokens: new Map(),
    tokenLife,
    revoked: false,
    missing: new Set(),
    url: () => url,
    ticket: (wishes) => {
      const ticket = newId()
      tickets.set(ticket, { wishes, until: Date.now() + TICKET_LIFE })
      return ticket
    },
    changed: posts.changed,
  }
  const verbs = createVerbs(world, events, sessionLife)
  const posted = (room?: string) => store.posts.filter((post) => !post.deleted && (room === undefined || post.room === room))
  const platform = await servePlatform(options, {
    read(call) {
      const route = routes.find(({ method, path }) => method === call.method && path.test(call.path))
      return { method: route?.name ?? `${call.method} ${call.path}`, params: paramsOf(call.body) }
    },
    answer(call, method, params) {
      const route = routes.find(({ name }) => name === method)
      if (!route) return { status: 404, body: { code: 'InvalidAction.NotFound', message: 'not found' } }
      try {
        authorize(world, call, route)
        const said = route.answer(world, call, params as Record<string, unknown>)
        return { body: said instanceof Uint8Array || !route.old ? said : { errcode: 0, errmsg: 'ok', ...said } }
      } catch (error) {
        if (error instanceof OldRefusal) return { body: { errcode: error.errcode, errmsg: error.message } }
        if (!(error instanceof Refusal)) throw error
        return { status: error.status, body: { code: error.code, requestid: newId(), message: error.message } }
      }
    },
    refuse,
    socket({ path, query }) {
      const given = query.get('ticket') ?? ''
      const ticket = tickets.get(given)
      // Good for one connection.
      if (path !== '/connect' || !tickets.delete(given) || !ticket || ticket.until <= Date.now()) return 401
      return (socket) => events.join(socket, ticket.wishes)
    },
    ...(options.control ? { control: controlOf(verbs, posted) } : {}),
  })
  url = platform.url
  return {
    ...verbs,
    failNext: platform.faults.failNext,
    heal: platform.faults.heal,
    dropReplyOf: platform.faults.dropReplyOf,
    delay: platform.faults.delay,
    url,
    ...app,
    card_template_id,
    token,
    aes_key,
    ...world.group,
    ledger: platform.ledger,
    get pending() {
      return events.pending
    },
    get attempts() {
      return events.attempts
    },
    get connections() {
      return events.connections
    },
    get pongs() {
      return events.pongs
    },
    posted,
    waitForPosted: posts.wait,
    onPosted: posts.watch,
    redeliver: events.again,
    subscribe: events.point,
    subscribeEvents: events.pointEvents,
    close: (id, closed = true) => {
      const group = store.groups.get(id)
      if (!group) throw new Error(`the group ${id} is not known`)
      group.closed = closed
      if (closed) expireSessions(id)
    },
    revoke: () => {
      world.revoked = true
      world.tokens.clear()
      events.cut()
    },
    expireTokens: () => world.tokens.clear(),
    expireSessions: () => expireSessions(),
    withdraw: (right) => void world.missing.add(right),
    cut: events.cut,
    dismiss: events.dismiss,
    [Symbol.asyncDispose]: async () => {
      await events[Symbol.asyncDispose]()
      await platform[Symbol.asyncDispose]()
    },
  }

  function expireSessions(room?: string): void {
    for (const [key, session] of store.sessions) if (room === undefined || session.room === room) store.sessions.delete(key)
  }
}

/** The emulator as a server of its own, with its verbs below `/control/`. */
export function startDingtalkEmulator(options: DingtalkEmulatorOptions): Promise<DingtalkEmulator> {
  return createDingtalkEmulator({ ...options, control: true, keep: 100_000 })
}

function paramsOf(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

const OLD = new Set(routes.filter(({ old }) => old).map(({ name }) => name))

/** For the older interface `status` from 1000 on (or below 0) is its number; for the newer one the code is the first word of the description. */
function refuse({ status, description = 'unknownError emulated failure', retryAfter }: Fault, method: string): PlatformAnswer {
  const headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
  if (OLD.has(method) && (status >= 1000 || status < 0)) return { headers, body: { errcode: status, errmsg: description } }
  const [code = ''] = description.split(' ')
  return { status, headers, body: { code, requestid: newId(), message: description } }
}

/** `POST say press`, `GET posted`: the verbs for people without code. */
function controlOf(verbs: DingtalkVerbs, posted: DingtalkEmulator['posted']) {
  return (verb: string, body: Readonly<Record<string, unknown>>): unknown => {
    if (verb === 'say') return verbs.say(body as DingtalkSaying)
    if (verb === 'press') return verbs.press(String(body.outTrackId), body.params as Record<string, string>)
    if (verb === 'posted') {
      const room = body.room === undefined ? undefined : String(body.room)
      return posted(room).map(({ file, ...post }) => (file ? { ...post, file: { name: file.name, size: file.bytes.length } } : post))
    }
    return undefined
  }
}
