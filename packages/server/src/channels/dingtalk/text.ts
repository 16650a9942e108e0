/** The words and files in a message, which are elsewhere for each type. https://open-dingtalk.github.io/developerpedia/docs/learn/bot/message */
import { type Fields, type FileKind, fieldsOf, type Part, textIn } from '@posthouse/contract'

/** An object, or one that is written as JSON. */
export function contentIn(value: unknown): Fields {
  if (typeof value !== 'string') return fieldsOf(value)
  try {
    return fieldsOf(JSON.parse(value))
  } catch {
    return {}
  }
}

/** What a message says. */
export interface Content {
  readonly text: string
  readonly files: readonly Part[]
}

/** More than any message has. */
const MOST_PARTS = 200

/** Reads a message of `type`; `content` is what stands in the field of that name, or in `text`. */
export function readContent(type: string, content: Fields): Content {
  const file = (kind: FileKind, name: string, text = '', mime?: string): Content => ({ text, files: fileOf(kind, name, content, mime) })
  switch (type) {
    case 'text':
    case 'reply':
    case 'markdown':
      return { text: textIn(content.content) || textIn(content.text), files: [] }
    case 'richText':
      return readRich(content)
    case 'picture':
      return file('image', 'picture')
    // What the platform understood of the voice.
    case 'audio':
      return file('voice', 'voice.amr', textIn(content.recognition), 'audio/amr')
    case 'video':
      return file('video', `video.${/^\w{1,8}$/.exec(textIn(content.videoType))?.[0] ?? 'mp4'}`)
    case 'file':
      return file('file', textIn(content.fileName) || 'file')
    case 'unknownMsgType':
      return { text: '[a message of a kind that robots are not shown]', files: [] }
    case 'interactiveCard':
      return { text: textIn(content.biz_custom_action_url) || '[card]', files: [] }
    default:
      return { text: /^\w{1,40}$/.test(type) ? `[${type}]` : '[message]', files: [] }
  }
}

function readRich({ richText }: Fields): Content {
  const parts = (Array.isArray(richText) ? richText : []).slice(0, MOST_PARTS).map(fieldsOf)
  return {
    text: parts.map(({ text }) => textIn(text)).join(''),
    files: parts.flatMap((part) => fileOf('image', 'picture', part)),
  }
}

function fileOf(kind: FileKind, name: string, { downloadCode }: Fields, mime?: string): readonly Part[] {
  const ref = textIn(downloadCode)
  return ref === '' ? [] : [{ type: 'file', file: { kind, name, ref, ...(mime ? { mime } : {}) } }]
}
