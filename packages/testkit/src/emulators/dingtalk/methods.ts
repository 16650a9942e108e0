/** What the platform answers to each call, strictly. https://open.dingtalk.com/document/orgapp/robot-overview */
import { createHmac } from 'node:crypto'
import type { PlatformCall } from '../platform.ts'
import type { Wish } from './events.ts'
import { textOfMarkdown } from './markdown.ts'
import { type DingtalkFile, type DingtalkPost, newId, type Store } from './store.ts'

/** A refusal in the words of the newer interface: an HTTP status and a code that is a word. */
export class Refusal extends Error {
  readonly code: string
  readonly status: number
  constructor(code: string, message: string, status = 400) {
    super(message)
    this.code = code
    this.status = status
  }
}

/** A refusal in those of the older one: 200, and a code that is a number. */
export class OldRefusal extends Error {
  readonly errcode: number
  constructor(errcode: number, errmsg: string) {
    super(errmsg)
    this.errcode = errcode
  }
}

export interface World {
  readonly app: { readonly client_id: string; readonly client_secret: string; readonly robot_code: string }
  readonly card_template_id: string
  /** A group's own robot; `secret`: its calls are to be signed. */
  readonly group: { readonly access_token: string; readonly secret: string }
  readonly store: Store
  /** Valid tokens and when they end, epoch milliseconds. */
  readonly tokens: Map<string, number>
  readonly tokenLife: number
  revoked: boolean
  /** Rights that the app lacks. */
  readonly missing: Set<string>
  /** Where it is served. */
  url(): string
  /** Answers a ticket, good for one connection. */
  ticket(wishes: readonly Wish[]): string
  changed(post: DingtalkPost): void
}

type Body = Readonly<Record<string, unknown>>

export interface Route {
  readonly name: string
  readonly method: string
  readonly path: RegExp
  readonly right?: string
  /** Without a token in its header. */
  readonly open?: boolean
  /** Answers as the older interface does. */
  readonly old?: boolean
  answer(world: World, call: PlatformCall, body: Body): object | Uint8Array
}

/** "message too long, exceed 20000 bytes" */
const MOST_BODY = 20_000
/** Bytes. https://open.dingtalk.com/document/orgapp/upload-media-files */
const MOST_UPLOAD: Readonly<Record<string, number>> = { image: 20 << 20, voice: 2 << 20, video: 20 << 20, file: 20 << 20 }
/** https://open.dingtalk.com/document/orgapp/robot-message-type */
const FILE_TYPES = ['xlsx', 'pdf', 'zip', 'rar', 'doc', 'docx']
const IMAGE = /^(\xff\xd8\xff|\x89PNG|GIF8|BM)/s

const route = (method: string, path: string, name: string, answer: Route['answer'], more: Partial<Route> = {}): Route => ({
  name,
  method,
  path: new RegExp(`^${path}$`),
  answer,
  ...more,
})

export const routes: readonly Route[] = [
  route('POST', '/v1.0/oauth2/accessToken', 'oauth2.accessToken', giveToken, { open: true }),
  route('POST', '/v1.0/gateway/connections/open', 'gateway.connections.open', openConnection, { open: true }),
  route('POST', '/v1.0/robot/oToMessages/batchSend', 'robot.oToMessages.batchSend', sendToPeople, { right: 'Robot.Message.Send' }),
  route('POST', '/v1.0/robot/groupMessages/send', 'robot.groupMessages.send', sendToGroup, { right: 'Robot.GroupMessage.Send' }),
  route('POST', '/v1.0/robot/messageFiles/download', 'robot.messageFiles.download', fileLink),
  route('POST', '/v1.0/card/instances/createAndDeliver', 'card.createAndDeliver', deliverCard, { right: 'Card.Instance.Write' }),
  route('PUT', '/v1.0/card/streaming', 'card.streaming', streamCard, { right: 'Card.Streaming.Write' }),
  route('POST', '/v1.0/card/callbacks/register', 'card.callbacks.register', registerCards, { right: 'Card.Instance.Write' }),
  route('POST', '/robot/send', 'robot.send', sendAsGroupRobot, { open: true, old: true }),
  route('POST', '/robot/sendBySession', 'robot.sendBySession', sendBySession, { open: true, old: true }),
  route('POST', '/media/upload', 'media.upload', upload, { open: true, old: true }),
  route('GET', '/files/\\w+', 'file', ({ store }, { path }) => fileAt(store, path), { open: true }),
]

