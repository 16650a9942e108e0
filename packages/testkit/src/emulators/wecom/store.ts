/** What the platform knows: messages of the app, bot or robot as people see them, and files. */
import { randomBytes } from 'node:crypto'

export interface WecomFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Something posted, as people see it now. */
export interface WecomPost {
  /** The person's id or the group's; `robot` for what a group robot posts. */
  readonly room: string
  readonly id: string
  readonly msgtype: string
  text: string
  /** As it was written. */
  source: string
  /** More is to come. */
  streaming: boolean
  /** The message that it answers. */
  readonly reply_to?: string
  readonly file?: WecomFile
  readonly at: number
  readonly edits: { readonly at: number; readonly text: string }[]
}

export interface Store {
  readonly users: Set<string>
  readonly posts: WecomPost[]
  /** By `media_id`, in both directions. */
  readonly media: Map<string, WecomFile & { readonly type: string }>
  /** By path: what a bot's files are fetched from. */
  readonly sealed: Map<string, WecomFile>
  /** By the code in a `response_url`: what may be answered there once, and until when. */
  readonly codes: Map<string, { readonly room: string; readonly msgid: string; readonly until: number; used: boolean }>
}

export const createStore = (): Store => ({ users: new Set(), posts: [], media: new Map(), sealed: new Map(), codes: new Map() })

export const newId = (prefix = ''): string => prefix + randomBytes(12).toString('hex')

/** A refusal in the platform's own words; answered with HTTP 200. */
export class WecomRefusal extends Error {
  readonly code: number
  constructor(code: number, words: string) {
    super(words)
    this.code = code
  }
}

/** Bytes of a message's Markdown. @throws WecomRefusal for what is empty or too long */
export function readMarkdown(content: unknown, most: number): string {
  if (typeof content !== 'string' || content.trim() === '') throw new WecomRefusal(44004, 'empty content')
  if (Buffer.byteLength(content) > most) throw new WecomRefusal(45002, `content size out of limit, max ${most}`)
  return content
}

/** Bytes by kind of what is uploaded: developer.work.weixin.qq.com/document/path/90253 */
const MOST: Readonly<Record<string, number>> = { image: 10, voice: 2, video: 10, file: 20 }

/** @throws WecomRefusal for a kind or size that is not taken */
export function checkMedia(type: string, { bytes, name }: WecomFile): void {
  const most = MOST[type]
  if (most === undefined) throw new WecomRefusal(40004, 'invalid media type')
  if (bytes.length <= 5 || bytes.length > most * 1024 * 1024) throw new WecomRefusal(40006, 'invalid media size')
  if (type === 'voice' && !name.endsWith('.amr')) throw new WecomRefusal(40005, 'invalid file type')
}

/** What people read. `full`: Markdown as it is usual (bots); else headings, bold, links, code and quotes only. */
export function showMarkdown(content: string, full: boolean): string {
  const kept: string[] = []
  const keep = (text: string) => `\ue000${kept.push(text) - 1}\ue001`
  let text = content
  if (full) {
    text = text.replace(/^( *)(`{3,})[^\n`]*\n([\s\S]*?)\n *\2$/gm, (_all, _blank, _mark, code: string) => keep(code))
    text = text.replace(/(?<![`\\])(`+)(?!`)([\s\S]*?[^`])\1(?!`)/g, (_all, _mark, code: string) => keep(code.replace(/^ (.*) $/, '$1')))
    text = text.replace(/\\([^\w\s]|_)/g, (_all, character: string) => keep(character))
    text = text.replace(/(\*\*|~~|\*)(?=\S)([\s\S]*?\S)\1/g, '$2').replace(/(\*\*|~~|\*)(?=\S)([\s\S]*?\S)\1/g, '$2')
  } else {
    text = text.replace(/`([^`\n]+)`/g, (_all, code: string) => keep(code)).replace(/\*\*([^\n]+?)\*\*/g, '$1')
  }
  text = text
    .replace(/^(?: *> ?)+/gm, '')
    .replace(/^ *#{1,6} /gm, '')
    .replace(/\[([^\]\n]*)\]\([^)\s]*\)/g, '$1')
  while (/\ue000\d+\ue001/.test(text)) text = text.replace(/\ue000(\d+)\ue001/g, (_all, index) => kept[Number(index)] ?? '')
  return text.replaceAll('\u200b', '')
}
