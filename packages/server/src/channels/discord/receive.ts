/**
 * In: what Discord tells us by its gateway and its interactions endpoint, decoded. Pure; nothing here is trusted or kept.
 * https://docs.discord.com/developers/events/gateway-events, .../interactions/receiving-and-responding
 */
import {
  type Author,
  type FileKind,
  type InboundMessage,
  type Known,
  type Part,
  type Place,
  PosthouseError,
  parseCommand,
  type Reader,
  type Reading,
  type WebhookResponse,
} from '@posthouse/contract'
import type {
  APIAttachment,
  APIChatInputApplicationCommandInteraction,
  APIInteraction,
  APIMessage,
  APIMessageComponentInteraction,
  APIUser,
  GatewayMessageCreateDispatchData,
  GatewayMessageDeleteBulkDispatchData,
  GatewayMessageReactionAddDispatchData,
} from 'discord-api-types/v10'
import type { DiscordSettings } from './settings.ts'
import { readable, withoutMention } from './text.ts'

/** `roles`: those that we have; known on the live way, from the servers' descriptions. */
export type DiscordKnown = Pick<Known, 'now' | 'us'> & { readonly roles?: ReadonlySet<string> }

/** What stands before the id of an interaction where a message's id is told: an answer goes another way there. */
export const INTERACTION = 'interaction:'

/** A signature that is older proves nothing any more. */
const SIGNATURE_LIFE = 300_000
const json = (body: object): WebhookResponse => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

/** How an account reads: signed interactions, and frames of the gateway. */
export function createReader({ public_key, application_id }: Pick<DiscordSettings, 'public_key' | 'application_id'>): Reader {
  return {
    verification: public_key
      ? [
          {
            kind: 'ed25519',
            method: 'POST',
            at: { header: 'x-signature-ed25519' },
            encoding: 'hex',
            publicKey: public_key,
            signed: [{ header: 'x-signature-timestamp' }, 'body'],
            time: { at: { header: 'x-signature-timestamp' }, unit: 's', window: SIGNATURE_LIFE },
          },
        ]
      : [],
    request: ({ body }) => readInteraction(parseInteraction(body), application_id),
    frame: readFrame,
  }
}

/** @throws PosthouseError `invalid` */
export function parseInteraction(body: Uint8Array): APIInteraction {
  return objectOf(() => JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))) as unknown as APIInteraction
}

/** A frame as an object, however it came. @throws PosthouseError `invalid` */
export function parseFrame(frame: unknown): { readonly op: number; readonly t?: unknown; readonly s?: unknown; readonly d?: unknown } {
  const read = objectOf(() => (typeof frame === 'string' ? JSON.parse(frame) : frame))
  if (!Number.isInteger(read.op)) throw new PosthouseError('invalid', 'a frame of the gateway has an opcode')
  return read as { op: number }
}

function objectOf(parse: () => unknown): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = parse()
  } catch {
    throw new PosthouseError('invalid', 'this is not JSON in UTF-8')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new PosthouseError('invalid', 'an object is expected')
  return value as Record<string, unknown>
}

/** What a frame of the gateway is understood as. @throws PosthouseError `invalid` */
export function readFrame(frame: unknown, known: DiscordKnown): Reading {
  const { op, t, d } = parseFrame(frame)
  if (op !== 0) return { messages: [], reason: `opcode ${op}` }
  return checked(() => {
    switch (t) {
      case 'MESSAGE_CREATE':
      case 'MESSAGE_UPDATE':
        return readMessage(d as GatewayMessageCreateDispatchData, t === 'MESSAGE_UPDATE', known)
      case 'MESSAGE_DELETE':
        return readDeletions({ ...(d as { channel_id: string }), ids: [(d as { id: string }).id] }, known)
      case 'MESSAGE_DELETE_BULK':
        return readDeletions(d as GatewayMessageDeleteBulkDispatchData, known)
      case 'MESSAGE_REACTION_ADD':
        return readReaction(d as GatewayMessageReactionAddDispatchData, known)
      case 'INTERACTION_CREATE':
        return readInteraction(d as APIInteraction)
      default:
        return { messages: [], reason: `${String(t).slice(0, 40)} carries no message` }
    }
  })
}

/** What is not as Discord promises breaks somewhere in the reading: it is told as one thing. */
function checked<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof PosthouseError) throw error
    throw new PosthouseError('invalid', `not as Discord promises: ${error instanceof Error ? error.message : String(error)}`)
  }
}