// ---- Who asks ----------------------------------------------------------------------------------------------------------

/** @throws Refusal when this token opens nothing */
export function authorize({ tokens, missing }: World, call: PlatformCall, { open, right }: Route): void {
  if (open) return
  if ((tokens.get(call.headers['x-acs-dingtalk-access-token'] ?? '') ?? 0) <= Date.now())
    throw new Refusal('InvalidAuthentication', '不合法的access_token')
  if (right && missing.has(right))
    throw new Refusal('Forbidden.AccessDenied.AccessTokenPermissionDenied', `应用尚未开通所需的权限：[${right}]`, 403)
}

const isApp = ({ app, revoked }: World, id: unknown, secret: unknown) => !revoked && id === app.client_id && secret === app.client_secret

function giveToken(world: World, _call: PlatformCall, { appKey, appSecret }: Body): object {
  if (!isApp(world, appKey, appSecret)) throw new Refusal('invalidClientIdOrSecret', '无效的clientId或者clientSecret')
  const accessToken = newId()
  world.tokens.set(accessToken, Date.now() + world.tokenLife)
  return { accessToken, expireIn: Math.floor(world.tokenLife / 1000) }
}

function openConnection(world: World, _call: PlatformCall, { clientId, clientSecret, subscriptions }: Body): object {
  if (!isApp(world, clientId, clientSecret)) throw new Refusal('authFailed', '鉴权失败', 401)
  const wishes = Array.isArray(subscriptions) ? (subscriptions as Wish[]) : []
  const fits = ({ type, topic }: Wish) => (type === 'EVENT' && topic === '*') || (type === 'CALLBACK' && /^\/v1\.0\//.test(topic))
  if (wishes.length === 0 || !wishes.every(fits)) throw new Refusal('paramError', 'subscriptions')
  return { endpoint: `${world.url().replace('http', 'ws')}/connect`, ticket: world.ticket(wishes) }
}

// ---- Messages ----------------------------------------------------------------------------------------------------------

function sendToPeople(world: World, call: PlatformCall, body: Body): object {
  checkRobot(world, body)
  const ids = Array.isArray(body.userIds) ? (body.userIds as unknown[]) : []
  if (ids.length === 0) throw new Refusal('invalidParameter.userIds.empty', 'userIds is empty')
  if (ids.length > 20) throw new Refusal('invalidParameter.userIds.overMax', 'userIds is more than 20')
  const look = read(world, call, body)
  const known = ids.map(String).filter((id) => world.store.people.get(id)?.outside === false)
  if (known.length === 0) throw new Refusal('staffId.notExisted', 'staffId不存在')
  const processQueryKey = newId()
  for (const room of known) post(world, room, processQueryKey, look)
  return { processQueryKey, invalidStaffIdList: ids.filter((id) => !known.includes(String(id))), flowControlledStaffIdList: [] }
}

function sendToGroup(world: World, call: PlatformCall, body: Body): object {
  checkRobot(world, body)
  const room = String(body.openConversationId ?? '')
  const group = world.store.groups.get(room)
  if (!group) throw new Refusal('invalidParameter.openConversationId.notExist', 'openConversationId不存在')
  if (group.closed) throw new Refusal('invalidParameter.robotCode.auth', '机器人不在群内')
  const processQueryKey = newId()
  post(world, room, processQueryKey, read(world, call, body))
  return { processQueryKey }
}

function checkRobot({ app }: World, { robotCode }: Body): void {
  if (!robotCode) throw new Refusal('invalidParameter.robotCode.empty', 'robotCode is empty')
  if (robotCode !== app.robot_code) throw new Refusal('invalidParameter.robotCode.auth', 'robotCode无权限')
}

type Look = Pick<DingtalkPost, 'form' | 'title' | 'text' | 'file'>

/** What people will see. @throws Refusal */
function read({ store }: World, call: PlatformCall, { msgKey, msgParam }: Body): Look {
  if (call.body.length > MOST_BODY) throw new Refusal('invalidParameter.msgParam.invalid', 'message too long, exceed 20000 bytes')
  const param = parse(msgParam)
  if (msgKey === 'sampleMarkdown') return markdownOf(param, () => new Refusal('invalidParameter.msgParam.invalid', 'msgParam is invalid'))
  if (msgKey === 'sampleImageMsg') {
    const file = store.uploads.get(String(param.photoURL))
    if (file?.type === 'image') return { form: 'image', title: '', text: '', file }
  }
  if (msgKey === 'sampleFile') {
    const file = store.uploads.get(String(param.mediaId))
    if (file?.type === 'file' && param.fileName && FILE_TYPES.includes(String(param.fileType)))
      return { form: 'file', title: '', text: String(param.fileName), file: { ...file, name: String(param.fileName) } }
  }
  throw new Refusal(`invalidParameter.${/^sample/.test(String(msgKey)) ? 'msgParam' : 'msgKey'}.invalid`, 'invalid')
}

function parse(json: unknown): Body {
  try {
    const value: unknown = JSON.parse(String(json))
    return typeof value === 'object' && value !== null ? (value as Body) : {}
  } catch {
    return {}
  }
}

function markdownOf({ title, text }: Body, refusal: () => Error): Look {
  if (typeof title !== 'string' || title.trim() === '' || typeof text !== 'string' || text.trim() === '') throw refusal()
  return { form: 'markdown', title, text: textOfMarkdown(text) }
}

function post(world: World, room: string, id: string, look: Look, streaming = false): DingtalkPost {
  const made: DingtalkPost = { room, id, ...look, streaming, at: Date.now(), edits: [], deleted: false }
  world.store.posts.push(made)
  world.changed(made)
  return made
}

/** https://open.dingtalk.com/document/orgapp/robot-reply-and-send-messages: the address that came with a message. */
function sendBySession(world: World, call: PlatformCall, body: Body): object {
  const session = world.store.sessions.get(call.query.get('session') ?? '')
  if (!session || session.until <= Date.now()) throw new OldRefusal(300001, 'session 不存在')
  if (call.body.length > MOST_BODY) throw new OldRefusal(460101, 'message too long, exceed 20000 bytes')
  const wrong = () => new OldRefusal(40035, '缺少参数 title或text')
  if (body.msgtype !== 'markdown') throw new OldRefusal(400105, '不支持的消息类型')
  post(world, session.room, '', markdownOf((body.markdown ?? {}) as Body, wrong))
  return {}
}

const HOUR = 3_600_000
const MINUTE = 60_000

/** https://open.dingtalk.com/document/robots/custom-robot-access: one address for one group, 20 messages a minute, else shut out for ten. */
function sendAsGroupRobot(world: World, call: PlatformCall, body: Body): object {
  const { access_token, secret } = world.group
  const { query, headers } = call
  if (world.revoked || query.get('access_token') !== access_token) throw new OldRefusal(300005, 'token is not exist')
  const timestamp = query.get('timestamp') ?? ''
  const sign = createHmac('sha256', secret).update(`${timestamp}\n${secret}`).digest('base64')
  if (!(Math.abs(Date.now() - Number(timestamp || Number.NaN)) < HOUR)) throw new OldRefusal(310000, 'invalid timestamp')
  if (query.get('sign') !== sign) throw new OldRefusal(310000, 'sign not match')
  if (!/^application\/json/.test(headers['content-type'] ?? '')) throw new OldRefusal(43004, '无效的HTTP HEADER Content-Type')
  if (call.body.length > MOST_BODY) throw new OldRefusal(460101, 'message too long, exceed 20000 bytes')
  const lately = world.store.posts.filter(({ room, at }) => room === 'group-robot' && Date.now() - at < MINUTE)
  if (lately.length >= 20) throw new OldRefusal(130101, 'send too fast, exceed 20 times per minute')
  if (body.msgtype !== 'markdown') throw new OldRefusal(400105, '不支持的消息类型')
  const wrong = () => new OldRefusal(40035, '缺少参数 title或text')
  post(world, 'group-robot', '', markdownOf((body.markdown ?? {}) as Body, wrong))
  return {}
}

// ---- Files -------------------------------------------------------------------------------------------------------------

function upload({ store, tokens }: World, { query, headers, body }: PlatformCall): object {
  if ((tokens.get(query.get('access_token') ?? '') ?? 0) <= Date.now()) throw new OldRefusal(40014, '不合法的access_token')
  const { fields, name, bytes } = readForm(body, headers['content-type'] ?? '')
  const type = query.get('type') ?? fields.type ?? ''
  const most = MOST_UPLOAD[type]
  if (most === undefined) throw new OldRefusal(40004, '不合法的媒体文件类型')
  if (!bytes || bytes.length === 0) throw new OldRefusal(40035, '缺少参数 media')
  if (bytes.length > most) throw new OldRefusal(40009, '不合法的媒体文件大小')
  if (type === 'image' && !IMAGE.test(bytes.subarray(0, 12).toString('latin1'))) throw new OldRefusal(40005, '不合法的文件类型')
  const media_id = newId('@')
  store.uploads.set(media_id, { name, bytes, type })
  return { type, media_id, created_at: Date.now() }
}

function readForm(body: Buffer, type: string): { fields: Record<string, string>; name: string; bytes?: Buffer } {
  const boundary = /boundary="?([^";]+)"?/.exec(type)?.[1]
  const fields: Record<string, string> = {}
  let bytes: Buffer | undefined
  let name = ''
  const mark = Buffer.from(`\r\n--${boundary}`)
  const whole = Buffer.concat([Buffer.from('\r\n'), body])
  if (!boundary || !whole.includes(`--${boundary}--`)) throw new OldRefusal(40035, '缺少参数')
  for (let at = whole.indexOf(mark), end: number; at >= 0; at = end) {
    end = whole.indexOf(mark, at + mark.length)
    if (end < 0) break
    const head = whole.indexOf('\r\n\r\n', at)
    const disposition = whole.toString('utf8', at + mark.length, head)
    const field = /[; ]name="([^"]*)"/.exec(disposition)?.[1] ?? ''
    const content = whole.subarray(head + 4, end)
    if (field === 'media') {
      bytes = content
      name = /filename="([^"]*)"/.exec(disposition)?.[1] ?? ''
    } else fields[field] = content.toString('utf8')
  }
  return { fields, name, ...(bytes ? { bytes } : {}) }
}

