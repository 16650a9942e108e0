/** What the demo says. Plain rules over words, and it says so. */
import type { ModelRequest } from '@posthouse/contract'
import { type Language, texts } from './texts.ts'

/** How much of the question is said back, in characters. */
const QUOTE = 80

/** The whole answer to a request, in the language of its last message. */
export function answer(request: ModelRequest): string {
  const said = request.messages.flatMap((message) =>
    message.role === 'user' ? [message.content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')] : [],
  )
  const question = said.at(-1) ?? ''
  const words = texts[languageOf(question)]
  const pictures = request.messages.at(-1)
  const seen = pictures?.role === 'user' && pictures.content.some((part) => part.type === 'image')
  const asked = Object.entries(topics).flatMap(([name, pattern]) => (pattern.test(question) ? [name as keyof typeof topics] : []))
  const first = !request.messages.some((message) => message.role === 'assistant')

  const parts: string[] = []
  if (first) parts.push(words.honest)
  parts.push(words.heard(quote(question), said.length))
  if (seen) parts.push(words.picture)
  for (const topic of asked) parts.push(words[topic])
  if (asked.length === 0) parts.push(words.able)
  if (!asked.includes('configure')) parts.push(first || asked.length === 0 ? words.configure : words.pointer)
  return parts.join('\n\n')
}

/** What can be asked for; a question may touch several. */
const topics = {
  table: /\b(table|markdown)\b|表格/i,
  code: /\b(code|markdown|program|python|javascript)\b|代码|程序/i,
  list: /\b(lists?|markdown|bullets?)\b|列表|清单/i,
  long: /\b(long|longer|essay|story)\b|长(一点|篇|文|的)|写.{0,6}长|故事/i,
  configure:
    /\b(configur\w*|set ?up|settings?|models?|openai|deepseek|qwen|ollama|anthropic|claude|api.?keys?|yaml)\b|配置|设置|模型|密钥|接入|通义|千问/i,
} as const

function languageOf(text: string): Language {
  return /\p{Script=Han}/u.test(text) ? 'zh' : 'en'
}

/** The beginning of the question on one line, in a form that shows as it was written. */
function quote(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  const characters = [...line]
  const short = characters.length > QUOTE ? `${characters.slice(0, QUOTE).join('')}…` : line
  return short.replace(/[\\`*_[\]<>|~#]/g, '\\$&')
}
