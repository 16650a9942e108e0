import type { MessageView as Message } from '@posthouse/contract/http'
import { ChevronLeft, ChevronRight, Clock, CopyCheck, OctagonX, Pencil, RotateCw, Square, Trash2, TriangleAlert } from 'lucide-react'
import { memo, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { formatTime } from '../shared/format.ts'
import { IconButton } from '../shared/ui/button.tsx'
import { CopyButton } from '../shared/ui/copy-button.tsx'
import { Mark } from '../shared/ui/mark.tsx'
import { MessageFiles } from './attachment-list.tsx'
import { MarkdownView } from './markdown-view.tsx'
import type { OutgoingMessage } from './outgoing.ts'
import type { Versions } from './thread.ts'

/** What a message's buttons do; the same object over all drawings. */
export interface MessageVerbs {
  readonly edit: (message: Message) => void
  /** Asks once more: an own message itself, or the question that an answer belongs to. */
  readonly askAgain: (message: Message) => void
  readonly choose: (place: string, id: string) => void
  readonly cancel: (outgoing: OutgoingMessage) => void
  readonly resend: (outgoing: OutgoingMessage) => void
  readonly rewrite: (outgoing: OutgoingMessage) => void
}

const actionBar =
  'flex min-h-9 items-center gap-0.5 opacity-0 transition-opacity group-focus-within:opacity-100 group-hover:opacity-100 group-data-last:opacity-100 touch:min-h-11 touch:opacity-100'

function VersionSwitch({ versions, onChoose }: { versions: Versions; onChoose: MessageVerbs['choose'] }) {
  const { t } = useTranslation()
  const { ids, shown, place } = versions
  const go = (index: number) => {
    const id = ids[index]
    if (id) onChoose(place, id)
  }
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for form fields
    <span role="group" aria-label={t('versions.label')} className="flex items-center text-soft text-xs tabular-nums">
      <IconButton label={t('versions.previous')} disabled={shown === 0} onClick={() => go(shown - 1)}>
        <ChevronLeft />
      </IconButton>
      <span>
        {shown + 1}/{ids.length}
      </span>
      <IconButton label={t('versions.next')} disabled={shown === ids.length - 1} onClick={() => go(shown + 1)}>
        <ChevronRight />
      </IconButton>
    </span>
  )
}

interface MessageProps {
  readonly message: Message
  readonly versions: Versions | undefined
  readonly last: boolean
  readonly verbs: MessageVerbs
}

export const OwnMessage = memo(function OwnMessage({ message, versions, last, verbs }: MessageProps) {
  const { t } = useTranslation()
  return (
    <article aria-label={t('message.own')} data-last={last || undefined} className="group skip-when-far flex flex-col items-end">
      <MessageFiles files={message.files} />
      {message.text === '' ? null : <Bubble text={message.text} />}
      <div className={`${actionBar} ${versions ? 'opacity-100' : ''}`}>
        <time dateTime={new Date(message.created_at).toISOString()} className="px-1 text-soft text-xs">
          {formatTime(message.created_at)}
        </time>
        <CopyButton text={message.text} label={t('message.copy')} />
        {last ? (
          <IconButton label={t('message.askAgain')} onClick={() => verbs.askAgain(message)}>
            <RotateCw />
          </IconButton>
        ) : null}
        <IconButton label={t('message.edit')} onClick={() => verbs.edit(message)}>
          <Pencil />
        </IconButton>
        {versions ? <VersionSwitch versions={versions} onChoose={verbs.choose} /> : null}
      </div>
    </article>
  )
})

function Bubble({ text, faint = false }: { text: string; faint?: boolean }) {
  return (
    <div
      className={`max-w-[85%] whitespace-pre-wrap rounded-3xl rounded-ee-lg bg-tint px-4.5 py-2.5 leading-relaxed wrap-anywhere ${faint ? 'opacity-70' : ''}`}
    >
      {text}
    </div>
  )
}

export const WaitingMessage = memo(function WaitingMessage({
  outgoing,
  underway,
  verbs,
}: {
  outgoing: OutgoingMessage
  underway: boolean
  verbs: MessageVerbs
}) {
  const { t } = useTranslation()
  const { refused } = outgoing
  return (
    <article aria-label={t('message.own')} className="flex animate-rise flex-col items-end">
      <MessageFiles files={outgoing.files} />
      {outgoing.text === '' ? null : <Bubble text={outgoing.text} faint />}
      <div className="flex min-h-9 flex-wrap items-center justify-end gap-x-0.5 touch:min-h-11">
        {refused ? (
          <span role="alert" className="flex items-center gap-1.5 px-1 text-danger text-sm">
            <TriangleAlert className="size-4" aria-hidden />
            {t('message.refused', { reason: t(`error.${refused.code}`) })}
          </span>
        ) : (
          <span className="flex items-center gap-1.5 px-1 text-soft text-xs">
            <Clock className="size-3.5" aria-hidden />
            {underway ? t('message.sending') : t('message.waiting')}
          </span>
        )}
        {refused ? (
          <IconButton label={t('message.resend')} onClick={() => verbs.resend(outgoing)}>
            <RotateCw />
          </IconButton>
        ) : null}
        {underway ? null : (
          <>
            <IconButton label={t('message.rewrite')} onClick={() => verbs.rewrite(outgoing)}>
              <Pencil />
            </IconButton>
            <IconButton label={t('message.cancel')} onClick={() => verbs.cancel(outgoing)}>
              <Trash2 />
            </IconButton>
          </>
        )}
      </div>
    </article>
  )
})

