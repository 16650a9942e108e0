/** Discord's HTTP API as far as a bot that talks needs it, with its refusals. https://docs.discord.com/developers/reference */
import type { PlatformAnswer, PlatformCall } from '../platform.ts'
import type { Gateway } from './gateway.ts'
import type { Interaction, Interactions } from './interactions.ts'
import { readMarkup } from './markup.ts'
import { type EmulatedChannel, type EmulatedFile, type EmulatedMessage, isoOf, type Store } from './store.ts'

export interface RestWorld {
  readonly store: Store
  readonly gateway: Gateway
  readonly interactions: Interactions
  token(): string
  gatewayUrl(): string
  /** Milliseconds in which a nonce makes no second message. */
  readonly nonceWindow: number
  /** Bytes of one file. */
  readonly mostFile: number
  commands: object[]
  /** Tells the gateway and who watches. */
  announce(message: EmulatedMessage, how: 'created' | 'changed' | 'deleted'): void
}

/** https://docs.discord.com/developers/topics/opcodes-and-status-codes#json */
const WORDS: Readonly<Record<number, readonly [status: number, message: string]>> = {
  0: [401, '401: Unauthorized'],
  10003: [404, 'Unknown Channel'],
  10008: [404, 'Unknown Message'],
  10013: [404, 'Unknown User'],
  10015: [404, 'Unknown Webhook'],
  10062: [404, 'Unknown interaction'],
  40005: [413, 'Request entity too large'],
  40060: [400, 'Interaction has already been acknowledged.'],
  40333: [403, 'Cloudflare is blocking your request. This can often be resolved by setting a proper User Agent.'],
  50001: [403, 'Missing Access'],
  50005: [403, 'Cannot edit a message authored by another user'],
  50006: [400, 'Cannot send an empty message'],
  50007: [403, 'Cannot send messages to this user'],
  50013: [403, 'Missing Permissions'],
  50035: [400, 'Invalid Form Body'],
  50083: [400, 'Thread is archived'],
  50109: [400, 'The request body contains invalid JSON.'],
}

export class Refusal extends Error {
  readonly code: number
  readonly field: string | undefined
  constructor(code: number, field?: string) {
    super(WORDS[code]?.[1] ?? `${code}`)
    this.code = code
    this.field = field
  }
}

export function refusalOf({ code, message, field }: Refusal): PlatformAnswer {
  const errors = field === undefined ? {} : { errors: { [field]: { _errors: [{ code: 'INVALID', message: 'Invalid' }] } } }
  return { status: WORDS[code]?.[0] ?? 400, body: { message, code, ...errors } }
}

interface Route {
  readonly name: string
  readonly verb: string
  readonly path: RegExp
  /** Needs no bot token: the address is the proof. */
  readonly open?: boolean
}

const id = '(\\d+)'
const route = (name: string, verb: string, path: string, open = false): Route => ({
  name,
  verb,
  path: new RegExp(`^/api/v10${path}$`),
  open,
})
const routes: readonly Route[] = [
  route('getCurrentUser', 'GET', '/users/@me'),
  route('createDM', 'POST', '/users/@me/channels'),
  route('getCurrentApplication', 'GET', '/applications/@me'),
  route('editCurrentApplication', 'PATCH', '/applications/@me'),
  route('getCommands', 'GET', `/applications/${id}/commands`),
  route('putCommands', 'PUT', `/applications/${id}/commands`),
  route('getGateway', 'GET', '/gateway', true),
  route('getGatewayBot', 'GET', '/gateway/bot'),
  route('getChannel', 'GET', `/channels/${id}`),
  route('getChannelMessages', 'GET', `/channels/${id}/messages`),
  route('getChannelMessage', 'GET', `/channels/${id}/messages/${id}`),
  route('createMessage', 'POST', `/channels/${id}/messages`),
  route('editMessage', 'PATCH', `/channels/${id}/messages/${id}`),
  route('deleteMessage', 'DELETE', `/channels/${id}/messages/${id}`),
  route('triggerTyping', 'POST', `/channels/${id}/typing`),
  route('createInteractionResponse', 'POST', `/interactions/${id}/([\\w-]+)/callback`, true),
  route('createFollowup', 'POST', `/webhooks/${id}/([\\w-]+)`, true),
  route('getOriginal', 'GET', `/webhooks/${id}/([\\w-]+)/messages/(@original|\\d+)`, true),
  route('editOriginal', 'PATCH', `/webhooks/${id}/([\\w-]+)/messages/(@original|\\d+)`, true),
  route('deleteOriginal', 'DELETE', `/webhooks/${id}/([\\w-]+)/messages/(@original|\\d+)`, true),
  { name: 'attachment', verb: 'GET', path: /^\/attachments\/(\d+)\/(\d+)\/([^/]+)$/, open: true },
]

