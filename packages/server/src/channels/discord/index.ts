/** Discord over its gateway, its HTTP API and its interactions endpoint: identity and lifecycle. https://docs.discord.com/developers */
import { randomBytes } from 'node:crypto'
import {
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Clock,
  type Connection,
  DeliveryError,
  FetchError,
  type FileRef,
  type Identity,
  type InboundMessage,
  isPosthouseError,
  limited,
  PosthouseError,
  parseKept,
  type Reading,
  systemClock,
  trackWork,
  type WebhookRequest,
  type WebhookResponse,
} from '@posthouse/contract'
import type { APIInteraction } from 'discord-api-types/v10'
import { type Api, ApiError, createApi } from './api.ts'
import { acknowledge, createTokens, offerCommands, type Tokens } from './interactions.ts'
import { createReader, type DiscordKnown, INTERACTION, parseInteraction, readFrame, readInteraction } from './receive.ts'
import { edit, MAX_TEXT, MAX_UPLOAD, reconcile, render, type Sending, send, toDeliveryError } from './send.ts'
import { type DiscordSettings, settings } from './settings.ts'
import { type Event, type LineMemory, listenToGateway } from './socket.ts'

export type { DiscordSettings } from './settings.ts'

/** Limits: resources/message#create-message, reference#uploading-files, interactions/receiving-and-responding; rates are told by headers. */
const capabilities: Capabilities = {
  maxText: { limit: MAX_TEXT, unit: 'utf16' },
  upload: { image: MAX_UPLOAD, audio: MAX_UPLOAD, voice: MAX_UPLOAD, video: MAX_UPLOAD, file: MAX_UPLOAD, sticker: MAX_UPLOAD },
  download: 100 * 1024 * 1024,
  ownership: 'single',
  proactive: true,
  // A nonce holds for minutes only; `reconcile` knows when.
  idempotentSend: false,
  // The answer to an interaction is found by it; other answers in direct messages refer to nothing.
  answersRefer: true,
  ackDeadline: 3000,
  retryWindow: 24 * 3_600_000,
  rates: {
    calls: ['send', 'upload', 'draft'],
    direct: { amount: 5, per: 5000 },
    group: { amount: 5, per: 5000 },
    // Fifty a second for all that a bot asks (topics/rate-limits#global-rate-limit); each route and channel for itself as its headers tell.
    methods: {
      any: { calls: ['send', 'upload', 'draft', 'edit', 'finish', 'typing'], account: { amount: 45, per: 1000 } },
      'PATCH /channels/{channel.id}/messages/{message.id}': {
        calls: ['edit', 'finish'],
        direct: { amount: 5, per: 5000 },
        group: { amount: 5, per: 5000 },
      },
      'POST /channels/{channel.id}/typing': { calls: ['typing'], direct: { amount: 5, per: 5000 }, group: { amount: 5, per: 5000 } },
    },
  },
  draftInterval: 1500,
}

const CONFLICT = 'another program writes with this bot token, and so answers the same people; stop it or create a second bot'

export const discord = createDiscord()

export function createDiscord(clock: Clock = systemClock): Channel<DiscordSettings> {
  return {
    id: 'discord',
    settings,
    capabilities,
    setbacks: {
      transient: { remedy: 'Discord is not reachable; it is being tried again' },
      auth: { remedy: 'Discord does not let us in', least: 60_000, most: 600_000 },
      'rate-limited': { remedy: 'Discord asks us to wait', most: 3_600_000 },
    },
    reader: createReader,
    open: (settings, host, signal) => open(settings, host, signal, clock),
    async probe({ base_url, token }, host, signal) {
      const me = await createApi(base_url, token, host.fetch).call<Me>('GET', '/users/@me', undefined, { signal }).catch(refuse)
      return { id: me.id, name: `@${me.username}`, username: me.username }
    },
  }
}

interface Me {
  readonly id: string
  readonly username: string
}

const LOOK_EVERY = 300_000
/** How long a conflict is shown after its last sign. */
const CONFLICT_LASTS = 300_000

/** One open account. */
interface Account {
  readonly api: Api
  readonly settings: DiscordSettings
  readonly host: ChannelHost
  readonly clock: Clock
  /** Fires when nothing may be received any more. */
  readonly stop: AbortSignal
  readonly rooms: Rooms
  readonly tokens: Tokens
  /** What is known of ourselves; shared by all that goes on. */
  readonly self: Self
  /** Remembers work that closing must wait for. */
  tracked<T>(work: Promise<T>): Promise<T>
}

interface Self {
  us: Identity | undefined
  roles: ReadonlySet<string>
  mark: string | undefined
  /** Until when a conflict is shown. */
  conflictUntil: number
  /** The slash commands are registered. */
  offered: boolean
  readonly line: LineMemory
}

