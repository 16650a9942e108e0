/**
 * A Discord of one's own: an in-process server that speaks the gateway, the HTTP API and the interactions endpoint strictly, refuses what
 * Discord refuses, and is written in with verbs. https://docs.discord.com/developers
 */
import type { Fault, Faults } from '../faults.ts'
import { type Platform, type PlatformAnswer, type PlatformEntry, servePlatform } from '../platform.ts'
import { createPosts } from '../posts.ts'
import { createBuckets, type DiscordLimits, tooMany } from './buckets.ts'
import { createGateway, type Gateway, intents } from './gateway.ts'
import { createInteractions, type Interaction, type Interactions } from './interactions.ts'
import { answerCall, findRoute, Refusal, type RestWorld, refusalOf } from './rest.ts'
import { createStore, type EmulatedMessage, type EmulatedUser, isoOf, newToken, type Store } from './store.ts'
import { createVerbs, type DiscordVerbs, GUILD } from './verbs.ts'

export { type DiscordLimits, discordLimits } from './buckets.ts'
export type { Interaction as DiscordInteraction } from './interactions.ts'
export { readMarkup as readDiscordMarkup } from './markup.ts'
export { discordStage } from './stage.ts'
export type { EmulatedChannel as DiscordChannel, EmulatedMessage as DiscordMessage } from './store.ts'
export type { DiscordSaying, DiscordVerbs } from './verbs.ts'

export interface DiscordEmulatorOptions {
  readonly host?: string
  readonly port?: number
  readonly token?: string
  readonly bot?: { readonly id?: string; readonly username?: string }
  /** Off unless given; {@link discordLimits} are about Discord's own. */
  readonly limits?: DiscordLimits
  /** Milliseconds between heartbeats. Default 41,250. */
  readonly heartbeat?: number
  /** IDENTIFYs that are left today; one more and the token is made anew. Default 1000. */
  readonly starts?: number
  /** Milliseconds between two IDENTIFYs. Default 5000. */
  readonly identifyEvery?: number
  /** Events that are kept for a RESUME. Default 1000. */
  readonly replay?: number
  /** Whether the message content intent is enabled. Default true. */
  readonly messageContent?: boolean
  /** Milliseconds in which a nonce makes no second message. Default three minutes. */
  readonly nonceWindow?: number
  /** Milliseconds for which an interaction's token is good. Default 15 minutes. */
  readonly tokenLife?: number
  /** Milliseconds for which an attachment's address is good. Default a day. */
  readonly attachmentLife?: number
  readonly keep?: number
  /** Serves the verbs below `/control/` too. */
  readonly control?: boolean
}

export interface DiscordEmulator
  extends DiscordVerbs,
    Pick<Faults, 'failNext' | 'heal' | 'dropReplyOf' | 'delay'>,
    Pick<Gateway, 'redeliver' | 'pending' | 'connected' | 'counts' | 'drop' | 'askReconnect' | 'forget' | 'invalidate' | 'mute'>,
    AsyncDisposable {
  /** The `base_url` to configure. */
  readonly url: string
  readonly token: string
  readonly me: EmulatedUser
  readonly application: string
  readonly publicKey: string
  /** The role that came with the bot. */
  readonly ourRole: string
  readonly ledger: readonly PlatformEntry[]
  /** Answers that count against a ban: 401, 403 and 429. */
  readonly invalidRequests: number
  readonly interactions: readonly Interaction[]
  readonly endpoint: string | undefined
  readonly commands: readonly object[]
  /** Calls the endpoint with a body of any form; headers as given. */
  post: Interactions['post']
  setEndpoint(url: string | undefined): void
  /** What the bot posted and people can see, in order; of one channel or of all. */
  posted(channel?: string): readonly EmulatedMessage[]
  /** Answers to interactions that were put off and show "thinking" still; people see no words there, so they are not posted. */
  readonly thinking: number
  waitForPosted(is: (message: EmulatedMessage) => boolean, timeout?: number): Promise<EmulatedMessage>
  onPosted(listener: (message: EmulatedMessage) => void): Disposable
  /** Sends any event to whoever is connected. */
  dispatch: Gateway['dispatch']
  /** Another program writes with our token. */
  takeOver(channel: string, text?: string): void
  /** The token is refused from now on, and those that are connected are sent away. */
  revoke(): void
  /** The server's own description, once more (after an outage). */
  tellGuilds(): void
}

const ME = '800000000000000001'

