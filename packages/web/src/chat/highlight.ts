/** Colours for code. highlight.js is a chunk of its own, fetched with the first finished code block. */

/** Longer code stays plain: colouring it would block the page. */
const LONGEST = 100_000

/** Markup with `hljs-*` classes, everything else escaped; undefined for a language that is not known here. */
export async function highlight(code: string, language: string): Promise<string | undefined> {
  if (language === '' || code.length > LONGEST) return undefined
  const part: typeof import('highlight.js/lib/common') | undefined = await import('highlight.js/lib/common')
  const colours = part?.default
  return colours?.getLanguage(language) ? colours.highlight(code, { language, ignoreIllegals: true }).value : undefined
}