async function open(settings: DiscordSettings, host: ChannelHost, signal: AbortSignal, clock: Clock): Promise<Connection> {
  const underWay = trackWork()
  const account: Account = {
    api: createApi(settings.base_url, settings.token, host.fetch, clock.now),
    settings,
    host,
    clock,
    stop: AbortSignal.any([signal, underWay.closing]),
    rooms: createRooms(),
    tokens: createTokens(host.state, clock.now),
    self: { us: undefined, roles: new Set(), mark: undefined, conflictUntil: 0, offered: false, line: { begunAt: 0, unreachable: 0 } },
    tracked: underWay.tracked,
  }
  const { api, tracked, tokens, self } = account
  if (settings.public_key) host.routes.webhook(createReader(settings), (request) => tracked(handle(account, request)))
  else if (settings.mode === 'webhook')
    throw new PosthouseError('invalid', 'mode "webhook" needs public_key: without it anybody could speak in the name of Discord')
  const sending: Sending = {
    api,
    now: clock.now,
    mark: () => markOf(self, host.state),
    us: async (within) => self.us?.id ?? (await identify(account, within)).id,
    token: tokens.find,
    forget: tokens.forget,
    answered: (interaction, whole) => {
      tokens.answered(interaction)
      // One answer may be for several questions: what was put off for the others would say "thinking" for a quarter of an hour.
      for (const { application, token } of whole ? tokens.takeLeft(interaction) : [])
        tracked(api.call('DELETE', `/webhooks/${application}/${token}/messages/@original`, undefined)).catch(() => undefined)
    },
    used: new Map(),
  }
  return {
    listen: (listener, until) => {
      const within = AbortSignal.any([account.stop, until])
      const own: Account = { ...account, stop: within, host: { ...host, ...listener } }
      return tracked(
        listen(own)
          .catch(explain)
          .catch((error) => within.aborted || Promise.reject(error)),
      ).then(() => {})
    },
    render,
    send: (piece, to, options) => underWay.calling(options, (within) => send(sending, piece, to, within)),
    edit: (receipt, piece, options) => underWay.calling(options, (within) => edit(sending, receipt, piece, within)),
    reconcile: (piece, to, options) => underWay.calling(options, (within) => reconcile(sending, piece, to, within)),
    typing: async (to, within) => {
      if (/^\d{1,20}$/.test(to.room)) await api.call('POST', `/channels/${to.room}/typing`, {}, { signal: within }).catch(() => undefined)
    },
    download: (file, limit, within) => download(account, file, limit, within),
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  }
}

/** What Discord said, or what kept us from it, by its kind; what went wrong on our side as it is. */
function explain(thrown: unknown): never {
  throw thrown instanceof ApiError || thrown instanceof FetchError ? toDeliveryError(thrown) : thrown
}

function refuse(error: unknown): never {
  throw toDeliveryError(error)
}

async function identify({ api, self }: Account, signal: AbortSignal): Promise<Identity> {
  const { id, username } = await api.call<Me>('GET', '/users/@me', undefined, { signal, timeout: 10_000, knock: true })
  self.us = { id, name: username, username }
  return self.us
}

/** What our nonces begin with, the same on all nodes; who listens makes it. Until then they begin with what says nothing. */
async function markOf(self: Self, state: ChannelHost['state']): Promise<string> {
  self.mark ??= await state.get('mark')
  return self.mark ?? NO_MARK
}
const NO_MARK = '000000'

// ---- Receiving --------------------------------------------------------------------------------------------------------

async function listen(account: Account): Promise<void> {
  const { api, host, settings, self, rooms, clock, stop, tracked } = account
  await rooms.load(host.state)
  if ((await markOf(self, host.state)) === NO_MARK) {
    self.mark = randomBytes(4).toString('base64url')
    await host.state.set('mark', self.mark)
  }
  if (settings.mode === 'webhook') return await lookAfter(account)
  tracked(offer(account)).catch(() => undefined)
  await listenToGateway({
    api,
    token: settings.token,
    clock,
    stop,
    memory: self.line,
    host: {
      ...host,
      received: () => heard(account),
      report: (state, problem) => {
        if (state !== 'connected' || !isConflict(account)) host.report(state, problem)
      },
    },
    directs: rooms.directs,
    changed: ({ us, roles }) => {
      self.us = { id: us.id, name: us.username, username: us.username }
      self.roles = new Set(roles)
    },
    take: (event) => take(account, event),
  })
}

/** Registers the slash commands, once. That they are missing holds nothing else. */
async function offer({ api, settings, self, host, stop }: Account): Promise<void> {
  if (!settings.register_commands || self.offered) return
  try {
    const application = settings.application_id ?? (await api.call<Application>('GET', '/applications/@me', undefined, { signal: stop })).id
    await offerCommands(api, application, stop)
    self.offered = true
  } catch (error) {
    if (!stop.aborted) host.log.warn({ problem: String(error) }, 'the slash commands were not registered; it is tried again')
  }
}

