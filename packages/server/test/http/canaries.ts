/** Words that must be found nowhere: made so that they are no part of anything else, and looked for in every form in which bytes may hold them. */
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

export interface Canaries {
  /** Makes one; its name tells where it was let in. */
  (name: string): string
  readonly all: ReadonlyMap<string, string>
}

export function createCanaries(): Canaries {
  const all = new Map<string, string>()
  const make = (name: string) => {
    const word = `canary-${name}-${randomUUID().replaceAll('-', '')}`
    all.set(name, word)
    return word
  }
  return Object.assign(make, { all })
}

/** The word as bytes: plain, in two-byte characters, hexadecimal, and base64 wherever in a text it begins. */
function formsOf(word: string): readonly Buffer[] {
  const base64 = [0, 1, 2].map((shift) => {
    const text = Buffer.from(`${' '.repeat(shift)}${word}`).toString('base64')
    // The first and the last characters depend on the neighbours.
    return text.slice(shift === 0 ? 0 : 4, -4)
  })
  return [
    Buffer.from(word),
    Buffer.from(word, 'utf16le'),
    Buffer.from(Buffer.from(word).toString('hex')),
    Buffer.from(Buffer.from(word).toString('hex').toUpperCase()),
    Buffer.from([...word].reverse().join('')),
    ...base64.map((text) => Buffer.from(text)),
    ...base64.map((text) => Buffer.from(text.replaceAll('+', '-').replaceAll('/', '_'))),
  ]
}

/** Which canaries are in which of the sinks: `sink: canary`. */
export function findCanaries(canaries: Canaries, sinks: Readonly<Record<string, string | Buffer>>): string[] {
  const found: string[] = []
  for (const [name, word] of canaries.all) {
    const forms = formsOf(word)
    for (const [sink, content] of Object.entries(sinks)) {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content
      if (forms.some((form) => bytes.includes(form))) found.push(`${sink}: ${name}`)
    }
  }
  return found
}

/** Every file below a folder, by its path; `except` are those in which their owner put a secret. */
export function filesIn(folder: string, except: readonly string[]): Record<string, Buffer> {
  const files: Record<string, Buffer> = {}
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = relative(folder, join(entry.parentPath, entry.name))
    if (entry.isFile() && !except.includes(path)) files[path] = Buffer.concat([Buffer.from(`${path}\n`), readFileSync(join(folder, path))])
  }
  return files
}
