/** What people do in an emulated Discord. */
import { type Audience, intents } from './gateway.ts'
import type { Interaction } from './interactions.ts'
import { readMarkup } from './markup.ts'
import { acknowledge, type RestWorld } from './rest.ts'
import { channelTypes, type EmulatedChannel, type EmulatedMessage, type EmulatedUser, isoOf } from './store.ts'

export type Who = string | (Partial<EmulatedUser> & { readonly id: string })

export interface DiscordSaying {
  readonly text?: string
  /** The person 1001 unless given. */
  readonly from?: Who
  /** Id of a channel; the direct messages of who speaks unless given. */
  readonly in?: string
  readonly replyTo?: string
  readonly files?: readonly { readonly name: string; readonly mime?: string; readonly bytes: Uint8Array }[]
  /** Epoch milliseconds; now unless given. */
  readonly at?: number
  /** A webhook of the channel speaks. */
  readonly webhook?: boolean
  readonly type?: number
  readonly nonce?: string
  readonly more?: object
  /** Nobody is told: it happens while the gateway is out of order. */
  readonly unheard?: boolean
}

export interface DiscordVerbs {
  say(saying: DiscordSaying | string): EmulatedMessage
  edit(message: Pick<EmulatedMessage, 'message_id' | 'channel'>, text: string): void
  recall(...messages: Pick<EmulatedMessage, 'message_id' | 'channel'>[]): void
  react(message: Pick<EmulatedMessage, 'message_id' | 'channel'>, emoji: string, from?: Who): void
  /** A slash command; by the endpoint where one is set. */
  command(command: {
    readonly name: string
    readonly options?: Readonly<Record<string, string>>
    readonly from?: Who
    readonly in?: string
    readonly locale?: string
  }): Interaction
  /** A button of the bot's message. */
  press(button: {
    readonly message: Pick<EmulatedMessage, 'message_id' | 'channel'>
    readonly custom_id: string
    readonly from?: Who
  }): Interaction
  /** A server's channel, made when it is not there yet; with `parent` a thread. */
  channel(id: string, options?: { readonly name?: string; readonly parent?: string }): EmulatedChannel
  /** The direct messages with a person. */
  direct(person: Who): EmulatedChannel
  /** The bot may not write there any more: an error code of the API; undefined lifts it. */
  refuse(channel: string, code: number | undefined): void
}

export const GUILD = '700000000000000001'
const PERSON = '1001'
/** The direct messages of person 1001 are channel 901001. */
const DIRECT = 900_000