/** A conflict stays to be seen for a while, though the line is alive. */
function isConflict({ self, clock }: Account): boolean {
  return clock.now() < self.conflictUntil
}

function heard(account: Account): void {
  if (!isConflict(account)) account.host.received()
}

/** Resolves when the event needs no repetition: committed, or nothing that we could ever read. */
async function take(account: Account, event: Event): Promise<void> {
  const { api, host, clock, stop, self, tokens, tracked } = account
  if (isOfAnother(self, event)) {
    self.conflictUntil = clock.now() + CONFLICT_LASTS
    host.report('conflict', CONFLICT)
  }
  const known: DiscordKnown = { now: clock.now(), roles: self.roles, ...(self.us ? { us: self.us } : {}) }
  let reading: Reading
  try {
    reading = readFrame({ op: 0, t: event.t, d: event.d }, known)
  } catch (error) {
    host.log.warn({ event: event.t.slice(0, 40), problem: String(error) }, 'skipped a malformed event')
    return
  }
  const interaction = event.t === 'INTERACTION_CREATE' ? (event.d as APIInteraction) : undefined
  if (interaction) await keepToken(account, interaction, reading)
  for (const message of reading.messages) await admit(account, message)
  const first = reading.response?.body
  if (!interaction || first === undefined) return
  const work = tracked(acknowledge(api, tokens, interaction, first, stop))
  work.catch((error: Error) => host.log.debug({ problem: error.message }, 'an interaction was not acknowledged'))
  tokens.acknowledged(interaction.id, work)
}

/** Before the message: who answers it, maybe another node, finds the token then. */
async function keepToken({ tokens, host }: Account, interaction: APIInteraction, { messages }: Reading): Promise<void> {
  if (messages.some(({ id }) => id.startsWith(INTERACTION))) await tokens.keep(host.state, interaction)
}

/** Hands a message over until it is taken; what comes behind it waits. */
async function admit(account: Account, message: InboundMessage): Promise<void> {
  const { host, clock, stop, rooms } = account
  // In rooms where nobody spoke with us there is nothing to be taken back.
  if (message.kind === 'delete' && !rooms.has(message.place.room)) return
  for (;;) {
    try {
      await host.receive(message)
      break
    } catch (error) {
      if (stop.aborted) throw error
      host.log.warn({ problem: String(error) }, 'a message was not taken; it is handed over again')
      await clock.wait((isPosthouseError(error) && error.retryAfter) || 1000, stop)
      if (stop.aborted) throw error
    }
  }
  await rooms.note(host.state, message)
}

/** We ourselves, with a nonce that no process of ours made. */
function isOfAnother({ us, mark }: Self, { t, d }: Event): boolean {
  if (t !== 'MESSAGE_CREATE' || !us || mark === undefined) return false
  const { author, nonce } = (d ?? {}) as { author?: { id?: unknown } | null; nonce?: unknown }
  return author?.id === us.id && typeof nonce === 'string' && !nonce.startsWith(mark) && !nonce.startsWith(NO_MARK)
}

// ---- The interactions endpoint ----------------------------------------------------------------------------------------

async function handle(account: Account, request: WebhookRequest): Promise<WebhookResponse> {
  const { host, stop, tokens, clock, settings, rooms } = account
  let interaction: APIInteraction
  let reading: Reading
  try {
    interaction = parseInteraction(request.body)
    reading = readInteraction(interaction, settings.application_id)
  } catch (error) {
    if (isPosthouseError(error)) return { status: 400 }
    throw error
  }
  if (stop.aborted) return { status: 503, headers: { 'retry-after': '5' } }
  // Asked whether we are there we are not pointed at yet.
  if (!reading.challenge) heard(account)
  try {
    await keepToken(account, interaction, reading)
    for (const message of reading.messages) {
      await host.receive(message)
      await rooms.note(host.state, message)
    }
  } catch (error) {
    // Discord does not come again: the person is told that it failed.
    host.log.warn({ problem: String(error) }, 'an interaction was not taken')
    return { status: 503, headers: { 'retry-after': '5' } }
  }
  // Our answer is on its way for a moment.
  if (reading.messages.length > 0) tokens.acknowledged(interaction.id, clock.wait(ON_ITS_WAY, stop))
  return reading.response ?? { status: 202 }
}
const ON_ITS_WAY = 300

interface Application {
  readonly id: string
  readonly verify_key?: string
  readonly interactions_endpoint_url?: string | null
}

