import { ArrowUp, Paperclip, Square, X } from 'lucide-react'
import {
  type ClipboardEvent,
  type KeyboardEvent,
  type RefObject,
  useCallback,
  useEffect,
  useId,
  useLayoutEffect,
  useRef,
  useState,
} from 'react'
import { useTranslation } from 'react-i18next'
import { FILE_LIMIT } from '../shared/api.ts'
import { formatSize } from '../shared/format.ts'
import { usePreferences } from '../shared/preferences.ts'
import { IconButton } from '../shared/ui/button.tsx'
import { notify } from '../shared/ui/toast.tsx'
import { AttachmentList } from './attachment-list.tsx'
import { FILES_PER_MESSAGE, readyFiles, useAttachments } from './attachments.ts'
import { useWorld } from './chat-context.tsx'
import type { Editing } from './chat-screen.tsx'
import { enterMeans } from './keys.ts'

/** Characters that a message may have. */
const LONGEST_TEXT = 100_000
/** A frame may have 256 KiB: this leaves room for what is not text. */
const LONGEST_JSON = 250 * 1024
const DRAFT_AFTER = 100

function isTooLong(text: string): boolean {
  if (text.length > LONGEST_TEXT) return true
  return text.length > LONGEST_JSON / 6 && new TextEncoder().encode(JSON.stringify(text)).length > LONGEST_JSON
}

interface ComposerProps {
  /** Under which the unfinished text is kept. */
  readonly draftKey: string
  readonly box: RefObject<HTMLTextAreaElement | null>
  readonly editing: Editing | undefined
  readonly answering: boolean
  readonly stopping: boolean
  /** The chosen model can look at pictures; undefined while that is not known. */
  readonly vision: boolean | undefined
  readonly onSend: (text: string, files: ReturnType<typeof readyFiles>) => void
  readonly onStop: () => void
  readonly onEditEnd: () => void
}

