import type { MeResponse } from '@posthouse/contract/http'
import { Check, Circle, KeyRound } from 'lucide-react'
import { type FormEvent, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ApiError, api } from '../shared/api.ts'
import { Button } from '../shared/ui/button.tsx'
import { EntryFrame } from './entry-frame.tsx'
import { FormError, PasswordField, TextField } from './fields.tsx'
import { checkPassword, LONGEST_PASSWORD, SHORTEST_PASSWORD } from './password-strength.ts'

/** The first account, made with the one-time link. Without a token: how to get the link. */
export function SetupScreen({
  token,
  onDone,
  onUsed,
}: {
  token: string | undefined
  onDone: (me: MeResponse) => void
  onUsed: () => void
}) {
  const { t } = useTranslation()
  if (token === undefined) {
    return (
      <EntryFrame title={t('setup.missingTitle')} lead={t('setup.missingLead')}>
        <LinkHint />
      </EntryFrame>
    )
  }
  return (
    <EntryFrame title={t('setup.title')} lead={t('setup.lead')}>
      <SetupForm token={token} onDone={onDone} onUsed={onUsed} />
    </EntryFrame>
  )
}

function LinkHint() {
  const { t } = useTranslation()
  return (
    <ol className="flex list-decimal flex-col gap-2.5 ps-5 leading-relaxed marker:text-soft">
      <li>{t('setup.hintTerminal')}</li>
      <li>
        {t('setup.hintLink')}
        <code className="mt-1.5 block overflow-x-auto rounded-xl border border-line bg-code px-3 py-2 font-mono text-sm">{`${location.origin}/#setup=…`}</code>
      </li>
      <li>{t('setup.hintAgain')}</li>
    </ol>
  )
}

function SetupForm({ token, onDone, onUsed }: { token: string; onDone: (me: MeResponse) => void; onUsed: () => void }) {
  const { t } = useTranslation()
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<string>()
  const check = checkPassword(password, name)
  const ready = name.trim() !== '' && check.length && check.uncommon

  async function submit(event: FormEvent) {
    event.preventDefault()
    if (busy || !ready) return
    setBusy(true)
    setFailure(undefined)
    try {
      await api.setUp({ token, name: name.trim(), password })
      onDone(await api.me())
    } catch (error) {
      setBusy(false)
      if (!(error instanceof ApiError)) return setFailure(t('error.internal'))
      if (error.code !== 'gone') return setFailure(error.detail ? `${t(`error.${error.code}`)} ${error.detail}` : t(`error.${error.code}`))
      // Used up, or too old: which of the two, the status tells.
      const status = await api.setupStatus().catch(() => ({ needed: true }))
      if (status.needed) setFailure(t('setup.expired'))
      else onUsed()
    }
  }

  return (
    <form className="flex flex-col gap-4" onSubmit={(event) => void submit(event)}>
      <TextField
        label={t('setup.name')}
        name="username"
        autoComplete="username"
        autoCapitalize="off"
        spellCheck={false}
        required
        maxLength={64}
        autoFocus
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <PasswordField
        label={t('setup.password')}
        name="password"
        autoComplete="new-password"
        required
        maxLength={LONGEST_PASSWORD}
        aria-describedby="password-rules"
        value={password}
        onChange={(event) => setPassword(event.target.value)}
      />
      <div id="password-rules" className="flex flex-col gap-2">
        <Meter score={check.score} />
        <ul className="flex flex-col gap-1 text-sm">
          <Rule met={check.length} text={t('password.length', { count: SHORTEST_PASSWORD })} />
          <Rule met={password !== '' && check.uncommon} text={t('password.uncommon')} />
        </ul>
      </div>
      <FormError text={failure} />
      <Button type="submit" look="primary" className="mt-1 min-h-12 text-base!" disabled={busy || !ready}>
        <KeyRound aria-hidden />
        {busy ? t('setup.busy') : t('setup.submit')}
      </Button>
    </form>
  )
}

const meterColours = ['bg-line', 'bg-danger', 'bg-warn', 'bg-accent', 'bg-accent'] as const

function Meter({ score }: { score: 0 | 1 | 2 | 3 | 4 }) {
  const { t } = useTranslation()
  return (
    <div className="flex items-center gap-3">
      <div aria-hidden className="flex flex-1 gap-1.5">
        {[1, 2, 3, 4].map((step) => (
          <span key={step} className={`h-1.5 flex-1 rounded-full transition-colors ${step <= score ? meterColours[score] : 'bg-line'}`} />
        ))}
      </div>
      <span role="status" className="min-w-16 text-end text-soft text-sm">
        {score === 0 ? '' : t(`password.score${score}`)}
      </span>
    </div>
  )
}

function Rule({ met, text }: { met: boolean; text: string }) {
  const { t } = useTranslation()
  return (
    <li className={`flex items-center gap-2 ${met ? 'text-accent' : 'text-soft'}`}>
      {met ? <Check className="size-4 shrink-0" aria-hidden /> : <Circle className="size-4 shrink-0" aria-hidden />}
      {text}
      <span className="sr-only">{met ? t('password.met') : t('password.unmet')}</span>
    </li>
  )
}