// ---- Messages ---------------------------------------------------------------------------------------------------------

/** https://docs.discord.com/developers/resources/message#message-object-message-types: what people write; all others are told by Discord. */
const WRITTEN = [0, 19]
const VOICE = 1 << 13
const FORWARD = 1
const GROUP_DIRECT = 3
const MOST_FILES = 20

function readMessage(message: GatewayMessageCreateDispatchData, isUpdate: boolean, known: DiscordKnown): Reading {
  const id = snowflake(message.id, 'id')
  const room = snowflake(message.channel_id, 'channel_id')
  const { us, roles } = known
  // An update without a time is Discord's own: a preview of a link came in, a thread was opened.
  const edited = isUpdate ? message.edited_timestamp : undefined
  if (isUpdate && typeof edited !== 'string') return { messages: [], reason: 'not edited by its author' }
  if (!WRITTEN.includes(message.type)) return { messages: [], reason: `a message of type ${message.type} is Discord's own` }
  const author = authorOf(message.author, message.member?.nick, message.webhook_id !== undefined)
  const place: Place = { room, type: message.guild_id === undefined && message.channel_type !== GROUP_DIRECT ? 'direct' : 'group' }
  const raw = textOf(message.content)
  const ourRoles = (message.mention_roles ?? []).filter((role) => roles?.has(role))
  const mentionsUs = (us !== undefined && new RegExp(`<@!?${us.id}>`).test(raw)) || ourRoles.length > 0
  const referenced = message.message_reference?.type === FORWARD ? undefined : message.message_reference?.message_id
  // Without that field Discord did not look for the message: whose it is, is unknown.
  const unknown = referenced !== undefined && message.referenced_message === undefined
  const answersUs = us !== undefined && referenced !== undefined && message.referenced_message?.author?.id === us.id
  const addressed = place.type === 'direct' || mentionsUs || answersUs
  const text = readable(withoutMention(raw, us ? [us.id] : [], ourRoles), namesIn(message)).trim()
  const parts = partsOf(message, text)
  if (parts.length === 0 && !mentionsUs) return { messages: [], reason: 'nothing to read in it' }
  const command = addressed ? parseCommand(text, us?.username) : undefined
  return one({
    kind: isUpdate ? 'edit' : 'message',
    key: isUpdate ? `edit:${id}:${edited}` : `message:${id}`,
    id,
    place,
    author,
    parts,
    sentAt: typeof edited === 'string' ? timeOf(edited) : timeOfId(id),
    addressed,
    ...(mentionsUs ? { mentionsUs } : {}),
    ...(message.mention_everyone === true ? { mentionsAll: true } : {}),
    ...(unknown ? {} : { answersUs }),
    ...(referenced === undefined ? {} : { replyTo: snowflake(referenced, 'message_reference.message_id') }),
    ...(command ? { command } : {}),
  })
}

function one(message: InboundMessage): Reading {
  return {
    messages: [message],
    ...(message.author.isBot ? { reason: 'written by a bot' } : message.addressed ? {} : { reason: 'not meant for us' }),
  }
}

function readDeletions(
  { ids, channel_id, guild_id }: { readonly ids: readonly string[]; readonly channel_id: string; readonly guild_id?: string },
  { now }: DiscordKnown,
): Reading {
  const place: Place = { room: snowflake(channel_id, 'channel_id'), type: guild_id === undefined ? 'direct' : 'group' }
  const messages = ids.slice(0, 100).map((each): InboundMessage => {
    const id = snowflake(each, 'id')
    // Who took it back is not told.
    return { kind: 'delete', key: `delete:${id}`, id, place, author: { id: '' }, parts: [], sentAt: now, addressed: true }
  })
  return { messages }
}

function readReaction(reaction: GatewayMessageReactionAddDispatchData, { now, us }: DiscordKnown): Reading {
  const id = snowflake(reaction.message_id, 'message_id')
  const person = snowflake(reaction.user_id, 'user_id')
  const mark = textOf(reaction.emoji.name ?? reaction.emoji.id ?? '')
  const user = reaction.member?.user
  return {
    messages: [
      {
        kind: 'reaction',
        key: `reaction:${id}:${person}:${mark}`,
        id,
        place: { room: snowflake(reaction.channel_id, 'channel_id'), type: reaction.guild_id === undefined ? 'direct' : 'group' },
        author: user ? authorOf(user, reaction.member?.nick, false) : { id: person, isBot: person === us?.id },
        parts: [],
        sentAt: now,
        addressed: false,
        callbackData: mark,
      },
    ],
    reason: 'nothing comes of a reaction',
  }
}

