/** Short notices at the head of the page, with at most one action each. */
import { X } from 'lucide-react'
import { useSyncExternalStore } from 'react'
import { useTranslation } from 'react-i18next'
import { Button, IconButton } from './button.tsx'

interface Notice {
  readonly id: string
  readonly text: string
  readonly action?: { readonly label: string; readonly run: () => void }
  /** Milliseconds; stays until closed when absent. */
  readonly lasts?: number
  /** Called when it goes without its action having been chosen. */
  readonly onGone?: () => void
}

let notices: readonly Notice[] = []
const listeners = new Set<() => void>()
const timers = new Map<string, ReturnType<typeof setTimeout>>()

function publish(next: readonly Notice[]) {
  notices = next
  for (const listener of listeners) listener()
}

function remove(id: string, chosen: boolean) {
  const notice = notices.find((one) => one.id === id)
  if (!notice) return
  clearTimeout(timers.get(id))
  timers.delete(id)
  publish(notices.filter((one) => one !== notice))
  if (!chosen) notice.onGone?.()
}

/** Shows a notice; one with the same id takes the place of the earlier. */
export function notify(notice: Notice): void {
  remove(notice.id, false)
  for (const oldest of notices.slice(0, Math.max(0, notices.length - 3))) remove(oldest.id, false)
  publish([...notices, notice])
  if (notice.lasts !== undefined)
    timers.set(
      notice.id,
      setTimeout(() => remove(notice.id, false), notice.lasts),
    )
}

/** Ends all notices at once, as if their time were over: the page is going. */
export function endNotices(): void {
  for (const { id } of notices) remove(id, false)
}

export function Notices() {
  const { t } = useTranslation()
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => notices,
  )
  return (
    <section
      aria-label={t('notices')}
      className="pointer-events-none fixed inset-x-0 top-0 z-50 flex flex-col items-center gap-2 px-4 pt-[calc(4rem+env(safe-area-inset-top))]"
    >
      <div role="status" className="flex w-full max-w-md flex-col gap-2">
        {shown.map((notice) => (
          <div
            key={notice.id}
            className="pointer-events-auto flex animate-rise items-center gap-1 rounded-2xl border border-line bg-card py-1.5 ps-4 pe-1.5 text-sm shadow-float"
          >
            <span className="me-auto py-1.5">{notice.text}</span>
            {notice.action ? (
              <Button
                look="quiet"
                className="shrink-0 text-accent!"
                onClick={() => {
                  notice.action?.run()
                  remove(notice.id, true)
                }}
              >
                {notice.action.label}
              </Button>
            ) : null}
            <IconButton label={t('close')} onClick={() => remove(notice.id, false)}>
              <X />
            </IconButton>
          </div>
        ))}
      </div>
    </section>
  )
}
