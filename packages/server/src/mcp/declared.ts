/** A tool as its server declares it: bounded, and known by a digest of all that a model is told of it. */
import { createHash } from 'node:crypto'
import { orderedJson } from '../base/ordered-json.ts'

const MOST_DESCRIPTION = 8192
const MOST_SCHEMA = 32 * 1024
const DEEPEST = 32
/** Characters of all declarations of a server together: a model is told all of them with every question. */
const MOST_IN_ALL = 192 * 1024

/** What of a tool counts: what a model is told, and what the server says of calling it twice. */
export interface Declared {
  readonly name: string
  readonly description: string
  readonly parameters: Readonly<Record<string, unknown>>
  readonly harmlessTwice: boolean
}

export interface Listed {
  readonly tools: readonly Declared[]
  /** Names of those that are larger than allowed, or too many. */
  readonly refused: readonly string[]
}

/** Tools as the library hands them over. */
interface Raw {
  readonly name: string
  readonly description?: string | undefined
  readonly inputSchema: unknown
  readonly annotations?: { readonly readOnlyHint?: boolean | undefined; readonly idempotentHint?: boolean | undefined } | undefined
}

/** A name stands on terminals and in logs. */
const PRINTABLE = /^[\p{L}\p{N}\p{P}\p{S} ]{1,128}$/u

/** One that may be anything. */
export const shown = (name: string) => name.slice(0, 128).replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?')

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** `wanted`: the only ones that are looked at. */
export function readTools(raw: readonly Raw[], wanted: readonly string[] | undefined): Listed {
  const tools = new Map<string, Declared>()
  const refused = new Set<string>()
  let size = 0
  for (const { name, description = '', inputSchema, annotations } of raw) {
    if ((wanted && !wanted.includes(name)) || tools.has(name)) continue
    const declared = declaredOf(name, description, inputSchema, annotations)
    const own = declared ? JSON.stringify(declared).length : 0
    if (!declared || size + own > MOST_IN_ALL) refused.add(shown(name))
    else {
      size += own
      tools.set(name, declared)
    }
  }
  return { tools: [...tools.values()], refused: [...refused] }
}

function declaredOf(name: string, description: string, schema: unknown, annotations: Raw['annotations']): Declared | undefined {
  if (!PRINTABLE.test(name) || description.length > MOST_DESCRIPTION) return undefined
  if (!isRecord(schema) || schema.type !== 'object' || !isShallow(schema, DEEPEST)) return undefined
  if (JSON.stringify(schema).length > MOST_SCHEMA) return undefined
  // Every provider wants the fields; none wants the address of the grammar.
  const { $schema: _, ...rest } = schema
  const parameters = isRecord(rest.properties) ? rest : { ...rest, properties: {} }
  return { name, description, parameters, harmlessTwice: annotations?.readOnlyHint === true || annotations?.idempotentHint === true }
}

function isShallow(value: unknown, left: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  return left > 0 && Object.values(value).every((inner) => isShallow(inner, left - 1))
}

/** The same for the same declaration, in whatever order its keys came. */
export const digestOf = (declared: Declared): string => createHash('sha256').update(orderedJson(declared)).digest('hex')

/**
 * The name under which a model knows it: `server__tool`. What a model's provider would not take is written otherwise, with a mark that keeps two
 * such names apart; it depends on nothing but the two names.
 */
export function nameFor(server: string, tool: string): string {
  const plain = `${server}__${tool}`
  if (/^[\w-]{1,64}$/.test(plain)) return plain
  const mark = createHash('sha256').update(plain).digest('hex').slice(0, 8)
  return `${plain.replace(/[^\w-]/g, '_').slice(0, 64 - mark.length - 1)}_${mark}`
}
