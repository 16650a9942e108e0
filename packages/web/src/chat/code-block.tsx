/** A block of code: language, copy, line wrap, folded when long, coloured once it is complete. */
import { ChevronDown, ChevronUp, WrapText } from 'lucide-react'
import { useEffect, useId, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { IconButton } from '../shared/ui/button.tsx'
import { CopyButton } from '../shared/ui/copy-button.tsx'
import { highlight } from './highlight.ts'

const FOLD_OVER = 40
const SHOWN_WHEN_FOLDED = 24

function useColours(code: string, language: string, open: boolean): string | undefined {
  const [coloured, setColoured] = useState<{ code: string; markup: string }>()
  useEffect(() => {
    if (open) return
    let gone = false
    highlight(code, language.toLowerCase()).then(
      (markup) => {
        if (!gone && markup !== undefined) setColoured({ code, markup })
      },
      // Without colours it reads as well.
      () => undefined,
    )
    return () => {
      gone = true
    }
  }, [code, language, open])
  return coloured?.code === code ? coloured.markup : undefined
}

export function CodeBlock({ code, language, open }: { code: string; language: string; open: boolean }) {
  const { t } = useTranslation()
  const id = useId()
  const [wrap, setWrap] = useState(false)
  const [unfolded, setUnfolded] = useState(false)
  const markup = useColours(code, language, open)
  const lines = code.replace(/\n$/, '').split('\n').length
  const folds = !open && lines > FOLD_OVER
  const folded = folds && !unfolded
  return (
    <figure
      className="code-block overflow-clip rounded-xl border border-line bg-code"
      aria-label={t('code.label', { language: language || t('code.plain') })}
    >
      <figcaption className="flex items-center gap-0.5 border-line border-b py-0.5 ps-4 pe-1 text-soft text-xs">
        <span className="me-auto font-mono">{language || t('code.plain')}</span>
        <IconButton label={t('code.wrap')} pressed={wrap} onClick={() => setWrap(!wrap)}>
          <WrapText />
        </IconButton>
        <CopyButton text={code.replace(/\n$/, '')} label={t('code.copy')} />
      </figcaption>
      <div
        className={folded ? 'relative overflow-hidden' : 'relative'}
        style={folded ? { maxHeight: `${SHOWN_WHEN_FOLDED * 1.38}rem` } : undefined}
      >
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard */}
        <pre id={id} className={wrap ? 'wrap' : undefined} tabIndex={0}>
          {markup === undefined ? (
            <code>{code}</code>
          ) : (
            // biome-ignore lint/security/noDangerouslySetInnerHtml: highlight.js escapes all but its own spans
            <code dangerouslySetInnerHTML={{ __html: markup }} />
          )}
        </pre>
        {folded ? (
          <div aria-hidden className="pointer-events-none absolute inset-x-0 bottom-0 h-20 bg-linear-to-t from-code to-transparent" />
        ) : null}
      </div>
      {folds ? (
        <button
          type="button"
          aria-expanded={!folded}
          aria-controls={id}
          onClick={() => setUnfolded(folded)}
          className="flex min-h-9 w-full items-center justify-center gap-1.5 border-line border-t text-soft text-xs transition-colors hover:bg-hover hover:text-ink touch:min-h-11"
        >
          {folded ? <ChevronDown className="size-4" aria-hidden /> : <ChevronUp className="size-4" aria-hidden />}
          {folded ? t('code.unfold', { count: lines }) : t('code.fold')}
        </button>
      ) : null}
    </figure>
  )
}