function fileLink(world: World, _call: PlatformCall, body: Body): object {
  checkRobot(world, body)
  const file = world.store.files.get(String(body.downloadCode))
  if (!file) throw new Refusal('invalidParameter.downloadCode.notExist', 'downloadCode不存在')
  const key = newId()
  world.store.links.set(key, file)
  return { downloadUrl: `${world.url()}/files/${key}` }
}

function fileAt({ links }: Store, path: string): Uint8Array {
  const file: DingtalkFile | undefined = links.get(path.slice('/files/'.length))
  if (!file) throw new Refusal('AccessDenied', 'expired', 403)
  return file.bytes
}

// ---- Cards -------------------------------------------------------------------------------------------------------------

/** https://open.dingtalk.com/document/orgapp/create-and-deliver-cards */
function deliverCard(world: World, _call: PlatformCall, body: Body): object {
  const { store, app } = world
  const id = String(body.outTrackId ?? '')
  if (body.cardTemplateId !== world.card_template_id) throw new Refusal('param.templateNotExist', '卡片模板不存在')
  if (id === '' || id.length > 64) throw new Refusal('param.error', 'outTrackId')
  if (store.cards.has(id)) throw new Refusal('param.cardExisted', '卡片已存在')
  // Without it no update of the text is taken.
  if (body.callbackType !== 'STREAM' && body.callbackType !== 'HTTP') throw new Refusal('param.error', 'callbackType')
  const route = body.callbackType === 'HTTP' ? String(body.callbackRouteKey) : undefined
  if (route !== undefined && !store.routes.has(route)) throw new Refusal('param.error', 'callbackRouteKey')
  const [, kind, room = ''] = /^dtv1\.card\/\/(IM_GROUP|IM_ROBOT)\.(.+)$/.exec(String(body.openSpaceId)) ?? []
  if (kind === 'IM_GROUP') {
    if ((body.imGroupOpenDeliverModel as Body | undefined)?.robotCode !== app.robot_code || !body.imGroupOpenSpaceModel)
      throw new Refusal('param.error', 'imGroupOpenDeliverModel')
    if (!store.groups.has(room)) throw new Refusal('param.spaceNotExist', '场域不存在')
  } else if (kind === 'IM_ROBOT') {
    if ((body.imRobotOpenDeliverModel as Body | undefined)?.spaceType !== 'IM_ROBOT' || !body.imRobotOpenSpaceModel)
      throw new Refusal('param.error', 'imRobotOpenDeliverModel')
    if (body.userIdType !== 1 || store.people.get(room)?.outside !== false) throw new Refusal('param.spaceNotExist', '场域不存在')
  } else throw new Refusal('param.error', 'openSpaceId')
  const values = ((body.cardData as Body | undefined)?.cardParamMap ?? {}) as Body
  const [[key, content] = ['', '']] = Object.entries(values)
  if (!Object.values(values).every((value) => typeof value === 'string')) throw new Refusal('param.error', 'cardParamMap')
  const text = textOfMarkdown(String(content))
  const made = post(world, room, id, { form: 'card', title: '', text }, true)
  store.cards.set(id, { room, route, key, finished: false, done: new Set(), post: made })
  return { success: true, result: { outTrackId: id, deliverResults: [{ spaceId: room, spaceType: kind, success: true }] } }
}

