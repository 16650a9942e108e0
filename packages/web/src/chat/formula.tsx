/** A formula, typeset by KaTeX once that has been loaded; its source until then, and where KaTeX refuses it. */
import { lazy, Suspense } from 'react'

/** Where it can't be loaded (an old page after an update, no connection), the source has to do. */
const Typeset = lazy(async () => {
  const part: typeof import('./typeset-formula.tsx') | undefined = await import('./typeset-formula.tsx').catch(() => undefined)
  return { default: part?.default ?? FormulaSource }
})

export interface FormulaProps {
  readonly source: string
  readonly open: string
  readonly close: string
  readonly display: boolean
}

export function FormulaSource({ source, open, close }: FormulaProps) {
  return <code>{`${open}${source}${close}`}</code>
}

export function Formula(props: FormulaProps) {
  return (
    <Suspense fallback={<FormulaSource {...props} />}>
      <Typeset {...props} />
    </Suspense>
  )
}
