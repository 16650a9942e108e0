/**
 * Arguments of tools, checked against the part of JSON Schema that arguments need. It is strict: fields that are not declared are refused,
 * and a schema with a word that is not understood here is refused when the tool is registered, so that no rule is silently not held.
 */

type Schema = Readonly<Record<string, unknown>>

const NOTES = ['type', 'description', 'title', 'default', 'examples']
const WORDS: Readonly<Record<string, readonly string[]>> = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'minItems', 'maxItems'],
  string: ['enum', 'minLength', 'maxLength'],
  number: ['minimum', 'maximum'],
  integer: ['minimum', 'maximum'],
  boolean: [],
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What of a schema is not understood here; undefined when all of it is. */
export function schemaProblem(schema: unknown, at = 'parameters'): string | undefined {
  if (!isRecord(schema)) return `${at}: not a schema`
  const { type } = schema
  const words = typeof type === 'string' && Object.hasOwn(WORDS, type) ? WORDS[type] : undefined
  if (!words) return `${at}.type: ${JSON.stringify(type)} is not understood`
  const unknown = Object.keys(schema).find((word) => !words.includes(word) && !NOTES.includes(word))
  if (unknown !== undefined) return `${at}.${unknown}: not understood`
  if (type === 'array') return schemaProblem(schema.items, `${at}.items`)
  if (type !== 'object') return undefined
  if (!isRecord(schema.properties)) return `${at}.properties: missing`
  if (schema.additionalProperties !== undefined && schema.additionalProperties !== false) {
    return `${at}.additionalProperties: fields that are not declared are always refused`
  }
  const fields = schema.properties
  const missing = requiredOf(schema).find((name) => !Object.hasOwn(fields, name))
  if (missing !== undefined) return `${at}.required: there is no field ${missing}`
  return Object.entries(fields)
    .map(([name, field]) => schemaProblem(field, `${at}.properties.${name}`))
    .find((problem) => problem !== undefined)
}

/** Why `value` does not fit; undefined when it does. */
export function argumentProblem(schema: Schema, value: unknown, at = 'arguments'): string | undefined {
  switch (schema.type) {
    case 'object': {
      if (!isRecord(value)) return `${at}: must be an object`
      const fields = schema.properties as Record<string, Schema>
      const missing = requiredOf(schema).find((name) => !Object.hasOwn(value, name))
      if (missing !== undefined) return `${at}.${missing}: missing`
      for (const [name, held] of Object.entries(value)) {
        const field = Object.hasOwn(fields, name) ? fields[name] : undefined
        if (!field) return `${at}: there is no field ${JSON.stringify(name.slice(0, 100))}`
        const problem = argumentProblem(field, held, `${at}.${name}`)
        if (problem) return problem
      }
      return undefined
    }
    case 'array': {
      if (!Array.isArray(value)) return `${at}: must be an array`
      const problem = rangeProblem(schema.minItems, schema.maxItems, value.length, `${at}: the number of items`)
      if (problem) return problem
      for (const [index, item] of value.entries()) {
        const wrong = argumentProblem(schema.items as Schema, item, `${at}[${index}]`)
        if (wrong) return wrong
      }
      return undefined
    }
    case 'string':
      if (typeof value !== 'string') return `${at}: must be a string`
      if (Array.isArray(schema.enum) && !schema.enum.includes(value)) return `${at}: must be one of ${schema.enum.join(', ')}`
      return rangeProblem(schema.minLength, schema.maxLength, value.length, `${at}: the length`)
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `${at}: must be true or false`
    default:
      if (typeof value !== 'number' || !Number.isFinite(value)) return `${at}: must be a number`
      if (schema.type === 'integer' && !Number.isSafeInteger(value)) return `${at}: must be a whole number`
      return rangeProblem(schema.minimum, schema.maximum, value, at)
  }
}

/** Deeper values are refused: everything here that looks at them calls itself. */
const DEEPEST = 64
const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isRecord,
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  integer: Number.isSafeInteger,
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
}

/**
 * The same for a schema that somebody else wrote. Checked are `type` (one or several), `enum`, `const`, `properties`, `required`,
 * `additionalProperties: false`, `items`, and the limits of lengths, numbers and counts. What else it says (patterns, formats, references,
 * alternatives) is left to whom the call goes to: a pattern of a stranger's can keep a processor busy for ever.
 */
export function serverArgumentProblem(schema: unknown, value: unknown, at = 'arguments', depth = 0): string | undefined {
  if (depth > DEEPEST) return `${at.slice(0, 100)}: deeper than ${DEEPEST} levels`
  const rules = isRecord(schema) ? schema : {}
  const types = (Array.isArray(rules.type) ? rules.type : [rules.type]).filter((type): type is string => typeof type === 'string')
  if (types.length > 0 && types.every((type) => Object.hasOwn(TYPES, type) && !TYPES[type]?.(value)))
    return `${at}: must be ${types.join(' or ')}`
  const choices = 'const' in rules ? [rules.const] : rules.enum
  if (Array.isArray(choices) && !choices.some((choice) => sameJson(choice, value)))
    return `${at}: must be one of ${choices
      .slice(0, 20)
      .map((choice) => String(JSON.stringify(choice)).slice(0, 100))
      .join(', ')}`
  if (typeof value === 'string') return rangeProblem(rules.minLength, rules.maxLength, value.length, `${at}: the length`)
  if (typeof value === 'number') return rangeProblem(rules.minimum, rules.maximum, value, at)
  if (Array.isArray(value)) {
    const { items } = rules
    return (
      rangeProblem(rules.minItems, rules.maxItems, value.length, `${at}: the number of items`) ??
      firstProblem(value.entries(), ([index, item]) => serverArgumentProblem(items, item, `${at}[${index}]`, depth + 1))
    )
  }
  if (!isRecord(value)) return undefined
  const fields = isRecord(rules.properties) ? rules.properties : {}
  const missing = (Array.isArray(rules.required) ? rules.required : []).find((name) => !Object.hasOwn(value, String(name)))
  if (missing !== undefined) return `${at}.${missing}: missing`
  return firstProblem(Object.entries(value), ([name, held]) => {
    const own = Object.hasOwn(fields, name)
    if (!own && rules.additionalProperties === false && !('patternProperties' in rules))
      return `${at}: there is no field ${JSON.stringify(name.slice(0, 100))}`
    return serverArgumentProblem(own ? fields[name] : undefined, held, `${at}.${name}`, depth + 1)
  })
}

function firstProblem<T>(entries: Iterable<T>, problemOf: (entry: T) => string | undefined): string | undefined {
  for (const entry of entries) {
    const problem = problemOf(entry)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** What is no plain value is compared by its text; an author of a schema bounds its depth. */
function sameJson(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === 'object' && typeof b === 'object' && JSON.stringify(a) === JSON.stringify(b))
}

function requiredOf(schema: Schema): readonly string[] {
  return (schema.required ?? []) as readonly string[]
}

function rangeProblem(least: unknown, most: unknown, value: number, what: string): string | undefined {
  if (typeof least === 'number' && value < least) return `${what}: must be at least ${least}`
  if (typeof most === 'number' && value > most) return `${what}: must be at most ${most}`
  return undefined
}