/** Starts an emulator; disposing it closes every connection. */
export async function createDiscordEmulator(options: DiscordEmulatorOptions = {}): Promise<DiscordEmulator> {
  let token = options.token ?? 'ODAwMDAwMDAwMDAwMDAwMDAx.emulated.token_of_the_testkit_for_tests_only'
  const given = token
  let platform: Platform | undefined
  const origin = () => platform?.url ?? ''
  const { attachmentLife = 86_400_000 } = options
  const me: EmulatedUser = { id: ME, username: 'emulated_bot', bot: true, ...options.bot }
  const signedUntil = () => Math.floor((Date.now() + attachmentLife) / 1000).toString(16)
  const store = createStore({ me, application: me.id, cdn: (path) => `${origin()}${path}?ex=${signedUntil()}&is=0&hm=${'0'.repeat(64)}&` })
  store.guilds.set(GUILD, { id: GUILD, name: 'Home', ourRole: '700000000000000009', joinedAt: Date.now() - 86_400_000 })
  const revoke = () => {
    token = newToken()
    gateway.drop(4004)
  }
  const gateway = createGateway({
    ...options,
    token: () => token,
    resumeUrl: () => `${origin().replace('http', 'ws')}/resume`,
    ready: () => ({
      fields: {
        user: store.wireUser(me),
        guilds: [...store.guilds.values()].map(({ id }) => ({ id, unavailable: true })),
        private_channels: [],
        application: { id: store.application, flags: 0 },
      },
      events: guildEvents(store),
    }),
    burnt: () => {
      token = newToken()
    },
  })
  const interactions = createInteractions({ ...options, application: store.application })
  const visible = (message: EmulatedMessage) => !message.deleted && !message.loading
  const posts = createPosts<EmulatedMessage>(store.posted, ({ channel, text }) => `${channel}: ${text}`)
  const world: RestWorld = {
    store,
    gateway,
    interactions,
    token: () => token,
    gatewayUrl: () => `${origin().replace('http', 'ws')}/gateway`,
    nonceWindow: options.nonceWindow ?? 180_000,
    mostFile: 10 * 1024 * 1024,
    commands: [],
    announce: () => {},
  }
  const verbs = createVerbs(world)
  const { announce } = world
  world.announce = (message, how) => {
    announce(message, how)
    if (how !== 'deleted' && !message.loading) posts.changed(message)
  }
  const buckets = createBuckets(options.limits ?? {})
  let invalid = 0
  const answered = (answer: PlatformAnswer, headers: Readonly<Record<string, string>> = {}): PlatformAnswer => {
    if ([401, 403, 429].includes(answer.status ?? 200)) invalid++
    return { ...answer, headers: { ...headers, ...answer.headers } }
  }
  const posted = (channel?: string) =>
    store.posted.filter((message) => visible(message) && (channel === undefined || message.channel === channel))
  platform = await servePlatform(options, {
    read(call) {
      const { route } = findRoute(call)
      const json = call.body.length > 0 && (call.headers['content-type'] ?? '').startsWith('application/json')
      return {
        method: route?.name ?? `${call.method} ${call.path}`,
        params: { ...Object.fromEntries(call.query), path: call.path, ...(json ? jsonOf(call.body) : {}) },
      }
    },
    async answer(call, method) {
      const asked = findRoute(call)
      const limited = call.path.startsWith('/api/')
        ? buckets.take(method, asked.parts[0] ?? '', /^\/api\/v10\/(interactions|webhooks)\//.test(call.path))
        : { headers: {} }
      if ('refusal' in limited && limited.refusal) return answered(limited.refusal)
      try {
        return answered(await answerCall(world, call, asked), limited.headers)
      } catch (error) {
        if (error instanceof Refusal) return answered(refusalOf(error), limited.headers)
        throw error
      }
    },
    refuse: (fault) => answered(inWords(fault)),
    socket: ({ path, query }) =>
      path === '/gateway' || path === '/resume' || path === '/gateway/' || path === '/resume/'
        ? (socket) => gateway.serve(socket, query)
        : 404,
    ...(options.control ? { control: (verb, body) => control(verb, body as Record<string, unknown>) } : {}),
  })
  const { faults, ledger, url } = platform

  const control = (verb: string, body: Record<string, unknown>): unknown => {
    if (verb === 'say') return withoutBytes(verbs.say(body))
    if (verb === 'edit') return verbs.edit(body as never, String(body.text)) ?? true
    if (verb === 'recall') return verbs.recall(body as never) ?? true
    if (verb === 'command') return verbs.command(body as never)
    if (verb === 'press') return verbs.press(body as never)
    if (verb === 'posted') return posted(body.channel === undefined ? undefined : String(body.channel)).map(withoutBytes)
    if (verb === 'ledger') return ledger
    if (verb === 'gateway') return { ...gateway.counts, connected: gateway.connected, pending: gateway.pending }
    if (verb === 'drop') return gateway.drop(body.code === undefined ? undefined : Number(body.code)) ?? true
    if (verb === 'forget') return gateway.forget() ?? true
    if (verb === 'fail') return faults.failNext(String(body.method), body as never) ?? true
    if (verb === 'lose') return faults.dropReplyOf(String(body.method), Number(body.times ?? 1)) ?? true
    return undefined
  }

  return {
    ...verbs,
    ...faults,
    failNext: faults.failNext,
    url: `${url}/api/v10`,
    token: given,
    me,
    application: store.application,
    publicKey: interactions.publicKey,
    ourRole: store.guilds.get(GUILD)?.ourRole ?? '',
    ledger,
    interactions: interactions.all,
    counts: gateway.counts,
    get endpoint() {
      return interactions.endpoint
    },
    get commands() {
      return world.commands
    },
    get invalidRequests() {
      return invalid
    },
    get thinking() {
      return store.posted.filter(({ deleted, loading }) => loading && !deleted).length
    },
    get pending() {
      return gateway.pending
    },
    get connected() {
      return gateway.connected
    },
    redeliver: gateway.redeliver,
    drop: gateway.drop,
    askReconnect: gateway.askReconnect,
    forget: gateway.forget,
    invalidate: gateway.invalidate,
    mute: gateway.mute,
    dispatch: gateway.dispatch,
    post: interactions.post,
    setEndpoint: interactions.setEndpoint,
    posted,
    waitForPosted: (is, timeout) => posts.wait((message) => visible(message) && is(message), timeout),
    onPosted: posts.watch,
    takeOver: (channel, text = 'somebody else') => void verbs.say({ text, from: me.id, in: channel, nonce: 'of-another-program' }),
    revoke,
    tellGuilds() {
      for (const [type, payload] of guildEvents(store)) gateway.dispatch(type, payload, { intent: intents.guilds })
    },
    async [Symbol.asyncDispose]() {
      await platform?.[Symbol.asyncDispose]()
    },
  }
}

/** The emulator as a server of its own, with its verbs below `/control/`. */
export function startDiscordEmulator(options: {
  readonly host: string
  readonly port: number
  readonly token: string
}): Promise<DiscordEmulator> {
  return createDiscordEmulator({ ...options, control: true, keep: 100_000 })
}

function guildEvents(store: Store): (readonly [string, object])[] {
  return [...store.guilds.values()].map(({ id, name, ourRole, joinedAt }) => {
    const channels = [...store.channels.values()].filter(({ guild }) => guild === id)
    const isThread = ({ parent }: { parent?: string }) => parent !== undefined
    return [
      'GUILD_CREATE',
      {
        id,
        name,
        unavailable: false,
        joined_at: isoOf(joinedAt),
        roles: [
          { id, name: '@everyone', tags: {} },
          { id: ourRole, name: store.me.username, managed: true, tags: { bot_id: store.me.id } },
        ],
        members: [{ user: store.wireUser(store.me), roles: [ourRole] }],
        channels: channels.filter((channel) => !isThread(channel)).map(store.wireChannel),
        threads: channels.filter(isThread).map(store.wireChannel),
      },
    ]
  })
}

/** A fault in Discord's words; `50013 Missing Permissions` as description names the code. */
function inWords({ status, description, retryAfter = 1 }: Fault): PlatformAnswer {
  if (status === 429) return tooMany(retryAfter, false)
  const [, code, words] = /^(\d{4,6}) (.*)$/.exec(description ?? '') ?? []
  const usual = status === 403 ? 50013 : status === 404 ? 10003 : status === 400 ? 50035 : 0
  return { status, body: { message: words ?? description ?? `${status}: Refused`, code: code === undefined ? usual : Number(code) } }
}

function jsonOf(body: Buffer): object {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return Array.isArray(value) ? { list: value } : (value as object)
  } catch {
    return {}
  }
}

function withoutBytes({ files, ...message }: EmulatedMessage): object {
  return { ...message, files: files.map(({ name, mime, bytes }) => ({ name, mime, size: bytes.length })) }
}
