/** A turn at work: what its steps are handed, and the shape of what they answer. */
import type { Connection, Logger, Place, Receipt, Usage } from '@posthouse/contract'
import type { Clock } from '../../base/clock.ts'
import type { NewId } from '../../base/ids.ts'
import type { Account, Accounts } from '../../ports/accounts.ts'
import type { Blobs } from '../../ports/blobs.ts'
import type { Cache } from '../../ports/cache.ts'
import type { Live } from '../../ports/live.ts'
import type { Models } from '../../ports/models.ts'
import type { Observer } from '../../ports/observer.ts'
import type { Rates } from '../../ports/rates.ts'
import type { NewDelivery, NewMessage, Outcome, Store, StoredMessage, Turn, TurnResult } from '../../ports/store.ts'
import type { Tools } from '../../ports/tools.ts'
import type { Language, NoticeName } from './notices.ts'

/** Why a turn's signal fired. `handed`: a person took the conversation over. */
export type Interruption = 'stop' | 'shutdown' | 'handed'

/** The process ends, and a tool's effect is not known: the turn counts, so that the next one looks for it and tells the person. */
export class LeftInDoubt extends Error {
  override readonly name = 'LeftInDoubt'
}

/** What an assistant is told and allowed. */
export interface Assistant {
  readonly instructions: string
  /** Tokens (estimated) of history that a request may carry. */
  readonly contextTokens: number
  /** Milliseconds for which an answer to a first question may be given again; undefined: never. */
  readonly cacheAnswers: number | undefined
  /** Milliseconds after a person's last word until it answers again where that person took over. */
  readonly returnAfter: number
}

export interface TurnParts {
  readonly store: Store
  readonly blobs: Blobs
  readonly models: Models
  readonly tools: Tools
  readonly accounts: Accounts
  readonly rates: Rates
  readonly observer: Observer
  readonly live: Live
  readonly cache: Cache
  readonly assistant: Assistant
  /** The model used unless somebody switched. */
  readonly defaultModel: string
  readonly clock: Clock
  readonly newId: NewId
  readonly log: Logger
}

/** A turn at work. */
export interface TurnWork {
  readonly turn: Turn
  readonly account: Account | undefined
  readonly language: Language
  readonly parts: TurnParts
  /** What the authors of these messages are called, by their ids, as far as it is known now. Each person is asked for once. */
  readonly names: (messages: readonly StoredMessage[]) => Promise<ReadonlyMap<string, string>>
  /** Fires when somebody says stop, or the process ends. */
  readonly signal: AbortSignal
  /** The draft as it grows; for those who join later. `shown`: what people see of it in the chat tool. */
  readonly draft: { text: string; shown?: Receipt }
  /** Milliseconds spent in models and tools, and until the first sign of an answer. */
  readonly timing: Timing
}

/** The account's connection as it is now: it may have been opened, or opened anew, since the turn began. */
export function connectionOf({ turn, parts }: Pick<TurnWork, 'turn' | 'parts'>): Connection | undefined {
  return parts.accounts.find(turn.conversation.account)?.connection
}

export interface Timing {
  model: number
  firstToken: number | undefined
}

/** A result that says something of our own. */
export function notice(work: TurnWork, name: NoticeName, outcome: Outcome, text: string, change: Partial<TurnResult> = {}): TurnResult {
  const status = name === 'failed' || name === 'empty' || name === 'quarantined' ? 'failed' : 'complete'
  return { ...result(work, outcome, { role: 'system', text, status }), ...change }
}

/** A result with one message, and its delivery if there is anything to show. */
export function result(
  { turn, account, parts }: TurnWork,
  outcome: Outcome,
  said: {
    role: NewMessage['role']
    text: string
    status: NewMessage['status']
    model?: string
    usage?: Usage | undefined
    draft?: Receipt | undefined
  },
): TurnResult {
  const last = turn.messages.at(-1)
  const message: NewMessage = {
    id: parts.newId(),
    role: said.role,
    parts: [{ type: 'text', text: said.text }],
    status: said.status,
    ...(last ? { replyTo: last.id } : {}),
    ...(said.model ? { model: said.model } : {}),
    ...(said.usage ? { usage: said.usage } : {}),
  }
  const draft = said.draft ?? turn.draft
  const replyTo = last && replyTarget(account, turn.conversation.place, last.body.platformId)
  const delivery: NewDelivery = {
    id: message.id,
    begun: false,
    ...(replyTo ? { replyTo } : {}),
    ...(draft ? { draft } : {}),
  }
  return {
    turnId: turn.id,
    lane: turn.conversation.id,
    account: turn.conversation.account,
    outcome,
    inbox: 'done',
    messages: [message],
    deliveries: said.text === '' ? [] : [delivery],
  }
}

/** In a group an answer refers to its question; in a direct conversation that would only be noise, unless the platform sorts by it. */
export function replyTarget(account: Account | undefined, place: Place, platformId: string | undefined): string | undefined {
  return place.type === 'group' || account?.capabilities.answersRefer ? platformId : undefined
}
