/** Slack as a stage for stories: people and channels get their ids by their names. */
import type { Said, Stage, StoryPlace } from '../../story.ts'
import type { SlackEmulator } from './index.ts'
import type { SlackPost } from './store.ts'

const idOf = (prefix: string, name: string) => `${prefix}0${name.toUpperCase().replace(/[^A-Z0-9]/g, '')}`

/** In a group everything that the app posts is heard, whatever the thread; what answers a post is written in its thread. */
export function slackStage(slack: SlackEmulator): Stage<SlackPost, string> {
  const roomOf = ({ kind, name }: StoryPlace) => (kind === 'private' ? slack.direct(idOf('U', name)).id : idOf('C', name))
  return {
    idOf: (name) => idOf('U', name),
    roomOf,
    say(who, where, text, { photo, document, voice, answers }): Said {
      const file = photo ?? document ?? voice
      const mime = photo ? 'image/jpeg' : voice ? 'audio/ogg' : 'text/plain'
      const answered = answers && slack.posted(roomOf(where)).find(({ ts }) => ts === answers.message_id)
      const within = answered?.thread_ts ?? answered?.ts
      const said = slack.say({
        text,
        from: idOf('U', who),
        channel: roomOf(where),
        ...(within === undefined ? {} : { thread: within }),
        ...(file
          ? { file: { name: file.name ?? 'file', mime: file.mime ?? mime, bytes: file.bytes ?? new Uint8Array(file.size ?? 0) } }
          : {}),
      })
      return {
        change: (next) => void slack.edit(said, next),
        repeat: () => {
          for (const delivery of said.deliveries) slack.redeliver(delivery)
        },
      }
    },
    posted: (where) => slack.posted(roomOf(where)),
    onPosted: (listener) => slack.onPosted(listener),
  }
}
