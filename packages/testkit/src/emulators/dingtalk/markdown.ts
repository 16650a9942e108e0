/** What people read of the platform's Markdown, formatting left out. https://open.dingtalk.com/document/orgapp/robot-message-type */

/** Behind the marks of quotes and items, too. */
const FENCE = /^([ >]*(?:(?:- |\d+\. )[ >]*)*)(`{3,})([^`\n]*)\n([\s\S]*?)^[ >]*\2`*[ ]*$/gm
/** From a run of marks to the next that is as long; an escaped one is none. */
const SPAN = /(?<![`\\])(`+)(?!`)([\s\S]*?[^`])\1(?!`)/g

export function textOfMarkdown(content: string): string {
  let text = ''
  let from = 0
  for (const fence of content.matchAll(FENCE)) {
    text += textOfProse(content.slice(from, fence.index))
    text += (fence[4] ?? '').replace(new RegExp(`^[ >]{0,${fence[1]?.length ?? 0}}`, 'gm'), '').replace(/\n$/, '')
    from = fence.index + fence[0].length
  }
  return text + textOfProse(content.slice(from))
}

function textOfProse(markdown: string): string {
  let text = ''
  let from = 0
  for (const span of markdown.matchAll(SPAN)) {
    text += textOfInlines(markdown.slice(from, span.index)) + (span[2] ?? '').replace(/^ ([\s\S]*) $/, '$1')
    from = span.index + span[0].length
  }
  return text + textOfInlines(markdown.slice(from))
}

const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', nbsp: '\u00a0' }

function textOfInlines(markdown: string): string {
  // What is escaped hides from what means something.
  const hidden: string[] = []
  const hide = (character: string) => String.fromCharCode(0xe000 + hidden.push(character) - 1)
  const read = markdown
    .replace(/\\([!-/:-@[-`{-~])/g, (_, character: string) => hide(character))
    .replace(/&([a-z]+);/g, (whole, name: string) => (NAMED[name] ? hide(NAMED[name]) : whole))
    .replace(/^((?:[ ]*(?:>|- |\d+\. ))*[ ]*)#{1,6} /gm, '$1')
    .replace(/^[ ]*(> ?)+/gm, '')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\*+(?=\S)|(?<=\S)\*+/g, '')
    .replace(/ {2,}$/gm, '')
  return read.replace(/[\ue000-\uf8ff]/g, (mark) => hidden[mark.charCodeAt(0) - 0xe000] ?? mark)
}