export function createVerbs(world: RestWorld): DiscordVerbs {
  const { store, gateway, interactions } = world
  const people = new Map<string, EmulatedUser>()

  const personOf = (who: Who = PERSON): EmulatedUser => {
    const given = typeof who === 'string' ? { id: who } : who
    if (given.id === store.me.id) return store.me
    const known = people.get(given.id)
    const user = { username: `person${given.id}`, ...known, ...given }
    people.set(user.id, user)
    return user
  }

  const direct = (who: Who): EmulatedChannel => {
    const person = personOf(who)
    const id = String(DIRECT + Number(BigInt(person.id) % 100_000n))
    const known = store.channels.get(id)
    if (known) return known
    const made: EmulatedChannel = { id, type: channelTypes.direct, person, messages: [] }
    store.channels.set(id, made)
    return made
  }

  const channel: DiscordVerbs['channel'] = (id, options = {}) => {
    const known = store.channels.get(id)
    if (known) return known
    const made: EmulatedChannel = {
      id,
      type: options.parent ? channelTypes.thread : channelTypes.text,
      guild: GUILD,
      name: options.name ?? `channel-${id}`,
      ...(options.parent ? { parent: options.parent } : {}),
      messages: [],
    }
    store.channels.set(id, made)
    gateway.dispatch(options.parent ? 'THREAD_CREATE' : 'CHANNEL_CREATE', store.wireChannel(made), { intent: intents.guilds })
    return made
  }

  const placeOf = (inside: string | undefined, from: EmulatedUser) => {
    if (inside === undefined) return direct(from)
    return store.channels.get(inside) ?? channel(inside)
  }

  /** A message as an event: with the server and the member, and empty for who may not read. */
  const told = (message: EmulatedMessage): { payload: object; audience: Audience } => {
    const place = store.channels.get(message.channel)
    const isDirect = place?.type === channelTypes.direct
    const payload = {
      ...store.wireMessage(message),
      channel_type: place?.type,
      ...(isDirect
        ? {}
        : { guild_id: place?.guild, ...(message.webhook ? {} : { member: { nick: null, roles: [], joined_at: isoOf(0) } }) }),
    }
    const readable = isDirect || message.author.id === store.me.id || message.content.includes(`<@${store.me.id}>`)
    const blind = { ...payload, content: '', attachments: [], embeds: [], components: [] }
    return {
      payload,
      audience: { intent: isDirect ? intents.directMessages : intents.guildMessages, ...(readable ? {} : { withoutContent: blind }) },
    }
  }

  const tell = (type: string, message: EmulatedMessage, isCounting: boolean) => {
    const { payload, audience } = told(message)
    gateway.dispatch(type, payload, audience, isCounting)
  }

  world.announce = (message, how) => {
    if (how === 'deleted') {
      const { guild } = store.channels.get(message.channel) ?? {}
      gateway.dispatch(
        'MESSAGE_DELETE',
        { id: message.message_id, channel_id: message.channel, ...(guild ? { guild_id: guild } : {}) },
        { intent: guild ? intents.guildMessages : intents.directMessages },
        message.author.id !== store.me.id,
      )
    } else tell(how === 'created' ? 'MESSAGE_CREATE' : 'MESSAGE_UPDATE', message, message.author.id !== store.me.id)
  }

  const interact = (type: 2 | 3, who: Who | undefined, place: EmulatedChannel, data: object, more: object): Interaction => {
    const person = personOf(who)
    const interaction = interactions.open(store.newId(), place.id, type)
    const isDirect = place.type === channelTypes.direct
    const payload = {
      id: interaction.id,
      application_id: store.application,
      type,
      data,
      token: interaction.token,
      version: 1,
      channel_id: place.id,
      channel: store.wireChannel(place),
      context: isDirect ? 1 : 0,
      ...(isDirect
        ? { user: store.wireUser(person) }
        : { guild_id: place.guild, member: { user: store.wireUser(person), roles: [], nick: null } }),
      app_permissions: '0',
      authorizing_integration_owners: { '0': place.guild ?? '0' },
      entitlements: [],
      attachment_size_limit: 10_485_760,
      ...more,
    }
    if (interactions.endpoint === undefined) gateway.dispatch('INTERACTION_CREATE', payload, {}, true)
    else {
      interactions
        .post(JSON.stringify(payload))
        .then(({ status, body }) => {
          if (status === 200) acknowledge(world, interaction, JSON.parse(body) as Record<string, unknown>, 'endpoint')
          else if (status !== 202) interaction.failed = true
        })
        .catch(() => {
          interaction.failed = true
        })
    }
    return interaction
  }

  return {
    direct,
    channel,
    say(saying) {
      const given = typeof saying === 'string' ? { text: saying } : saying
      const author = personOf(given.from)
      const place = placeOf(given.in, author)
      const { text: content = '', at = Date.now() } = given
      const { text, marks } = readMarkup(content)
      const message = store.add({
        message_id: store.newId(at),
        channel: place.id,
        author,
        content,
        text,
        marks,
        type: given.type ?? (given.replyTo ? 19 : 0),
        flags: 0,
        at,
        edits: 0,
        files: (given.files ?? []).map((file) => ({ mime: 'application/octet-stream', ...file, id: store.newId() })),
        ...(given.replyTo ? { reply_to: given.replyTo } : {}),
        ...(given.webhook ? { webhook: true } : {}),
        ...(given.nonce ? { nonce: given.nonce } : {}),
        ...(given.more ? { more: given.more } : {}),
      })
      if (!given.unheard) tell('MESSAGE_CREATE', message, true)
      return message
    },
    edit({ channel: place, message_id }, content) {
      const message = store.find(place, message_id)
      if (!message) throw new Error('there is no such message')
      Object.assign(message, { content, ...readMarkup(content), edited: isoOf(Date.now()), edits: message.edits + 1 })
      tell('MESSAGE_UPDATE', message, true)
    },
    recall(...messages) {
      const found = messages.map(({ channel: place, message_id }) => store.find(place, message_id)).filter((each) => each !== undefined)
      for (const message of found) message.deleted = true
      const [first] = found
      if (!first) throw new Error('there is no such message')
      const { guild } = store.channels.get(first.channel) ?? {}
      const where = { channel_id: first.channel, ...(guild ? { guild_id: guild } : {}) }
      const audience = { intent: guild ? intents.guildMessages : intents.directMessages }
      if (found.length === 1) gateway.dispatch('MESSAGE_DELETE', { id: first.message_id, ...where }, audience, true)
      else gateway.dispatch('MESSAGE_DELETE_BULK', { ids: found.map((each) => each.message_id), ...where }, audience, true)
    },
    react({ channel: place, message_id }, emoji, from) {
      const message = store.find(place, message_id)
      const { guild } = store.channels.get(place) ?? {}
      const person = personOf(from)
      const payload = {
        user_id: person.id,
        channel_id: place,
        message_id,
        emoji: { id: null, name: emoji },
        burst: false,
        type: 0,
        ...(message ? { message_author_id: message.author.id } : {}),
        ...(guild ? { guild_id: guild, member: { user: store.wireUser(person), roles: [] } } : {}),
      }
      gateway.dispatch('MESSAGE_REACTION_ADD', payload, { intent: guild ? intents.guildReactions : intents.directReactions }, true)
    },
    command: ({ name, options = {}, from, in: inside, locale = 'en-US' }) =>
      interact(
        2,
        from,
        placeOf(inside, personOf(from)),
        { id: store.newId(), name, type: 1, options: Object.entries(options).map(([option, value]) => ({ name: option, type: 3, value })) },
        { locale },
      ),
    press({ message: { channel: place, message_id }, custom_id, from }) {
      const message = store.find(place, message_id)
      if (!message) throw new Error('there is no such message')
      return interact(
        3,
        from,
        placeOf(place, personOf(from)),
        { custom_id, component_type: 2 },
        { message: store.wireMessage(message), locale: 'en-US' },
      )
    },
    refuse(id, code) {
      const found = store.channels.get(id)
      if (found && code === undefined) delete found.refuses
      else if (found && code !== undefined) found.refuses = code
    },
  }
}
