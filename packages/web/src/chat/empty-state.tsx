import { CodeXml, Languages, Lightbulb, type LucideIcon, PenLine } from 'lucide-react'
import { useTranslation } from 'react-i18next'
import { Mark } from '../shared/ui/mark.tsx'
import { useWorld } from './chat-context.tsx'

const examples: readonly { readonly key: 'write' | 'explain' | 'translate' | 'code'; readonly icon: LucideIcon }[] = [
  { key: 'write', icon: PenLine },
  { key: 'explain', icon: Lightbulb },
  { key: 'translate', icon: Languages },
  { key: 'code', icon: CodeXml },
]

function partOfDay(hour: number): 'morning' | 'afternoon' | 'evening' {
  if (hour >= 5 && hour < 12) return 'morning'
  return hour >= 12 && hour < 18 ? 'afternoon' : 'evening'
}

export function EmptyState({ onPrompt }: { onPrompt: (text: string) => void }) {
  const { t } = useTranslation()
  const { me } = useWorld()
  return (
    <div className="min-h-0 flex-1 overflow-y-auto">
      <div className="mx-auto flex min-h-full w-full max-w-3xl animate-rise flex-col justify-center px-4 py-8 sm:px-6">
        <Mark className="size-12" />
        <h2 className="mt-6 text-balance font-serif text-3xl leading-tight tracking-tight sm:text-4xl">
          {t(`greeting.${partOfDay(new Date().getHours())}`, { name: me.name })}
        </h2>
        <p className="mt-3 text-lg text-soft">{t('greeting.offer')}</p>
        <ul className="mt-8 grid gap-2.5 sm:mt-10 sm:grid-cols-2 sm:gap-3" aria-label={t('examples.label')}>
          {examples.map(({ key, icon: Icon }) => (
            <li key={key}>
              <button
                type="button"
                onClick={() => onPrompt(t(`examples.${key}.prompt`))}
                className="flex h-full min-h-11 w-full items-center gap-3.5 rounded-2xl border border-line bg-card px-4 py-3 text-start transition hover:border-accent/50 hover:shadow-card"
              >
                <span className="flex size-9 shrink-0 items-center justify-center rounded-xl bg-tint text-accent">
                  <Icon aria-hidden className="size-4.5" />
                </span>
                <span className="min-w-0">
                  <span className="block font-medium text-sm">{t(`examples.${key}.title`)}</span>
                  <span className="block text-soft text-sm leading-snug">{t(`examples.${key}.hint`)}</span>
                </span>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </div>
  )
}
