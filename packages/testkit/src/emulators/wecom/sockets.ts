/**
 * An AI bot's long connection, as the official client speaks it: frames `{ cmd, headers: { req_id }, body }`, each acknowledged under its id.
 * One connection: a newer one ends the older. https://developer.work.weixin.qq.com/document/path/101463
 */
import { createHash } from 'node:crypto'
import type { WebSocket } from 'ws'
import type { Faults } from '../faults.ts'
import { pause } from '../pause.ts'
import { fileOf, show, type World } from './methods.ts'
import { checkMedia, newId, readMarkdown, showMarkdown, type WecomPost, WecomRefusal } from './store.ts'

type Body = Readonly<Record<string, unknown>>

/** A frame that came, and what it was answered. */
export interface WecomFrame {
  readonly at: number
  readonly cmd: string
  readonly body: unknown
  readonly errcode: number
}

export interface Bot {
  readonly bot_id: string
  readonly secret: string
  /** Milliseconds after which a stream takes nothing more. */
  readonly streamLife: number
}

export interface Sockets {
  join(socket: WebSocket): void
  /** To whom is connected; false when nobody is: then it is lost. */
  push(cmd: string, body: object): boolean
  readonly connections: number
  readonly frames: readonly WecomFrame[]
}

/** Bytes. */
const MOST_TEXT = 20_480

