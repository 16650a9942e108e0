/** The methods of the Web API, as strict as their pages. https://docs.slack.dev/reference/methods */
import { readBlocks } from './blocks.ts'
import type { OAuth } from './oauth.ts'
import { Refusal } from './refusal.ts'
import { isPost, type SlackChannel, type SlackMessage, type SlackPost, type SlackStore } from './store.ts'

export interface SlackWorld {
  readonly store: SlackStore
  readonly url: () => string
  /** Features that a workspace may lack. */
  readonly has: { streams: boolean; statuses: boolean; history: boolean; users: boolean }
  readonly oauth: OAuth
  /** The address of a socket that may be opened once. */
  ticket(): string
  changed(post: SlackPost): void
  /** The app hears of its own messages, too. */
  echo(post: SlackPost): void
}

/** `caller`: the workspace of the token. */
type Params = Readonly<Record<string, unknown>> & { readonly caller?: string }
type Method = (world: SlackWorld, params: Params) => object

const MOST_FALLBACK = 40_000
const MOST_MARKDOWN = 12_000
const MOST_METADATA = 16_000

/** Which token a method takes; the bot's unless told. */
export const methods: Readonly<Record<string, { readonly run: Method; readonly token?: 'app' | 'none' }>> = {
  'auth.test': {
    run: ({ store: { team, me } }, { caller = team }) => ({
      url: 'https://emulated.slack.com/',
      team: 'Emulated',
      user: me.name,
      team_id: caller,
      user_id: me.user,
      bot_id: me.bot,
      is_enterprise_install: false,
    }),
  },
  'apps.connections.open': { token: 'app', run: (world) => ({ url: world.ticket() }) },
  'oauth.v2.access': { token: 'none', run: (world, params) => world.oauth.access(params) },
  'chat.postMessage': { run: postMessage },
  'chat.update': { run: update },
  'chat.delete': { run: remove },
  'chat.startStream': { run: startStream },
  'chat.appendStream': { run: appendStream },
  'chat.stopStream': { run: stopStream },
  'conversations.history': { run: history },
  'conversations.replies': { run: replies },
  'reactions.add': { run: (world, params) => mark(world, params, true) },
  'reactions.remove': { run: (world, params) => mark(world, params, false) },
  'assistant.threads.setStatus': { run: setStatus },
  'files.getUploadURLExternal': { run: getUploadUrl },
  'files.completeUploadExternal': { run: completeUpload },
  'files.info': { run: fileInfo },
  'users.info': { run: userInfo },
  'views.publish': { run: publish },
}

// ---- Messages ---------------------------------------------------------------------------------------------------------

function postMessage(world: SlackWorld, params: Params) {
  const channel = findChannel(world, params.channel, params)
  const content = readContent(params)
  const metadata = readMetadata(params.metadata)
  const post = keep(world, channel, params, 'chat.postMessage', { ...content, ...(metadata ? { metadata } : {}) })
  return { channel: channel.id, ts: post.ts, message: show(world, post, true) }
}

function update(world: SlackWorld, params: Params) {
  const post = findPost(world, params)
  if (post.streaming === 'in_progress') throw new Refusal('streaming_state_conflict')
  if (post.file) throw new Refusal('cant_update_message')
  const content = readContent(params)
  const metadata = readMetadata(params.metadata)
  if (metadata) post.metadata = metadata
  change(world, post, content)
  return { channel: post.channel, ts: post.ts, text: post.fallback, message: show(world, post, true) }
}

function remove(world: SlackWorld, params: Params) {
  const post = findPost(world, params)
  post.deleted = true
  world.changed(post)
  return { channel: post.channel, ts: post.ts }
}

interface Content {
  readonly text: string
  readonly blocks: readonly unknown[]
  readonly fallback: string
}

function readContent(params: Params): Content {
  const { text, blocks, markdown_text: markdown } = params
  if (markdown !== undefined) {
    if (text !== undefined || blocks !== undefined) throw new Refusal('markdown_text_conflict')
    const seen = markdownOf(markdown)
    return { text: seen, blocks: [{ type: 'markdown', text: seen }], fallback: seen }
  }
  if (text !== undefined && typeof text !== 'string') throw new Refusal('invalid_arguments')
  const fallback = (text ?? '').slice(0, MOST_FALLBACK)
  if (blocks !== undefined) return { text: readBlocks(blocks), blocks: blocks as unknown[], fallback }
  if (fallback.trim() === '') throw new Refusal('no_text')
  return { text: plainMrkdwn(fallback), blocks: [], fallback }
}

