/** Feishu as a stage of stories: people and groups have ids made of their names. */
import type { Stage } from '../../story.ts'
import type { FeishuEmulator } from './index.ts'
import type { FeishuPost } from './store.ts'
import { chatOf, type FeishuSaying } from './verbs.ts'

/** A message of a person's that mentions the bot begins with this. */
const MENTION = /^@bot\s*/

export function feishuStage(feishu: FeishuEmulator): Stage<FeishuPost, string> {
  const idOf = (name: string) => `ou_${name}`
  const roomOf = ({ kind, name }: { kind: string; name: string }) => (kind === 'private' ? chatOf(idOf(name)) : `oc_group_${name}`)
  /** The message that each topic hangs on. */
  const topics = new Map<string, string>()
  return {
    idOf,
    roomOf,
    say(who, where, text, { photo, document, voice, answers, at }) {
      const topic = where.topic === undefined ? undefined : `${roomOf(where)} ${where.topic}`
      const replyTo = answers?.message_id ?? (topic === undefined ? undefined : topics.get(topic))
      const about: FeishuSaying = {
        from: { open_id: idOf(who), name: who },
        ...(where.kind === 'private' ? {} : { chat: { chat_id: roomOf(where), name: where.name } }),
        ...(replyTo === undefined ? {} : { replyTo }),
        ...(topic === undefined ? {} : { thread: true }),
        ...(at === undefined ? {} : { at }),
      }
      const file = document && { name: document.name ?? 'document', bytes: document.bytes ?? new Uint8Array(document.size ?? 0) }
      // Here a file has no words: they are a message of their own.
      if (photo?.bytes) feishu.say({ ...about, image: photo.bytes })
      if (file) feishu.say({ ...about, file })
      if (voice?.bytes) feishu.say({ ...about, audio: voice.bytes })
      const said = feishu.say({ ...about, text: text.replace(MENTION, ''), mention: MENTION.test(text) })
      if (topic !== undefined && !topics.has(topic)) topics.set(topic, said.message_id)
      return {
        change: (next) => void feishu.edit(said, next),
        recall: () => void feishu.recall(said),
        repeat: () => feishu.redeliver(said.event_id),
      }
    },
    posted: (where) => {
      const root = where.topic === undefined ? undefined : topics.get(`${roomOf(where)} ${where.topic}`)
      const thread = root && `omt_${root.slice(3, 19)}`
      return feishu.posted(roomOf(where)).filter(({ thread_id }) => where.kind === 'private' || thread_id === thread)
    },
    onPosted: (listener) => feishu.onPosted(listener),
  }
}
