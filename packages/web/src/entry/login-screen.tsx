import type { MeResponse } from '@posthouse/contract/http'
import { useTranslation } from 'react-i18next'
import { EntryFrame } from './entry-frame.tsx'
import { LoginForm } from './login-form.tsx'

/** `usedLink`: one came with a set-up link, but there is an account already. */
export function LoginScreen({ usedLink, onDone }: { usedLink: boolean; onDone: (me: MeResponse) => void }) {
  const { t } = useTranslation()
  return (
    <EntryFrame title={t('login.title')} lead={usedLink ? t('setup.used') : t('login.lead')}>
      <LoginForm onDone={onDone} />
    </EntryFrame>
  )
}
