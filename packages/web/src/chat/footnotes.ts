/** Footnotes: `[^1]` where `[^1]: text` stands somewhere in the same text. Without the definition it is plain text. */
import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it'

const definition = /^\[\^([^\]\s]{1,40})\]:[ \t]*(.*)$/
const reference = /\[\^([^\]\s]{1,40})\](?!:)/y

function footnoteDefinition(state: StateBlock, startLine: number, endLine: number, silent: boolean): boolean {
  const start = (state.bMarks[startLine] ?? 0) + (state.tShift[startLine] ?? 0)
  const match = definition.exec(state.src.slice(start, state.eMarks[startLine]))
  if (!match?.[1] || state.level !== 0) return false
  if (silent) return true
  let line = startLine + 1
  let content = match[2] ?? ''
  // Lines that follow without a blank one belong to it, up to the next definition.
  for (; line < endLine && !state.isEmpty(line); line++) {
    const text = state.src.slice(state.bMarks[line], state.eMarks[line])
    if (definition.test(text.trimStart())) break
    content += `\n${text.trim()}`
  }
  const open = state.push('footnote_open', 'aside', 1)
  open.map = [startLine, line]
  open.meta = { label: match[1] }
  const inline = state.push('inline', '', 0)
  inline.content = content
  inline.map = [startLine, line]
  inline.children = []
  state.push('footnote_close', 'aside', -1)
  state.line = line
  return true
}

function footnoteReference(state: StateInline, silent: boolean): boolean {
  reference.lastIndex = state.pos
  const match = reference.exec(state.src)
  if (!match?.[1]) return false
  if (!silent) state.push('footnote_ref', 'sup', 0).meta = { label: match[1] }
  state.pos += match[0].length
  return true
}

export function addFootnotes(markdown: MarkdownIt): void {
  markdown.block.ruler.before('reference', 'footnote', footnoteDefinition, { alt: ['paragraph'] })
  markdown.inline.ruler.before('link', 'footnote', footnoteReference)
}