export interface Asked {
  readonly route: Route | undefined
  readonly parts: readonly string[]
}

export function findRoute({ method, path }: Pick<PlatformCall, 'method' | 'path'>): Asked {
  for (const found of routes) {
    const match = found.verb === method ? found.path.exec(path.replaceAll('%40', '@')) : null
    if (match) return { route: found, parts: match.slice(1) }
  }
  return { route: undefined, parts: [] }
}

interface Form {
  readonly fields: Readonly<Record<string, unknown>>
  readonly files: readonly { readonly name: string; readonly mime: string; readonly bytes: Uint8Array }[]
}

/** @throws Refusal */
export async function answerCall(world: RestWorld, call: PlatformCall, { route: found, parts }: Asked): Promise<PlatformAnswer> {
  if (!found) return { status: 404, body: { message: '404: Not Found', code: 0 } }
  const [first = '', second = '', third = ''] = parts
  if (found.name === 'attachment') return attachment(world, call, second)
  if (!/^DiscordBot \(\S+, \S+\)/.test(call.headers['user-agent'] ?? '')) throw new Refusal(40333)
  if (!found.open && call.headers.authorization !== `Bot ${world.token()}`) throw new Refusal(0)
  const { store, gateway, interactions } = world
  const body = ['POST', 'PUT', 'PATCH'].includes(call.method) ? await readForm(call) : { fields: {}, files: [] }
  switch (found.name) {
    case 'getCurrentUser':
      return { body: store.wireUser(store.me) }
    case 'getCurrentApplication':
    case 'editCurrentApplication': {
      const url = body.fields.interactions_endpoint_url
      if (typeof url === 'string' && url !== interactions.endpoint) {
        if (!(await interactions.verify(url))) throw new Refusal(50035, 'interactions_endpoint_url')
        interactions.setEndpoint(url)
      } else if (url === null) interactions.setEndpoint(undefined)
      return {
        body: {
          id: store.application,
          name: store.me.username,
          bot: store.wireUser(store.me),
          verify_key: interactions.publicKey,
          interactions_endpoint_url: interactions.endpoint ?? null,
        },
      }
    }
    case 'getCommands':
      return { body: world.commands }
    case 'putCommands':
      world.commands = (await readCommands(call)).map((command) => ({
        ...command,
        id: store.newId(),
        application_id: store.application,
        version: store.newId(),
      }))
      return { body: world.commands }
    case 'getGateway':
      return { body: { url: world.gatewayUrl() } }
    case 'getGatewayBot':
      return { body: { url: world.gatewayUrl(), shards: 1, session_start_limit: gateway.limit } }
    case 'createDM': {
      const channel = [...store.channels.values()].find(({ person }) => person?.id === body.fields.recipient_id)
      if (!channel) throw new Refusal(10013)
      return { body: store.wireChannel(channel) }
    }
    case 'getChannel':
      return { body: store.wireChannel(channelOf(world, first)) }
    case 'getChannelMessages':
      return { body: history(channelOf(world, first), call.query).map((message) => store.wireMessage(message)) }
    case 'getChannelMessage':
      return { body: store.wireMessage(messageOf(world, channelOf(world, first), second)) }
    case 'createMessage':
      return { body: store.wireMessage(create(world, writable(world, first), body)) }
    case 'editMessage': {
      const message = messageOf(world, channelOf(world, first), second)
      if (message.author.id !== store.me.id) throw new Refusal(50005)
      return { body: store.wireMessage(edit(world, message, body)) }
    }
    case 'deleteMessage':
      remove(world, messageOf(world, channelOf(world, first), second))
      return { status: 204 }
    case 'triggerTyping':
      writable(world, first)
      return { status: 204 }
    case 'createInteractionResponse': {
      const interaction = interactions.all.find((each) => each.id === first && each.token === second)
      if (!interaction || interactions.find(second) !== interaction) throw new Refusal(interaction?.first === undefined ? 10062 : 40060)
      acknowledge(world, interaction, body.fields, 'call')
      return { status: 204 }
    }
    default:
      return throughToken(world, found.name, interactionOf(world, first, second), third, body)
  }
}

