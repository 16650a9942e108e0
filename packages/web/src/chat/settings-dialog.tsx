import { LogOut } from 'lucide-react'
import { useId, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { type Preferences, setPreference, usePreferences } from '../shared/preferences.ts'

import { Button } from '../shared/ui/button.tsx'
import { Dialog } from '../shared/ui/dialog.tsx'
import { notify } from '../shared/ui/toast.tsx'
import { useWorld } from './chat-context.tsx'
import { newChatKeys } from './shortcuts.ts'
import { signOut } from './sign-out.ts'

export function SettingsDialog({ open, onClose, onClosed }: { open: boolean; onClose: () => void; onClosed: () => void }) {
  const { t } = useTranslation()
  const { chat, me } = useWorld()
  const choice = usePreferences()
  const [leaving, setLeaving] = useState(false)
  const shortcuts = [
    [t('conversation.new'), newChatKeys],
    [t('settings.focusComposer'), '/'],
    [t('composer.stop'), 'Esc'],
  ] as const
  return (
    <Dialog open={open} title={t('settings.title')} onClose={onClose} onClosed={onClosed}>
      <div className="flex flex-col gap-5">
        <Choice
          label={t('settings.theme')}
          value={choice.theme}
          options={[
            ['system', t('settings.themeSystem')],
            ['light', t('settings.themeLight')],
            ['dark', t('settings.themeDark')],
          ]}
          onChange={(value) => setPreference('theme', value)}
        />
        <Choice<Preferences['language']>
          label={t('settings.language')}
          value={choice.language}
          options={[
            ['en', 'English'],
            ['zh-CN', '简体中文'],
          ]}
          onChange={(value) => setPreference('language', value)}
        />
        <Choice
          label={t('settings.send')}
          value={choice.send}
          options={[
            ['enter', 'Enter'],
            ['ctrl-enter', 'Ctrl + Enter'],
          ]}
          onChange={(value) => setPreference('send', value)}
        />
        <p className="-mt-3 text-soft text-sm">{choice.send === 'enter' ? t('settings.sendEnter') : t('settings.sendCtrl')}</p>
        <section className="border-line border-t pt-4 touch:hidden">
          <h3 className="mb-2 font-medium text-sm">{t('settings.shortcuts')}</h3>
          <dl className="grid grid-cols-[1fr_auto] gap-y-1.5 text-sm">
            {shortcuts.map(([what, keys]) => (
              <div key={what} className="contents">
                <dt className="text-soft">{what}</dt>
                <dd>
                  <kbd className="rounded-md border border-line bg-paper px-1.5 py-0.5 font-sans text-xs">{keys}</kbd>
                </dd>
              </div>
            ))}
          </dl>
        </section>
        <div className="flex items-center justify-between gap-3 border-line border-t pt-4">
          <span className="min-w-0 truncate text-soft text-sm">{t('settings.signedInAs', { name: me.name })}</span>
          <Button
            disabled={leaving}
            onClick={() => {
              setLeaving(true)
              signOut(chat).catch(() => {
                setLeaving(false)
                notify({ id: 'sign-out', text: t('settings.signOutFailed'), lasts: 8000 })
              })
            }}
          >
            <LogOut aria-hidden />
            {t('settings.signOut')}
          </Button>
        </div>
      </div>
    </Dialog>
  )
}

interface ChoiceProps<T extends string> {
  readonly label: string
  readonly value: T
  readonly options: readonly (readonly [T, string])[]
  readonly onChange: (value: T) => void
}

function Choice<T extends string>({ label, value, options, onChange }: ChoiceProps<T>) {
  const name = useId()
  return (
    <fieldset>
      <legend className="mb-2 font-medium text-sm">{label}</legend>
      <div className="flex gap-1 rounded-xl border border-line bg-paper p-1">
        {options.map(([option, text]) => (
          <label
            key={option}
            className="flex min-h-9 flex-1 cursor-pointer items-center justify-center rounded-lg px-2 text-center text-sm transition-colors hover:bg-hover has-checked:bg-card has-checked:font-medium has-checked:shadow-card has-focus-visible:outline-2 has-focus-visible:outline-accent touch:min-h-11"
          >
            <input type="radio" name={name} className="sr-only" checked={value === option} onChange={() => onChange(option)} />
            {text}
          </label>
        ))}
      </div>
    </fieldset>
  )
}
