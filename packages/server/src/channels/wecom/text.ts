/** The platform's XML, which is plain elements only, and untrusted JSON, one field at a time. */
import { PosthouseError } from '@posthouse/contract'

// ---- XML --------------------------------------------------------------------------------------------------------------

/** One of the platform's messages: the texts of the elements below its root. What stands deeper is none of ours, and left out. */
export type Message = ReadonlyMap<string, string>

const DEEPEST = 16
const MOST_ELEMENTS = 2000
/** A section, the begin or end of an element (no attributes), or text: nothing else is written by the platform, so nothing else is read. */
const TOKEN = /<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([A-Za-z_][\w.-]{0,63})\s*(\/?)>|([^<]+)/y
const ENTITIES: Readonly<Record<string, string>> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&apos;': "'" }

/** @throws PosthouseError `invalid` for what is no plain XML, or names an element twice: which one counts, nobody knows. */
export function readXml(text: string): Message {
  const token = new RegExp(TOKEN)
  const open: string[] = []
  const message = new Map<string, string>()
  let words = ''
  let elements = 0
  let ended = false
  const source = text.trim()
  const refuse = (): never => {
    throw new PosthouseError('invalid', 'this is no XML as the platform writes it')
  }
  const close = (name: string) => {
    if (open.length === 2) {
      if (message.has(name)) refuse()
      message.set(name, words.trim())
    }
    open.pop()
    if (open.length < 2) words = ''
    ended = open.length === 0
  }
  while (token.lastIndex < source.length) {
    const found = token.exec(source) ?? refuse()
    const [, section, ending, name, alone, plain] = found
    if (ended) refuse()
    if (name !== undefined) {
      if (ending && (alone || open.at(-1) !== name)) refuse()
      if (ending) close(name)
      else {
        open.push(name)
        if (open.length > DEEPEST || ++elements > MOST_ELEMENTS) refuse()
        if (open.length <= 2) words = ''
        if (alone) close(name)
      }
    } else if (open.length === 2) words += section ?? withoutEntities(plain ?? '', refuse)
    else if (open.length < 2 && (section ?? plain ?? '').trim() !== '') refuse()
  }
  return ended ? message : refuse()
}

function withoutEntities(text: string, refuse: () => never): string {
  return text.replace(/&[^;\s]{0,10};?/g, (entity) => (Object.hasOwn(ENTITIES, entity) ? (ENTITIES[entity] as string) : refuse()))
}
