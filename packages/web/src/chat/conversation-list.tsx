import type { ConversationView } from '@posthouse/contract/http'
import { Ellipsis, Pencil, Settings, SquarePen, Trash2, X } from 'lucide-react'
import { Dialog, DropdownMenu } from 'radix-ui'
import { type ReactNode, useEffect, useId, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { type Age, ageOf } from '../shared/format.ts'
import { Button, IconButton } from '../shared/ui/button.tsx'
import { focusItself } from '../shared/ui/dialog.tsx'
import { Mark } from '../shared/ui/mark.tsx'
import { useChatState, useWorld } from './chat-context.tsx'
import { newChatKeys } from './shortcuts.ts'

export interface ConversationListProps {
  readonly conversations: readonly ConversationView[]
  readonly current: string | undefined
  /** Whether there are earlier ones, and how to get them. */
  readonly more: { readonly exists: boolean; readonly loading: boolean; readonly load: () => void }
  readonly onGo: (id: string) => void
  readonly onNew: () => void
  readonly onRename: (id: string, title: string) => Promise<void>
  readonly onRemove: (id: string) => void
  readonly onSettings: () => void
}

/** The list beside the chat, where there is room. */
export function ConversationPanel(props: ConversationListProps) {
  return (
    <aside className="hidden w-72 shrink-0 flex-col border-line border-e bg-side md:flex">
      <ListBody {...props} />
    </aside>
  )
}

/** The same list as a drawer on small screens. */
export function ConversationDrawer({ open, onClose, ...props }: ConversationListProps & { open: boolean; onClose: () => void }) {
  const { t } = useTranslation()
  return (
    <Dialog.Root open={open} onOpenChange={(next) => next || onClose()}>
      <Dialog.Portal>
        <Dialog.Overlay className="fixed inset-0 z-30 animate-appear bg-black/40 md:hidden" />
        <Dialog.Content
          aria-describedby={undefined}
          onOpenAutoFocus={focusItself}
          className="fixed inset-y-0 left-0 z-30 flex w-[min(20rem,86vw)] animate-slide-in flex-col bg-side pt-[env(safe-area-inset-top)] pb-[env(safe-area-inset-bottom)] shadow-float outline-none md:hidden"
        >
          <Dialog.Title className="sr-only">{t('conversations')}</Dialog.Title>
          <ListBody
            {...props}
            onSettings={() => {
              onClose()
              props.onSettings()
            }}
            close={
              <Dialog.Close asChild>
                <IconButton label={t('close')}>
                  <X />
                </IconButton>
              </Dialog.Close>
            }
          />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  )
}

const ages: readonly Age[] = ['today', 'yesterday', 'week', 'older']

function ListBody({
  conversations,
  more,
  current,
  onGo,
  onNew,
  onRename,
  onRemove,
  onSettings,
  close,
}: ConversationListProps & { close?: ReactNode }) {
  const { t } = useTranslation()
  const { me } = useWorld()
  const [renaming, setRenaming] = useState<string>()
  const id = useId()
  const now = Date.now()
  return (
    <>
      <div className="flex items-center gap-2.5 px-4 pt-4 pb-3">
        <Mark className="size-8" />
        <span className="me-auto font-semibold text-lg tracking-tight">
          Posthouse <span className="ms-0.5 font-normal font-serif text-base text-soft">驿站</span>
        </span>
        {close}
      </div>
      <div className="px-3 pb-2">
        <Button className="w-full justify-start px-3!" onClick={onNew}>
          <SquarePen aria-hidden className="text-accent" />
          {t('conversation.new')}
          <kbd className="ms-auto font-sans text-soft text-xs max-md:hidden">{newChatKeys}</kbd>
        </Button>
      </div>
      <nav aria-label={t('conversations')} className="min-h-0 flex-1 overflow-y-auto px-3 pb-4">
        {conversations.length === 0 ? <p className="px-3 py-6 text-soft text-sm">{t('conversation.none')}</p> : null}
        {ages.map((age) => {
          const group = conversations.filter((one) => ageOf(one.updated_at, now) === age)
          if (group.length === 0) return null
          return (
            <section key={age} aria-labelledby={`${id}-${age}`} className="mt-4 first:mt-2">
              <h2 id={`${id}-${age}`} className="px-3 pb-1 font-medium text-soft text-xs">
                {t(`age.${age}`)}
              </h2>
              <ul className="flex flex-col gap-px">
                {group.map((one) => (
                  <li key={one.id} className="skip-when-far [contain-intrinsic-size:auto_40px]">
                    {renaming === one.id ? (
                      <TitleField
                        title={one.title}
                        onDone={(title) => {
                          setRenaming(undefined)
                          if (title && title !== one.title) void onRename(one.id, title)
                        }}
                      />
                    ) : (
                      <Row
                        conversation={one}
                        current={one.id === current}
                        onGo={onGo}
                        onRename={() => setRenaming(one.id)}
                        onRemove={() => onRemove(one.id)}
                      />
                    )}
                  </li>
                ))}
              </ul>
            </section>
          )
        })}
        {more.exists ? (
          <Button look="quiet" className="mt-3 w-full text-soft!" disabled={more.loading} onClick={more.load}>
            {more.loading ? t('loading') : t('conversation.earlier')}
          </Button>
        ) : null}
      </nav>
      <div className="flex items-center gap-2 border-line border-t px-3 py-2">
        <span
          aria-hidden
          className="ms-1 flex size-8 items-center justify-center rounded-full bg-tint font-semibold text-accent text-sm uppercase"
        >
          {[...me.name][0]}
        </span>
        <span className="me-auto min-w-0 truncate text-sm">{me.name}</span>
        <IconButton label={t('settings.title')} onClick={onSettings}>
          <Settings />
        </IconButton>
      </div>
    </>
  )
}

interface RowProps {
  readonly conversation: ConversationView
  readonly current: boolean
  readonly onGo: (id: string) => void
  readonly onRename: () => void
  readonly onRemove: () => void
}

const menuItem =
  'flex min-h-10 items-center gap-2.5 rounded-lg px-3 text-sm outline-none data-highlighted:bg-hover touch:min-h-11 [&_svg]:size-4 [&_svg]:text-soft'

function Row({ conversation, current, onGo, onRename, onRemove }: RowProps) {
  const { t } = useTranslation()
  const { id } = conversation
  const title = conversation.title || t('conversation.untitled')
  const answering = useChatState((state) => state.conversations.get(id)?.turn !== undefined)
  const renames = useRef(false)
  return (
    <div
      className={`group relative flex items-center rounded-xl transition-colors hover:bg-hover ${current ? 'bg-hover font-medium' : ''}`}
    >
      <a
        href={`#/c/${id}`}
        aria-current={current ? 'page' : undefined}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return
          event.preventDefault()
          onGo(id)
        }}
        className="min-w-0 flex-1 truncate rounded-xl py-2 ps-3 pe-10 text-sm touch:py-3 touch:pe-12"
      >
        {answering ? (
          <span role="img" aria-label={t('live.answering')} className="me-2 inline-block size-2 animate-pulse rounded-full bg-accent" />
        ) : null}
        {title}
      </a>
      <DropdownMenu.Root modal={false}>
        <DropdownMenu.Trigger asChild>
          <button
            type="button"
            aria-label={t('conversation.more', { title })}
            className={`absolute end-1 flex size-8 items-center justify-center rounded-lg text-soft opacity-0 transition hover:bg-line hover:text-ink focus-visible:opacity-100 group-hover:opacity-100 data-[state=open]:opacity-100 touch:size-11 touch:opacity-100 ${current ? 'opacity-100' : ''}`}
          >
            <Ellipsis className="size-4" aria-hidden />
          </button>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content
            align="end"
            collisionPadding={8}
            onCloseAutoFocus={(event) => {
              // The field of the new title has the focus then.
              if (renames.current) event.preventDefault()
              renames.current = false
            }}
            className="z-40 min-w-40 animate-appear rounded-xl border border-line bg-card p-1 shadow-float"
          >
            <DropdownMenu.Item
              className={menuItem}
              onSelect={() => {
                renames.current = true
                onRename()
              }}
            >
              <Pencil aria-hidden />
              {t('conversation.rename')}
            </DropdownMenu.Item>
            <DropdownMenu.Item className={`${menuItem} text-danger [&_svg]:text-danger!`} onSelect={onRemove}>
              <Trash2 aria-hidden />
              {t('conversation.delete')}
            </DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
    </div>
  )
}

/** The longest title that is taken. */
const LONGEST_TITLE = 200

function TitleField({ title, onDone }: { title: string; onDone: (title: string | undefined) => void }) {
  const { t } = useTranslation()
  const field = useRef<HTMLInputElement>(null)
  const done = useRef(false)
  useEffect(() => {
    // After the menu has given its focus back.
    const timer = setTimeout(() => {
      field.current?.focus()
      field.current?.select()
    })
    return () => clearTimeout(timer)
  }, [])
  const finish = (next: string | undefined) => {
    if (done.current) return
    done.current = true
    onDone(next)
  }
  return (
    <input
      ref={field}
      defaultValue={title}
      maxLength={LONGEST_TITLE}
      aria-label={t('conversation.title')}
      onBlur={(event) => finish(event.target.value.trim())}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing || event.keyCode === 229) return
        if (event.key === 'Enter') finish(event.currentTarget.value.trim())
        if (event.key === 'Escape') {
          event.stopPropagation()
          finish(undefined)
        }
      }}
      className="w-full rounded-xl border border-accent bg-card px-3 py-1.5 text-sm outline-none touch:py-2.5 touch:text-base"
    />
  )
}