function markdownOf(value: unknown): string {
  if (typeof value !== 'string' || value === '') throw new Refusal('no_text')
  if (value.length > MOST_MARKDOWN) throw new Refusal('msg_too_long')
  return value
}

const plainMrkdwn = (text: string) =>
  text
    .replace(/<[^|<>]*\|([^<>]*)>/g, '$1')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')

function readMetadata(value: unknown): Params | undefined {
  if (value === undefined) return undefined
  const { event_type: type, event_payload: payload } = (value ?? {}) as Params
  if (typeof type !== 'string' || !/^[A-Za-z0-9_.-]+$/.test(type) || typeof payload !== 'object' || payload === null)
    throw new Refusal('invalid_metadata_format')
  if (JSON.stringify(value).length > MOST_METADATA) throw new Refusal('metadata_too_large')
  return value as Params
}

function findChannel({ store }: SlackWorld, id: unknown, { caller }: Params): SlackChannel {
  const channel = typeof id === 'string' ? store.find(id) : undefined
  if (!channel || (caller !== undefined && channel.team !== caller)) throw new Refusal('channel_not_found')
  if (channel.archived) throw new Refusal('is_archived')
  if (!channel.member) throw new Refusal('not_in_channel')
  return channel
}

function findPost(world: SlackWorld, params: Params): SlackPost {
  const channel = findChannel(world, params.channel, params)
  const message = channel.messages.find(({ ts }) => ts === params.ts)
  if (!message || (isPost(message) && message.deleted)) throw new Refusal('message_not_found')
  if (!isPost(message)) throw new Refusal('cant_update_message')
  return message
}

function threadOf(channel: SlackChannel, params: Params): string | undefined {
  const { thread_ts: thread } = params
  if (thread === undefined) return undefined
  if (!channel.messages.some(({ ts }) => ts === thread)) throw new Refusal('thread_not_found')
  return String(thread)
}

function keep(
  world: SlackWorld,
  channel: SlackChannel,
  params: Params,
  method: string,
  content: Content & Pick<SlackPost, 'metadata' | 'file' | 'streaming'>,
): SlackPost {
  const thread = threadOf(channel, params)
  const post: SlackPost = {
    channel: channel.id,
    ts: world.store.nextTs(),
    ...(thread === undefined ? {} : { thread_ts: thread }),
    user: world.store.me.user,
    method,
    at: Date.now(),
    edits: [],
    reactions: new Set(),
    deleted: false,
    ...content,
  }
  world.store.keep(post)
  world.changed(post)
  world.echo(post)
  return post
}

function change(world: SlackWorld, post: SlackPost, { text, blocks, fallback }: Content): void {
  Object.assign(post, { text, blocks, fallback })
  post.edits.push({ at: Date.now(), text })
  world.changed(post)
}

/** A message as Slack shows it to an app. */
export function show({ store: { me, app, team } }: SlackWorld, message: SlackMessage, metadata = false): object {
  const { ts, thread_ts, user, text } = message
  const thread = thread_ts === undefined ? {} : { thread_ts }
  if (!isPost(message)) return { type: 'message', user, ts, text, team, ...thread }
  const told = metadata && message.metadata ? { metadata: message.metadata } : {}
  return {
    type: 'message',
    user,
    bot_id: me.bot,
    app_id: app,
    team,
    ts,
    text: message.fallback,
    blocks: message.blocks,
    ...thread,
    ...told,
  }
}

// ---- Streams ----------------------------------------------------------------------------------------------------------

/** The text of `markdown_text` and of chunks of that type, which the SDK sends. */
function streamed({ markdown_text: markdown, chunks }: Params): string {
  if (chunks !== undefined && !Array.isArray(chunks)) throw new Refusal('invalid_chunks')
  const pieces = ((chunks ?? []) as Params[]).map((chunk) => (chunk.type === 'markdown_text' ? String(chunk.text) : ''))
  return `${markdown === undefined || markdown === '' ? '' : markdownOf(markdown)}${pieces.join('')}`
}

