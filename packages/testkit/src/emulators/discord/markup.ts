/**
 * Discord's Markdown as its desktop client reads it: what people see, and which marks stand there. The API refuses none of it.
 * https://support.discord.com/hc/en-us/articles/210298617
 */

export interface Seen {
  readonly text: string
  readonly marks: readonly string[]
}

interface Rule {
  readonly mark?: string
  readonly pattern: RegExp
  /** Only at the beginning of a line. */
  readonly line?: boolean
  see(match: RegExpExecArray, inner: (text: string, line: boolean) => string): string
}

/** In the order in which they are tried. Each is anchored where it stands. */
const rules: readonly Rule[] = [
  { mark: 'pre', pattern: /```(?:([a-z0-9_+\-.#]+?)\n)?\n*([^\n][\s\S]*?)\n*```/iy, see: ([, , code = '']) => code },
  {
    mark: 'quote',
    line: true,
    pattern: /(?: *>>> ([\s\S]*)|((?: *> [^\n]*(?:\n|$))+))/y,
    see: ([whole, rest, lines], inner) => quoted(whole, rest, lines, inner),
  },
  {
    mark: 'heading',
    line: true,
    pattern: /(#{1,3})[^\S\n]+(?!#)([^\n]+?)[^\S\n]*(?=\n|$)/y,
    see: ([, , title = ''], inner) => inner(title, false),
  },
  { mark: 'subtext', line: true, pattern: /-# +(?!-#)([^\n]+?)(?=\n|$)/y, see: ([, small = ''], inner) => inner(small, false) },
  {
    mark: 'list',
    line: true,
    pattern: /( *)(?:[-*]|(\d{1,9})\.) +(?=\S)/y,
    see: ([, indent = '', number]) => `${indent}${number === undefined ? '•' : `${number}.`} `,
  },
  { pattern: /\\([^0-9A-Za-z\s])/y, see: ([, character = '']) => character },
  { mark: 'mention', pattern: /<(?:@!?|@&|#)(\d+)>/y, see: ([whole]) => whole },
  { mark: 'emoji', pattern: /<a?:(\w+):\d+>/y, see: ([, name]) => `:${name}:` },
  { mark: 'link', pattern: /<(https?:\/\/[^\s<>]+)>/y, see: ([, url = '']) => url },
  {
    mark: 'link',
    // A label that is an address itself makes no link.
    pattern: /\[((?!(?:[^\]]*https?:\/\/))(?:\\.|\[[^\]]*\]|[^[\]\\])+)\]\(\s*<?(https?:\/\/(?:\([^)\s]*\)|[^\s\\()<>])*)>?\s*\)/y,
    see: ([, label = '', url = ''], inner) => `${inner(label, false)} (${url})`,
  },
  { mark: 'link', pattern: /https?:\/\/[^\s<]+[^<.,:;"'\]\s]/y, see: ([url]) => url },
  { mark: 'bold', pattern: /\*\*((?:\\[\s\S]|[^\\])+?)\*\*(?!\*)/y, see: ([, body = ''], inner) => inner(body, false) },
  { mark: 'underline', pattern: /__((?:\\[\s\S]|[^\\])+?)__(?!_)/y, see: ([, body = ''], inner) => inner(body, false) },
  {
    mark: 'italic',
    pattern: /\*(?=\S)((?:\*\*|\\[\s\S]|\s+(?:\\[\s\S]|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)/y,
    see: ([, body = ''], inner) => inner(body, false),
  },
  { mark: 'italic', pattern: /\b_((?:__|\\[\s\S]|[^\\_])+?)_\b/y, see: ([, body = ''], inner) => inner(body, false) },
  { mark: 'strike', pattern: /~~((?:\\[\s\S]|[^\\])+?)~~(?!_)/y, see: ([, body = ''], inner) => inner(body, false) },
  { mark: 'spoiler', pattern: /\|\|([\s\S]+?)\|\|/y, see: ([, body = ''], inner) => inner(body, false) },
  { mark: 'code', pattern: /(`+)([\s\S]*?[^`])\1(?!`)/y, see: ([, , code = '']) => code.replace(/^ (?= *`)|(` *) $/g, '$1') },
]

function quoted(
  whole: string,
  rest: string | undefined,
  lines: string | undefined,
  inner: (text: string, line: boolean) => string,
): string {
  if (rest !== undefined) return inner(rest, true)
  const end = whole.endsWith('\n') ? '\n' : ''
  return inner((lines ?? '').replace(/\n$/, '').replace(/^ *> ?/gm, ''), true) + end
}

/** Quotes stand in no quote, and nothing is read deeper than this. */
const DEEP = 40

export function readMarkup(content: string): Seen {
  const marks = new Set<string>()
  const text = read(content, true, marks, 0, false)
  return { text, marks: [...marks] }
}

function read(text: string, line: boolean, marks: Set<string>, depth: number, inQuote: boolean): string {
  if (depth > DEEP) return text
  let seen = ''
  let fresh = line
  for (let at = 0; at < text.length; ) {
    let found = false
    for (const rule of rules) {
      if ((rule.line && !fresh) || (inQuote && rule.mark === 'quote')) continue
      rule.pattern.lastIndex = at
      const match = rule.pattern.exec(text)
      if (!match || match[0] === '') continue
      if (rule.mark) marks.add(rule.mark)
      const quote = inQuote || rule.mark === 'quote'
      seen += rule.see(match, (inner, atLine) => read(inner, atLine, marks, depth + 1, quote))
      at += match[0].length
      fresh = text[at - 1] === '\n'
      found = true
      break
    }
    if (found) continue
    const character = text.charAt(at++)
    seen += character
    fresh = character === '\n' || (fresh && character === ' ')
  }
  return seen
}
