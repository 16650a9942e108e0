/** The part with KaTeX in it: a chunk of its own. */
import katex from 'katex'
import 'katex/dist/katex.min.css'
import { useMemo } from 'react'
import { type FormulaProps, FormulaSource } from './formula.tsx'

/** Uses of LaTeX that are wrong on paper and common in answers: Chinese words and line breaks in formulas. */
const harmless = new Set(['unicodeTextInMathMode', 'newLineInDisplayMode', 'mathVsTextUnits', 'mathVsTextAccents'])

/** Markup of a formula, or undefined where it is no valid one. Links, images and styles from inside a formula are refused. */
export function typeset(source: string, display: boolean): string | undefined {
  try {
    return katex.renderToString(source, {
      displayMode: display,
      throwOnError: true,
      trust: false,
      strict: (code: string) => (harmless.has(code) ? 'ignore' : 'error'),
      maxExpand: 200,
      maxSize: 20,
    })
  } catch {
    return undefined
  }
}

// A default export, since React.lazy takes nothing else.
// biome-ignore lint/style/noDefaultExport: see above
export default function TypesetFormula(props: FormulaProps) {
  const { source, display } = props
  const markup = useMemo(() => typeset(source, display), [source, display])
  if (markup === undefined) return <FormulaSource {...props} />
  return (
    <span
      className={display ? 'math-block block' : undefined}
      // biome-ignore lint/security/noDangerouslySetInnerHtml: KaTeX's own markup with trust off; the source is escaped in it
      dangerouslySetInnerHTML={{ __html: markup }}
    />
  )
}
