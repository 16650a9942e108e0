import { useEffect, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { onSignedOut } from '../shared/api.ts'
import { Dialog } from '../shared/ui/dialog.tsx'
import { LoginForm } from './login-form.tsx'

/**
 * Comes up when the server no longer knows us, whatever we were doing; what waited goes on after sign-in.
 * `needed` brings it up for the socket, which has no call that waits.
 */
export function SignInDialog({
  name,
  owner,
  needed,
  onSignedIn,
}: {
  name: string
  owner: string
  needed: boolean
  onSignedIn: () => void
}) {
  const { t } = useTranslation()
  const [asked, setAsked] = useState(false)
  const waiting = useRef<{ promise: Promise<void>; resolve: () => void } | undefined>(undefined)

  useEffect(() => {
    onSignedOut(() => {
      if (!waiting.current) {
        const { promise, resolve } = Promise.withResolvers<void>()
        waiting.current = { promise, resolve }
        setAsked(true)
      }
      return waiting.current.promise
    })
  }, [])

  return (
    <Dialog open={asked || needed} title={t('login.again')} description={t('login.againLead')}>
      <LoginForm
        name={name}
        onDone={(me) => {
          // Somebody else: nothing of the former person may go on under the new name.
          if (me.id !== owner) return location.reload()
          waiting.current?.resolve()
          waiting.current = undefined
          setAsked(false)
          onSignedIn()
        }}
      />
    </Dialog>
  )
}