/** https://open.dingtalk.com/document/development/register-card-callback-address: what is there stays unless `forceUpdate`. */
function registerCards({ store }: World, _call: PlatformCall, { callbackRouteKey, callbackUrl, apiSecret, forceUpdate }: Body): object {
  if (typeof callbackRouteKey !== 'string' || callbackRouteKey === '') throw new Refusal('param.error', 'callbackRouteKey')
  if (typeof callbackUrl !== 'string' || !/^https?:/.test(callbackUrl)) throw new Refusal('param.error', 'callbackUrl')
  if (forceUpdate === true || !store.routes.has(callbackRouteKey))
    store.routes.set(callbackRouteKey, { url: callbackUrl, secret: String(apiSecret ?? '') })
  const { url, secret } = store.routes.get(callbackRouteKey) ?? { url: '', secret: '' }
  return { success: true, result: { callbackUrl: url, apiSecret: secret } }
}

/** https://open.dingtalk.com/document/orgapp/api-streamingupdate */
function streamCard(world: World, _call: PlatformCall, { outTrackId, guid, key, content, isFull, isFinalize, isError }: Body): object {
  const card = world.store.cards.get(String(outTrackId))
  if (!card) throw new Refusal('param.cardNotExist', '卡片不存在')
  if (typeof guid !== 'string' || guid === '' || typeof content !== 'string') throw new Refusal('param.error', 'guid, content')
  if (key !== card.key) throw new Refusal('param.keyNotExist', '模板中没有该变量')
  if (card.done.has(guid)) return { success: true, result: true }
  if (card.finished) throw new Refusal('param.stream.finished', '流式更新已结束')
  card.done.add(guid)
  card.finished = isFinalize === true || isError === true
  const text = isFull === true ? textOfMarkdown(content) : card.post.text + textOfMarkdown(content)
  if (text !== card.post.text) card.post.edits.push({ at: Date.now(), text })
  card.post.text = text
  card.post.streaming = !card.finished
  world.changed(card.post)
  return { success: true, result: true }
}
