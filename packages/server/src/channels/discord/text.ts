/** Discord's Markdown, both ways: what people wrote made readable, and a document written so that it means itself. */
import type { Dialect } from '@posthouse/contract'

// ---- In ---------------------------------------------------------------------------------------------------------------

/** Names for what is mentioned by id. */
export type Names = (kind: 'user' | 'channel', id: string) => string | undefined

/** Mentions, emoji and times as people see them. https://docs.discord.com/developers/reference#message-formatting */
export function readable(content: string, names: Names): string {
  return content
    .replace(/<@!?(\d{1,20})>/g, (_, id: string) => `@${names('user', id) ?? id}`)
    .replace(/<@&(\d{1,20})>/g, '@role')
    .replace(/<#(\d{1,20})>/g, (_, id: string) => `#${names('channel', id) ?? 'channel'}`)
    .replace(/<a?(:\w{1,64}:)\d{1,20}>/g, '$1')
    .replace(/<(\/[^:>\n]{1,100}):\d{1,20}>/g, '$1')
    .replace(/<t:(-?\d{1,12})(?::[a-zA-Z])?>/g, (whole, seconds: string) => timeOf(Number(seconds)) ?? whole)
}

function timeOf(seconds: number): string | undefined {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString().replace('.000Z', 'Z')
}

/** Takes our mentions out (`ids`: of us and of our roles), with the comma of an address and one of the two spaces around. */
export function withoutMention(content: string, us: readonly string[], roles: readonly string[]): string {
  const ours = [...us.map((id) => `<@!?${id}>`), ...roles.map((id) => `<@&${id}>`)].join('|')
  if (ours === '') return content
  return content
    .replace(new RegExp(`^\\s*(?:${ours})[,:，：]?\\s*`), '')
    .replace(new RegExp(` ?(?:${ours})`, 'g'), '')
    .trim()
}

// ---- Out --------------------------------------------------------------------------------------------------------------

/** https://support.discord.com/hc/en-us/articles/210298617: no tables, headings of three levels, quotes that do not nest. */
export const dialect: Dialect = {
  text: quoteMarks,
  strong: (inner) => marked('**', inner, /\*\*/),
  // Two and one at a beginning would be read as one and two.
  emphasis: (inner) => marked('*', inner.replaceAll('**', ''), /\*/, inner.replace(/^(?=\*\*)/, '\u200b')),
  strike: (inner) => marked('~~', inner, /~~/),
  code: inlineCode,
  link: writeLink,
  heading: (inner, level) => {
    const line = inner.replaceAll('\n', ' ').trim()
    return level <= 3 ? `${'#'.repeat(level)} ${line}` : `**${line}**`
  },
  fence: (text, language) => `\`\`\`${/^[\w+\-.#]{1,40}$/.test(language) ? language : ''}\n${unfenced(text)}\n\`\`\``,
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '- ',
  rule: '──────────',
  apart: '\u200b',
  indent: '  ',
}

const SPECIAL = /[\\*_~`|<[#>@+-]|https?:\/\/|\d[.)]/

/** A backslash before what would be a mark, and what nobody sees in what would be a mention. An address stands in brackets: bare, it would take the next backslash for a part of itself. */
function quoteMarks(text: string): string {
  if (!SPECIAL.test(text)) return text
  return text
    .split(/(https?:\/\/[^\s<>]*[^\s<>.,:;"'\])])/)
    .map((part, index) => (index % 2 === 1 ? `<${withoutMarks(part)}>` : escapeWords(part, index === 0)))
    .join('')
}

function escapeWords(text: string, atStart: boolean): string {
  return text
    .replace(/[\\*_~`|[]/g, '\\$&')
    .replace(/<(?=[@#:/at]|id:|https?:)/g, '<\u200b')
    .replace(
      /(^|\n)([ \t]*)(#{1,3}(?=\s|$)|-#(?=\s|$)|>(?=\s|>>|$)|[-+](?=\s|$)|(\d{1,9})([.)])(?=\s|$))/g,
      (whole, line, blank, mark, digits, dot) =>
        line === '' && !atStart ? whole : digits === undefined ? `${line}${blank}\\${mark}` : `${line}${blank}${digits}\\${dot}`,
    )
}

/** Code that shows a mark would end the same mark around it: then that one is left out. */
function marked(mark: string, judged: string, ends: RegExp, inner = judged): string {
  return ends.test(judged.replace(/\\[\s\S]/g, '')) ? inner : mark + inner + mark
}

/** An address in which nothing ends it, or a mark around it. */
function withoutMarks(href: string): string {
  return href.replace(/[()<>\\*`|]|~~/g, (found) => found.replace(/./g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`))
}

/** Three backticks would be a fence, so those inside are set apart, and two stand around. */
function inlineCode(text: string): string {
  const line = text.replaceAll('\n', ' ').replace(/`(?=`)/g, '`\u200b')
  if (!line.includes('`')) return `\`${line}\``
  return `\`\`${line.startsWith('`') ? ' ' : ''}${line}${line.endsWith('`') ? ' ' : ''}\`\``
}

/** Nothing can be escaped in a fence: three backticks in a row are set apart by what nobody sees. */
function unfenced(text: string): string {
  return text.replace(/``(?=`)/g, '``\u200b')
}

/** A label that looks like an address is shown as it was written, for it may name another one. */
function writeLink(inner: string, href: string): string | undefined {
  if (!/^https?:\/\/[^\s]+$/i.test(href)) return undefined
  const address = withoutMarks(href)
  if (inner === quoteMarks(href)) return `<${address}>`
  return /https?:|\n|[[\]]/i.test(inner) || inner.trim() === '' ? undefined : `[${inner}](${address})`
}
