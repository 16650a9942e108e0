/** What people do in the emulated WeCom: to an app by a call, to a bot by a frame or a call. */
import { createCipheriv, randomBytes } from 'node:crypto'
import type { Calls } from './calls.ts'
import type { World } from './methods.ts'
import type { Polls } from './polls.ts'
import type { Sockets } from './sockets.ts'
import { newId } from './store.ts'

export interface WecomSaying {
  readonly text?: string
  readonly image?: Uint8Array
  readonly voice?: Uint8Array
  readonly video?: Uint8Array
  /** Only a bot is sent files; `name`: as they are fetched. */
  readonly file?: Uint8Array
  readonly name?: string
  readonly location?: { readonly latitude: number; readonly longitude: number; readonly label: string }
  readonly link?: { readonly title: string; readonly description: string; readonly url: string }
  /** A bot's: text and pictures in one. */
  readonly mixed?: readonly (string | Uint8Array)[]
  /** A bot's: the text that it cites. */
  readonly quote?: string
  /** UserID; `ann` unless given. */
  readonly from?: string
  /** A bot's: a group; the private chat unless given. */
  readonly chat?: string
  /** Epoch milliseconds; now unless given. */
  readonly at?: number
}

export interface WecomSaid {
  /** For repeating it. */
  readonly id: string
  readonly msgid: string
  readonly room: string
}

export interface WecomVerbs {
  say(saying: string | WecomSaying): WecomSaid
  /** Presses a button of a card, or an entry of the app's menu (`click`). */
  press(key: string, from?: string, type?: 'click' | 'template_card_event'): WecomSaid
  /** Any other event, as the platform names it: `enter_agent`, `enter_chat`. */
  happen(type: string, from?: string): WecomSaid
  redeliver(id: string): void
}

const cdata = (text: string) => `<![CDATA[${text.replaceAll(']]>', ']]]]><![CDATA[>')}]]>`
const xmlOf = (fields: Readonly<Record<string, string | number>>) =>
  `<xml>${Object.entries(fields)
    .map(([name, value]) => `<${name}>${typeof value === 'number' ? value : cdata(value)}</${name}>`)
    .join('')}</xml>`

export interface SpokenTo {
  readonly bot_id: string
  /** Where its files are fetched from. */
  url(): string
  /** Of one that is called. */
  readonly polls?: Polls
}