export function Composer({ draftKey, box, editing, answering, stopping, vision, onSend, onStop, onEditEnd }: ComposerProps) {
  const { t } = useTranslation()
  const { storage } = useWorld()
  const { send: sendKey } = usePreferences()
  const [text, setText] = useState('')
  const [dragging, setDragging] = useState(false)
  const picker = useRef<HTMLInputElement>(null)
  const composition = useRef({ composing: false, composedAt: Number.NEGATIVE_INFINITY })
  const hintId = useId()
  const tooMany = useCallback(() => notify({ id: 'files', text: t('files.tooMany', { count: FILES_PER_MESSAGE }), lasts: 6000 }), [t])
  const { attachments, add, remove, retry, reset } = useAttachments(tooMany)
  const ready = readyFiles(attachments)
  const pending = attachments.length - ready.length
  const tooLong = isTooLong(text)
  const sendable = (text.trim() !== '' || ready.length > 0) && pending === 0 && !tooLong

  // The unfinished text: read when the place changes, kept a moment after each change.
  const loadedFor = useRef<string | undefined>(undefined)
  useEffect(() => {
    let left = false
    loadedFor.current = undefined
    if (editing) {
      setText(editing.text)
      reset(editing.files)
      box.current?.focus()
      // Text that was only put here is a draft like any other; an earlier message in writing is not.
      if (!editing.replaces) loadedFor.current = draftKey
      return
    }
    storage.draft(draftKey).then(
      (draft) => {
        if (left) return
        setText(draft?.text ?? '')
        reset(draft?.files ?? [])
        loadedFor.current = draftKey
      },
      () => {
        loadedFor.current = draftKey
      },
    )
    return () => {
      left = true
    }
  }, [draftKey, editing, storage, reset, box])

  const latest = useRef({ text, ready })
  latest.current = { text, ready }
  const keepDraft = useCallback(() => {
    if (loadedFor.current !== draftKey) return
    storage.keepDraft({ conversation_id: draftKey, text: latest.current.text, files: latest.current.ready }).catch(() => undefined)
  }, [draftKey, storage])
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when the content changes
  useEffect(() => {
    const timer = setTimeout(keepDraft, DRAFT_AFTER)
    return () => clearTimeout(timer)
  }, [text, ready.length, keepDraft])
  useEffect(() => {
    window.addEventListener('pagehide', keepDraft)
    return () => {
      window.removeEventListener('pagehide', keepDraft)
      keepDraft()
    }
  }, [keepDraft])

  // As high as its text, up to the limit in the style.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when the text changes
  useLayoutEffect(() => {
    const area = box.current
    if (!area) return
    area.style.height = 'auto'
    area.style.height = `${area.scrollHeight}px`
  }, [text, box])

  function submit() {
    if (!sendable) return
    onSend(text.trim(), ready)
    setText('')
    reset([])
    if (!editing?.replaces) storage.keepDraft({ conversation_id: draftKey, text: '', files: [] }).catch(() => undefined)
    box.current?.focus()
  }

  function onKeyDown(event: KeyboardEvent<HTMLTextAreaElement>) {
    const touch = window.matchMedia('(pointer: coarse)').matches && !window.matchMedia('(any-hover: hover)').matches
    const { isComposing } = event.nativeEvent
    const { key, keyCode, shiftKey, ctrlKey, metaKey, altKey, timeStamp } = event
    const press = { key, keyCode, isComposing, shiftKey, ctrlKey, metaKey, altKey, timeStamp }
    if (enterMeans(press, { send: sendKey, touch, ...composition.current }) === 'send') {
      event.preventDefault()
      submit()
    } else if (key === 'Escape' && editing?.replaces && !isComposing && keyCode !== 229) {
      event.preventDefault()
      onEditEnd()
    }
  }

  function onPaste(event: ClipboardEvent) {
    const files = [...event.clipboardData.files]
    if (files.length === 0) return
    event.preventDefault()
    add(files)
  }

  // Dropped anywhere on the page, a file is meant for the message; left alone, the browser would open it instead of the chat.
  useEffect(() => {
    const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') === true
    const onDragOver = (event: DragEvent) => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      setDragging(true)
    }
    const onDragLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setDragging(false)
    }
    const onDrop = (event: DragEvent) => {
      if (!carriesFiles(event)) return
      event.preventDefault()
      setDragging(false)
      add([...(event.dataTransfer?.files ?? [])])
    }
    window.addEventListener('dragover', onDragOver)
    window.addEventListener('dragleave', onDragLeave)
    window.addEventListener('drop', onDrop)
    return () => {
      window.removeEventListener('dragover', onDragOver)
      window.removeEventListener('dragleave', onDragLeave)
      window.removeEventListener('drop', onDrop)
    }
  }, [add])

  const blind = vision === false && attachments.some((one) => one.image)
  const hint = tooLong ? t('composer.tooLong') : blind ? t('composer.noVision') : undefined

  return (
    <form
      aria-label={t('composer.label')}
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
      className={`relative rounded-3xl border bg-card shadow-card transition-[border-color,box-shadow] focus-within:border-accent/60 focus-within:shadow-float ${dragging ? 'border-accent' : 'border-line'}`}
    >
      {editing?.replaces ? (
        <div className="flex items-center gap-2 border-line border-b py-1 ps-5 pe-2 text-soft text-sm">
          <span className="me-auto">{t('composer.editing')}</span>
          <IconButton label={t('composer.editCancel')} onClick={onEditEnd}>
            <X />
          </IconButton>
        </div>
      ) : null}
      <AttachmentList attachments={attachments} onRemove={remove} onRetry={retry} />
      <textarea
        ref={box}
        value={text}
        rows={1}
        enterKeyHint={sendKey === 'enter' ? 'send' : 'enter'}
        aria-label={t('composer.text')}
        aria-describedby={hint ? hintId : undefined}
        placeholder={t('composer.placeholder')}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={onKeyDown}
        onCompositionStart={() => {
          composition.current.composing = true
        }}
        onCompositionEnd={(event) => {
          composition.current = { composing: false, composedAt: event.timeStamp }
        }}
        onPaste={onPaste}
        className="block max-h-[min(40vh,22rem)] w-full resize-none overflow-y-auto bg-transparent px-5 pt-4 pb-1 text-base leading-relaxed outline-none placeholder:text-soft"
      />
      {hint ? (
        <p id={hintId} role="status" className={`px-5 pt-1 text-sm ${tooLong ? 'text-danger' : 'text-warn'}`}>
          {hint}
        </p>
      ) : null}
      <div className="flex items-center gap-2 px-2.5 pb-2.5">
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          onChange={(event) => {
            add([...(event.target.files ?? [])])
            event.target.value = ''
          }}
        />
        <IconButton label={t('composer.attach', { limit: formatSize(FILE_LIMIT) })} onClick={() => picker.current?.click()}>
          <Paperclip />
        </IconButton>
        <span className="me-auto" />
        {answering ? (
          <IconButton
            label={stopping ? t('composer.stopping') : t('composer.stop')}
            shortcut="Esc"
            look="primary"
            className="rounded-full!"
            disabled={stopping}
            onClick={onStop}
          >
            <Square fill="currentColor" />
          </IconButton>
        ) : null}
        {!answering || sendable ? (
          <IconButton label={t('composer.send')} type="submit" look="primary" className="rounded-full!" disabled={!sendable}>
            <ArrowUp />
          </IconButton>
        ) : null}
      </div>
      {dragging ? (
        <div className="pointer-events-none absolute inset-0 flex items-center justify-center rounded-3xl bg-tint/95 font-medium text-accent">
          {t('files.drop', { limit: formatSize(FILE_LIMIT) })}
        </div>
      ) : null}
    </form>
  )
}