function startStream(world: SlackWorld, params: Params) {
  if (!world.has.streams) throw new Refusal('unknown_method')
  const channel = findChannel(world, params.channel, params)
  if (typeof params.thread_ts !== 'string') throw new Refusal('invalid_arguments')
  if (channel.type !== 'im') {
    if (typeof params.recipient_team_id !== 'string') throw new Refusal('missing_recipient_team_id')
    if (typeof params.recipient_user_id !== 'string') throw new Refusal('missing_recipient_user_id')
  }
  const text = streamed(params)
  const content = { text, blocks: [], fallback: text, streaming: 'in_progress' as const }
  const post = keep(world, channel, params, 'chat.startStream', content)
  return { channel: channel.id, ts: post.ts }
}

function findStream(world: SlackWorld, params: Params): SlackPost {
  const post = findPost(world, params)
  if (post.streaming !== 'in_progress') throw new Refusal('message_not_in_streaming_state')
  return post
}

function appendStream(world: SlackWorld, params: Params) {
  const post = findStream(world, params)
  const text = streamed(params)
  if (text === '') throw new Refusal('no_text')
  grow(world, post, text)
  return { channel: post.channel, ts: post.ts }
}

function stopStream(world: SlackWorld, params: Params) {
  const post = findStream(world, params)
  if (params.blocks !== undefined) readBlocks(params.blocks)
  grow(world, post, streamed(params))
  post.streaming = 'completed'
  world.changed(post)
  return { channel: post.channel, ts: post.ts, message: show(world, post) }
}

function grow(world: SlackWorld, post: SlackPost, more: string): void {
  if (more === '') return
  const text = post.text + more
  if (text.length > MOST_MARKDOWN) throw new Refusal('msg_blocks_too_long')
  change(world, post, { text, blocks: [], fallback: text })
}

// ---- Reading ----------------------------------------------------------------------------------------------------------

function history(world: SlackWorld, params: Params) {
  if (!world.has.history) throw new Refusal('missing_scope', { needed: 'channels:history', provided: 'chat:write' })
  const { messages } = findChannel(world, params.channel, params)
  return page(world, messages.filter(({ ts, thread_ts }) => thread_ts === undefined || thread_ts === ts).toReversed(), params)
}

function replies(world: SlackWorld, params: Params) {
  if (!world.has.history) throw new Refusal('missing_scope', { needed: 'channels:history', provided: 'chat:write' })
  const { messages } = findChannel(world, params.channel, params)
  const thread = messages.filter(({ ts, thread_ts }) => ts === params.ts || thread_ts === params.ts)
  if (thread.length === 0) throw new Refusal('thread_not_found')
  return page(world, thread, params)
}

function page(world: SlackWorld, messages: readonly SlackMessage[], params: Params) {
  const limit = Math.min(Math.max(integer(params.limit, 100), 1), 999)
  const from = integer(params.cursor, 0)
  const oldest = Number(params.oldest ?? 0)
  if (!Number.isFinite(oldest)) throw new Refusal('invalid_ts_oldest')
  const found = messages.filter((message) => Number(message.ts) > oldest && !(isPost(message) && message.deleted))
  const shown = found.slice(from, from + limit)
  const more = from + limit < found.length
  return {
    messages: shown.map((message) => show(world, message, params.include_all_metadata === true || params.include_all_metadata === 'true')),
    has_more: more,
    ...(more ? { response_metadata: { next_cursor: String(from + limit) } } : {}),
  }
}

const integer = (value: unknown, fallback: number): number => {
  const number = Number(value ?? fallback)
  return Number.isSafeInteger(number) ? number : fallback
}

// ---- Signs ------------------------------------------------------------------------------------------------------------

function mark(world: SlackWorld, params: Params, add: boolean) {
  const channel = findChannel(world, params.channel, params)
  if (typeof params.name !== 'string' || !/^[a-z0-9_+-]+$/.test(params.name)) throw new Refusal('invalid_name')
  if (!channel.messages.some(({ ts }) => ts === params.timestamp)) throw new Refusal('message_not_found')
  const key = `${channel.id}:${params.timestamp}`
  const marks = world.store.marks.get(key) ?? new Set()
  if (add === marks.has(params.name)) throw new Refusal(add ? 'already_reacted' : 'no_reaction')
  if (add) marks.add(params.name)
  else marks.delete(params.name)
  world.store.marks.set(key, marks)
  return {}
}