export function createVerbs(world: World, calls: Calls, sockets: Sockets, bot: SpokenTo | undefined): WecomVerbs {
  const { store, corp_id, agent_id } = world
  const pushed = new Map<string, readonly [string, object]>()
  let number = 7_000_000_000

  /** The platform's ids of an app's messages are numbers. */
  const call = (from: string, at: number, type: string, fields: Readonly<Record<string, string | number>>): WecomSaid => {
    const msgid = String(++number)
    const head = { ToUserName: corp_id, FromUserName: from, CreateTime: Math.floor(at / 1000), MsgType: type }
    const xml = xmlOf({ ...head, ...fields, ...(type === 'event' ? {} : { MsgId: Number(msgid) }), AgentID: agent_id })
    return { id: calls.emit(from, xml), msgid, room: from }
  }
  const push = (cmd: string, from: string, chat: string | undefined, at: number, fields: object): WecomSaid => {
    const msgid = newId()
    const where = chat === undefined ? { chattype: 'single' } : { chattype: 'group', chatid: chat }
    const body = { msgid, aibotid: bot?.bot_id, ...where, from: { userid: from }, ...fields }
    const frame = { ...body, create_time: Math.floor(at / 1000) }
    // When a message was written is not told in a call.
    if (bot?.polls) return { id: bot.polls.say(cmd === 'aibot_event_callback' ? frame : body, at), msgid, room: chat ?? from }
    pushed.set(msgid, [cmd, frame])
    sockets.push(cmd, frame)
    return { id: msgid, msgid, room: chat ?? from }
  }
  const kept = (bytes: Uint8Array, name: string, type: string) => {
    const media_id = newId('media-')
    store.media.set(media_id, { name, bytes, type })
    return media_id
  }
  /** Sealed with a key of its own (of a bot that is called: with that of its calls), and fetched without any other proof. */
  const sealed = (bytes: Uint8Array, name = 'file') => {
    const [key, path] = [bot?.polls?.key ?? randomBytes(32), `/files/${newId()}`]
    const padding = 32 - (bytes.length % 32)
    const cipher = createCipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
    const made = Buffer.concat([cipher.update(bytes), cipher.update(Buffer.alloc(padding, padding)), cipher.final()])
    store.sealed.set(path, { name, bytes: made })
    return { url: `${bot?.url()}${path}`, ...(bot?.polls ? {} : { aeskey: key.toString('base64') }) }
  }

  const sayToApp = (saying: WecomSaying, from: string, at: number): WecomSaid => {
    const { text = '', image, voice, video, location, link } = saying
    if (image) return call(from, at, 'image', { PicUrl: 'https://example.com/p.jpg', MediaId: kept(image, 'p.jpg', 'image') })
    if (voice) return call(from, at, 'voice', { MediaId: kept(voice, 'v.amr', 'voice'), Format: 'amr' })
    if (video) return call(from, at, 'video', { MediaId: kept(video, 'v.mp4', 'video'), ThumbMediaId: 'thumb' })
    if (location) {
      const { latitude, longitude, label } = location
      return call(from, at, 'location', { Location_X: latitude, Location_Y: longitude, Scale: 16, Label: label, AppType: 'wxwork' })
    }
    if (link) return call(from, at, 'link', { Title: link.title, Description: link.description, Url: link.url, PicUrl: '' })
    return call(from, at, 'text', { Content: text })
  }
  const sayToBot = (saying: WecomSaying, from: string, at: number): WecomSaid => {
    const { text = '', image, voice, video, file, mixed, chat, quote } = saying
    const words = (content: string) => ({ msgtype: 'text', text: { content } })
    const picture = (bytes: Uint8Array) => ({ msgtype: 'image', image: sealed(bytes) })
    const content = image
      ? picture(image)
      : file
        ? { msgtype: 'file', file: sealed(file, saying.name) }
        : video
          ? { msgtype: 'video', video: sealed(video) }
          : voice
            ? { msgtype: 'voice', voice: { content: text } }
            : mixed
              ? { msgtype: 'mixed', mixed: { msg_item: mixed.map((item) => (typeof item === 'string' ? words(item) : picture(item))) } }
              : words(chat === undefined ? text : `@Emulated ${text}`)
    return push('aibot_msg_callback', from, chat, at, { ...content, ...(quote === undefined ? {} : { quote: words(quote) }) })
  }
  const happen = (type: string, from: string, fields: Readonly<Record<string, string>>): WecomSaid => {
    store.users.add(from)
    const { EventKey: event_key = '', TaskId: task_id = '' } = fields
    return bot
      ? push('aibot_event_callback', from, undefined, Date.now(), {
          msgtype: 'event',
          event: { eventtype: type, ...(bot.polls ? { [type]: { event_key, task_id } } : { event_key, task_id }) },
        })
      : call(from, Date.now(), 'event', { Event: type, ...fields })
  }

  return {
    say(given) {
      const saying = typeof given === 'string' ? { text: given } : given
      const { from = 'ann', at = Date.now(), chat } = saying
      for (const known of [from, chat]) if (known !== undefined) store.users.add(known)
      return bot ? sayToBot(saying, from, at) : sayToApp(saying, from, at)
    },
    press: (key, from = 'ann', type = 'template_card_event') =>
      happen(type, from, { EventKey: key, ...(type === 'click' ? {} : { TaskId: newId() }) }),
    happen: (type, from = 'ann') => happen(type, from, { EventKey: '' }),
    redeliver(id) {
      const frame = pushed.get(id)
      if (frame) sockets.push(...frame)
      else calls.again(id)
    },
  }
}
