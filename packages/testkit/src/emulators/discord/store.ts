/** What an emulated Discord knows: people, servers, channels and messages, and how the API writes them. */
import { randomBytes } from 'node:crypto'

export interface EmulatedUser {
  readonly id: string
  readonly username: string
  readonly global_name?: string
  readonly bot?: boolean
}

export interface EmulatedFile {
  readonly id: string
  readonly name: string
  readonly mime: string
  readonly bytes: Uint8Array
}

/** https://docs.discord.com/developers/resources/channel#channel-object-channel-types */
export const channelTypes = { text: 0, direct: 1, thread: 11 } as const

export interface EmulatedChannel {
  readonly id: string
  readonly type: (typeof channelTypes)[keyof typeof channelTypes]
  /** Absent in a direct message. */
  readonly guild?: string
  readonly name?: string
  /** Of a thread. */
  readonly parent?: string
  /** Of a direct message. */
  readonly person?: EmulatedUser
  /** Why we may not write there: an error code of the API. */
  refuses?: number
  readonly messages: EmulatedMessage[]
}

/** A message as it stands there now. */
export interface EmulatedMessage {
  readonly message_id: string
  readonly channel: string
  readonly author: EmulatedUser
  /** As it was written. */
  content: string
  /** As it is read: marks left out. */
  text: string
  /** The marks that it shows. */
  marks: readonly string[]
  readonly type: number
  flags: number
  /** Epoch milliseconds. */
  readonly at: number
  edited?: string
  edits: number
  readonly nonce?: string
  readonly reply_to?: string
  files: readonly EmulatedFile[]
  /** The interaction that it answers. */
  readonly interaction?: string
  /** "is thinking": nobody reads anything there yet. */
  loading?: boolean
  deleted?: boolean
  readonly webhook?: boolean
  /** Fields of the API that are not played here: polls, stickers, forwarded messages. */
  readonly more?: object
}

export interface EmulatedGuild {
  readonly id: string
  readonly name: string
  /** The role that came with the bot. */
  readonly ourRole: string
  readonly joinedAt: number
}

/** The first second of 2015. https://docs.discord.com/developers/reference#snowflakes */
const EPOCH = 1_420_070_400_000n

export interface Store {
  readonly me: EmulatedUser
  readonly application: string
  readonly guilds: Map<string, EmulatedGuild>
  readonly channels: Map<string, EmulatedChannel>
  readonly files: Map<string, EmulatedFile & { readonly channel: string; readonly message: string }>
  /** What the bot wrote, oldest first. */
  readonly posted: EmulatedMessage[]
  newId(at?: number): string
  add(message: EmulatedMessage): EmulatedMessage
  find(channel: string, id: string): EmulatedMessage | undefined
  wireUser(user: EmulatedUser): object
  wireMessage(message: EmulatedMessage, withReference?: boolean): Record<string, unknown>
  wireChannel(channel: EmulatedChannel): object
}

export function createStore(options: { readonly me: EmulatedUser; readonly application: string; cdn(path: string): string }): Store {
  const { me, application, cdn } = options
  let last = 0n
  const channels: Store['channels'] = new Map()
  const files: Store['files'] = new Map()
  const store: Store = {
    me,
    application,
    guilds: new Map(),
    channels,
    files,
    posted: [],
    newId(at = Date.now()) {
      const wanted = (BigInt(at) - EPOCH) << 22n
      // Of two in one millisecond the later one is the greater; what was written in the past is below what is there.
      last = wanted > last || wanted < last - (60_000n << 22n) ? wanted : last + 1n
      return String(last)
    },
    add(message) {
      channels.get(message.channel)?.messages.push(message)
      for (const file of message.files) files.set(file.id, { ...file, channel: message.channel, message: message.message_id })
      if (message.author.id === me.id) store.posted.push(message)
      return message
    },
    find: (channel, id) => channels.get(channel)?.messages.find((message) => message.message_id === id && !message.deleted),
    wireUser: ({ id, username, global_name, bot }) => ({
      id,
      username,
      discriminator: '0',
      global_name: global_name ?? null,
      avatar: null,
      ...(bot ? { bot } : {}),
    }),
    wireMessage(message, withReference = true) {
      const channel = channels.get(message.channel)
      const referenced = message.reply_to === undefined ? undefined : store.find(message.channel, message.reply_to)
      const mentioned = [...message.content.matchAll(/<@!?(\d+)>/g)].map(([, id = '']) => userOf(channels, me, id))
      return {
        id: message.message_id,
        channel_id: message.channel,
        author: store.wireUser(message.author),
        content: message.content,
        timestamp: isoOf(message.at),
        edited_timestamp: message.edited ?? null,
        tts: false,
        mention_everyone: /@(everyone|here)\b/.test(message.content),
        mentions: [...new Map(mentioned.map((user) => [user.id, store.wireUser(user)])).values()],
        mention_roles: [...message.content.matchAll(/<@&(\d+)>/g)].map(([, id]) => id),
        attachments: message.files.map((file) => ({
          id: file.id,
          filename: file.name.replace(/[^\w.-]/g, '_'),
          title: file.name,
          size: file.bytes.length,
          content_type: file.mime,
          url: cdn(`/attachments/${message.channel}/${file.id}/${encodeURIComponent(file.name)}`),
          proxy_url: cdn(`/attachments/${message.channel}/${file.id}/${encodeURIComponent(file.name)}`),
        })),
        embeds: [],
        components: [],
        pinned: false,
        type: message.type,
        flags: message.flags,
        ...(message.nonce === undefined ? {} : { nonce: message.nonce }),
        ...(message.webhook ? { webhook_id: message.author.id } : {}),
        ...(message.interaction ? { interaction_metadata: { id: message.interaction, type: 2 }, application_id: application } : {}),
        ...(message.reply_to && withReference
          ? {
              message_reference: { type: 0, message_id: message.reply_to, channel_id: message.channel },
              referenced_message: referenced ? store.wireMessage(referenced, false) : null,
            }
          : {}),
        ...(channel?.type === channelTypes.direct ? {} : { position: 0 }),
        ...message.more,
      }
    },
    wireChannel: (channel) => ({
      id: channel.id,
      type: channel.type,
      last_message_id: channel.messages.at(-1)?.message_id ?? null,
      ...(channel.guild ? { guild_id: channel.guild, name: channel.name } : {}),
      ...(channel.parent ? { parent_id: channel.parent } : {}),
      ...(channel.person ? { recipients: [store.wireUser(channel.person)] } : {}),
    }),
  }
  return store
}

function userOf(channels: Store['channels'], me: EmulatedUser, id: string): EmulatedUser {
  if (id === me.id) return me
  for (const { messages, person } of channels.values()) {
    if (person?.id === id) return person
    const found = messages.find(({ author }) => author.id === id)
    if (found) return found.author
  }
  return { id, username: `user${id}` }
}

/** As the API writes times: with microseconds. */
export function isoOf(at: number): string {
  return new Date(at).toISOString().replace('Z', '000+00:00')
}

export const newToken = (): string => randomBytes(24).toString('base64url')
