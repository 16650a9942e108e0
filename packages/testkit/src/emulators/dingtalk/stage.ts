/** DingTalk as a stage of stories: people and groups have ids made of their names. There are no topics. */
import type { Stage } from '../../story.ts'
import type { DingtalkEmulator } from './index.ts'
import type { DingtalkPost } from './store.ts'

/** A message of a person's that mentions the robot begins with this; no other reaches it from a group. */
const MENTION = /^@bot\s*/

export function dingtalkStage(dingtalk: DingtalkEmulator): Stage<DingtalkPost, string> {
  const roomOf = ({ kind, name }: { kind: string; name: string }) => (kind === 'private' ? name : `cid_group_${name}`)
  return {
    idOf: (name) => name,
    roomOf,
    say(who, where, text, { photo, document, voice, at }) {
      const isGroup = where.kind === 'group'
      const silent = { change: () => {}, repeat: () => {} }
      if (isGroup && !MENTION.test(text)) return silent
      const about = {
        from: { staff: who, nick: who },
        ...(isGroup ? { group: { id: roomOf(where), title: where.name } } : {}),
        ...(at === undefined ? {} : { at }),
      }
      // A file has no words: they are a message of their own.
      if (photo?.bytes) dingtalk.say({ ...about, picture: photo.bytes })
      if (document?.bytes) dingtalk.say({ ...about, file: { name: document.name ?? 'document', bytes: document.bytes } })
      if (voice?.bytes) dingtalk.say({ ...about, audio: { recognition: '', bytes: voice.bytes } })
      const said = dingtalk.say({ ...about, text: text.replace(MENTION, '') })
      return { ...silent, repeat: () => dingtalk.redeliver(said.id) }
    },
    posted: (where) => dingtalk.posted(roomOf(where)),
    onPosted: (listener) => dingtalk.onPosted(listener),
  }
}
