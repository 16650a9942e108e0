/** What the server API answers, strictly. https://developer.work.weixin.qq.com/document/path/90236, /90253, /91770 */
import { createHash } from 'node:crypto'
import type { PlatformAnswer, PlatformCall } from '../platform.ts'
import { checkMedia, newId, readMarkdown, type Store, showMarkdown, type WecomFile, type WecomPost, WecomRefusal } from './store.ts'

export interface World {
  readonly corp_id: string
  readonly agent_id: number
  readonly secret: string
  readonly key: string
  readonly store: Store
  /** Valid tokens and when they end, epoch milliseconds. */
  readonly tokens: Map<string, number>
  readonly tokenLife: number
  revoked: boolean
  changed(post: WecomPost): void
}

type Method = (world: World, call: PlatformCall, body: Readonly<Record<string, unknown>>) => object

/** By path below `/cgi-bin/`. */
export const methods: Readonly<Record<string, Method>> = {
  gettoken,
  'agent/get': authorized((world, { query }) => {
    if (query.get('agentid') !== String(world.agent_id))
      throw new WecomRefusal(301002, 'not allow operate another agent with this accesstoken')
    return { agentid: world.agent_id, name: 'Emulated', close: 0 }
  }),
  'message/send': authorized(sendMessage),
  'media/upload': authorized((world, call) => upload(world, call, call.query.get('type') ?? '')),
  'webhook/send': keyed(sendAsRobot),
  'aibot/response': answerOnce,
  'webhook/upload_media': keyed((world, call) => {
    const type = call.query.get('type') ?? ''
    if (type !== 'file' && type !== 'voice') throw new WecomRefusal(40004, 'invalid media type')
    return upload(world, call, type)
  }),
}

/** Bytes are answered as an attachment, a refusal as JSON. */
export function answer(world: World, call: PlatformCall, name: string, params: Readonly<Record<string, unknown>>): PlatformAnswer {
  try {
    if (name === 'media/get') return media(world, call)
    const method = methods[name]
    if (!method) return { status: 404, body: 'not found' }
    return { body: { errcode: 0, errmsg: 'ok', ...method(world, call, params) } }
  } catch (error) {
    if (!(error instanceof WecomRefusal)) throw error
    return { body: { errcode: error.code, errmsg: `${error.message}, hint: [${newId()}]` } }
  }
}

// ---- Who asks ----------------------------------------------------------------------------------------------------------

function gettoken(world: World, { query }: PlatformCall): object {
  if (query.get('corpid') !== world.corp_id) throw new WecomRefusal(40013, 'invalid corpid')
  if (world.revoked || query.get('corpsecret') !== world.secret) throw new WecomRefusal(40001, 'invalid credential')
  const access_token = newId('token-')
  world.tokens.set(access_token, Date.now() + world.tokenLife)
  return { access_token, expires_in: Math.floor(world.tokenLife / 1000) }
}

function mustBeAllowed({ tokens }: World, { query }: PlatformCall): void {
  const token = query.get('access_token')
  if (!token) throw new WecomRefusal(41001, 'access_token missing')
  const until = tokens.get(token)
  if (until === undefined) throw new WecomRefusal(40014, 'invalid access_token')
  if (until <= Date.now()) throw new WecomRefusal(42001, 'access_token expired')
}

function authorized(method: Method): Method {
  return (world, call, body) => {
    mustBeAllowed(world, call)
    return method(world, call, body)
  }
}

function keyed(method: Method): Method {
  return (world, call, body) => {
    if (world.revoked || call.query.get('key') !== world.key) throw new WecomRefusal(93000, 'invalid webhook url')
    return method(world, call, body)
  }
}

// ---- Messages ----------------------------------------------------------------------------------------------------------

function sendMessage(world: World, call: PlatformCall, body: Readonly<Record<string, unknown>>): object {
  mustBeJson(call)
  if (body.agentid !== world.agent_id) throw new WecomRefusal(40056, 'invalid agentid')
  const { touser } = body
  if (typeof touser !== 'string' || touser === '') throw new WecomRefusal(40003, 'invalid userid')
  if (!world.store.users.has(touser)) throw new WecomRefusal(81013, 'user & party & tag all invalid')
  const msgid = newId()
  post(world, msgid, touser, body, 2048, ['image', 'voice', 'video', 'file'])
  return { invaliduser: '', msgid }
}