function AnswerFrame({ last, busy, children }: { last: boolean; busy: boolean; children: ReactNode }) {
  const { t } = useTranslation()
  return (
    <article
      aria-label={t('message.answer')}
      aria-busy={busy}
      data-last={last || undefined}
      className={`group flex gap-3.5 ${last ? '' : 'skip-when-far'}`}
    >
      <Mark className="mt-1 hidden size-6.5 shrink-0 sm:block" />
      <div className="min-w-0 flex-1">{children}</div>
    </article>
  )
}

interface AnswerProps {
  /** Absent while the answer is being written: then there is a draft. */
  readonly message?: Message
  readonly draft?: string
  readonly versions?: Versions | undefined
  readonly last: boolean
  readonly verbs: MessageVerbs
  /** It belongs to a message of ours that can be asked again. */
  readonly question: boolean
}

/** An answer, finished or being written; one component for both, so that nothing is drawn anew when it ends. */
export const Answer = memo(function Answer({ message, draft = '', versions, last, verbs, question }: AnswerProps) {
  const failed = message?.status === 'failed'
  const text = message?.text ?? draft
  return (
    <AnswerFrame last={last} busy={!message}>
      {failed ? <Failure text={text} /> : !message && text === '' ? <Dots /> : <MarkdownView text={text} streaming={!message} />}
      {message ? <Marks message={message} /> : null}
      {message ? (
        <div className={`-ms-2 ${actionBar} ${failed || versions ? 'opacity-100' : ''}`}>
          <AnswerActions message={message} versions={versions} verbs={verbs} question={question} />
        </div>
      ) : (
        <div className="min-h-9" />
      )}
    </AnswerFrame>
  )
})

/** A word of the gateway itself. */
export const Notice = memo(function Notice({ message }: { message: Message }) {
  const { t } = useTranslation()
  return (
    <article aria-label={t('message.notice')} className="mx-auto max-w-[85%] rounded-2xl border border-line px-4 py-2 text-soft text-sm">
      <MarkdownView text={message.text} streaming={false} />
    </article>
  )
})

function Failure({ text }: { text: string }) {
  const { t } = useTranslation()
  return (
    <div className="flex gap-3 rounded-2xl border border-danger/30 bg-danger-tint px-4 py-3">
      <OctagonX className="mt-0.5 size-5 shrink-0 text-danger" aria-hidden />
      <div className="min-w-0">
        <p className="font-medium text-danger">{t('message.failed')}</p>
        <MarkdownView text={text} streaming={false} />
      </div>
    </div>
  )
}

function Marks({ message }: { message: Message }) {
  const { t } = useTranslation()
  if (message.status !== 'stopped' && !message.maybe_duplicate) return null
  return (
    <p className="mt-3 flex flex-wrap gap-x-4 gap-y-1 text-soft text-sm">
      {message.status === 'stopped' ? (
        <span className="flex items-center gap-1.5">
          <Square className="size-3.5" aria-hidden />
          {t('message.stopped')}
        </span>
      ) : null}
      {message.maybe_duplicate ? (
        <span className="flex items-center gap-1.5">
          <CopyCheck className="size-3.5" aria-hidden />
          {t('message.maybeDuplicate')}
        </span>
      ) : null}
    </p>
  )
}

interface ActionsProps {
  readonly message: Message
  readonly versions: Versions | undefined
  readonly verbs: MessageVerbs
  readonly question: boolean
}

function AnswerActions({ message, versions, verbs, question }: ActionsProps) {
  const { t } = useTranslation()
  return (
    <>
      <CopyButton text={message.text} label={t('message.copy')} />
      {question ? (
        <IconButton label={t('message.askAgain')} onClick={() => verbs.askAgain(message)}>
          <RotateCw />
        </IconButton>
      ) : null}
      {versions ? <VersionSwitch versions={versions} onChoose={verbs.choose} /> : null}
      <span className="truncate px-1 text-soft text-xs">
        {message.model ? `${message.model} · ` : ''}
        <time dateTime={new Date(message.created_at).toISOString()}>{formatTime(message.created_at)}</time>
      </span>
    </>
  )
}

function Dots() {
  return (
    <div aria-hidden className="flex h-8 items-center gap-1.5">
      {[0, 150, 300].map((delay) => (
        <span key={delay} className="size-2 animate-trot rounded-full bg-accent" style={{ animationDelay: `${delay}ms` }} />
      ))}
    </div>
  )
}
