/** WeCom as a stage of stories: people and groups have ids made of their names. */
import type { Stage } from '../../story.ts'
import type { WecomEmulator } from './index.ts'
import type { WecomPost } from './store.ts'

/** In a group only what begins with this reaches a bot. */
const MENTION = /^@bot\s*/

export function wecomStage(wecom: WecomEmulator): Stage<WecomPost, string> {
  const idOf = (name: string) => name
  const roomOf = ({ kind, name }: { kind: string; name: string }) => (kind === 'private' ? name : `wr_${name}`)
  return {
    idOf,
    roomOf,
    say(who, where, text, { photo, document, voice, answers, at }) {
      const cited = answers && wecom.posted().find(({ id }) => id === answers.message_id)
      const about = {
        from: idOf(who),
        ...(where.kind === 'private' ? {} : { chat: roomOf(where) }),
        ...(at === undefined ? {} : { at }),
        ...(cited ? { quote: cited.text } : {}),
      }
      // A file has no words: they are a message of their own.
      if (photo?.bytes) wecom.say({ ...about, image: photo.bytes })
      if (document?.bytes) wecom.say({ ...about, file: document.bytes, ...(document.name ? { name: document.name } : {}) })
      if (voice?.bytes) wecom.say({ ...about, voice: voice.bytes })
      const isHeard = where.kind === 'private' || MENTION.test(text)
      const said = isHeard ? wecom.say({ ...about, text: text.replace(MENTION, '') }) : undefined
      return {
        change: () => {
          throw new Error('what was said in WeCom cannot be changed')
        },
        repeat: () => {
          if (said) wecom.redeliver(said.id)
        },
      }
    },
    posted: (where) => wecom.posted(roomOf(where)),
    onPosted: (listener) => wecom.onPosted(listener),
  }
}