function setStatus(world: SlackWorld, params: Params) {
  if (!world.has.statuses) throw new Refusal('missing_scope', { needed: 'assistant:write', provided: 'chat:write' })
  const channel = findChannel(world, params.channel_id, params)
  const { thread_ts: thread, status } = params
  if (typeof thread !== 'string' || !channel.messages.some(({ ts }) => ts === thread)) throw new Refusal('invalid_thread_ts')
  if (typeof status !== 'string') throw new Refusal('invalid_arguments')
  world.store.statuses.push({ channel: channel.id, thread_ts: thread, status })
  return {}
}

function userInfo({ store, has }: SlackWorld, { user: id, include_locale: wantsLocale }: Params) {
  if (!has.users) throw new Refusal('missing_scope', { needed: 'users:read', provided: 'chat:write' })
  if (typeof id !== 'string' || !/^[UW]/.test(id)) throw new Refusal('user_not_found')
  const { name, locale } = store.people.get(id) ?? { name: id.slice(2).toLowerCase(), locale: 'en-US' }
  const profile = { real_name: name, display_name: name }
  return { user: { id, name, real_name: name, profile, ...(wantsLocale === 'true' || wantsLocale === true ? { locale } : {}) } }
}

function publish({ store }: SlackWorld, { user_id: user, view }: Params) {
  if (typeof user !== 'string' || !/^[UW]/.test(user)) throw new Refusal('user_not_found')
  const { type, blocks } = (view ?? {}) as Params
  if (type !== 'home') throw new Refusal('invalid_arguments')
  readBlocks(blocks)
  store.homes.set(user, view)
  return { view: { id: store.nextId('V'), type: 'home', blocks } }
}

// ---- Files ------------------------------------------------------------------------------------------------------------

function getUploadUrl({ store, url }: SlackWorld, { filename, length }: Params) {
  const bytes = integer(length, -1)
  if (typeof filename !== 'string' || filename === '' || bytes < 1) throw new Refusal('invalid_arguments')
  if (bytes > 1024 ** 3) throw new Refusal('file_upload_size_restricted')
  const id = store.nextId('F')
  store.uploads.set(id, { name: filename, length: bytes })
  return { upload_url: `${url()}/upload/v1/${id}`, file_id: id }
}

function completeUpload(world: SlackWorld, params: Params) {
  const { store } = world
  if (!Array.isArray(params.files) || params.files.length === 0) throw new Refusal('invalid_arguments')
  const files = (params.files as Params[]).map(({ id, title }) => {
    const uploaded = store.uploads.get(String(id))
    if (!uploaded?.bytes) throw new Refusal('file_not_found')
    return {
      id: String(id),
      name: typeof title === 'string' ? title : uploaded.name,
      mime: 'application/octet-stream',
      bytes: uploaded.bytes,
    }
  })
  const channel = params.channel_id === undefined ? undefined : findChannel(world, params.channel_id, params)
  for (const file of files) {
    store.files.set(file.id, file)
    store.uploads.delete(file.id)
    if (channel) keep(world, channel, params, 'files.completeUploadExternal', { text: file.name, blocks: [], fallback: '', file })
  }
  return { files: files.map(({ id, name }) => ({ id, title: name })) }
}

function fileInfo({ store, url }: SlackWorld, { file: id }: Params) {
  const file = store.files.get(String(id))
  if (!file) throw new Refusal('file_not_found')
  return { file: fileObject(file, url()) }
}

/** https://docs.slack.dev/reference/objects/file-object */
export function fileObject({ id, name, mime, bytes }: { id: string; name: string; mime: string; bytes: Uint8Array }, url: string): object {
  const address = `${url}/files-pri/${id}/download`
  return {
    id,
    name,
    title: name,
    mimetype: mime,
    size: bytes.length,
    mode: 'hosted',
    is_external: false,
    url_private: address,
    url_private_download: address,
  }
}
