/**
 * Third station: one turn. It reads as the sentence: what failed before is quarantined, what is too old waits for an operator, who is not allowed
 * is refused, a command is carried out, and everything else is answered by a model.
 *
 * A turn only computes its result; the pipeline commits it.
 */
import type { Connection, Logger, Place, Receipt, Usage } from '@posthouse/contract'
import type { Clock } from '../../base/clock.ts'
import type { NewId } from '../../base/ids.ts'
import type { Account, Accounts } from '../../ports/accounts.ts'
import type { Blobs } from '../../ports/blobs.ts'
import type { Live } from '../../ports/live.ts'
import type { Models } from '../../ports/models.ts'
import type { NewDelivery, NewMessage, Outcome, Store, Turn, TurnResult } from '../../ports/store.ts'
import { answer } from './answer.ts'
import { runCommand } from './commands.ts'
import { type Language, languageOf, type NoticeName, noticeText } from './notices.ts'

/** What an assistant is told and allowed. */
export interface Assistant {
  readonly instructions: string
  /** Tokens (estimated) of history that a request may carry. */
  readonly contextTokens: number
}

export interface TurnParts {
  readonly store: Store
  readonly blobs: Blobs
  readonly models: Models
  readonly accounts: Accounts
  readonly live: Live
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
  /** Fires when somebody says stop, or the process ends. */
  readonly signal: AbortSignal
  /** The draft as it grows; for those who join later. */
  readonly draft: { text: string }
  /** Milliseconds spent in models, and until the first sign of an answer. */
  readonly timing: Timing
}

/** The account's connection as it is now: it may have been opened, or opened anew, since the turn began. */
export function connectionOf({ turn, parts }: TurnWork): Connection | undefined {
  return parts.accounts.find(turn.conversation.account)?.connection
}

export interface Timing {
  model: number
  firstToken: number | undefined
}

/** Times that a turn may break before its message is set aside. */
const MOST_ATTEMPTS = 3

/** Computes the end of a turn. @throws when it must be given back: the process ends, or something unforeseen broke. */
export async function runTurn(
  turn: Turn,
  parts: TurnParts,
  { signal, draft, timing }: Pick<TurnWork, 'signal' | 'draft' | 'timing'>,
): Promise<TurnResult> {
  const account = parts.accounts.find(turn.conversation.account)
  const work: TurnWork = { turn, account, language: languageOf(turn), parts, signal, draft, timing }
  return quarantine(work) ?? setAside(work) ?? (await refuse(work)) ?? (await runCommand(work)) ?? (await answer(work))
}

function quarantine(work: TurnWork): TurnResult | undefined {
  if (!work.turn.messages.some((message) => message.attempts > MOST_ATTEMPTS)) return undefined
  // What it said must not reach the model with the next message either: the conversation begins anew.
  return { ...notice(work, 'quarantined', 'quarantined', noticeText('quarantined', work.language)), inbox: 'dead', forget: true }
}

/** P8: an answer nobody waits for any more is not sent by itself. */
function setAside({ turn, account, parts }: TurnWork): TurnResult | undefined {
  if (account?.freshness === undefined) return undefined
  const newest = Math.max(...turn.messages.map((message) => Math.max(message.sentAt, message.releasedAt ?? 0)))
  if (parts.clock.now() - newest <= account.freshness) return undefined
  return {
    turnId: turn.id,
    lane: turn.conversation.id,
    account: turn.conversation.account,
    outcome: 'stale',
    inbox: 'dead',
    messages: [],
    deliveries: [],
  }
}

/** Says "Access denied" once to each person, and is silent then. */
async function refuse(work: TurnWork): Promise<TurnResult | undefined> {
  const { turn, account, parts } = work
  if (!account?.allowedUsers) return undefined
  const stranger = turn.messages.map((message) => message.body.author?.id ?? '').find((id) => !account.allowedUsers?.has(id))
  if (stranger === undefined) return undefined
  const first = await parts.store.settings.once(`denied:${account.id}:${stranger}`)
  if (!first)
    return {
      turnId: turn.id,
      lane: turn.conversation.id,
      account: turn.conversation.account,
      outcome: 'refused',
      inbox: 'done',
      messages: [],
      deliveries: [],
    }
  return notice(work, 'denied', 'refused', noticeText('denied', work.language, stranger))
}

/** A result that says something of our own. */
export function notice(work: TurnWork, name: NoticeName, outcome: Outcome, text: string, change: Partial<TurnResult> = {}): TurnResult {
  const status = name === 'failed' || name === 'empty' || name === 'quarantined' ? 'failed' : 'complete'
  return { ...result(work, outcome, { role: 'system', text, status }), ...change }
}

/** A result with one message, and its delivery if there is anything to show. */
export function result(
  { turn, parts }: TurnWork,
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
  const replyTo = replyTarget(turn.conversation.place, last?.body.platformId)
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

/** In a group an answer refers to its question; in a direct conversation that would only be noise. */
function replyTarget(place: Place, platformId: string | undefined): string | undefined {
  return place.type === 'group' ? platformId : undefined
}
