import { ArrowDown, CloudOff, LoaderCircle, RotateCw } from 'lucide-react'
import { type RefObject, useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { Button } from '../shared/ui/button.tsx'
import { useChatState, useWorld } from './chat-context.tsx'
import type { Conversation } from './chat-state.ts'
import { useFollowScroll } from './follow-scroll.ts'
import { plainText } from './markdown.ts'
import { Answer, type MessageVerbs, Notice, OwnMessage, WaitingMessage } from './message-view.tsx'
import { draftKey, type ThreadEntry } from './thread.ts'

export interface ThreadViewProps {
  readonly conversation: Conversation
  readonly entries: readonly ThreadEntry[]
  /** The draft to show behind the entries: its key and text; undefined when nothing is being written. */
  readonly draft: { readonly key: string; readonly text: string } | undefined
  readonly verbs: MessageVerbs
  /** Set by the thread: scrolls to the end. */
  readonly jump: RefObject<() => void>
}

export function ThreadView({ conversation, entries, draft, verbs, jump }: ThreadViewProps) {
  const { t } = useTranslation()
  const { chat } = useWorld()
  const { id } = conversation
  const failed = useChatState((state) => state.failed.get(id))
  const loadingOlder = useChatState((state) => state.loadingOlder.has(id))
  const online = useChatState((state) => state.status === 'open')
  const underway = useChatState((state) => state.underway)
  const [olderFailed, setOlderFailed] = useState(false)
  const loadOlder = useCallback(() => {
    setOlderFailed(false)
    chat.loadOlder(id).catch(() => setOlderFailed(true))
  }, [chat, id])
  const loadOlderOnce = useCallback(() => {
    if (!olderFailed) loadOlder()
  }, [olderFailed, loadOlder])
  const { scroller, content, following, jumpToEnd } = useFollowScroll(id, entries[0]?.key, loadOlderOnce)
  useEffect(() => {
    jump.current = () => jumpToEnd()
  }, [jump, jumpToEnd])

  const questions = useMemo(
    () => new Set(conversation.messages.filter((one) => one.role === 'user').map((one) => one.id)),
    [conversation.messages],
  )
  const confirmed = entries.filter((entry) => entry.kind === 'message')
  const waiting = entries.filter((entry) => entry.kind === 'outgoing')
  const empty = entries.length === 0 && !draft

  return (
    <div className="relative min-h-0 flex-1">
      <section
        ref={scroller}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard
        tabIndex={0}
        aria-label={t('thread.label')}
        className="h-full overflow-y-auto overscroll-contain outline-offset-[-2px]"
      >
        <div ref={content} className="mx-auto flex w-full max-w-3xl flex-col gap-2.5 px-4 pt-6 pb-10 sm:px-6">
          {conversation.before !== undefined ? (
            <div className="flex min-h-11 items-center justify-center text-soft text-sm">
              {loadingOlder ? (
                <LoaderCircle className="size-5 animate-spin" aria-label={t('loading')} />
              ) : (
                <Button look="quiet" onClick={loadOlder}>
                  {olderFailed ? t('thread.olderFailed') : t('thread.older')}
                </Button>
              )}
            </div>
          ) : null}
          {confirmed.map(({ key, message, versions }, index) => {
            const last = index === confirmed.length - 1 && !draft
            if (message.role === 'user') return <OwnMessage key={key} message={message} versions={versions} last={last} verbs={verbs} />
            if (message.role === 'system') return <Notice key={key} message={message} />
            const question = message.reply_to !== undefined && questions.has(message.reply_to)
            return <Answer key={key} message={message} versions={versions} last={last} verbs={verbs} question={question} />
          })}
          {draft ? <Answer key={draft.key} draft={draft.text} last verbs={verbs} question={false} /> : null}
          {waiting.map(({ key, outgoing }) => (
            <WaitingMessage key={key} outgoing={outgoing} underway={underway.has(outgoing.id)} verbs={verbs} />
          ))}
          {empty && failed ? <LoadFailure code={t(`error.${failed.code}`)} onRetry={() => chat.reload(id)} /> : null}
          {empty && !failed && !conversation.loaded ? <Loading online={online} /> : null}
        </div>
      </section>
      {following ? null : (
        <Button
          onClick={() => jumpToEnd(true)}
          className="absolute bottom-3 left-1/2 -translate-x-1/2 animate-rise rounded-full! shadow-float"
        >
          <ArrowDown aria-hidden />
          {t('thread.jump')}
        </Button>
      )}
      <Announcer answering={draft !== undefined} entries={entries} place={id} />
    </div>
  )
}

function LoadFailure({ code, onRetry }: { code: string; onRetry: () => void }) {
  const { t } = useTranslation()
  return (
    <div role="alert" className="flex flex-col items-center gap-4 py-24 text-center text-soft">
      <CloudOff className="size-8" aria-hidden />
      <p>{t('thread.failed', { reason: code })}</p>
      <Button onClick={onRetry}>
        <RotateCw aria-hidden />
        {t('retry')}
      </Button>
    </div>
  )
}

function Loading({ online }: { online: boolean }) {
  const { t } = useTranslation()
  if (!online) {
    return (
      <div className="flex flex-col items-center gap-4 py-24 text-center text-soft">
        <CloudOff className="size-8" aria-hidden />
        <p>{t('thread.notKept')}</p>
      </div>
    )
  }
  return (
    <div role="status" aria-label={t('loading')} className="flex animate-pulse flex-col gap-4 py-6">
      <div className="h-10 w-2/5 self-end rounded-3xl bg-hover" />
      <div className="h-4 w-4/5 rounded bg-hover" />
      <div className="h-4 w-3/5 rounded bg-hover" />
      <div className="h-4 w-2/3 rounded bg-hover" />
    </div>
  )
}

/** Speaks to screen readers: that an answer is being written, and the finished answer; not each word. */
function Announcer({ answering, entries, place }: { answering: boolean; entries: readonly ThreadEntry[]; place: string }) {
  const { t } = useTranslation()
  const [words, setWords] = useState('')
  const was = useRef({ answering, place })
  const last = entries.at(-1)
  const answer = last?.kind === 'message' && last.message.role !== 'user' ? last.message.text : undefined
  useEffect(() => {
    const before = was.current
    was.current = { answering, place }
    if (before.place !== place) return setWords('')
    if (answering && !before.answering) setWords(t('live.answering'))
    if (!answering && before.answering && answer !== undefined) setWords(t('live.answered', { text: plainText(answer.slice(0, 4000)) }))
  }, [answering, answer, place, t])
  useEffect(() => {
    if (words === '') return
    // Said once; whoever walks through the page by ear finds the answer itself.
    const timer = setTimeout(() => setWords(''), 10_000)
    return () => clearTimeout(timer)
  }, [words])
  return (
    <div role="log" aria-live="polite" className="sr-only">
      {words}
    </div>
  )
}

/** The draft that stands behind the confirmed messages, if any: where its answer will be. */
export function draftBehind(conversation: Conversation, entries: readonly ThreadEntry[], awaited: boolean): ThreadViewProps['draft'] {
  const last = entries.findLast((entry) => entry.kind === 'message')?.message
  const { turn } = conversation
  if (turn) {
    const answered = last && last.role !== 'user' && last.reply_to !== undefined && turn.answers.includes(last.reply_to)
    if (answered && turn.draft === '') return undefined
    return { key: draftKey(turn.answers.at(-1) ?? turn.id), text: turn.draft }
  }
  return last?.role === 'user' && awaited ? { key: draftKey(last.id), text: '' } : undefined
}