export function createSockets(world: World, bot: Bot, faults: () => Faults): Sockets {
  const frames: WecomFrame[] = []
  /** What may be answered on the present connection: by id, the message and where it was said. */
  const questions = new Map<string, { readonly room: string; readonly msgid: string }>()
  const streams = new Map<string, WecomPost>()
  const uploads = new Map<string, { readonly init: Body; readonly parts: Map<number, Buffer> }>()
  let current: WebSocket | undefined

  const commands: Readonly<Record<string, (body: Body, id: string) => object>> = {
    ping: () => ({}),
    aibot_respond_msg(body, id) {
      const question = questions.get(id)
      if (!question) throw new WecomRefusal(846605, 'invalid req_id')
      if (body.msgtype !== 'stream') throw new WecomRefusal(40008, 'invalid message type')
      const { id: stream, finish, content } = body.stream as Record<string, unknown>
      if (typeof stream !== 'string' || stream === '') throw new WecomRefusal(40058, 'stream.id missing')
      const source = readMarkdown(content, MOST_TEXT)
      const known = streams.get(`${id} ${stream}`)
      if (known && (!known.streaming || Date.now() - known.at > bot.streamLife) && known.source !== source)
        throw new WecomRefusal(846608, 'stream message update expired (>6 minutes), cannot update')
      if (known) {
        known.source = source
        known.text = showMarkdown(source, true)
        known.streaming = finish !== true
        known.edits.push({ at: Date.now(), text: known.text })
        world.changed(known)
      } else {
        const { room, msgid } = question
        const made = { id: newId(), room, msgtype: 'stream', source, streaming: finish !== true, reply_to: msgid }
        streams.set(`${id} ${stream}`, show(world, made, true))
      }
      return {}
    },
    aibot_send_msg(body) {
      const room = String(body.chatid ?? '')
      if (!world.store.users.has(room)) throw new WecomRefusal(40003, 'invalid chatid')
      const type = String(body.msgtype)
      const content = (body[type] ?? {}) as Record<string, unknown>
      if (type === 'markdown') show(world, { id: newId(), room, msgtype: type, source: readMarkdown(content.content, MOST_TEXT) }, true)
      else if (['image', 'voice', 'video', 'file'].includes(type))
        show(world, { id: newId(), room, msgtype: type, source: '', file: fileOf(world.store, content.media_id, type) }, true)
      else throw new WecomRefusal(40008, 'invalid message type')
      return {}
    },
    aibot_upload_media_init(body) {
      const upload_id = newId()
      if (!(Number(body.total_chunks) >= 1 && Number(body.total_chunks) <= 100)) throw new WecomRefusal(40058, 'invalid total_chunks')
      uploads.set(upload_id, { init: body, parts: new Map() })
      return { upload_id }
    },
    aibot_upload_media_chunk({ upload_id, chunk_index, base64_data }) {
      const upload = uploads.get(String(upload_id))
      if (!upload) throw new WecomRefusal(40058, 'invalid upload_id')
      upload.parts.set(Number(chunk_index), Buffer.from(String(base64_data), 'base64'))
      return {}
    },
    aibot_upload_media_finish({ upload_id }) {
      const upload = uploads.get(String(upload_id))
      if (!upload) throw new WecomRefusal(40058, 'invalid upload_id')
      const { type, filename, total_size, total_chunks, md5 } = upload.init
      const bytes = Buffer.concat([...upload.parts].sort(([a], [b]) => a - b).map(([, part]) => part))
      if (upload.parts.size !== total_chunks || bytes.length !== total_size || createHash('md5').update(bytes).digest('hex') !== md5)
        throw new WecomRefusal(40058, 'the parts are not the whole')
      const file = { name: String(filename), bytes: new Uint8Array(bytes) }
      checkMedia(String(type), file)
      const media_id = newId('media-')
      world.store.media.set(media_id, { ...file, type: String(type) })
      return { type, media_id, created_at: new Date().toISOString() }
    },
  }

  const subscribe = (socket: WebSocket, { bot_id, secret }: Body): object => {
    if (world.revoked || bot_id !== bot.bot_id || secret !== bot.secret) throw new WecomRefusal(853000, 'invalid bot_id or secret')
    if (current && current !== socket) {
      const body = { msgid: newId(), aibotid: bot.bot_id, msgtype: 'event', event: { eventtype: 'disconnected_event' } }
      current.send(JSON.stringify({ cmd: 'aibot_event_callback', headers: { req_id: newId() }, body }))
      current.close()
    }
    current = socket
    questions.clear()
    return {}
  }

  const take = async (socket: WebSocket, data: string, gone: AbortSignal) => {
    const { cmd, headers, body = {} } = JSON.parse(data) as { cmd: string; headers: { req_id: string }; body?: Body }
    const fault = faults().takeFault(cmd)
    let answer: { errcode: number; errmsg: string; body?: object } = { errcode: 0, errmsg: 'ok' }
    try {
      if (fault) throw new WecomRefusal(fault.status, fault.description ?? 'emulated failure')
      if (cmd !== 'aibot_subscribe' && socket !== current) throw new WecomRefusal(846601, 'not subscribed')
      const command = commands[cmd]
      if (cmd !== 'aibot_subscribe' && !command) throw new WecomRefusal(846600, 'invalid cmd')
      answer = { ...answer, body: cmd === 'aibot_subscribe' ? subscribe(socket, body) : (command?.(body, headers.req_id) ?? {}) }
    } catch (error) {
      if (!(error instanceof WecomRefusal)) throw error
      answer = { errcode: error.code, errmsg: error.message }
    }
    frames.push({ at: Date.now(), cmd, body, errcode: answer.errcode })
    const late = faults().delayOf(cmd)
    if (late > 0) await pause(late, gone)
    if (faults().takeDrop(cmd)) socket.terminate()
    else socket.send(JSON.stringify({ headers: { req_id: headers.req_id }, ...answer }))
  }

  return {
    join(socket) {
      const gone = new AbortController()
      socket.on('message', (data: Buffer) => {
        take(socket, data.toString('utf8'), gone.signal).catch(() => socket.close(1002, 'a frame that cannot be read'))
      })
      socket.on('error', () => {})
      socket.once('close', () => {
        gone.abort()
        if (current === socket) current = undefined
      })
    },
    push(cmd, body) {
      const { msgid, chatid, from } = body as { msgid: string; chatid?: string; from: { userid: string } }
      if (!current) return false
      const req_id = newId()
      questions.set(req_id, { room: chatid ?? from.userid, msgid })
      current.send(JSON.stringify({ cmd, headers: { req_id }, body }))
      return true
    },
    get connections() {
      return current ? 1 : 0
    },
    frames,
  }
}
