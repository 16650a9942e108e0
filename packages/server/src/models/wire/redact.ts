/** Takes secrets, and what people wrote, out of words that others wrote. */
import type { ModelRequest } from '@posthouse/contract'

const SHOWN = '[redacted]'

/** Forms of keys in the field, for those that are not ours to know: a provider may quote a key back, whole or in part. */
const forms =
  /\b(?:sk|pk|rk|key|gsk|xai)-[\w*.-]{6,}|\b(Bearer|Basic)\s+[\w.~+/*=-]{6,}|([?&](?:key|api[_-]?key|token|access_token)=)[^&\s"']+/gi

/** Makes a function that hides the given secrets and everything that looks like one. */
export function createRedactor(secrets: readonly (string | undefined)[]): (text: string) => string {
  const known = secrets.filter((secret): secret is string => secret !== undefined && secret.length >= 4).sort((a, b) => b.length - a.length)
  return (text) => {
    let result = text
    for (const secret of known) result = result.replaceAll(secret, SHOWN)
    return result.replace(forms, (_match, scheme?: string, query?: string) => (scheme ? `${scheme} ${SHOWN}` : `${query ?? ''}${SHOWN}`))
  }
}

/** A quotation this long is noticed wherever it begins; a shorter one may be a word that both use. */
const QUOTED = 24
const STEP = 8
const WINDOW = QUOTED - STEP
/** Characters of the conversation's end that are compared: what a provider complains about is new more often than not. */
const COMPARED = 256 * 1024

/** The same for one request: a provider that refuses it may quote the conversation, and refusals go to logs. */
export function redactorFor(redact: (text: string) => string, request: ModelRequest): (text: string) => string {
  return (text) => withoutQuotations(redact(text), () => saidIn(request).slice(-COMPARED))
}

function withoutQuotations(words: string, said: () => string): string {
  if (words.length < QUOTED) return words
  const text = said()
  let out = ''
  let from = 0
  for (let at = 0; at + WINDOW <= words.length; at += STEP) {
    if (at < from || !text.includes(words.slice(at, at + WINDOW))) continue
    let start = at
    let end = at + WINDOW
    while (start > from && text.includes(words.slice(start - 1, end))) start--
    while (end < words.length && text.includes(words.slice(start, end + 1))) end++
    out += `${words.slice(from, start)}${SHOWN}`
    from = end
  }
  return out + words.slice(from)
}

function saidIn({ system = '', messages }: ModelRequest): string {
  const texts = messages.map((message) =>
    message.role === 'user'
      ? message.content.map((part) => (part.type === 'text' ? part.text : '')).join('\n')
      : `${message.text}\n${message.role === 'assistant' ? (message.toolCalls ?? []).map((call) => call.arguments).join('\n') : ''}`,
  )
  return [system, ...texts].join('\n')
}
