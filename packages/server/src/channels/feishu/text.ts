/** The words and files in a message's content, which is JSON and different for each type: im-v1/message/events/message_content */
import { type Fields, type FileKind, type FileRef, fieldsOf, listIn, type Part, textIn } from '@posthouse/contract'

/** How `download` finds a file again. `type`: as the platform asks for it. */
export interface Resource {
  readonly message: string
  readonly key: string
  readonly type: 'image' | 'file'
}

/** What a message says. In `text` people are named by the placeholders of `mentions`: `@_user_1`. */
export interface Content {
  readonly text: string
  readonly parts: readonly Part[]
}

const NOTHING: Content = { text: '', parts: [] }
const said = (text: string): Content => ({ text, parts: [] })

/** Reads the content of a message; of a type that we do not know, its name. */
export function readContent(type: string, content: Fields, message: string): Content {
  const file = (kind: FileKind, key: unknown, name: string, mime?: string): Content =>
    textIn(key) === '' ? NOTHING : { text: '', parts: [{ type: 'file', file: refOf(kind, textIn(key), name, message, mime) }] }
  const name = textIn(content.file_name)
  switch (type) {
    case 'text':
      return said(textIn(content.text))
    case 'post':
      return readPost(content, message)
    case 'image':
      return file('image', content.image_key, 'image')
    case 'file':
      return file('file', content.file_key, name || 'file')
    case 'folder':
      return said(`[folder: ${name}]`)
    case 'audio':
      return file('voice', content.file_key, 'voice.opus', 'audio/opus')
    case 'media':
      return file('video', content.file_key, name || 'video.mp4', 'video/mp4')
    case 'location':
      return readLocation(content)
    case 'interactive':
      return said(readCard(content) || '[card]')
    case 'share_chat':
      return said(`[shared chat: ${textIn(content.chat_id)}]`)
    case 'share_user':
      return said(`[shared contact: ${textIn(content.user_id)}]`)
    case 'merge_forward':
      return said('[forwarded messages, which a bot is not shown]')
    // Stickers cannot be fetched: im-v1/message/get-2
    case 'sticker':
      return said('[sticker]')
    default:
      return said(/^\w{1,40}$/.test(type) ? `[${type}]` : '[message]')
  }
}

function refOf(kind: FileKind, key: string, name: string, message: string, mime?: string): FileRef {
  const resource: Resource = { message, key, type: kind === 'image' ? 'image' : 'file' }
  return { kind, name, ref: JSON.stringify(resource), ...(mime ? { mime } : {}) }
}

function readLocation({ latitude, longitude, name }: Fields): Content {
  const [north, east] = [Number(latitude ?? Number.NaN), Number(longitude ?? Number.NaN)]
  if (!Number.isFinite(north) || !Number.isFinite(east)) return said(`[location: ${textIn(name)}]`)
  return { text: '', parts: [{ type: 'location', latitude: north, longitude: east, ...(textIn(name) ? { title: textIn(name) } : {}) }] }
}

/** More elements than anybody writes into one message. */
const MOST_ELEMENTS = 5000

/** Rich text: lines of elements, by language or without. */
function readPost(content: Fields, message: string): Content {
  const inLanguage = [content.zh_cn, content.en_us, ...Object.values(content)].map(fieldsOf).find((body) => Array.isArray(body.content))
  const body = Array.isArray(content.content) ? content : (inLanguage ?? {})
  const parts: Part[] = []
  const lines: string[] = textIn(body.title) === '' ? [] : [textIn(body.title)]
  let left = MOST_ELEMENTS
  for (const line of listIn(body.content)) {
    let text = ''
    for (const element of listIn(line)) {
      if (--left < 0) break
      text += readElement(fieldsOf(element), message, parts)
    }
    lines.push(text)
  }
  return { text: lines.join('\n').trim(), parts }
}

function readElement(element: Fields, message: string, parts: Part[]): string {
  const text = textIn(element.text)
  const key = textIn(element.image_key) || textIn(element.file_key)
  switch (element.tag) {
    case 'a':
      return text === '' || text === element.href ? textIn(element.href) : `${text} (${textIn(element.href)})`
    case 'at':
      return textIn(element.user_id).startsWith('@_') ? textIn(element.user_id) : `@${textIn(element.user_name) || textIn(element.user_id)}`
    case 'img':
      if (key) parts.push({ type: 'file', file: refOf('image', key, 'image', message) })
      return ''
    case 'media':
      if (key) parts.push({ type: 'file', file: refOf('video', textIn(element.file_key), 'video.mp4', message, 'video/mp4') })
      return ''
    case 'code_block':
      return `\n\`\`\`${textIn(element.language).toLowerCase()}\n${text}\n\`\`\`\n`
    case 'emotion':
      return `[${textIn(element.emoji_type)}]`
    case 'hr':
      return '---'
    default:
      return text
  }
}

/** Cards are told as a title and lines of elements, whatever they were built of. Read without recursion, as nobody promises their depth. */
function readCard(content: Fields): string {
  const words: string[] = []
  const waiting: unknown[] = [content]
  for (let left = MOST_ELEMENTS; waiting.length > 0 && left > 0; left--) {
    const value = waiting.pop()
    if (typeof value === 'string' && value.trim() !== '') words.push(value)
    else if (Array.isArray(value)) waiting.push(...value.slice(0, left).toReversed())
    else if (typeof value === 'object' && value !== null) {
      const { title, text, content: inner, elements, body, header } = fieldsOf(value)
      waiting.push(elements, body, inner, text, title, header)
    }
  }
  return words.join('\n')
}

// ---- Mentions ---------------------------------------------------------------------------------------------------------

export interface Mention {
  readonly key: string
  readonly id: string
  readonly name: string
}

/** The text with people's names, and without us: with our mention goes what only belonged to it. */
export function nameMentions(text: string, mentions: readonly Mention[], us: string | undefined): string {
  const byKey = new Map(mentions.map((mention) => [mention.key, mention]))
  let out = ''
  let from = 0
  let stripped = false
  for (const found of text.matchAll(/@_(?:user_\d{1,4}|all)/g)) {
    const before = text.slice(from, found.index)
    const behind = text.slice(found.index + found[0].length)
    const mention = byKey.get(found[0])
    out += before
    from = found.index + found[0].length
    if (us !== undefined && mention?.id === us) {
      stripped = true
      const alone = out.trim() === '' ? /^[,:，：]?\s*/ : /\s$/.test(out) ? /^ ?/ : /^/
      from += alone.exec(behind)?.[0].length ?? 0
    } else out += found[0] === '@_all' ? '@all' : mention?.name ? `@${mention.name}` : found[0]
  }
  out += text.slice(from)
  return stripped ? out.trim() : out
}
