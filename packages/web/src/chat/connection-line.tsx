import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { useChatState, useWorld } from './chat-context.tsx'

/** A gap shorter than this is nobody's business. */
const QUIET_FOR = 2000

/** One quiet line while there is no connection. */
export function ConnectionLine() {
  const { t } = useTranslation()
  const { chat } = useWorld()
  const status = useChatState((state) => state.status)
  const down = status === 'connecting' || status === 'waiting'
  const [shown, setShown] = useState(false)
  useEffect(() => {
    if (!down) return setShown(false)
    const timer = setTimeout(() => setShown(true), QUIET_FOR)
    return () => clearTimeout(timer)
  }, [down])
  return (
    <div role="status" className="flex justify-center">
      {shown && down ? (
        <p className="mt-2 flex animate-appear items-center gap-2 rounded-full border border-line bg-card px-3.5 py-1 text-soft text-sm">
          <span className="size-2 animate-pulse rounded-full bg-warn" aria-hidden />
          {t('connection.down')}
          <button
            type="button"
            className="-me-2 min-h-7 rounded-full px-2 text-accent hover:underline touch:min-h-11"
            onClick={() => chat.wake()}
          >
            {t('connection.now')}
          </button>
        </p>
      ) : null}
    </div>
  )
}
