/**
 * Formulas in Markdown: `$$…$$`, `\(…\)` and `\[…\]`. A single `$` is money. A delimiter without its partner is plain text and swallows
 * nothing; a formula never reaches over a blank line (in a paragraph there is none, a block ends there).
 */
import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it'

const pairs = [
  { open: '$$', close: '$$', display: true },
  { open: '\\[', close: '\\]', display: true },
  { open: '\\(', close: '\\)', display: false },
] as const

/** A formula longer than this is text. */
const LONGEST = 10_000

/** Where the closing delimiter stands, from `from` on; -1 if there is none that is not escaped. */
function findClose(text: string, close: string, from: number): number {
  for (let at = text.indexOf(close, from); at !== -1 && at - from <= LONGEST; at = text.indexOf(close, at + 1)) {
    let slashes = 0
    while (at - 1 - slashes >= from && text[at - 1 - slashes] === '\\') slashes += 1
    if (slashes % 2 === 1) continue
    return at
  }
  return -1
}

function isFormula(content: string): boolean {
  return content.trim() !== ''
}

function inlineMath(state: StateInline, silent: boolean): boolean {
  const pair = pairs.find(({ open }) => state.src.startsWith(open, state.pos))
  if (!pair) return false
  const from = state.pos + pair.open.length
  const end = findClose(state.src, pair.close, from)
  const content = end === -1 ? '' : state.src.slice(from, end)
  if (!isFormula(content) || end + pair.close.length > state.posMax) return false
  if (!silent) {
    const token = state.push('math_inline', 'math', 0)
    token.content = content
    token.markup = pair.open
    token.meta = { close: pair.close, display: pair.display }
  }
  state.pos = end + pair.close.length
  return true
}

function blockMath(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  const start = (state.bMarks[startLine] ?? 0) + (state.tShift[startLine] ?? 0)
  if ((state.sCount[startLine] ?? 0) - state.blkIndent >= 4) return false
  const pair = pairs.find(({ open, display }) => display && state.src.startsWith(open, start))
  if (!pair) return false
  // Line by line, so that a quote's or a list's own marks are left out.
  let content = ''
  for (let line = startLine; line < endLine; line++) {
    if (line > startLine && (state.isEmpty(line) || (state.sCount[line] ?? 0) < state.blkIndent)) return false
    const from = line === startLine ? start + pair.open.length : (state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0)
    const text = state.src.slice(from, state.eMarks[line])
    const end = findClose(text, pair.close, 0)
    if (end === -1) {
      content += `${text}\n`
      if (content.length > LONGEST) return false
      continue
    }
    // Something behind the formula makes it part of a paragraph.
    if (text.slice(end + pair.close.length).trim() !== '' || !isFormula(content + text.slice(0, end))) return false
    if (silent) return true
    const token = state.push('math_block', 'math', 0)
    token.block = true
    token.content = content + text.slice(0, end)
    token.markup = pair.open
    token.meta = { close: pair.close, display: true }
    token.map = [startLine, line + 1]
    state.line = line + 1
    return true
  }
  return false
}

export function addMath(markdown: MarkdownIt): void {
  markdown.inline.ruler.before('escape', 'math', inlineMath)
  markdown.block.ruler.before('fence', 'math', blockMath, { alt: ['paragraph', 'blockquote', 'list'] })
}
