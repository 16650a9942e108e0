/** What people do in the emulated DingTalk. A person is known by the staff id; somebody outside of the organization by `$:...` */
import { CARD, type Events, ROBOT } from './events.ts'
import type { World } from './methods.ts'
import { type DingtalkFile, newId, senderOf } from './store.ts'

export interface DingtalkSaying {
  readonly text?: string
  readonly picture?: Uint8Array
  readonly file?: { readonly name: string; readonly bytes: Uint8Array }
  /** What the platform understood of it stands beside it. */
  readonly audio?: { readonly recognition: string; readonly bytes: Uint8Array }
  readonly video?: Uint8Array
  /** Words and pictures, in their order. */
  readonly rich?: readonly (string | Uint8Array)[]
  /** Any other content, as the platform words it. */
  readonly other?: { readonly msgtype: string; readonly content: object }
  /** The staff id, and the name that people see. Default: Ann. */
  readonly from?: string | { readonly staff: string; readonly nick: string }
  /** A group; the private chat with the robot unless given. The robot hears nothing of a group but what mentions it. */
  readonly group?: string | { readonly id: string; readonly title: string }
  /** In a group: it does not mention the robot, but comes all the same. */
  readonly unaddressed?: boolean
  /** The message that it answers. */
  readonly answers?: { readonly msgId: string; readonly text: string; readonly from?: string }
  /** Epoch milliseconds; now unless given. */
  readonly at?: number
}

export interface DingtalkSaid {
  readonly id: string
  readonly msgId: string
  readonly room: string
  /** The address at which it may be answered for a while. */
  readonly sessionWebhook: string
}

export interface DingtalkVerbs {
  say(saying: string | DingtalkSaying): DingtalkSaid
  /** Presses a button of a card. */
  press(outTrackId: string, params: Readonly<Record<string, string>>, staff?: string): string
  /** The robot's own words, as a message. */
  sayAsRobot(text: string, staff?: string): string
  /** Makes a person known; answers the room. */
  know(staff: string, nick?: string): string
  /** Makes a group known. */
  gather(id: string, title?: string): string
  /** Any event that the app may have subscribed to. */
  emit(eventType: string, data: object): string
}

const ANN = { staff: 'ann', nick: 'Ann' }
const BOT = '$:LWCP_v1:$bot'

/** `sessionLife`: milliseconds that an answer's address lasts. */
export function createVerbs(world: World, events: Events, sessionLife: number): DingtalkVerbs {
  const { store, app } = world

  const know = (staff: string, nick = staff) => {
    if (!store.people.has(staff)) store.people.set(staff, { nick, outside: staff.startsWith('$:') })
    return staff
  }
  const gather = (id: string, title = id) => {
    if (!store.groups.has(id)) store.groups.set(id, { title, closed: false })
    return id
  }
  const keep = (file: DingtalkFile) => {
    const downloadCode = newId()
    store.files.set(downloadCode, file)
    return { downloadCode }
  }
  const picture = (bytes: Uint8Array) => ({ pictureDownloadCode: newId(), ...keep({ name: 'picture', bytes, type: 'image' }) })
  const contentOf = (saying: DingtalkSaying): object => {
    const { text, file, audio, video, rich, other, answers } = saying
    const replied = answers && {
      isReplyMsg: true,
      repliedMsg: {
        msgType: 'text',
        msgId: answers.msgId,
        senderId: answers.from === undefined ? BOT : senderOf(answers.from),
        createdAt: Date.now(),
        content: { text: answers.text },
      },
    }
    if (other) return other
    if (saying.picture) return { msgtype: 'picture', content: picture(saying.picture) }
    if (file) return { msgtype: 'file', content: { fileName: file.name, fileId: '1', spaceId: '2', ...keep({ ...file, type: 'file' }) } }
    if (audio)
      return {
        msgtype: 'audio',
        content: { recognition: audio.recognition, duration: 2000, ...keep({ name: 'audio', bytes: audio.bytes, type: 'voice' }) },
      }
    if (video)
      return {
        msgtype: 'video',
        content: { duration: '5', videoType: 'mp4', ...keep({ name: 'video', bytes: video, type: 'video' }) },
      }
    if (rich) {
      const richText = rich.map((part) => (typeof part === 'string' ? { text: part } : { type: 'picture', ...picture(part) }))
      return { msgtype: 'richText', content: { richText, ...replied } }
    }
    // In a group what follows the mention keeps its blank.
    const content = saying.group !== undefined && !saying.unaddressed ? ` ${text ?? ''}` : (text ?? '')
    return { msgtype: 'text', text: { content, ...replied } }
  }
  const message = (room: string, from: { staff: string; nick: string }, more: object, at = Date.now()) => {
    const session = newId()
    const until = Date.now() + sessionLife
    store.sessions.set(session, { room, until })
    const outside = from.staff.startsWith('$:')
    return {
      msgId: `msg${newId()}`,
      createAt: at,
      senderNick: from.nick,
      senderId: senderOf(from.staff),
      ...(outside ? {} : { senderStaffId: from.staff, senderCorpId: 'dingcorp' }),
      isAdmin: false,
      chatbotCorpId: 'dingcorp',
      chatbotUserId: BOT,
      robotCode: app.robot_code,
      sessionWebhook: `${world.url()}/robot/sendBySession?session=${session}`,
      sessionWebhookExpiredTime: until,
      ...more,
    }
  }
  const direct = (staff: string) => ({ conversationType: '1', conversationId: `cid_${staff}` })

  return {
    know,
    gather,
    say(given) {
      const saying = typeof given === 'string' ? { text: given } : given
      const { from: who = ANN, group } = saying
      const from = typeof who === 'string' ? { staff: who, nick: who } : who
      know(from.staff, from.nick)
      const { id = '', title = id } = typeof group === 'string' ? { id: group } : (group ?? {})
      const room = group === undefined ? from.staff : gather(id, title)
      const where =
        group === undefined
          ? direct(from.staff)
          : {
              conversationType: '2',
              conversationId: room,
              conversationTitle: store.groups.get(room)?.title,
              isInAtList: !saying.unaddressed,
              atUsers: saying.unaddressed ? [] : [{ dingtalkId: BOT }],
            }
      const replies = saying.answers ? { originalMsgId: saying.answers.msgId } : {}
      const data = message(room, from, { ...where, ...replies, ...contentOf(saying) }, saying.at)
      const { msgId, sessionWebhook } = data
      return { id: events.emit(room, ROBOT, data), msgId, room, sessionWebhook }
    },
    press(outTrackId, params, staff = ANN.staff) {
      const card = store.cards.get(outTrackId)
      if (!card) throw new Error(`the card ${outTrackId} is not known`)
      const content = JSON.stringify({ cardPrivateData: { actionIds: ['button'], params } })
      const pressed = { type: 'actionCallback', outTrackId, corpId: 'dingcorp', userId: staff, content }
      // A call tells less than a connection.
      if (card.route !== undefined) return events.emit(card.room, CARD, pressed, store.routes.get(card.route))
      const spaceType = store.groups.has(card.room) ? 'IM_GROUP' : 'IM_ROBOT'
      return events.emit(card.room, CARD, { ...pressed, userIdType: 1, spaceType, spaceId: card.room, extension: '{}' })
    },
    sayAsRobot: (text, staff = ANN.staff) =>
      events.emit(know(staff), ROBOT, {
        ...message(staff, ANN, { ...direct(staff), msgtype: 'text', text: { content: text } }),
        senderId: BOT,
        senderStaffId: undefined,
      }),
    emit: (eventType, data) => events.emitEvent(eventType, data),
  }
}
