/**
 * Interactions: slash commands and buttons. They come by the gateway or by the endpoint, want a first answer within three seconds, and are
 * answered by a token for fifteen minutes. https://docs.discord.com/developers/interactions/receiving-and-responding
 */
import type { ChannelHost } from '@posthouse/contract'
import type { APIInteraction } from 'discord-api-types/v10'
import { type Api, ApiError } from './api.ts'
import { timeOfId } from './receive.ts'
import type { Token } from './send.ts'

type State = ChannelHost['state']

// ---- Tokens -----------------------------------------------------------------------------------------------------------

/** A minute less than Discord's fifteen. */
const TOKEN_LIFE = 14 * 60_000
const SLOTS = 64n
const MOST_IN_SLOT = 30

/** The tokens of interactions: sealed in the account's state, so that another node or the next process answers, too. */
export interface Tokens {
  keep(state: State, interaction: APIInteraction): Promise<void>
  /** It may be answered when `work` is done. */
  acknowledged(interaction: string, work: Promise<unknown>): void
  /** Undefined when its time is over, or nobody knows it. */
  find(interaction: string): Promise<Token | undefined>
  forget(interaction: string): void
  answered(interaction: string): void
  /** Takes those out that this process knows, that came before it in its channel, and that show "thinking" still. */
  takeLeft(interaction: string): readonly Token[]
}

export function createTokens(state: State, now: () => number): Tokens {
  const kept = new Map<string, Token>()
  const forgotten = new Set<string>()
  const answered = new Set<string>()
  const acknowledging = new Map<string, Promise<unknown>>()
  const slotOf = (id: string) => `interactions:${BigInt(id) % SLOTS}`
  const isFresh = (at: number) => now() - at < TOKEN_LIFE
  const read = async (from: State, id: string) => {
    const entries = JSON.parse((await from.get(slotOf(id))) ?? '[]') as [string, Token][]
    return entries.filter(([, { at }]) => isFresh(at))
  }
  const prune = () => {
    for (const all of [kept, forgotten, answered, acknowledging]) for (const id of all.keys()) if (!isFresh(timeOfId(id))) all.delete(id)
  }
  return {
    async keep(to, { id, token, application_id: application, channel_id: room }) {
      prune()
      const entry: [string, Token] = [id, { application, token, at: timeOfId(id), ...(room ? { room } : {}) }]
      kept.set(...entry)
      const others = (await read(to, id)).filter(([known]) => known !== id)
      await to.set(slotOf(id), JSON.stringify([...others, entry].slice(-MOST_IN_SLOT)))
    },
    acknowledged(id, work) {
      acknowledging.set(
        id,
        work.catch(() => undefined),
      )
    },
    async find(id) {
      if (!/^\d{1,20}$/.test(id)) return undefined
      await acknowledging.get(id)
      if (forgotten.has(id)) return undefined
      const found = kept.get(id) ?? (await read(state, id)).find(([known]) => known === id)?.[1]
      return found && isFresh(found.at) ? found : undefined
    },
    forget(id) {
      kept.delete(id)
      forgotten.add(id)
    },
    answered: (id) => void answered.add(id),
    takeLeft(id) {
      const { room } = kept.get(id) ?? {}
      const left = [...kept].filter(
        ([other, token]) => room !== undefined && token.room === room && BigInt(other) < BigInt(id) && !answered.has(other),
      )
      for (const [other] of left) {
        kept.delete(other)
        forgotten.add(other)
      }
      return left.map(([, token]) => token)
    },
  }
}

/** The first answer, after the commit. What was acknowledged too late is answered by a message. */
export async function acknowledge(
  api: Api,
  tokens: Tokens,
  { id, token }: APIInteraction,
  body: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await api.call('POST', `/interactions/${id}/${token}/callback`, JSON.parse(body) as object, { signal, timeout: 10_000 })
  } catch (error) {
    // It came once more, after it had been acknowledged.
    if (!(error instanceof ApiError && error.code === 40060)) tokens.forget(id)
    throw error
  }
}

// ---- Slash commands ---------------------------------------------------------------------------------------------------

const STRING = 3
/** In servers that the bot was added to, and in its direct messages: there it may write afterwards, too. */
const WHERE = { type: 1, integration_types: [0], contexts: [0, 1] }

function words(en: string, zh: string) {
  return { description: en, description_localizations: { 'zh-CN': zh, 'zh-TW': zh } }
}

const COMMANDS = [
  {
    ...WHERE,
    name: 'ask',
    ...words('Ask the assistant.', '向助手提问。'),
    options: [{ type: STRING, name: 'prompt', ...words('Your question.', '你的问题。'), required: true, max_length: 6000 }],
  },
  { ...WHERE, name: 'help', ...words('What you can do here.', '查看可用的操作。') },
  { ...WHERE, name: 'new', ...words('Begin a new conversation.', '开始新对话。') },
  { ...WHERE, name: 'stop', ...words('Stop the answer that is being written.', '停止正在生成的回答。') },
  {
    ...WHERE,
    name: 'model',
    ...words('See or choose the model.', '查看或选择模型。'),
    options: [{ type: STRING, name: 'name', ...words('The model to use from now on.', '之后使用的模型。') }],
  },
]

/** Registers our commands when they differ from what is there; others of the application stay. */
export async function offerCommands(api: Api, application: string, signal: AbortSignal): Promise<void> {
  const path = `/applications/${application}/commands`
  const there = await api.call<Record<string, unknown>[]>('GET', `${path}?with_localizations=true`, undefined, { signal })
  const isOurs = ({ name, type }: Record<string, unknown>) => (type ?? 1) === 1 && COMMANDS.some((each) => each.name === name)
  if (COMMANDS.every((wanted) => there.some((each) => isOurs(each) && holds(each, wanted)))) return
  await api.call('PUT', path, [...there.filter((each) => !isOurs(each)), ...COMMANDS], { signal })
}

/** Whether what is there has all of what is wanted. */
function holds(there: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted))
    return Array.isArray(there) && there.length === wanted.length && wanted.every((each, index) => holds(there[index], each))
  if (typeof wanted !== 'object' || wanted === null) return there === wanted
  return Object.entries(wanted).every(([key, value]) => holds((there as Record<string, unknown> | null | undefined)?.[key], value))
}