/** Says where to send interactions, then looks from time to time whether that still holds. */
async function lookAfter(account: Account): Promise<void> {
  const { host, clock, stop } = account
  for (let isFirst = true; !stop.aborted; isFirst = false) {
    await identify(account, stop)
    await offer(account)
    const problem = await pointEndpoint(account, isFirst)
    if (problem === undefined) {
      host.received()
      host.report('connected')
    } else host.report(problem.state, problem.words)
    await clock.wait(LOOK_EVERY, stop)
  }
}

async function pointEndpoint(
  { api, host, settings, stop }: Account,
  isFirst: boolean,
): Promise<{ readonly state: 'degraded' | 'conflict'; readonly words: string } | undefined> {
  const { url } = host.routes
  const degraded = (words: string) => ({ state: 'degraded', words }) as const
  if (!url) return degraded('server.public_url is not set, so Discord cannot be told where to send; set it, or use mode: gateway')
  const application = await api.call<Application>('GET', '/applications/@me', undefined, { signal: stop })
  const { verify_key: key, interactions_endpoint_url: there } = application
  if (key !== undefined && key.toLowerCase() !== settings.public_key?.toLowerCase())
    return degraded('public_key is not that of this bot’s application; copy it from the Developer Portal, "General Information"')
  if (there === url) return undefined
  try {
    // Discord calls us before it agrees.
    await api.call('PATCH', '/applications/@me', { interactions_endpoint_url: url }, { signal: stop })
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 400)) throw error
    return degraded(`Discord does not reach ${url}, or got another answer than it wants; check server.public_url and what stands before it`)
  }
  if (isFirst || !there) return undefined
  return { state: 'conflict', words: 'somebody pointed the interactions endpoint somewhere else; it is set again' }
}

// ---- Rooms ------------------------------------------------------------------------------------------------------------

const MOST_ROOMS = 500
const MOST_DIRECTS = 200

type State = ChannelHost['state']

/** Where people spoke with us: direct messages are looked through after a gap, as Discord does not list them. */
interface Rooms {
  load(state: State): Promise<void>
  has(room: string): boolean
  note(state: State, message: InboundMessage): Promise<void>
  /** The latest last. */
  directs(): readonly string[]
}

function createRooms(): Rooms {
  const known = new Map<string, 0 | 1>()
  return {
    async load(state) {
      for (const [room, isDirect] of parseKept<[string, 0 | 1][]>(await state.get('rooms')) ?? []) known.set(room, isDirect)
    },
    has: (room) => known.has(room),
    directs: () => [...known.keys()].filter((room) => known.get(room) === 1).slice(-MOST_DIRECTS),
    async note(state, { addressed, author, kind, place: { room, type } }) {
      if (!addressed || author.isBot || kind === 'delete' || known.has(room)) return
      known.set(room, type === 'direct' ? 1 : 0)
      for (const oldest of known.keys()) if (known.size > MOST_ROOMS) known.delete(oldest)
      await state.set('rooms', JSON.stringify([...known]))
    },
  }
}

// ---- Files ------------------------------------------------------------------------------------------------------------

/** Addresses of attachments hold for a day; then the message tells a new one. https://docs.discord.com/developers/reference#signed-attachment-cdn-urls */
async function download({ api, settings }: Account, file: FileRef, limit: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  const ref = parseKept<{ url?: string; channel?: string; message?: string; id?: string }>(file.ref)
  if (!ref?.url) throw new DeliveryError('not-found', 'the file is not there any more')
  if ((file.size ?? 0) > limit) throw new PosthouseError('too-large', `${file.size} bytes, allowed are ${limit}`)
  const fetchFrom = (url: string) => api.download(demandCdn(url, settings.base_url), { signal }).catch(refuse)
  let response = await fetchFrom(ref.url)
  if ((response.status === 403 || response.status === 404) && /^\d+$/.test(ref.message ?? '')) {
    for await (const _ of response.body) break
    const message = await api
      .call<{ attachments?: { id: string; url: string }[] }>('GET', `/channels/${ref.channel}/messages/${ref.message}`, undefined, {
        signal,
      })
      .catch(refuse)
    const again = message.attachments?.find(({ id }) => id === ref.id)?.url
    if (again) response = await fetchFrom(again)
  }
  if (response.status !== 200)
    throw new DeliveryError(response.status >= 500 ? 'transient' : 'not-found', `the download answered ${response.status}`)
  return limited(response.body, limit)
}

/** Where Discord keeps files, or where its API is reached. */
function demandCdn(url: string, base: string): string {
  const { protocol, hostname, origin } = new URL(url)
  if ((protocol === 'https:' && /^(cdn|media)\.discordapp\.(com|net)$/.test(hostname)) || origin === new URL(base).origin) return url
  throw new DeliveryError('invalid', 'the file is not where Discord keeps files')
}
