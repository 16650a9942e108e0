/** What commands say: for people in their language, or JSON for programs; the last line is the next useful command. */

/** A command that failed, for a reason that a person can act on. */
export class CliError extends Error {
  override readonly name = 'CliError'
  /** 1: it did not work. 2: it was called or configured wrongly. */
  readonly exitCode: 1 | 2
  readonly next: string | undefined
  constructor(message: string, exitCode: 1 | 2 = 1, next?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.exitCode = exitCode
    this.next = next
  }
}

export interface Words {
  readonly en: string
  readonly zh: string
}

export interface Terminal {
  readonly language: 'en' | 'zh'
  readonly json: boolean
  /** Result of the command: `data` for programs, `text` for people, `next` the next useful command. */
  result(data: unknown, text: string, next?: string): void
  t(words: Words): string
}

export function createTerminal(language: 'en' | 'zh', json: boolean): Terminal {
  return {
    language,
    json,
    t: (words) => words[language],
    result(data, text, next) {
      if (json) process.stdout.write(`${JSON.stringify(data)}\n`)
      else process.stdout.write(`${text}${nextLine(language, next)}\n`)
    },
  }
}

/** The last line: the next useful command, as the person calls it here. */
export function nextLine(language: 'en' | 'zh', next: string | undefined): string {
  return next ? `\n${language === 'zh' ? '接下来' : 'Next'}: ${asCalled(next)}` : ''
}

/** In a checkout the program is called through npm. */
export function asCalled(command: string, env: NodeJS.ProcessEnv = process.env): string {
  const throughNpm = ['start', 'posthouse'].includes(env.npm_lifecycle_event ?? '')
  return throughNpm ? command.replace(/^posthouse /, 'npm run posthouse -- ') : command
}

/** Rows under a heading, aligned; wide characters count as two. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(width(title), ...rows.map((row) => width(row[column] ?? ''))))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd()
  return [line(head), ...rows.map(line)].join('\n')
}

function width(text: string): number {
  let total = 0
  for (const character of text)
    total += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]/.test(character) ? 2 : 1
  return total
}

/** What came from outside, made fit for a terminal: one line, no control characters. */
export function plain(text: string, most = 60): string {
  const line = text.replace(/[\p{Cc}\p{Bidi_Control}]+/gu, ' ').trim()
  return [...line].length > most ? `${[...line].slice(0, most).join('')}…` : line
}

export function ago(at: number | undefined, now: number): string {
  if (at === undefined) return '-'
  const seconds = Math.max(0, Math.round((now - at) / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}

export const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`
