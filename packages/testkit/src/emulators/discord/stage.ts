/** Discord as a stage: people and channels get their ids in the order in which they appear; a topic is a thread. */
import type { Stage, StoryPlace } from '../../story.ts'
import type { DiscordEmulator } from './index.ts'
import type { EmulatedMessage } from './store.ts'

const FIRST_PERSON = 1001
const FIRST_GROUP = 20_000

/** `@emulated_bot` in what people say mentions the bot. */
export function discordStage(discord: DiscordEmulator): Stage<EmulatedMessage, string> {
  const people: string[] = []
  const groups: string[] = []
  const placeIn = (known: string[], name: string) => {
    if (!known.includes(name)) known.push(name)
    return known.indexOf(name)
  }
  const idOf = (name: string) => String(FIRST_PERSON + placeIn(people, name))
  const roomOf = ({ kind, name, topic }: StoryPlace): string => {
    if (kind === 'private') return discord.direct({ id: idOf(name), username: name }).id
    const channel = FIRST_GROUP + placeIn(groups, name) * 1000
    discord.channel(String(channel), { name })
    if (topic === undefined) return String(channel)
    return discord.channel(String(channel + topic), { name: `${name}-${topic}`, parent: String(channel) }).id
  }
  return {
    idOf,
    roomOf,
    say(who, where, text, { answers, photo, document, voice, at }) {
      const file = photo ?? document ?? voice
      const name = file?.name ?? (photo ? 'photo.png' : 'file')
      const mime = file?.mime ?? (photo ? 'image/png' : 'application/octet-stream')
      const said = discord.say({
        text: text.replaceAll(`@${discord.me.username}`, `<@${discord.me.id}>`),
        from: { id: idOf(who), username: who, global_name: who },
        in: roomOf(where),
        ...(answers ? { replyTo: answers.message_id } : {}),
        ...(at === undefined ? {} : { at }),
        ...(file ? { files: [{ name, mime, bytes: file.bytes ?? new Uint8Array(file.size ?? 0) }] } : {}),
      })
      return {
        change: (next) => discord.edit(said, next),
        recall: () => discord.recall(said),
        repeat: () => discord.redeliver(),
      }
    },
    posted: (where) => discord.posted(roomOf(where)),
    onPosted: (listener) => discord.onPosted(listener),
  }
}