function throughToken(world: RestWorld, name: string, interaction: Interaction, which: string, body: Form): PlatformAnswer {
  const { store } = world
  const channel = channelOf(world, interaction.channel)
  if (name === 'createFollowup')
    return { body: store.wireMessage(create(world, channel, { ...body, fields: { ...body.fields, nonce: undefined } }, interaction.id)) }
  const message = messageOf(world, channel, which === '@original' ? (interaction.original ?? '') : which)
  if (name === 'getOriginal') return { body: store.wireMessage(message) }
  if (name === 'editOriginal') return { body: store.wireMessage(edit(world, message, body)) }
  remove(world, message)
  return { status: 204 }
}

/** The first answer to an interaction, by whatever way it came. @throws Refusal */
export function acknowledge(
  world: RestWorld,
  interaction: Interaction,
  fields: Readonly<Record<string, unknown>>,
  by: 'call' | 'endpoint',
): void {
  try {
    world.interactions.acknowledge(interaction, fields.type, by)
  } catch (error) {
    throw new Refusal(Number((error as Error).message))
  }
  const data = (fields.data ?? {}) as Record<string, unknown>
  const channel = channelOf(world, interaction.channel)
  if (fields.type === 4) interaction.original = create(world, channel, { fields: data, files: [] }, interaction.id).message_id
  if (fields.type === 5)
    interaction.original = add(world, channel, {
      content: '',
      flags: 1 << 7,
      loading: true,
      interaction: interaction.id,
      type: 20,
    }).message_id
}

function interactionOf({ store, interactions }: RestWorld, application: string, token: string): Interaction {
  const found = interactions.find(token)
  if (!found || found.first === undefined || application !== store.application) throw new Refusal(10015)
  return found
}

function channelOf({ store }: RestWorld, channel: string): EmulatedChannel {
  const found = store.channels.get(channel)
  if (!found) throw new Refusal(10003)
  if (found.refuses === 50001) throw new Refusal(50001)
  return found
}

function writable(world: RestWorld, channel: string): EmulatedChannel {
  const found = channelOf(world, channel)
  if (found.refuses !== undefined) throw new Refusal(found.refuses)
  return found
}

function messageOf({ store }: RestWorld, channel: EmulatedChannel, message: string): EmulatedMessage {
  const found = store.find(channel.id, message)
  if (!found) throw new Refusal(10008)
  return found
}

/** https://docs.discord.com/developers/resources/message#get-channel-messages: newest first, whatever was asked for. */
function history({ messages }: EmulatedChannel, query: URLSearchParams): EmulatedMessage[] {
  const limit = Number(query.get('limit') ?? 50)
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw new Refusal(50035, 'limit')
  const [after, before] = [query.get('after'), query.get('before')]
  for (const each of [after, before]) if (each !== null && !/^\d{1,20}$/.test(each)) throw new Refusal(50035, 'after')
  const there = messages.filter((message) => !message.deleted).toSorted((a, b) => (BigInt(a.message_id) < BigInt(b.message_id) ? -1 : 1))
  const within = there.filter(
    ({ message_id }) => (after === null || BigInt(message_id) > BigInt(after)) && (before === null || BigInt(message_id) < BigInt(before)),
  )
  return (after === null ? within.slice(-limit) : within.slice(0, limit)).reverse()
}

