/** Markdown as the chat reads it: GFM tables, task lists and footnotes, CJK-friendly emphasis, math, bare links; never raw HTML. */
import MarkdownIt, { type Env, type Token } from 'markdown-it'
import cjkFriendly from 'markdown-it-cjk-friendly'
import { addFootnotes } from './footnotes.ts'
import { addMath } from './math.ts'

export type { Token }

function createMarkdown() {
  const markdown = MarkdownIt({ html: false, linkify: true, breaks: false })
  // Only what has a scheme: "see readme.md" is no address.
  markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false })
  markdown.use(cjkFriendly).use(addMath).use(addFootnotes)
  return markdown
}

const markdown = createMarkdown()

/** One top-level piece of a text, ready to be drawn. */
export interface Block {
  readonly tokens: readonly Token[]
  readonly source: string
  /** Its end may still change: more of the text is on its way. */
  readonly open: boolean
}

/** Line starts of a text, as offsets. */
function lineStarts(text: string): number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

/** The top-level pieces of parsed tokens, as [first, end) ranges of tokens with the line on which each begins. */
function topLevel(tokens: readonly Token[]): { from: number; to: number; line: number }[] {
  const pieces: { from: number; to: number; line: number }[] = []
  let from = 0
  tokens.forEach((token, index) => {
    if (token.level !== 0 || token.nesting === 1) return
    pieces.push({ from, to: index + 1, line: tokens[from]?.map?.[0] ?? 0 })
    from = index + 1
  })
  return pieces
}

const withPlainBreaks = (text: string) => (text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text)

/** A finished text as blocks. */
export function parseMarkdown(original: string): readonly Block[] {
  const text = withPlainBreaks(original)
  const tokens = markdown.parse(text, {})
  const starts = lineStarts(text)
  const pieces = topLevel(tokens)
  return pieces.map((piece, index) => ({
    tokens: tokens.slice(piece.from, piece.to),
    source: text.slice(index === 0 ? 0 : starts[piece.line], starts[pieces[index + 1]?.line ?? starts.length] ?? text.length),
    open: false,
  }))
}

/** The words of a text without its marks: for ears. */
export function plainText(text: string): string {
  const words = (tokens: readonly Token[]): string =>
    tokens.map((token) => (token.children ? words(token.children) : token.type === 'softbreak' ? ' ' : token.content)).join('')
  return markdown
    .parse(text, {})
    .filter((token) => token.content !== '')
    .map((token) => words([token]).trim())
    .join('\n')
}

export interface StreamedText {
  readonly text: string
  /** Finished: never parsed again. Their sources and `rest` make up the text. */
  readonly done: readonly Block[]
  readonly rest: string
  readonly open: readonly Block[]
  readonly env: Env
}

export const emptyStream: StreamedText = { text: '', done: [], rest: '', open: [], env: {} }

/** A block counts as begun when its first line is over or long enough not to turn into something else (`1` into `1. item`). */
const BEGUN = 8

/**
 * Follows a text that grows: parses only what is not finished. A block is finished when another one has begun behind a blank line;
 * what lies before a blank line can't be changed by what follows, but for references and list spacing, which the final parse sets right.
 */
export function growStream(previous: StreamedText, original: string): StreamedText {
  const text = withPlainBreaks(original)
  if (text === previous.text) return previous
  const base = text.startsWith(previous.text) ? previous : emptyStream
  // References and the like that finished blocks defined stay known.
  const env = base === emptyStream ? {} : base.env
  const rest = text.slice(base.text.length - base.rest.length)
  const tokens = markdown.parse(rest, env)
  const starts = lineStarts(rest)
  const pieces = topLevel(tokens)
  let split = 0
  for (let index = pieces.length - 1; index > 0; index--) {
    const start = starts[pieces[index]?.line ?? 0] ?? 0
    const behindBlank = /(^|\n)[ \t]*\n[ \t]*$/.test(rest.slice(0, start))
    if (behindBlank && (rest.length - start >= BEGUN || rest.indexOf('\n', start) !== -1)) {
      split = index
      break
    }
  }
  const blockAt = (index: number, open: boolean): Block => {
    const piece = pieces[index] as (typeof pieces)[number]
    const from = index === 0 ? 0 : starts[piece.line]
    const next = pieces[index + 1]
    return { tokens: tokens.slice(piece.from, piece.to), source: rest.slice(from, next ? starts[next.line] : rest.length), open }
  }
  const finished = pieces.slice(0, split).map((_, index) => blockAt(index, false))
  const open = pieces.slice(split).map((_, offset) => blockAt(split + offset, split + offset === pieces.length - 1))
  const cut = split === 0 ? 0 : (starts[pieces[split]?.line ?? 0] ?? 0)
  return { text, done: finished.length === 0 ? base.done : [...base.done, ...finished], rest: rest.slice(cut), open, env }
}
