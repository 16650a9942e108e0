/**
 * Logs: JSON lines, or for a person at a terminal. Secrets are taken out by the name of their field and by their value; what others wrote, which
 * the messages of errors like to quote, is taken out of those.
 */
import { Writable } from 'node:stream'
import { type Logger as PinoLogger, pino } from 'pino'
import { framesOf } from '../base/frames.ts'

export type AppLogger = PinoLogger

const SECRET = /token|secret|passw|api_?key|authorization|cookie/i
const DEPTH = 5

export function createLogger(options: {
  readonly debug: boolean
  /** For a person at a terminal, with or without colours; else JSON lines. */
  readonly terminal: 'coloured' | 'plain' | undefined
  /** Values that no line may show, as they are now. */
  readonly secrets?: () => Iterable<string>
  readonly stream?: NodeJS.WritableStream
}): AppLogger {
  const target = hiding(options.stream ?? process.stdout, options.secrets ?? (() => []))
  return pino(
    {
      level: options.debug ? 'debug' : 'info',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: (fields) => clean(fields, 0) as Record<string, unknown> },
    },
    options.terminal ? forPeople(target, options.terminal === 'coloured') : target,
  )
}

/** The last gate: whatever a line was made of, a secret of the configuration does not pass. */
function hiding(target: NodeJS.WritableStream, secrets: () => Iterable<string>): { write(line: string): void } {
  return {
    write(line) {
      let text = line
      for (const secret of secrets()) {
        text = text.replaceAll(secret, '[secret]').replaceAll(JSON.stringify(secret).slice(1, -1), '[secret]')
      }
      target.write(text)
    },
  }
}

/** Copies the fields without secrets; errors become what an operator needs of them. */
function clean(value: unknown, depth: number): unknown {
  if (value instanceof Error) return describe(value, depth)
  if (typeof value !== 'object' || value === null) return value
  if (depth >= DEPTH) return '[deep]'
  if (Array.isArray(value)) return value.slice(0, 50).map((entry) => clean(entry, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, SECRET.test(key) ? '[secret]' : clean(entry, depth + 1)]))
}

function describe(error: Error, depth: number): object {
  const { code, kind } = error as { code?: unknown; kind?: unknown }
  return {
    type: error.name,
    message: messageOf(error),
    ...(code === undefined ? {} : { code }),
    ...(kind === undefined ? {} : { kind }),
    stack: framesOf(error),
    ...(error.cause instanceof Error && depth < DEPTH ? { cause: describe(error.cause, depth + 1) } : {}),
  }
}

/** Errors of the language and its libraries say whatever they were given; ours, and those of the system, do not. */
const FOREIGN = /^(Error|AggregateError|AssertionError|EvalError|RangeError|ReferenceError|SyntaxError|TypeError|URIError|DOMException)$/

function messageOf(error: Error): string {
  const { syscall, errcode } = error as { syscall?: unknown; errcode?: unknown }
  if (!FOREIGN.test(error.name) || syscall !== undefined || errcode !== undefined) return error.message
  if (error instanceof SyntaxError || !isMadeHere(error)) return '…'
  return error.message.replace(/(["'`])(?:(?!\1)[\s\S])+\1/g, '$1…$1').replace(/: [\s\S]*$/, ': …')
}

const HERE = new URL('..', import.meta.url).href

/** Whether our own code made it, whose words are ours but for what they quote. */
function isMadeHere(error: Error): boolean {
  return framesOf(error).split('\n', 1)[0]?.includes(HERE) ?? false
}

const COLOURS: Record<string, string> = { debug: '\x1b[90m', info: '\x1b[36m', warn: '\x1b[33m', error: '\x1b[31m', fatal: '\x1b[31m' }

/** One line a record: time, level, words, fields. Control characters of others do not reach the terminal. */
function forPeople(target: { write(line: string): void }, colour: boolean): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const { level, time, msg, err, ...fields } = JSON.parse(chunk.toString()) as Record<string, unknown>
      const name = String(level)
      const extra = Object.entries(fields)
        .map(([key, entry]) => ` ${key}=${typeof entry === 'string' ? entry : JSON.stringify(entry)}`)
        .join('')
      const problem = err as { message?: string; stack?: string } | undefined
      const text = `${String(time).slice(11, 19)} ${name.padEnd(5)} ${String(msg)}${extra}${problem ? `: ${problem.message}` : ''}`.replace(
        /\p{Cc}/gu,
        ' ',
      )
      target.write(`${colour ? COLOURS[name] : ''}${text}${colour ? '\x1b[0m' : ''}\n`)
      done()
    },
  })
}
