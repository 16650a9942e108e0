/** The words of a mail: HTML to text, and the new text apart from what it quotes and from its signature. Pure, and linear in the length. */

/** Stands in a text where a mail program says that history begins. */
const HISTORY = '\ue000'

const BLOCKS = /^(?:p|div|tr|table|ul|ol|dl|dt|dd|h[1-6]|pre|section|article|header|footer|form|hr|address|center|fieldset)$/
const UNSEEN = /^(?:script|style|head|title|template|noscript|svg|math|object|iframe|select|textarea)$/
/** What mail programs put around history: Gmail, Yahoo, Proton, Thunderbird, Outlook (web, desktop, phone), 163, QQ, Apple. */
const HISTORY_TAG =
  /(?:class\s*=\s*["']?[^"'>]*\b(?:gmail_quote|yahoo_quoted|protonmail_quote|moz-cite-prefix|zmail_extra|ntes_quote)\b|id\s*=\s*["']?(?:divRplyFwdMsg|appendonsend|isReplyContent|isForwardContent|mail-editor-reference-message-container|OLK_SRC_BODY_SECTION|reply-intro|qm_original)\b)/i
const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  ensp: ' ',
  emsp: ' ',
  hellip: '…',
  mdash: '—',
  ndash: '–',
  lsquo: '‘',
  rsquo: '’',
  ldquo: '“',
  rdquo: '”',
  middot: '·',
  copy: '©',
  euro: '€',
}

/** What a person would read of an HTML mail. Nothing of it is ever shown as HTML. */
export function htmlToText(html: string): string {
  const lines: string[] = []
  let line = ''
  let quotes = 0
  let unseen = ''
  const end = (force = false) => {
    if (line.trim() !== '' || (force && lines.at(-1) !== '')) lines.push(`${'> '.repeat(Math.min(quotes, 5))}${line.trim()}`.trimEnd())
    line = ''
  }
  const tag = (name: string, closing: boolean, attributes: string) => {
    if (unseen !== '') unseen = closing && name === unseen ? '' : unseen
    else if (UNSEEN.test(name)) unseen = closing || attributes.endsWith('/') ? '' : name
    else if (name === 'br') end(true)
    else if (name === 'td' || name === 'th') line += ' '
    else if (name === 'blockquote' || name === 'li' || BLOCKS.test(name)) {
      end()
      if (name === 'blockquote') quotes = Math.max(0, quotes + (closing ? -1 : 1))
      else if (name === 'li' && !closing) line = '- '
      else if (name === 'p' && closing) end(true)
    }
    if (unseen === '' && !closing && HISTORY_TAG.test(attributes)) {
      end()
      lines.push(HISTORY)
    }
  }
  for (const token of tokens(html)) {
    if (token.text !== undefined) line += unseen === '' ? decodeEntities(token.text.replace(/\s+/g, ' ')) : ''
    else tag(token.name, token.closing, token.attributes)
  }
  end()
  return lines.join('\n').trim()
}

type Token =
  | { readonly text: string }
  | { readonly text?: undefined; readonly name: string; readonly closing: boolean; readonly attributes: string }

/** Tags and what stands between them. Each character is looked at a fixed number of times, whatever the sender made up. */
function* tokens(html: string): Generator<Token> {
  for (let at = 0; at < html.length; ) {
    const open = html.indexOf('<', at)
    if (open < 0) return yield { text: html.slice(at) }
    if (open > at) yield { text: html.slice(at, open) }
    const comment = html.startsWith('<!--', open)
    const close = html.indexOf(comment ? '-->' : '>', open)
    // What is never closed ends the mail: looking for its end again and again could take for ever.
    if (close < 0) return yield { text: comment ? '' : html.slice(open) }
    at = close + (comment ? 3 : 1)
    const [, closing, name = '', attributes = ''] =
      /^<(\/?)([a-z][a-z0-9]*)([\s\S]*)$/i.exec(html.slice(open, Math.min(close, open + 4096))) ?? []
    if (name !== '') yield { name: name.toLowerCase(), closing: closing === '/', attributes }
    else if (!/^<[!?/]/.test(html.slice(open, open + 2))) {
      yield { text: '<' }
      at = open + 1
    }
  }
}

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));/gi, (whole, decimal, hex, name) => {
    if (name) return ENTITIES[name.toLowerCase()] ?? whole
    const point = decimal ? Number(decimal) : Number.parseInt(hex, 16)
    return point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point < 0xe000) ? String.fromCodePoint(point) : ''
  })
}