function authorOf(user: APIUser, nick: string | null | undefined, isWebhook: boolean): Author {
  const id = snowflake(user.id, 'author.id')
  const name = [nick, user.global_name, user.username].find((each) => typeof each === 'string' && each !== '')
  return {
    id,
    isBot: isWebhook || user.bot === true || user.system === true,
    ...(name ? { name } : {}),
    ...(typeof user.username === 'string' && user.username !== '' ? { username: user.username } : {}),
  }
}

function namesIn({ mentions, mention_channels: channels }: Pick<APIMessage, 'mentions' | 'mention_channels'>) {
  return (kind: 'user' | 'channel', id: string) =>
    kind === 'user'
      ? (mentions?.find((user) => user.id === id)?.global_name ?? mentions?.find((user) => user.id === id)?.username)
      : channels?.find((channel) => channel.id === id)?.name
}

type Content = Pick<APIMessage, 'attachments' | 'flags'> & Partial<Pick<APIMessage, 'sticker_items' | 'poll' | 'embeds'>>

function partsOf(message: GatewayMessageCreateDispatchData, text: string): readonly Part[] {
  const at = { channel: message.channel_id, message: message.id }
  const parts: Part[] = [...(text === '' ? [] : [{ type: 'text' as const, text }]), ...contentParts(message, at)]
  for (const { message: forwarded } of message.message_snapshots ?? []) {
    const quoted = readable(textOf(forwarded.content ?? ''), namesIn(forwarded)).trim()
    // What programs write stands in embeds; in what a person writes they are only previews of links.
    const shown = (forwarded.embeds ?? []).slice(0, 10).flatMap(({ title, description, url }) => [title, description, url])
    const lines = [quoted, ...shown].filter((line) => typeof line === 'string' && line !== '')
    if (lines.length > 0) parts.push({ type: 'text', text: lines.join('\n').replace(/^/gm, '> ') })
    // Their files stand on the message that was forwarded, which may be out of our sight.
    parts.push(...contentParts(forwarded, at))
  }
  return parts
}

function contentParts(
  { attachments, flags, sticker_items: stickers, poll }: Content,
  at: { channel: string; message: string },
): readonly Part[] {
  const parts: Part[] = (attachments ?? []).slice(0, MOST_FILES).map((file) => filePart(file, at, ((flags ?? 0) & VOICE) !== 0))
  for (const { name } of (stickers ?? []).slice(0, 3)) parts.push({ type: 'text', text: `[sticker: ${textOf(name)}]` })
  if (poll)
    parts.push({
      type: 'text',
      text: [poll.question.text, ...poll.answers.slice(0, 20).map(({ poll_media }) => `- ${poll_media.text ?? ''}`)].join('\n'),
    })
  return parts
}

function filePart(file: APIAttachment, at: { channel: string; message: string }, isVoice: boolean): Part {
  const mime = typeof file.content_type === 'string' ? (file.content_type.split(';')[0] ?? '').trim() : ''
  const family = /^(image|audio|video)\//.exec(mime)?.[1] as FileKind | undefined
  const title = typeof file.title === 'string' && file.title !== '' ? file.title : undefined
  const ref = JSON.stringify({ url: textOf(file.url), ...at, id: snowflake(file.id, 'attachments.id') })
  return {
    type: 'file',
    file: {
      kind: isVoice ? 'voice' : (family ?? 'file'),
      name: title?.includes('.') ? title : textOf(file.filename),
      ref,
      ...(mime === '' ? {} : { mime }),
      ...(Number.isSafeInteger(file.size) ? { size: file.size } : {}),
    },
  }
}

// ---- Interactions -----------------------------------------------------------------------------------------------------

/** https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-type */
const PING = 1
const COMMAND = 2
const COMPONENT = 3
const AUTOCOMPLETE = 4
const SLASH = 1
const BOT_DIRECT = 1
/** Interaction callback types: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object */
export const PONG = { type: 1 }
export const THINKING = { type: 5 }
const SEEN = { type: 6 }
const NO_CHOICES = { type: 8, data: { choices: [] } }
const NOT_OURS = { type: 4, data: { flags: 64, content: 'This is not known here any more. / 此操作已失效。' } }

