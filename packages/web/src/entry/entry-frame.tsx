import type { ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { setPreference, usePreferences } from '../shared/preferences.ts'
import { Mark } from '../shared/ui/mark.tsx'

/** The sheet on which one enters: the sign, a title, a form, and the other language. */
export function EntryFrame({ title, lead, children }: { title: string; lead?: string; children: ReactNode }) {
  const { t } = useTranslation()
  const { language } = usePreferences()
  const other = language === 'en' ? 'zh-CN' : 'en'
  return (
    <div className="h-screen-free overflow-y-auto">
      <main className="mx-auto flex min-h-full w-full max-w-md flex-col justify-center px-5 py-10">
        <div className="flex items-center gap-3">
          <Mark className="size-11" />
          <span className="font-semibold text-xl tracking-tight">
            Posthouse <span className="font-normal font-serif text-lg text-soft">驿站</span>
          </span>
        </div>
        <div className="mt-7 animate-rise rounded-3xl border border-line bg-card p-6 shadow-card sm:p-8">
          <h1 className="text-balance font-serif text-2xl leading-snug tracking-tight">{title}</h1>
          {lead ? <p className="mt-2 text-soft leading-relaxed">{lead}</p> : null}
          <div className="mt-6">{children}</div>
        </div>
        <button
          type="button"
          lang={other}
          onClick={() => setPreference('language', other)}
          className="mt-5 min-h-10 self-center rounded-xl px-4 text-soft text-sm transition-colors hover:bg-hover hover:text-ink touch:min-h-11"
        >
          {t('otherLanguage')}
        </button>
      </main>
    </div>
  )
}