/** A line that names an earlier mail: "-----Original Message-----", "------ 原始邮件 ------". */
const DIVIDER =
  /^[>\s]*[-_=—]{2,}\s*(?:original message|original|reply message|原始邮件|原始郵件|原邮件|回复的原邮件|回复邮件|ursprüngliche nachricht|message d'origine|mensaje original|mensagem original|messaggio originale|元のメッセージ|원본 메시지)\s*[-_=—]{2,}/i
/** "On ... wrote:", in whatever language: by its end, or by verb and beginning where a name stands at the end. */
const WROTE =
  /(?:(?:\b(?:wrote|writes|schrieb|escribió|escreveu|ha scritto|schreef|skrev|napisał\(?a?\)?)|пишет|написал\(?а?\)?|a écrit|写道|寫道|のメール|さんは書きました)\s*|^\s*(?:am|den|op|på)\s.*\b(?:schrieb|schreef|skrev)\s.*)[:：]$/i
/** Only such a line may be the first of several: what stands above an attribution is the author's. */
const WRAPPED = /^(?:(?:on|at|am|le|el|il|op|em|den|på|dnia)\s|在|\d{4}[-/年])/i
/** The head of a block of fields, as Outlook, Foxmail and phones put it above what they quote. */
const FIRST_FIELD = /^[>\s*]*(?:from|von|de|da|发件人|寄件者|寄件人|差出人|보낸 사람)\s*\**\s*[:：]/i
const OTHER_FIELD =
  /^[>\s*]*(?:sent|date|to|cc|subject|gesendet|datum|an|betreff|envoyé|à|objet|enviado|para|asunto|发送时间|发送日期|日期|时间|收件人|抄送|主题|寄件日期|收件者|主旨|送信日時|宛先|件名)\s*\**\s*[:：]/i
const FORWARDED =
  /^[>\s]*(?:[-_=—]{2,}\s*(?:forwarded message|转发邮件信息|转发的邮件|轉寄的郵件|转发邮件|weitergeleitete nachricht)|begin forwarded message\s*[:：])/i
const PHONE_SIGNATURE =
  /^(?:sent from (?:my|mail for|outlook|yahoo|the all)\b|get outlook for|发自我的|發自我的|从我的.{1,30}发送|来自我的|发自.{0,20}(?:邮箱|邮箱大师|手机)|von meinem .{1,30} gesendet|envoyé de mon|enviado desde mi)/i
const LONGEST_ATTRIBUTION = 400
const LONGEST_SIGNATURE = 20

/**
 * The text that its author added: without the history below it and without the signature. A forwarded mail is what the author wants to
 * show, and answers between quoted lines need them, so both stay. What would leave nothing leaves everything.
 * @param reply whether the mail answers another one; only then it can have a history
 */
export function newText(text: string, reply: boolean): string {
  const lines = text.replace(/\r\n?/g, '\n').split('\n')
  const kept = withoutSignature(reply ? lines.slice(0, historyFrom(lines)) : lines)
  return tidy(kept) || tidy(withoutSignature(lines)) || tidy(lines)
}

function tidy(lines: readonly string[]): string {
  return lines
    .map((line) => line.replaceAll(HISTORY, '').trimEnd())
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()
}

/** The line at which the history begins; the number of lines if there is none. */
function historyFrom(lines: readonly string[]): number {
  for (let at = 0; at < lines.length; at++) {
    const line = (lines[at] ?? '').trim()
    if (line === '') continue
    if (FORWARDED.test(line)) return lines.length
    if (line === HISTORY) {
      const next = lines.slice(at + 1, at + 4).find((following) => following.trim() !== '') ?? ''
      return FORWARDED.test(next) ? lines.length : at
    }
    if (DIVIDER.test(line)) return at
    if (FIRST_FIELD.test(line) && lines.slice(at + 1, at + 7).filter((other) => OTHER_FIELD.test(other)).length >= 2) {
      return /^[_-]{5,}$/.test((lines[at - 1] ?? '').trim()) ? at - 1 : at
    }
    const length = attribution(lines, at)
    if (length > 0) return answersBelow(lines, at + length) ? lines.length : at
  }
  return trailingQuote(lines)
}

/** How many lines from `at` say who wrote what follows; they are wrapped at times. */
function attribution(lines: readonly string[], at: number): number {
  let joined = ''
  for (let length = 1; length <= 3; length++) {
    const line = (lines[at + length - 1] ?? '').trim().replace(/^>+\s*/, '')
    if (line === '' || joined.length + line.length > LONGEST_ATTRIBUTION) return 0
    joined += ` ${line}`
    if (WROTE.test(joined)) return /\d|@/.test(joined) ? length : 0
    if (length === 1 && !WRAPPED.test(line)) return 0
  }
  return 0
}

/** Whether the author wrote on below the first quoted lines. */
function answersBelow(lines: readonly string[], from: number): boolean {
  let at = from
  while (at < lines.length && (lines[at] ?? '').trim() === '') at++
  if (!(lines[at] ?? '').startsWith('>')) return false
  const rest = withoutSignature(lines.slice(at)).filter((line) => line.trim() !== '' && !line.startsWith('>'))
  return rest.some((line) => !DIVIDER.test(line))
}

/** Where quoted lines begin that go on to the end. */
function trailingQuote(lines: readonly string[]): number {
  let at = lines.length
  while (at > 0 && /^(?:>.*|\s*)$/.test(lines[at - 1] ?? '')) at--
  return lines.slice(at).some((line) => line.startsWith('>')) ? at : lines.length
}

function withoutSignature(lines: readonly string[]): readonly string[] {
  let end = lines.length
  for (let at = Math.max(0, lines.length - LONGEST_SIGNATURE); at < lines.length; at++) {
    if (/^--\s?$/.test(lines[at] ?? '')) {
      end = at
      break
    }
  }
  while (end > 0 && ((lines[end - 1] ?? '').trim() === '' || PHONE_SIGNATURE.test((lines[end - 1] ?? '').trim()))) end--
  return lines.slice(0, end)
}
