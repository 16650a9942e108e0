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

function requiredOf(schema: Schema): readonly string[] {
  return (schema.required ?? []) as readonly string[]
}

function rangeProblem(least: unknown, most: unknown, value: number, what: string): string | undefined {
  if (typeof least === 'number' && value < least) return `${what}: must be at least ${least}`
  if (typeof most === 'number' && value > most) return `${what}: must be at most ${most}`
  return undefined
}

/** JSON with the keys in order: equal values have equal texts. For values that fit a schema, whose depth is bounded by it. */
export function orderedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(orderedJson).join(',')}]`
  if (!isRecord(value)) return JSON.stringify(value)
  const fields = Object.keys(value).sort()
  return `{${fields.map((name) => `${JSON.stringify(name)}:${orderedJson(value[name])}`).join(',')}}`
}
