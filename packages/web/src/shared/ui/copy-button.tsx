import { Check, Copy, X } from 'lucide-react'
import { useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { copyText } from '../clipboard.ts'
import { IconButton } from './button.tsx'

/** Copies a text and says for a moment whether that worked. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const { t } = useTranslation()
  const [outcome, setOutcome] = useState<boolean>()
  useEffect(() => {
    if (outcome === undefined) return
    const timer = setTimeout(() => setOutcome(undefined), 2000)
    return () => clearTimeout(timer)
  }, [outcome])
  const name = outcome === undefined ? label : outcome ? t('copy.done') : t('copy.failed')
  return (
    <>
      <IconButton label={name} onClick={() => void copyText(text).then(setOutcome)}>
        {outcome === undefined ? <Copy /> : outcome ? <Check className="text-accent" /> : <X className="text-danger" />}
      </IconButton>
      <span role="status" className="sr-only">
        {outcome === undefined ? '' : name}
      </span>
    </>
  )
}
