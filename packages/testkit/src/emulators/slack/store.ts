/** What the emulated Slack knows: one workspace, its people and channels, what was said, and the files. */

export interface SlackFile {
  readonly id: string
  readonly name: string
  readonly mime: string
  readonly bytes: Uint8Array
}

/** What people said, and what the app did. */
export interface SlackMessage {
  readonly channel: string
  readonly ts: string
  /** The first message of the thread that it stands in. */
  readonly thread_ts?: string
  readonly user: string
  /** As people see it, formatting left out; for a stream its Markdown. */
  text: string
}

/** A message of the app's. */
export interface SlackPost extends SlackMessage {
  /** Which method made it. */
  readonly method: string
  readonly at: number
  blocks: readonly unknown[]
  /** What notifications show, as Slack keeps it. */
  fallback: string
  metadata?: Readonly<Record<string, unknown>>
  readonly file?: SlackFile
  /** Undefined for what was no stream. */
  streaming?: 'in_progress' | 'completed'
  readonly edits: { readonly at: number; readonly text: string }[]
  readonly reactions: Set<string>
  deleted: boolean
}

export interface SlackChannel {
  readonly id: string
  /** Its workspace. */
  readonly team: string
  readonly type: 'im' | 'mpim' | 'channel'
  readonly name: string
  /** Of a direct one: with whom. */
  readonly user?: string
  archived: boolean
  /** Whether the app is in it. */
  member: boolean
  /** In the order of their time. */
  readonly messages: (SlackMessage | SlackPost)[]
}

export interface SlackStore {
  readonly team: string
  readonly app: string
  /** The app's user and bot. */
  readonly me: { readonly user: string; readonly bot: string; readonly name: string }
  readonly channels: Map<string, SlackChannel>
  /** Those whose name and language are not plain. */
  readonly people: Map<string, { readonly name: string; readonly locale: string }>
  readonly posts: SlackPost[]
  readonly files: Map<string, SlackFile>
  /** Ids that were given out for an upload, with the length that was promised. */
  readonly uploads: Map<string, { readonly name: string; readonly length: number; bytes?: Uint8Array }>
  /** What was refused, in order: method and Slack's word. */
  readonly refusals: { readonly method: string; readonly error: string }[]
  /** Page of the app by person. */
  readonly homes: Map<string, unknown>
  /** Marks of the app by `channel:ts`. */
  readonly marks: Map<string, Set<string>>
  /** Statuses that the app showed, in order. */
  readonly statuses: { readonly channel: string; readonly thread_ts: string; readonly status: string }[]
  nextTs(): string
  nextId(prefix: string): string
  /** The channel of that id; of a person, the direct one. */
  find(id: string): SlackChannel | undefined
  know(channel: {
    readonly id: string
    readonly type?: SlackChannel['type']
    readonly name?: string
    readonly user?: string
    readonly team?: string
  }): SlackChannel
  direct(user: string): SlackChannel
  keep(post: SlackPost): void
}

const TEAM = 'T0EMULATE'

export function createStore(most: number): SlackStore {
  const channels = new Map<string, SlackChannel>()
  const posts: SlackPost[] = []
  let second = 0
  let within = 0
  let ids = 0
  const know: SlackStore['know'] = ({ id, type, name, user, team = TEAM }) => {
    const there = channels.get(id)
    if (there) return there
    const made: SlackChannel = {
      id,
      team,
      type: type ?? (id.startsWith('D') ? 'im' : id.startsWith('G') ? 'mpim' : 'channel'),
      name: name ?? id.toLowerCase(),
      ...(user === undefined ? {} : { user }),
      archived: false,
      member: true,
      messages: [],
    }
    channels.set(id, made)
    return made
  }
  const direct = (user: string) => know({ id: `D${user.slice(1)}`, type: 'im', user })
  return {
    team: TEAM,
    app: 'A0EMULATE',
    me: { user: 'U0EMULATED', bot: 'B0EMULATED', name: 'emulated_bot' },
    channels,
    people: new Map(),
    posts,
    files: new Map(),
    uploads: new Map(),
    refusals: [],
    homes: new Map(),
    marks: new Map(),
    statuses: [],
    nextTs() {
      const now = Math.floor(Date.now() / 1000)
      within = now > second ? 1 : within + 1
      second = Math.max(second, now)
      return `${second}.${String(within * 100 + 19).padStart(6, '0')}`
    },
    nextId: (prefix) => `${prefix}0${(++ids).toString(36).toUpperCase().padStart(8, '0')}`,
    find: (id) => channels.get(id) ?? (/^[UW]/.test(id) && channels.has(`D${id.slice(1)}`) ? direct(id) : undefined),
    know,
    direct,
    keep(post) {
      posts.push(post)
      channels.get(post.channel)?.messages.push(post)
      if (posts.length > most) posts.splice(0, Math.ceil(most / 10))
    },
  }
}

export const isPost = (message: SlackMessage): message is SlackPost => 'method' in message
