import { X } from 'lucide-react'
import { Dialog as Radix } from 'radix-ui'
import type { ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { IconButton } from './button.tsx'

interface DialogProps {
  readonly open: boolean
  readonly title: string
  readonly description?: string
  /** Absent: it can't be dismissed. */
  readonly onClose?: () => void
  readonly onClosed?: () => void
  readonly children: ReactNode
}

/** Focus goes to the box, not to its first button: that would open the button's tooltip, which then takes the first Escape. */
export function focusItself(event: Event): void {
  event.preventDefault()
  if (event.currentTarget instanceof HTMLElement) event.currentTarget.focus()
}

/** A box over the page. Focus goes in, stays in, and is handed to `onClosed` afterwards. */
export function Dialog({ open, title, description, onClose, onClosed, children }: DialogProps) {
  const { t } = useTranslation()
  const stay = onClose ? undefined : (event: Event) => event.preventDefault()
  return (
    <Radix.Root open={open} onOpenChange={(next) => next || onClose?.()}>
      <Radix.Portal>
        <Radix.Overlay className="fixed inset-0 z-40 animate-appear bg-black/40 backdrop-blur-[2px]" />
        <Radix.Content
          {...(description ? {} : { 'aria-describedby': undefined })}
          onOpenAutoFocus={focusItself}
          onEscapeKeyDown={stay}
          onPointerDownOutside={stay}
          onCloseAutoFocus={(event) => {
            if (!onClosed) return
            event.preventDefault()
            onClosed()
          }}
          className="fixed top-1/2 left-1/2 z-40 max-h-[calc(var(--free-height,100dvh)-2rem)] w-[min(28rem,calc(100vw-2rem))] -translate-1/2 animate-appear overflow-y-auto rounded-2xl border border-line bg-card p-6 shadow-float outline-none"
        >
          <div className="flex items-start gap-3">
            <Radix.Title className="me-auto font-semibold text-lg">{title}</Radix.Title>
            {onClose ? (
              <Radix.Close asChild>
                <IconButton label={t('close')} className="-mt-1.5 -me-2">
                  <X />
                </IconButton>
              </Radix.Close>
            ) : null}
          </div>
          {description ? <Radix.Description className="mt-1 text-soft text-sm">{description}</Radix.Description> : null}
          <div className="mt-5">{children}</div>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}
