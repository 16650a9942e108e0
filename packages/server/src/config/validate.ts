/** Checks values against fields, collects every problem, and turns units into numbers. */
import type { Field } from '@posthouse/contract'

export interface Problem {
  /** Keys from the root. */
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** Answers the value with defaults and units applied; problems are added to the list. */
export function checkObject(
  value: unknown,
  fields: Readonly<Record<string, Field>>,
  required: readonly string[],
  path: readonly (string | number)[],
  problems: Problem[],
): Record<string, unknown> {
  if (value !== undefined && value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    problems.push({ path, message: `expected a section with keys, found ${nameOf(value)}` })
    return {}
  }
  const given = (value ?? {}) as Record<string, unknown>
  const checked: Record<string, unknown> = {}
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(fields, key)) continue
    const near = nearest(key, Object.keys(fields))
    problems.push({
      path: [...path, key],
      message: `unknown key.${near ? ` Did you mean "${near}"?` : ` Known keys: ${Object.keys(fields).join(', ')}.`}`,
    })
  }
  for (const [key, field] of Object.entries(fields)) {
    const raw = given[key]
    if (raw === undefined || raw === null) {
      if (required.includes(key)) problems.push({ path: [...path, key], message: `missing. ${field.description.en}` })
      if (field.fields && Object.keys(field.fields).length > 0)
        checked[key] = checkObject(undefined, field.fields, field.required ?? [], [...path, key], problems)
      else if (field.default !== undefined) checked[key] = checkValue(field.default, field, [...path, key], problems)
      continue
    }
    checked[key] = checkValue(raw, field, [...path, key], problems)
  }
  return checked
}

function checkValue(value: unknown, field: Field, path: readonly (string | number)[], problems: Problem[]): unknown {
  const problem = (message: string) => {
    problems.push({ path, message })
    return undefined
  }
  switch (field.type) {
    case 'object':
      if (field.fields) return checkObject(value, field.fields, field.required ?? [], path, problems)
      return checkMap(value, path, problems)
    case 'array':
      return checkList(value, field, path, problems)
    case 'boolean':
      return typeof value === 'boolean' ? value : problem(`expected true or false, found ${nameOf(value)}`)
    case 'integer':
    case 'number':
      return checkNumber(value, field, problem)
    case 'string':
      return checkText(value, field, problem)
  }
}

function checkMap(value: unknown, path: readonly (string | number)[], problems: Problem[]): Record<string, string> {
  const map: Record<string, string> = {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push({ path, message: `expected names with texts, found ${nameOf(value)}` })
    return map
  }
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry === 'string' || typeof entry === 'number') map[key] = String(entry)
    else problems.push({ path: [...path, key], message: `expected a text, found ${nameOf(entry)}` })
  }
  return map
}

function checkList(value: unknown, field: Field, path: readonly (string | number)[], problems: Problem[]): unknown[] {
  if (!Array.isArray(value)) {
    problems.push({ path, message: `expected a list, found ${nameOf(value)}` })
    return []
  }
  return value.map((entry, index) => {
    const kind = field.items?.type ?? 'string'
    const fits =
      kind === 'id'
        ? typeof entry === 'string' || Number.isSafeInteger(entry)
        : kind === 'integer'
          ? Number.isSafeInteger(entry)
          : typeof entry === 'string'
    if (!fits)
      problems.push({
        path: [...path, index],
        message: `expected ${kind === 'integer' ? 'a whole number' : 'a text'}, found ${nameOf(entry)}`,
      })
    return kind === 'id' ? String(entry) : entry
  })
}

function checkNumber(value: unknown, field: Field, problem: (message: string) => undefined): number | undefined {
  if (typeof value !== 'number' || !Number.isFinite(value)) return problem(`expected a number, found ${nameOf(value)}`)
  if (field.type === 'integer' && !Number.isSafeInteger(value)) return problem(`expected a whole number, found ${value}`)
  if (field.minimum !== undefined && value < field.minimum) return problem(`must be at least ${field.minimum}, is ${value}`)
  if (field.maximum !== undefined && value > field.maximum) return problem(`must be at most ${field.maximum}, is ${value}`)
  return value
}

const UNITS: Record<'duration' | 'size', Record<string, number>> = {
  duration: { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 },
  size: { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 },
}

function checkText(value: unknown, field: Field, problem: (message: string) => undefined): string | number | undefined {
  if (field.format === 'duration' || field.format === 'size') {
    const units = UNITS[field.format]
    const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(String(value))
    const unit = Object.entries(units).find(([name]) => name.toLowerCase() === match?.[2]?.toLowerCase())?.[1]
    if (!match?.[1] || unit === undefined) {
      const example = field.format === 'duration' ? '30s, 5m, 1h' : '500KB, 50MB'
      return problem(`expected a ${field.format} with a unit (${example}), found ${nameOf(value)}`)
    }
    return Math.round(Number(match[1]) * unit)
  }
  // A token that looks like a number is written without quotes more often than not.
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string') return problem(`expected a text, found ${nameOf(value)}`)
  if (field.enum && !field.enum.includes(text)) {
    const near = nearest(text, field.enum)
    return problem(`"${text}" is not one of: ${field.enum.join(', ')}.${near ? ` Did you mean "${near}"?` : ''}`)
  }
  if (field.format === 'url' && !isUrl(text)) return problem('expected an address that begins with http:// or https://')
  if (field.pattern && !new RegExp(field.pattern).test(text)) {
    const shown = field.format === 'secret' ? 'the value' : `"${text}"`
    return problem(`${shown} does not have the expected form. ${field.description.en}`)
  }
  return text
}

function isUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
}

function nameOf(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a section'
  if (typeof value === 'string') return 'a text'
  return `the ${typeof value} ${String(value)}`
}

/** The known word that a mistyped one most likely means; undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const most = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  let least = most + 1
  for (const candidate of known) {
    const distance = distanceOf(word.toLowerCase(), candidate.toLowerCase())
    if (distance < least) {
      least = distance
      best = candidate
    }
  }
  return best
}

/** Edits (insert, delete, replace, swap of neighbours) from one word to the other. */
function distanceOf(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min((rows[i - 1]?.[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (rows[i - 1]?.[j - 1] ?? 0) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, (rows[i - 2]?.[j - 2] ?? 0) + 1)
      row.push(least)
    }
    rows.push(row)
  }
  return rows[a.length]?.[b.length] ?? 0
}
