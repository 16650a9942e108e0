/** Discord as a stage: people and channels get their ids in the order in which they appear; a topic is a thread. */
import type { Stage, StoryPlace } from '../../story.ts'
import type { DiscordEmulator } from './index.ts'
import type { EmulatedMessage } from './store.ts'

const FIRST_PERSON = 1001
const FIRST_GROUP = 20_001

/** `@emulated_bot` in what people say mentions the bot. */
export function discordStage(discord: DiscordEmulator): Stage<EmulatedMessage> {
  const people = new Map<string, number>()
  const groups = new Map<string, number>()
  const numberOf = (known: Map<string, number>, name: string, first: number) => {
    const found = known.get(name) ?? first + known.size * 1000
    known.set(name, found)
    return found
  }
  const idOf = (name: string) => {
    const found = people.get(name) ?? FIRST_PERSON + people.size
    people.set(name, found)
    return found
  }
  const roomOf = ({ kind, name, topic }: StoryPlace): number => {
    if (kind === 'private') return Number(discord.direct({ id: String(idOf(name)), username: name }).id)
    const parent = numberOf(groups, name, FIRST_GROUP)
    discord.channel(String(parent), { name })
    if (topic === undefined) return parent
    discord.channel(String(parent + topic), { name: `${name}-${topic}`, parent: String(parent) })
    return parent + topic
  }
  return {
    idOf,
    roomOf,
    say(who, where, text, { answers, photo, document, voice, at }) {
      const file = photo ?? document ?? voice
      const message = discord.say({
        text: text.replaceAll(`@${discord.me.username}`, `<@${discord.me.id}>`),
        from: { id: String(idOf(who)), username: who, global_name: who },
        in: String(roomOf(where)),
        ...(answers ? { replyTo: String(answers.message_id) } : {}),
        ...(at === undefined ? {} : { at }),
        ...(file
          ? {
              files: [
                {
                  name: file.name ?? (photo ? 'photo.png' : 'file'),
                  mime: file.mime ?? (photo ? 'image/png' : 'text/plain'),
                  bytes: file.bytes ?? new Uint8Array(file.size ?? 0),
                },
              ],
            }
          : {}),
      })
      return {
        message,
        change: (next) => discord.edit(message, next),
        repeat: () => discord.redeliver(),
      } as ReturnType<Stage<EmulatedMessage>['say']>
    },
    posted: (where) => discord.posted(String(roomOf(where))),
    onPosted: (listener) => discord.onPosted(listener),
  }
}
