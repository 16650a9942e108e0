/** What people do in Slack, and what the app is told of it. Payloads after https://docs.slack.dev/reference/events */
import type { Deliveries, SlackDelivery } from './deliveries.ts'
import { fileObject, type SlackWorld, show } from './methods.ts'
import type { SlackChannel, SlackMessage, SlackPost } from './store.ts'

export interface SlackSaidFile {
  readonly name?: string
  readonly mime?: string
  readonly bytes: Uint8Array
  /** As in shared channels: without an address. */
  readonly checkInfo?: boolean
}

export interface SlackSaying {
  /** Plain words; `@emulated_bot` mentions the app, `@U0LI` a person. */
  readonly text?: string
  /** The same as Slack writes it, instead. */
  readonly mrkdwn?: string
  /** Member id; default `U0PERSON`. */
  readonly from?: string
  /** Id of a channel; the direct one with that person unless given. */
  readonly channel?: string
  readonly thread?: string
  readonly file?: SlackSaidFile
  /** It is the app itself, or another one. */
  readonly bot?: 'us' | 'other'
  /** The `app_mention` comes first, or alone, where there is one. */
  readonly mention?: 'first' | 'only'
  /** More fields of the event. */
  readonly more?: Readonly<Record<string, unknown>>
}

export interface SlackSaid extends SlackMessage {
  readonly thread_ts?: string
  /** What the app was told of it. */
  readonly deliveries: readonly SlackDelivery[]
}

export interface SlackVerbs {
  say(saying: SlackSaying | string): SlackSaid
  edit(said: SlackMessage, text: string): SlackDelivery
  /** Takes a message back. */
  recall(said: SlackMessage): SlackDelivery
  /** Slack shows a link's preview: a change that is no edit. */
  unfurl(said: SlackMessage): SlackDelivery
  press(press: { readonly channel: string; readonly ts: string; readonly value: string; readonly from?: string }): SlackDelivery
  react(said: SlackMessage, name: string, from?: string): SlackDelivery
  command(command: { readonly command?: string; readonly text: string; readonly channel?: string; readonly from?: string }): SlackDelivery
  openHome(user: string): SlackDelivery
  /** Any event at all, also a malformed one. */
  send(event: unknown, envelope?: Readonly<Record<string, unknown>>): SlackDelivery
  /** Tells it once more, under the same ids. */
  redeliver(delivery: SlackDelivery): void
}

const PERSON = 'U0PERSON'

