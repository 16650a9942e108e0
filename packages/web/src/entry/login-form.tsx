import type { MeResponse } from '@posthouse/contract/http'
import { type FormEvent, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ApiError, api } from '../shared/api.ts'
import { Button } from '../shared/ui/button.tsx'
import { FormError, PasswordField, TextField } from './fields.tsx'

/** Signs in. A failure keeps what was typed and says why. */
export function LoginForm({ name: known, onDone }: { name?: string | undefined; onDone: (me: MeResponse) => void }) {
  const { t } = useTranslation()
  const [name, setName] = useState(known ?? '')
  const [password, setPassword] = useState('')
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<string>()

  async function submit(event: FormEvent) {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    setFailure(undefined)
    try {
      await api.logIn({ name: name.trim(), password })
      onDone(await api.me())
    } catch (error) {
      const code = error instanceof ApiError ? error.code : 'internal'
      setFailure(code === 'unauthorized' || code === 'forbidden' ? t('login.wrong') : t(`error.${code}`))
      setBusy(false)
    }
  }

  return (
    <form className="flex flex-col gap-4" onSubmit={(event) => void submit(event)}>
      <TextField
        label={t('login.name')}
        name="username"
        autoComplete="username"
        autoCapitalize="off"
        spellCheck={false}
        required
        maxLength={64}
        autoFocus={!known}
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <PasswordField
        label={t('login.password')}
        name="password"
        autoComplete="current-password"
        required
        autoFocus={Boolean(known)}
        value={password}
        onChange={(event) => setPassword(event.target.value)}
      />
      <FormError text={failure} />
      <Button type="submit" look="primary" className="mt-1 min-h-12 text-base!" disabled={busy || name.trim() === '' || password === ''}>
        {busy ? t('login.busy') : t('login.submit')}
      </Button>
    </form>
  )
}