// ---- Writing ----------------------------------------------------------------------------------------------------------

const MOST_TEXT = 2000
/** SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS, EPHEMERAL. */
const FLAGS = (1 << 2) | (1 << 12) | (1 << 6)

function textIn(fields: Form['fields']): string | undefined {
  const { content } = fields
  if (content === undefined || content === null) return undefined
  if (typeof content !== 'string') throw new Refusal(50035, 'content')
  // The API counts code points: https://github.com/discord/discord-api-docs/issues/1315
  if ([...content].length > MOST_TEXT) throw new Refusal(50035, 'content')
  return content.trim()
}

/** What nobody sees is no message. */
const BLANK = /^[\s\p{Cc}\p{Cf}\u2800\ufffc]*$/u

function check(fields: Form['fields']): void {
  const { flags, nonce, allowed_mentions: mentions, embeds, components } = fields
  if (flags !== undefined && (typeof flags !== 'number' || (flags & ~FLAGS) !== 0)) throw new Refusal(50035, 'flags')
  if (nonce !== undefined && !(typeof nonce === 'number' || (typeof nonce === 'string' && nonce.length <= 25)))
    throw new Refusal(50035, 'nonce')
  const parse = (mentions as { parse?: unknown } | undefined)?.parse
  if (parse !== undefined && !(Array.isArray(parse) && parse.every((each) => ['roles', 'users', 'everyone'].includes(each))))
    throw new Refusal(50035, 'allowed_mentions')
  for (const list of [embeds, components]) if (list !== undefined && !Array.isArray(list)) throw new Refusal(50035, 'embeds')
}

function filesIn(world: RestWorld, { files }: Form): EmulatedFile[] {
  if (files.some(({ bytes }) => bytes.length > world.mostFile)) throw new Refusal(40005)
  if (files.length > 10) throw new Refusal(50035, 'files')
  return files.map((file) => ({ ...file, id: world.store.newId() }))
}

function create(world: RestWorld, channel: EmulatedChannel, form: Form, interaction?: string): EmulatedMessage {
  const { fields } = form
  check(fields)
  const content = textIn(fields) ?? ''
  const files = filesIn(world, form)
  const nonce = fields.nonce === undefined ? undefined : String(fields.nonce)
  const known =
    nonce !== undefined && fields.enforce_nonce === true
      ? world.store.posted.find(
          (message) => message.nonce === nonce && message.channel === channel.id && Date.now() - message.at < world.nonceWindow,
        )
      : undefined
  // Also one that was deleted since: a repeat finds no message then.
  if (known?.deleted) throw new Refusal(10008)
  if (known) return known
  if (BLANK.test(content) && files.length === 0 && !Array.isArray(fields.embeds)) throw new Refusal(50006)
  const reference = fields.message_reference as Record<string, unknown> | undefined
  const to = reference?.message_id === undefined ? undefined : String(reference.message_id)
  if (to !== undefined && !/^\d{1,20}$/.test(to)) throw new Refusal(50035, 'message_reference')
  const there = to !== undefined && world.store.find(channel.id, to)
  if (to !== undefined && !there && reference?.fail_if_not_exists !== false) throw new Refusal(50035, 'message_reference')
  return add(world, channel, {
    content,
    files,
    flags: Number(fields.flags ?? 0),
    type: there ? 19 : 0,
    ...(nonce === undefined ? {} : { nonce }),
    ...(there && to !== undefined ? { reply_to: to } : {}),
    ...(interaction ? { interaction } : {}),
  })
}