/** What an interaction is understood as; `response` is its first answer, by whatever way it goes. @throws PosthouseError `invalid` */
export function readInteraction(interaction: APIInteraction, application?: string): Reading {
  return checked((): Reading => {
    if (application !== undefined && interaction.application_id !== application)
      throw new PosthouseError('invalid', 'an interaction of another application')
    if (interaction.type === PING) return { messages: [], challenge: true, response: json(PONG), reason: 'a question whether we are there' }
    if (interaction.type === COMMAND && interaction.data.type === SLASH)
      return { ...one(readCommand(interaction as APIChatInputApplicationCommandInteraction)), response: json(THINKING) }
    if (interaction.type === COMPONENT) return { ...one(readPress(interaction as APIMessageComponentInteraction)), response: json(SEEN) }
    if (interaction.type === AUTOCOMPLETE) return { messages: [], response: json(NO_CHOICES), reason: 'we suggest nothing' }
    if (!Number.isInteger(interaction.type) || (interaction.type === COMMAND && !Number.isInteger(interaction.data.type)))
      throw new TypeError('type is no integer')
    return { messages: [], response: json(NOT_OURS), reason: `an interaction of type ${interaction.type} is none of ours` }
  })
}

function readCommand(interaction: APIChatInputApplicationCommandInteraction): InboundMessage {
  const { data, id } = interaction
  const name = textOf(data.name)
  const argument = (data.options ?? [])
    .slice(0, 25)
    .map((option) => ('value' in option ? String(option.value) : ''))
    .filter((value) => value !== '')
    .join(' ')
  const files = Object.values(data.resolved?.attachments ?? {}).slice(0, MOST_FILES)
  const at = { channel: snowflake(interaction.channel_id, 'channel_id'), message: '' }
  const text = name === 'ask' ? readable(argument, () => undefined).trim() : `/${name} ${argument}`.trim()
  const command = name === 'ask' ? undefined : parseCommand(text)
  return {
    kind: 'message',
    key: `interaction:${snowflake(id, 'id')}`,
    id: `${INTERACTION}${id}`,
    place: placeOf(interaction),
    author: personOf(interaction),
    parts: [...(text === '' ? [] : [{ type: 'text' as const, text }]), ...files.map((file) => filePart(file, at, false))],
    sentAt: timeOfId(id),
    addressed: true,
    ...(command ? { command } : {}),
  }
}

/** The answer refers to the message that has the button. */
function readPress(interaction: APIMessageComponentInteraction): InboundMessage {
  const { data, id, message } = interaction
  return {
    kind: 'callback',
    key: `interaction:${snowflake(id, 'id')}`,
    id: snowflake(message.id, 'message.id'),
    place: placeOf(interaction),
    author: personOf(interaction),
    parts: [],
    sentAt: timeOfId(id),
    addressed: true,
    callbackData: 'values' in data && Array.isArray(data.values) ? data.values.slice(0, 25).map(String).join('\n') : textOf(data.custom_id),
  }
}

type Invoked = APIChatInputApplicationCommandInteraction | APIMessageComponentInteraction

function placeOf({ channel_id, guild_id, context, channel }: Invoked): Place {
  const title = (channel as { name?: unknown } | undefined)?.name
  return {
    room: snowflake(channel_id, 'channel_id'),
    type: guild_id === undefined && (context === undefined || context === BOT_DIRECT) ? 'direct' : 'group',
    ...(typeof title === 'string' && title !== '' && guild_id !== undefined ? { title } : {}),
  }
}

function personOf({ member, user, locale }: Invoked): Author {
  const person = member?.user ?? user
  if (!person) throw new TypeError('nobody is named')
  return { ...authorOf(person, member?.nick, false), ...(typeof locale === 'string' ? { language: locale } : {}) }
}

// ---- Values -----------------------------------------------------------------------------------------------------------

/** Ids stand in addresses that we call: they must be numbers. */
export function snowflake(value: unknown, name: string): string {
  if (typeof value !== 'string' || !/^\d{1,20}$/.test(value)) throw new TypeError(`${name} is no id`)
  return value
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('a text is expected')
  return value
}

/** https://docs.discord.com/developers/reference#snowflakes */
const EPOCH = 1_420_070_400_000

export function timeOfId(id: string): number {
  return Number(BigInt(id) >> 22n) + EPOCH
}

/** The lowest id of that time. */
export function idOfTime(at: number): string {
  return String(BigInt(Math.max(0, Math.floor(at) - EPOCH)) << 22n)
}

function timeOf(text: string): number {
  const at = Date.parse(text)
  if (Number.isNaN(at)) throw new TypeError('edited_timestamp is no time')
  return at
}
