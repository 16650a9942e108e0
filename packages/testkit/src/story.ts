/**
 * The language of journeys: people write in a chat tool and hear what is posted there, whatever the tool is.
 *
 * @example
 * const story = createStory(telegramStage(telegram), { quiet })
 * const ann = story.user('ann')
 * ann.says('hi')
 * await ann.hears('You said: hi')
 * await ann.hearsNothingMore()
 */
import type { PostedMessage, SaidFile, Saying, TelegramEmulator } from './emulators/telegram/index.ts'

/** Where something is said: a private chat, named after its person, or a group with its topics. */
export interface StoryPlace {
  readonly kind: 'private' | 'group'
  readonly name: string
  readonly topic?: number
}

/** What goes with the words. `Id`: how the platform numbers what people see. */
export interface Attached<Id = number> {
  readonly photo?: SaidFile
  readonly document?: SaidFile
  readonly voice?: SaidFile
  /** Epoch milliseconds; now unless told otherwise. */
  readonly at?: number
  /** The message of the assistant's that it answers. */
  readonly answers?: { readonly message_id: Id }
}

/** Something that was said, and may be changed. */
export interface Said {
  change(text: string): void
  /** Takes it back, where the platform tells of that. */
  recall?(): void
  /** The platform hands it over once more. */
  repeat(): void
}

/** A platform as stories see it: an emulator with its own ways behind it. */
export interface Stage<Post extends { readonly text: string }, Id = number> {
  say(who: string, where: StoryPlace, text: string, attached: Attached<Id>): Said
  /** What the assistant posted there and people can see, in order; with the text that stands there now. */
  posted(where: StoryPlace): readonly Post[]
  onPosted(listener: () => void): Disposable
  /** The platform's id of a person, as configurations name it. */
  idOf(who: string): Id
  roomOf(where: StoryPlace): Id
}

/** What is heard in one place. Each message is heard once, in the order of posting. */
export interface Listening<Post, Id = number> {
  /** Where it is, as the platform numbers it. */
  readonly room: Id
  /** The next message there is this, now or soon. Edits count: a preview becomes what it ends as. */
  hears(expected: Expected<Post>): Promise<Post>
  /** The next message is there and looks like this now; it is not heard yet. */
  beginsToHear(expected: Expected<Post>): Promise<Post>
  /** All is quiet, and nothing was posted beyond what was heard. */
  hearsNothingMore(): Promise<void>
}
export type Expected<Post> = string | RegExp | ((post: Post) => boolean)

export interface Person<Post, Id = number> extends Listening<Post, Id> {
  readonly id: Id
  says(text: string, attached?: Attached<Id>): Said
  /** The same person in a group. */
  in(group: Group<Post, Id>): Person<Post, Id>
}

export interface Group<Post, Id = number> extends Listening<Post, Id> {
  readonly place: StoryPlace
  topic(id: number): Group<Post, Id>
}

export interface Story<Post, Id = number> {
  /** A person in the private chat with the assistant; the same name is the same person. */
  user(name: string): Person<Post, Id>
  group(name: string): Group<Post, Id>
}

export interface StoryOptions {
  /** Resolves when the assistant has nothing left to do. */
  quiet(): Promise<void>
  /** How long a message is waited for, in milliseconds. */
  readonly patience?: number
}

