import { Eye, EyeOff } from 'lucide-react'
import { type ComponentProps, useId, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { IconButton } from '../shared/ui/button.tsx'

const box =
  'h-12 w-full rounded-xl border border-line bg-paper px-4 text-base outline-none transition-colors hover:border-soft/50 focus:border-accent focus:ring-2 focus:ring-accent/25'

export function TextField({ label, ...rest }: ComponentProps<'input'> & { label: string }) {
  const id = useId()
  return (
    <div>
      <label htmlFor={id} className="mb-1.5 block font-medium text-sm">
        {label}
      </label>
      <input id={id} className={box} {...rest} />
    </div>
  )
}

export function PasswordField({ label, ...rest }: ComponentProps<'input'> & { label: string }) {
  const { t } = useTranslation()
  const id = useId()
  const [shown, setShown] = useState(false)
  return (
    <div>
      <label htmlFor={id} className="mb-1.5 block font-medium text-sm">
        {label}
      </label>
      <div className="relative">
        <input id={id} type={shown ? 'text' : 'password'} spellCheck={false} autoCapitalize="off" className={`${box} pe-14`} {...rest} />
        <IconButton
          label={shown ? t('password.hide') : t('password.show')}
          onClick={() => setShown(!shown)}
          className="absolute inset-y-0 end-1.5 my-auto"
        >
          {shown ? <EyeOff /> : <Eye />}
        </IconButton>
      </div>
    </div>
  )
}

export function FormError({ text }: { text: string | undefined }) {
  return <div role="alert">{text ? <p className="rounded-xl bg-danger-tint px-4 py-2.5 text-danger text-sm">{text}</p> : null}</div>
}
