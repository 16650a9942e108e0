/**
 * What the owner writes to say where things stand (paths, CEL) and how they are written (Liquid). Neither can do anything but look at what it is
 * given; both have limits. https://cel.dev https://liquidjs.com
 */
import { isPosthouseError, PosthouseError } from '@posthouse/contract'

/** What expressions see: plain data, whole numbers as BigInt. */
export type Scope = Readonly<Record<string, unknown>>
export type Evaluate<T> = (scope: Scope) => T

/** How what is put in is written: as it is, for a part of an address, or for one line. */
export type Escape = 'plain' | 'url' | 'line'

export interface Expressions {
  /** A path (`body.user.id`) or CEL. Undefined where what it names is not there. @throws PosthouseError `invalid` when it is malformed */
  value(source: string): Evaluate<unknown>
  /** The same as a text; undefined for what is absent, null or no text, number or truth. */
  text(source: string): Evaluate<string | undefined>
  /** True only when it is true. */
  condition(source: string): Evaluate<boolean>
  /** Liquid. @throws PosthouseError `invalid` when it is malformed */
  template(source: string, as?: Escape): Evaluate<string>
  /** Data whose texts are templates, or behind `=` expressions; what is absent is left out. */
  data(source: unknown): Evaluate<unknown>
}

/** Words of CEL that look like a path. */
const LITERAL = /^(?:true|false|null)$/
const PATH = /^[A-Za-z_]\w*(?:\.[A-Za-z_][\w-]*|\[\d{1,4}\])*$/
const MOST_SOURCE = 4000
/** CEL: `no_such_key` and `index_out_of_bounds` are what is not there, not what is wrong. */
const ABSENT = new Set(['no_such_key', 'index_out_of_bounds'])

const MOST_PATTERN = 1000
const MOST_PATTERNS = 100
/**
 * CEL's `matches` is RE2, whose time grows with the text alone. The library's is JavaScript's, which thirty characters of a stranger can keep
 * busy for ever, and all conversations with it. It cannot be replaced, so calls of it are given to this one.
 */
const LINEAR = 'matchesInLinearTime'