/** Begins a story on a stage. */
export function createStory<Post extends { readonly text: string }, Id = number>(
  stage: Stage<Post, Id>,
  options: StoryOptions,
): Story<Post, Id> {
  const heard = new Map<string, number>()

  const listening = (place: StoryPlace): Listening<Post, Id> => {
    const key = JSON.stringify(place)
    const next = () => stage.posted(place)[heard.get(key) ?? 0]
    const wait = (expected: Expected<Post>) => nextPost(stage, place, next, expected, options.patience ?? 10_000)
    return {
      room: stage.roomOf(place),
      beginsToHear: wait,
      async hears(expected) {
        const post = await wait(expected)
        heard.set(key, (heard.get(key) ?? 0) + 1)
        return post
      },
      async hearsNothingMore() {
        await options.quiet()
        const more = stage.posted(place).slice(heard.get(key) ?? 0)
        if (more.length > 0) throw new Error(`in ${place.name} nothing more was to be heard, but there came: ${show(more)}`)
      },
    }
  }
  const group = (place: StoryPlace): Group<Post, Id> => ({
    ...listening(place),
    place,
    topic: (topic) => group({ ...place, topic }),
  })
  const person = (name: string, place: StoryPlace): Person<Post, Id> => ({
    ...listening(place),
    id: stage.idOf(name),
    says: (text, attached = {}) => stage.say(name, place, text, attached),
    in: ({ place: there }) => person(name, there),
  })
  return {
    user: (name) => person(name, { kind: 'private', name }),
    group: (name) => group({ kind: 'group', name }),
  }
}

function nextPost<Post extends { readonly text: string }>(
  stage: Pick<Stage<Post, never>, 'posted' | 'onPosted'>,
  place: StoryPlace,
  next: () => Post | undefined,
  expected: Expected<Post>,
  patience: number,
): Promise<Post> {
  const found = () => {
    const post = next()
    return post && isExpected(post, expected) ? post : undefined
  }
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      watch[Symbol.dispose]()
    }
    const look = () => {
      const post = found()
      if (!post) return
      end()
      resolve(post)
    }
    const watch = stage.onPosted(look)
    const timer = setTimeout(() => {
      end()
      const from = next()
      const there = from ? stage.posted(place).slice(stage.posted(place).indexOf(from)) : []
      const wanted = typeof expected === 'function' ? 'a message that fits' : String(expected)
      const came = there.length > 0 ? `there came: ${show(there)}` : 'nothing came'
      reject(new Error(`in ${place.name} was to be heard within ${patience} ms: ${wanted}\n${came}`))
    }, patience)
    look()
  })
}

function isExpected<Post extends { readonly text: string }>(post: Post, expected: Expected<Post>): boolean {
  if (typeof expected === 'string') return post.text === expected
  return expected instanceof RegExp ? expected.test(post.text) : expected(post)
}

const show = (posts: readonly { readonly text: string }[]) => posts.map(({ text }) => JSON.stringify(text.slice(0, 300))).join(', ')

const FIRST_PERSON = 1001
const FIRST_GROUP = -1_000_000_001

/** Telegram as a stage: people and groups get their ids in the order in which they appear. */
export function telegramStage(telegram: TelegramEmulator): Stage<PostedMessage> {
  const people = new Map<string, number>()
  const groups = new Map<string, number>()
  const idOf = (name: string) => numberOf(people, name, FIRST_PERSON, 1)
  const roomOf = ({ kind, name }: StoryPlace) => (kind === 'private' ? idOf(name) : numberOf(groups, name, FIRST_GROUP, -1))
  return {
    idOf,
    roomOf,
    say(who, where, text, { answers, ...attached }) {
      const from = { id: idOf(who), first_name: who }
      const chat = where.kind === 'private' ? from.id : { id: roomOf(where), title: where.name, is_forum: where.topic !== undefined }
      const files = attached.photo ?? attached.document ?? attached.voice
      const words: Saying = text === '' ? {} : files ? { caption: text } : { text }
      const said = telegram.say({
        ...words,
        ...attached,
        from,
        chat,
        ...(where.topic === undefined ? {} : { thread: where.topic }),
        ...(answers ? { replyTo: answers.message_id } : {}),
      })
      return {
        change: (next) => void telegram.edit(said, { text: next }),
        repeat: () => telegram.redeliver(said.update_id),
      }
    },
    posted: (where) => telegram.posted(roomOf(where)).filter(({ thread }) => where.kind === 'private' || thread === where.topic),
    onPosted: (listener) => telegram.onPosted(listener),
  }
}

function numberOf(known: Map<string, number>, name: string, first: number, step: 1 | -1): number {
  const found = known.get(name) ?? first + known.size * step
  known.set(name, found)
  return found
}