function sendAsRobot(world: World, call: PlatformCall, body: Readonly<Record<string, unknown>>): object {
  mustBeJson(call)
  if (body.msgtype === 'image') {
    const { base64, md5 } = (body.image ?? {}) as Record<string, unknown>
    const bytes = Buffer.from(String(base64), 'base64')
    if (createHash('md5').update(bytes).digest('hex') !== md5) throw new WecomRefusal(301019, 'media md5 not match')
    if (bytes.length > 2 * 1024 * 1024) throw new WecomRefusal(40009, 'invalid image size')
    show(world, { id: newId(), room: 'robot', msgtype: 'image', source: '', file: { name: 'image', bytes } }, false)
    return {}
  }
  post(world, newId(), 'robot', body, 4096, ['voice', 'file'])
  return {}
}

/** developer.work.weixin.qq.com/document/path/101138: once, within an hour. The page names no code for what is refused. */
function answerOnce(world: World, call: PlatformCall, body: Readonly<Record<string, unknown>>): object {
  mustBeJson(call)
  const found = world.store.codes.get(call.query.get('response_code') ?? '')
  if (!found || found.used || found.until <= Date.now()) throw new WecomRefusal(40029, 'invalid code')
  if (body.msgtype !== 'markdown') throw new WecomRefusal(40008, 'invalid message type')
  const { content } = (body.markdown ?? {}) as Record<string, unknown>
  const source = readMarkdown(content, 20_480)
  found.used = true
  show(world, { id: newId(), room: found.room, msgtype: 'markdown', source, reply_to: found.msgid }, true)
  return {}
}

function mustBeJson({ body }: PlatformCall): void {
  try {
    JSON.parse(body.toString('utf8'))
  } catch {
    throw new WecomRefusal(47001, 'data format error')
  }
}

function post(
  world: World,
  id: string,
  room: string,
  body: Readonly<Record<string, unknown>>,
  most: number,
  files: readonly string[],
): void {
  const type = String(body.msgtype)
  const content = (body[type] ?? {}) as Record<string, unknown>
  if (type === 'markdown') show(world, { id, room, msgtype: type, source: readMarkdown(content.content, most) }, false)
  else if (files.includes(type))
    show(world, { id, room, msgtype: type, source: '', file: fileOf(world.store, content.media_id, type) }, false)
  else throw new WecomRefusal(40008, 'invalid message type')
}

/** @throws WecomRefusal */
export function fileOf(store: Store, media_id: unknown, type: string): WecomFile {
  const file = store.media.get(String(media_id))
  if (!file || file.type !== type) throw new WecomRefusal(40007, 'invalid media_id')
  return file
}

type Made = Pick<WecomPost, 'id' | 'room' | 'msgtype' | 'source' | 'file' | 'reply_to'> & { readonly streaming?: boolean }

/** Puts it before people's eyes. */
export function show(world: Pick<World, 'store' | 'changed'>, made: Made, full: boolean): WecomPost {
  const text = made.file ? made.file.name : showMarkdown(made.source, full)
  const shown: WecomPost = { ...made, text, streaming: made.streaming ?? false, at: Date.now(), edits: [] }
  world.store.posts.push(shown)
  world.changed(shown)
  return shown
}

// ---- Files -------------------------------------------------------------------------------------------------------------

function upload({ store }: World, { headers, body }: PlatformCall, type: string): object {
  const file = readForm(headers['content-type'] ?? '', body)
  checkMedia(type, file)
  const media_id = newId('media-')
  store.media.set(media_id, { ...file, type })
  return { type, media_id, created_at: String(Math.floor(Date.now() / 1000)) }
}

/** One part named `media`. */
function readForm(type: string, body: Buffer): WecomFile {
  const boundary = /boundary="?([^";]+)/.exec(type)?.[1]
  const end = body.indexOf('\r\n\r\n')
  const head = body.subarray(0, Math.max(end, 0)).toString('utf8')
  const name = /name="media";\s*filename="([^"]*)"/.exec(head)?.[1]
  if (boundary === undefined || name === undefined || !head.startsWith(`--${boundary}\r\n`))
    throw new WecomRefusal(41005, 'media data missing')
  const tail = body.lastIndexOf(`\r\n--${boundary}--`)
  return { name, bytes: new Uint8Array(body.subarray(end + 4, tail)) }
}

function media(world: World, call: PlatformCall): PlatformAnswer {
  mustBeAllowed(world, call)
  const file = world.store.media.get(call.query.get('media_id') ?? '')
  if (!file) throw new WecomRefusal(40007, 'invalid media_id')
  return { headers: { 'content-disposition': `attachment; filename="${encodeURIComponent(file.name)}"` }, body: file.bytes }
}