function add(world: RestWorld, channel: EmulatedChannel, fields: Partial<EmulatedMessage> & { content: string }): EmulatedMessage {
  const { store } = world
  const { text, marks } = readMarkup(fields.content)
  const message = store.add({
    message_id: store.newId(),
    channel: channel.id,
    author: store.me,
    text,
    marks,
    type: 0,
    flags: 0,
    at: Date.now(),
    edits: 0,
    files: [],
    ...fields,
  })
  world.announce(message, 'created')
  return message
}

function edit(world: RestWorld, message: EmulatedMessage, form: Form): EmulatedMessage {
  check(form.fields)
  const content = textIn(form.fields) ?? message.content
  const files = [...message.files, ...filesIn(world, form)]
  if (BLANK.test(content) && files.length === 0) throw new Refusal(50006)
  const { text, marks } = readMarkup(content)
  const flags = form.fields.flags === undefined ? message.flags & ~(1 << 7) : Number(form.fields.flags)
  Object.assign(message, { content, text, marks, files, flags, loading: false, edits: message.edits + 1, edited: isoOf(Date.now()) })
  world.announce(message, 'changed')
  return message
}

function remove(world: RestWorld, message: EmulatedMessage): void {
  message.deleted = true
  world.announce(message, 'deleted')
}

function attachment({ store }: RestWorld, { query }: PlatformCall, file: string): PlatformAnswer {
  const found = store.files.get(file)
  const until = Number.parseInt(query.get('ex') ?? '', 16) * 1000
  if (!found || !(until > Date.now())) return { status: 404, body: 'This content is no longer available.' }
  return { headers: { 'content-type': found.mime }, body: found.bytes }
}

// ---- Bodies -----------------------------------------------------------------------------------------------------------

async function readForm(call: PlatformCall): Promise<Form> {
  const type = call.headers['content-type'] ?? ''
  if (call.body.length === 0) return { fields: {}, files: [] }
  if (type.startsWith('application/json')) return { fields: objectOf(call.body.toString('utf8')), files: [] }
  if (!type.startsWith('multipart/form-data')) throw new Refusal(50035)
  const form = await new Response(new Uint8Array(call.body), { headers: { 'content-type': type } }).formData().catch(() => undefined)
  if (!form) throw new Refusal(50035)
  const files: { name: string; mime: string; bytes: Uint8Array }[] = []
  let fields: Readonly<Record<string, unknown>> = {}
  for (const [name, value] of form) {
    if (name === 'payload_json' && typeof value === 'string') fields = objectOf(value)
    else if (typeof value !== 'string' && /^files\[\d+\]$/.test(name))
      files.push({ name: value.name, mime: value.type || 'application/octet-stream', bytes: new Uint8Array(await value.arrayBuffer()) })
    else if (typeof value === 'string') fields = { ...fields, [name]: value }
    else throw new Refusal(50035, name)
  }
  return { fields, files }
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  const value = parse(text)
  if (Array.isArray(value)) return {}
  if (typeof value !== 'object' || value === null) throw new Refusal(50109)
  return value as Record<string, unknown>
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(50109)
  }
}

/** https://docs.discord.com/developers/interactions/application-commands#application-command-object */
async function readCommands({ body }: PlatformCall): Promise<object[]> {
  const given = parse(body.toString('utf8'))
  if (!Array.isArray(given) || given.length > 100) throw new Refusal(50035)
  for (const { name, description, options = [], type = 1 } of given as {
    name: unknown
    description: unknown
    options?: unknown
    type?: number
  }[]) {
    if (typeof name !== 'string' || !/^[-_'\p{L}\p{N}]{1,32}$/u.test(name) || name !== name.toLowerCase()) throw new Refusal(50035, 'name')
    if (type === 1 && (typeof description !== 'string' || description.length < 1 || description.length > 100))
      throw new Refusal(50035, 'description')
    if (!Array.isArray(options) || options.length > 25) throw new Refusal(50035, 'options')
  }
  return given
}
