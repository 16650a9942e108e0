/**
 * The answer as it grows: frames for open sockets, and a draft in the chat tool where it can be edited. Best effort: a failing
 * preview never touches the answer, and it is left out where the platform's rate has no place for it.
 */
import type { CallKind, Connection, DeliveryError, Receipt } from '@posthouse/contract'
import { conversationTopic } from '../../ports/live.ts'
import { parseMarkdown, withMark } from '../markdown.ts'
import { connectionOf, replyTarget, type TurnWork } from './work.ts'

/** A draft appears when this much is there and this much time went by: a quick answer needs none. */
const DRAFT_TEXT = 24
const DRAFT_AFTER = 1200
/** A frame for sockets at most this often, in milliseconds. */
const FRAME_EVERY = 25
const TYPING_AFTER = 400
const TYPING_LASTS = 4000
const CALL_TIMEOUT = 10_000

export interface Preview {
  push(text: string): void
  /** Ends the preview; answers what to edit into the final answer. */
  close(): Promise<Receipt | undefined>
}

export function openPreview(work: TurnWork): Preview {
  const { turn, account, parts, draft } = work
  const interval = account?.capabilities.draftInterval
  const topic = conversationTopic(turn.conversation.id)
  const started = parts.clock.elapsed()
  let published = 0
  let frame: NodeJS.Timeout | undefined
  let lastFrame = 0
  let receipt = turn.draft
  let busy: Promise<void> | undefined
  let lastDraft = started + DRAFT_AFTER - (interval ?? 0)
  let shown = ''
  let failures = 0

  const publish = () => {
    frame = undefined
    lastFrame = parts.clock.elapsed()
    if (draft.text.length === published) return
    parts.live.publish(topic, {
      type: 'delta',
      conversation_id: turn.conversation.id,
      turn_id: turn.id,
      offset: published,
      text: draft.text.slice(published),
    })
    published = draft.text.length
  }

  const typing = account && (!account.connection || account.connection.typing) ? repeatTyping(work) : undefined

  /** Sends or edits the draft; one call at a time. */
  const showDraft = async (open: Connection) => {
    const text = draft.text
    const growing = account?.capabilities.draftGrows ? text : withMark(text, '…')
    const to = turn.conversation.place
    // The answer will take its place, and can no longer be made to refer to anything then.
    const replyTo = replyTarget(account, to, turn.messages.at(-1)?.body.platformId)
    const [piece] = open.render({ id: turn.id, to, ...(replyTo ? { replyTo } : {}), text: growing, document: parseMarkdown(growing) })
    if (!piece || piece.text === shown) return
    const options = { idempotencyKey: `draft:${turn.id}`, signal: AbortSignal.timeout(CALL_TIMEOUT), draft: true }
    if (receipt && open.edit) {
      if (!(await mayCall(work, 'edit'))) return
      receipt = await open.edit(receipt, piece, options)
      // The answer will stand where its preview does: not before an answer that is still on its way.
    } else if ((await parts.store.outbox.isSettled(turn.conversation.id)) && (await mayCall(work, 'draft'))) {
      receipt = await open.send(piece, to, options)
      draft.shown = receipt
      await parts.store.turns.noteDraft(turn, receipt)
    } else return
    shown = piece.text
  }

  const maybeDraft = () => {
    if (interval === undefined || busy || failures > 2 || draft.text.length < DRAFT_TEXT) return
    const now = parts.clock.elapsed()
    if (now - lastDraft < interval) return
    const connection = connectionOf(work)
    if (!connection?.edit) return
    lastDraft = now
    busy = showDraft(connection)
      .catch((error: unknown) => {
        failures++
        obey(work, error)
        // Whether it stands there nobody knows, and another would be a second one.
        if (!receipt && isAmbiguous(error) && !account?.capabilities.idempotentSend) failures = Number.POSITIVE_INFINITY
        parts.log.debug({ err: error, turn: turn.id }, 'a preview was not shown')
      })
      .finally(() => {
        busy = undefined
      })
  }

  return {
    push(text) {
      draft.text += text
      if (!frame) {
        const wait = FRAME_EVERY - (parts.clock.elapsed() - lastFrame)
        if (wait <= 0) publish()
        else frame = setTimeout(publish, wait)
      }
      maybeDraft()
    },
    async close() {
      clearTimeout(frame)
      publish()
      typing?.[Symbol.dispose]()
      await busy
      return receipt
    },
  }
}

/** Whether the platform's rate has a place for a call that may be left out. Takes it. */
async function mayCall({ turn, parts }: TurnWork, call: CallKind): Promise<boolean> {
  const account = parts.accounts.find(turn.conversation.account)
  if (!account) return false
  const free = await parts.rates.tryReserve(account.id, turn.conversation.place, account.rates, call)
  if (!free) parts.observer.rateSkipped({ channel: account.channel, call })
  return free
}

function isAmbiguous(error: unknown): boolean {
  const { name, kind } = error as Partial<DeliveryError>
  return name !== 'DeliveryError' || kind === 'unknown'
}

/** The platform asked to wait: so does the answer. */
function obey({ turn, parts }: TurnWork, error: unknown): void {
  const { name, kind, retryAfter } = error as Partial<DeliveryError>
  if (name !== 'DeliveryError' || kind !== 'rate-limited' || retryAfter === undefined) return
  parts.rates.pause(turn.conversation.account, turn.conversation.place.room, retryAfter)
}

/** Shows that an answer is on its way, until disposed. */
function repeatTyping(work: TurnWork): Disposable {
  const { turn, parts } = work
  // Made with the first call: most answers are there before.
  let stop: AbortController | undefined
  let timer: Disposable
  const show = async () => {
    stop ??= new AbortController()
    const { signal } = stop
    const open = connectionOf(work)
    let lasts = TYPING_LASTS
    if (open?.typing && (await mayCall(work, 'typing'))) {
      await open.typing(turn.conversation.place, signal, turn.messages.at(-1)?.body.platformId)
      lasts = work.account?.capabilities.typingLasts ?? lasts
    }
    if (!signal.aborted) wait(lasts)
  }
  const wait = (ms: number) => {
    timer = parts.clock.after(ms, () => void show().catch(() => {}))
  }
  wait(TYPING_AFTER)
  return {
    [Symbol.dispose]() {
      timer[Symbol.dispose]()
      stop?.abort('ended')
    },
  }
}
