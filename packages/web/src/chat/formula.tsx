/** A formula, typeset by KaTeX once that has been loaded; its source until then, and where KaTeX refuses it. */
import { lazy, Suspense } from 'react'

const Typeset = lazy(() => import('./typeset-formula.tsx'))

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