/** Loads the two languages; only accounts that need them do. */
export async function loadExpressions(): Promise<Expressions> {
  const [{ Environment }, { Liquid }, { RE2JS }] = await Promise.all([import('@marcbachmann/cel-js'), import('liquidjs'), import('re2js')])
  const patterns = new Map<string, InstanceType<typeof RE2JS>>()
  const patternOf = (source: string) => {
    if (source.length > MOST_PATTERN) throw new Error(`a pattern has at most ${MOST_PATTERN} characters`)
    const known = patterns.get(source)
    if (known) return known
    const made = RE2JS.compile(source)
    if (patterns.size >= MOST_PATTERNS) patterns.clear()
    patterns.set(source, made)
    return made
  }
  const cel = new Environment({
    unlistedVariablesAreDyn: true,
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
    limits: { maxAstNodes: 500, maxDepth: 30, maxListElements: 100, maxMapEntries: 100 },
  }).registerFunction(`string.${LINEAR}(string): bool`, (text: string, pattern: string) => patternOf(pattern).matcher(text).find())
  /** What an expression is made of, with `matches` in linear time. @throws when a pattern that stands in it is none. */
  const parse = (source: string) => {
    const evaluate = cel.parse(source)
    const walk = (part: unknown) => {
      if (Array.isArray(part)) for (const inner of part) walk(inner)
      else if (typeof part === 'object' && part !== null && 'op' in part && 'args' in part) {
        const { op, args } = part
        if (op === 'rcall' && Array.isArray(args) && args[0] === 'matches') {
          args[0] = LINEAR
          const [pattern] = args[2] as { readonly op: string; readonly args: unknown }[]
          if (pattern?.op === 'value' && typeof pattern.args === 'string') patternOf(pattern.args)
        }
        walk(args)
      }
    }
    walk(evaluate.ast)
    return evaluate
  }
  const escapes: Readonly<Record<Escape, (value: unknown) => string>> = {
    plain: shown,
    url: (value) => encodeURIComponent(shown(value).toWellFormed()),
    line: (value) => shown(value).replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' '),
  }
  // No file is ever read by a template: what could be included stands in an empty map.
  const limits = {
    ownPropertyOnly: true,
    strictFilters: true,
    templates: {},
    parseLimit: 100_000,
    renderLimit: 500,
    memoryLimit: 2_000_000,
  }
  const engines = Object.fromEntries(Object.entries(escapes).map(([name, outputEscape]) => [name, new Liquid({ ...limits, outputEscape })]))

  const compile = <T>(source: string, make: () => T): T => {
    if (source.length > MOST_SOURCE) throw new PosthouseError('invalid', `an expression has at most ${MOST_SOURCE} characters`)
    try {
      return make()
    } catch (error) {
      throw new PosthouseError('invalid', `${source.slice(0, 60)}: ${firstLine(error)}`)
    }
  }
  const value: Expressions['value'] = (source) => {
    if (PATH.test(source) && !LITERAL.test(source)) return pathOf(source)
    const evaluate = compile(source, () => parse(source))
    return (scope) => {
      try {
        return evaluate(scope as never)
      } catch (error) {
        if (ABSENT.has((error as { code?: string }).code ?? '')) return undefined
        throw new PosthouseError('invalid', `${source.slice(0, 60)}: ${firstLine(error)}`)
      }
    }
  }
  const template: Expressions['template'] = (source, as = 'plain') => {
    if (!source.includes('{')) return () => source
    const engine = engines[as]
    const parsed = compile(source, () => engine?.parse(source) ?? [])
    return (scope) => {
      try {
        return String(engine?.renderSync(parsed, scope as object))
      } catch (error) {
        throw new PosthouseError('invalid', `${source.slice(0, 60)}: ${firstLine(error)}`)
      }
    }
  }
  const data: Expressions['data'] = (source) => {
    if (typeof source === 'string') return source.startsWith('=') ? value(source.slice(1).trim()) : template(source)
    if (Array.isArray(source)) {
      const entries = source.map(data)
      return (scope) => entries.map((entry) => entry(scope)).filter((entry) => entry !== undefined)
    }
    if (typeof source !== 'object' || source === null) return () => source
    const entries = Object.entries(source).map(([key, entry]) => [key, data(entry)] as const)
    return (scope) => Object.fromEntries(entries.map(([key, entry]) => [key, entry(scope)]).filter(([, entry]) => entry !== undefined))
  }
  return {
    value,
    template,
    data,
    text: (source) => {
      const evaluate = value(source)
      return (scope) => {
        const found = evaluate(scope)
        return typeof found === 'string' || typeof found === 'number' || typeof found === 'bigint' || typeof found === 'boolean'
          ? String(found)
          : undefined
      }
    },
    condition: (source) => {
      const evaluate = value(source)
      return (scope) => evaluate(scope) === true
    },
  }
}

/** Makes what `key` of a connector describes. @throws PosthouseError `invalid` that names the key */
export function compiled<T>(key: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw isPosthouseError(error) ? new PosthouseError(error.code, `${key}: ${error.detail ?? ''}`) : error
  }
}

function pathOf(source: string): Evaluate<unknown> {
  const keys = source.split(/[.[\]]+/).filter((key) => key !== '')
  return (scope) =>
    keys.reduce<unknown>(
      (inner, key) => (typeof inner === 'object' && inner !== null && Object.hasOwn(inner, key) ? (inner as Scope)[key] : undefined),
      scope,
    )
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return ''
  return typeof value === 'object' ? toJson(value) : String(value)
}

const firstLine = (error: unknown) => (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''

// ---- JSON with whole numbers that stay whole --------------------------------------------------------------------------

/** Names that mean something to the language itself are left out. */
const REFUSED = new Set(['__proto__', 'constructor', 'prototype'])

/** Whole numbers become BigInt, so that no id loses its last digits. @throws PosthouseError `invalid` */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes), whole)
  } catch {
    throw new PosthouseError('invalid', 'the body is not JSON in UTF-8')
  }
}

function whole(key: string, value: unknown, at?: { readonly source?: string }): unknown {
  if (REFUSED.has(key)) return undefined
  return typeof value === 'number' && at?.source !== undefined && /^-?\d{1,40}$/.test(at.source) ? BigInt(at.source) : value
}

export function toJson(value: unknown): string {
  const raw = (JSON as { rawJSON?: (text: string) => unknown }).rawJSON
  return (
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? (raw?.(String(inner)) ?? Number(inner)) : inner)) ?? ''
  )
}
