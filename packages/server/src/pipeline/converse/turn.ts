/**
 * Third station: one turn. It reads as the sentence: what a person answers is left to that person, what failed before is quarantined, what is too old waits for an operator, who is not allowed
 * is refused, a command is carried out, and everything else is answered by a model.
 *
 * A turn only computes its result; the pipeline commits it.
 */
import type { Turn, TurnResult } from '../../ports/store.ts'
import { answer } from './answer.ts'
import { runCommand } from './commands.ts'
import { createNames } from './names.ts'
import { languageOf, noticeText } from './notices.ts'
import { notice, type TurnParts, type TurnWork } from './work.ts'

/** Times that a turn may break before its message is set aside. */
const MOST_ATTEMPTS = 3

/** Computes the end of a turn. @throws when it must be given back: the process ends, or something unforeseen broke. */
export async function runTurn(
  turn: Turn,
  parts: TurnParts,
  { signal, draft, timing }: Pick<TurnWork, 'signal' | 'draft' | 'timing'>,
): Promise<TurnResult> {
  const account = parts.accounts.find(turn.conversation.account)
  const names = createNames({ turn, parts, signal })
  const work: TurnWork = { turn, account, language: languageOf(turn), parts, names, signal, draft, timing }
  return (
    (await leaveToPerson(work)) ??
    quarantine(work) ??
    setAside(work) ??
    (await refuse(work)) ??
    (await runCommand(work)) ??
    (await answer(work))
  )
}

/** While a person answers, the assistant is silent; it comes back by itself where the person said nothing for long. */
async function leaveToPerson({ turn, parts }: TurnWork): Promise<TurnResult | undefined> {
  const { id, account, held } = turn.conversation
  if (!held) return undefined
  if (parts.clock.now() - held.at > parts.assistant.returnAfter) {
    await parts.store.handovers.giveBack(id)
    return undefined
  }
  return { turnId: turn.id, lane: id, account, outcome: 'handed', inbox: 'done', messages: [], deliveries: [] }
}

function quarantine(work: TurnWork): TurnResult | undefined {
  if (!work.turn.messages.some((message) => message.attempts > MOST_ATTEMPTS)) return undefined
  return { ...notice(work, 'quarantined', 'quarantined', noticeText('quarantined', work.language)), inbox: 'dead' }
}

/** P8: an answer nobody waits for any more is not sent by itself; nor is one for an account that is gone. */
function setAside({ turn, account, parts }: TurnWork): TurnResult | undefined {
  const newest = Math.max(...turn.messages.map((message) => Math.max(message.sentAt, message.releasedAt ?? 0)))
  // Without its account nobody knows who is allowed: nothing is answered.
  if (account && (account.freshness === undefined || parts.clock.now() - newest <= account.freshness)) return undefined
  return {
    turnId: turn.id,
    lane: turn.conversation.id,
    account: turn.conversation.account,
    outcome: account ? 'stale' : 'closed',
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