export function createVerbs(world: SlackWorld, deliveries: Deliveries): SlackVerbs {
  const { store } = world
  const { team, app, me } = store
  let repeats = 0

  /** Of the channel that it happened in. */
  const teamOf = (event: unknown) => store.channels.get(String((event as { channel?: unknown } | null)?.channel))?.team ?? team

  const deliver = (type: SlackDelivery['type'], payload: object, room: string): SlackDelivery => {
    const delivery = { id: store.nextId('Ev'), type, payload, room }
    deliveries.deliver(delivery)
    return delivery
  }

  const send: SlackVerbs['send'] = (event, envelope = {}) => {
    const payload = {
      token: 'emulated',
      team_id: teamOf(event),
      api_app_id: app,
      event,
      type: 'event_callback',
      event_id: store.nextId('Ev'),
      event_time: Math.floor(Date.now() / 1000),
      authorizations: [{ enterprise_id: null, team_id: teamOf(event), user_id: me.user, is_bot: true, is_enterprise_install: false }],
      is_ext_shared_channel: false,
      ...envelope,
    }
    return deliver('events_api', payload, String((event as { channel?: unknown } | null)?.channel ?? ''))
  }

  const tell = (channel: SlackChannel, event: object) =>
    send({ type: 'message', channel: channel.id, channel_type: channel.type, event_ts: store.nextTs(), ...event })

  const channelOf = ({ channel, from = PERSON }: Pick<SlackSaying, 'channel' | 'from'>) =>
    channel === undefined ? store.direct(from) : store.know({ id: channel })

  const mrkdwnOf = (text: string) =>
    text
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replace(new RegExp(`@${me.name}\\b`, 'g'), `<@${me.user}>`)
      .replace(/(?<![\w<])@([UW]0\w+)/g, '<@$1>')

  const say: SlackVerbs['say'] = (given) => {
    const saying = typeof given === 'string' ? { text: given } : given
    const channel = channelOf(saying)
    const ts = store.nextTs()
    const text = saying.mrkdwn ?? mrkdwnOf(saying.text ?? '')
    const user = saying.bot === 'us' ? me.user : (saying.from ?? PERSON)
    const thread = saying.thread === undefined ? {} : { thread_ts: saying.thread }
    const parent = channel.messages.find((message) => message.ts === saying.thread)
    channel.messages.push({ channel: channel.id, ts, user, text, ...thread })
    const bot =
      saying.bot === undefined ? {} : { bot_id: saying.bot === 'us' ? me.bot : 'B0OTHER', app_id: saying.bot === 'us' ? app : 'A0OTHER' }
    const content = {
      user,
      text,
      team,
      ts,
      event_ts: ts,
      ...thread,
      ...bot,
      ...(parent && saying.thread !== ts ? { parent_user_id: parent.user } : {}),
      ...(saying.file ? { subtype: 'file_share', files: [keepFile(saying.file)] } : {}),
      ...saying.more,
    }
    const told: SlackDelivery[] = []
    const mention = () => {
      if (channel.type !== 'im' && text.includes(`<@${me.user}>`)) {
        const { subtype: _, ...fields } = content as typeof content & { subtype?: string }
        told.push(send({ type: 'app_mention', channel: channel.id, ...fields }))
      }
    }
    if (saying.mention) mention()
    if (saying.mention !== 'only') told.push(tell(channel, content))
    if (!saying.mention) mention()
    return { channel: channel.id, ts, user, text, ...thread, deliveries: told }
  }

  const keepFile = ({ name = 'file.txt', mime = 'text/plain', bytes, checkInfo }: SlackSaidFile) => {
    const file = { id: store.nextId('F'), name, mime, bytes }
    store.files.set(file.id, file)
    return checkInfo ? { id: file.id, file_access: 'check_file_info', name, mimetype: mime, mode: 'hosted' } : fileObject(file, world.url())
  }

  const changed = (said: SlackMessage, message: object): SlackDelivery => {
    const channel = store.know({ id: said.channel })
    const before = show(world, said)
    return tell(channel, {
      subtype: 'message_changed',
      hidden: true,
      ts: store.nextTs(),
      message: { ...before, ...message },
      previous_message: before,
    })
  }

  return {
    say,
    send,
    edit(said, text) {
      const delivery = changed(said, { text: mrkdwnOf(text), edited: { user: said.user, ts: store.nextTs() } })
      const stored = store.channels.get(said.channel)?.messages.find(({ ts }) => ts === said.ts)
      if (stored) stored.text = mrkdwnOf(text)
      return delivery
    },
    recall(said) {
      const channel = store.know({ id: said.channel })
      const index = channel.messages.findIndex(({ ts }) => ts === said.ts)
      if (index >= 0) channel.messages.splice(index, 1)
      return tell(channel, {
        subtype: 'message_deleted',
        hidden: true,
        deleted_ts: said.ts,
        ts: store.nextTs(),
        previous_message: show(world, said),
      })
    },
    unfurl: (said) => changed(said, { attachments: [{ from_url: 'https://example.com', title: 'Example' }] }),
    press: ({ channel, ts, value, from = PERSON }) =>
      deliver(
        'interactive',
        {
          type: 'block_actions',
          user: { id: from, username: from.toLowerCase(), name: from.toLowerCase(), team_id: team },
          api_app_id: app,
          token: 'emulated',
          container: { type: 'message', message_ts: ts, channel_id: channel, is_ephemeral: false },
          trigger_id: store.nextId('trigger'),
          team: { id: team, domain: 'emulated' },
          channel: { id: channel, name: channel.toLowerCase() },
          actions: [{ type: 'button', action_id: 'action', block_id: 'block', value, action_ts: store.nextTs() }],
        },
        channel,
      ),
    react: (said, name, from = PERSON) =>
      send({
        type: 'reaction_added',
        user: from,
        reaction: name,
        item_user: said.user,
        item: { type: 'message', channel: said.channel, ts: said.ts },
        event_ts: store.nextTs(),
      }),
    command({ command = '/posthouse', text, channel, from = PERSON }) {
      const { id, name } = channelOf({ from, ...(channel === undefined ? {} : { channel }) })
      const payload = {
        token: 'emulated',
        team_id: team,
        team_domain: 'emulated',
        channel_id: id,
        channel_name: name,
        user_id: from,
        user_name: from.toLowerCase(),
        command,
        text,
        api_app_id: app,
        is_enterprise_install: 'false',
        response_url: `${world.url()}/commands`,
        trigger_id: store.nextId('trigger'),
      }
      return deliver('slash_commands', payload, id)
    },
    openHome: (user) => send({ type: 'app_home_opened', user, channel: store.direct(user).id, tab: 'home', event_ts: store.nextTs() }),
    redeliver: (delivery) => deliveries.deliver({ ...delivery, id: `${delivery.id}-${++repeats}` }),
  }
}

/** The app hears of what it said itself. */
export const echoOf = (world: SlackWorld, verbs: Pick<SlackVerbs, 'send'>, post: SlackPost) =>
  verbs.send({
    ...show(world, post),
    channel: post.channel,
    channel_type: world.store.channels.get(post.channel)?.type ?? 'channel',
    event_ts: post.ts,
  })
