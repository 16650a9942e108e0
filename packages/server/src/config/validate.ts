/** Checks values against fields, collects every problem, and turns units into numbers. */
import type { Bilingual, Field } from '@posthouse/contract'

export interface Position {
  readonly line: number
  readonly column: number
  /** Its name; the configuration itself unless given. */
  readonly file?: string
}

export interface Problem {
  /** Keys from the root. */
  readonly path: readonly (string | number)[]
  readonly message: Bilingual
  /** Where, for what has no path: a place that is no YAML. */
  readonly at?: Position
}

export const words = (en: string, zh: string): Bilingual => ({ en, zh })

/** A value as a message may show it. A long one could be a secret that was put into the wrong place; its position says enough. */
export function shown(value: unknown): Bilingual {
  const text = String(value)
  return text.length > MOST_SHOWN || /:\/\/.*@/.test(text) ? words('the value', '该值') : words(`"${text}"`, `“${text}”`)
}
const MOST_SHOWN = 24

/** Answers the value with defaults and units applied; problems are added to the list. */
export function checkObject(
  value: unknown,
  fields: Readonly<Record<string, Field>>,
  required: readonly string[],
  path: readonly (string | number)[],
  problems: Problem[],
): Record<string, unknown> {
  if (value !== undefined && value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    problems.push({ path, message: expected('a section with keys', '一组键', value) })
    return {}
  }
  const given = (value ?? {}) as Record<string, unknown>
  const checked: Record<string, unknown> = {}
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(fields, key)) problems.push({ path: [...path, key], message: unknownKey(key, Object.keys(fields)) })
  }
  for (const [key, field] of Object.entries(fields)) {
    const raw = Object.hasOwn(given, key) ? given[key] : undefined
    if (raw === undefined || raw === null) {
      if (required.includes(key))
        problems.push({ path: [...path, key], message: words(`missing. ${field.description.en}`, `缺少此项。${field.description.zh}`) })
      if (field.fields && Object.keys(field.fields).length > 0)
        checked[key] = checkObject(undefined, field.fields, field.required ?? [], [...path, key], problems)
      else if (field.default !== undefined) checked[key] = defaultOf(field)
      continue
    }
    checked[key] = checkValue(raw, field, [...path, key], problems)
  }
  return checked
}

function unknownKey(key: string, known: readonly string[]): Bilingual {
  const near = nearest(key, known)
  if (near) return words(`unknown key. Did you mean "${near}"?`, `未知的键。是否想写“${near}”？`)
  return words(`unknown key. Known keys: ${known.join(', ')}.`, `未知的键。可用的键：${known.join('、')}。`)
}

/** A default with a unit becomes its number, like a value; a default that is a number is one already. */
export function defaultOf(field: Field): unknown {
  // What has a unit and is a number stands for the number that a unit would make.
  return field.format && typeof field.default === 'number' ? field.default : checkValue(field.default, field, [], [])
}

type Report = (message: Bilingual) => undefined

function checkValue(value: unknown, field: Field, path: readonly (string | number)[], problems: Problem[]): unknown {
  const problem = (message: Bilingual) => {
    problems.push({ path, message })
    return undefined
  }
  if (field.format === 'duration' || field.format === 'size') return checkUnit(value, field, field.format, problem)
  switch (field.type) {
    case 'object':
      if (field.fields) return checkObject(value, field.fields, field.required ?? [], path, problems)
      return checkMap(value, path, problems)
    case 'array':
      return checkList(value, field, path, problems)
    case 'boolean':
      // What came from a variable is a text.
      if (value === 'true' || value === 'false') return value === 'true'
      return typeof value === 'boolean' ? value : problem(expected('true or false', ' true 或 false', value))
    case 'integer':
    case 'number':
      return checkNumber(value, field, problem)
    case 'string':
      return checkText(value, field, problem)
    case 'any':
      return value
  }
}

function checkMap(value: unknown, path: readonly (string | number)[], problems: Problem[]): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push({ path, message: expected('names with texts', '名称与文本的对应', value) })
    return {}
  }
  const entries: [string, string][] = []
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry === 'string' || typeof entry === 'number') entries.push([key, String(entry)])
    else problems.push({ path: [...path, key], message: expected('a text', '文本', entry) })
  }
  return Object.fromEntries(entries)
}

function checkList(value: unknown, field: Field, path: readonly (string | number)[], problems: Problem[]): unknown[] {
  if (!Array.isArray(value)) {
    problems.push({ path, message: expected('a list', '列表', value) })
    return []
  }
  const kind = field.items?.type ?? 'string'
  return value.map((entry, index) => {
    const fits =
      kind === 'integer' ? Number.isSafeInteger(entry) : typeof entry === 'string' || (kind === 'id' && Number.isSafeInteger(entry))
    if (fits) return kind === 'id' ? String(entry) : entry
    const message =
      kind === 'id' && typeof entry === 'number'
        ? words('this number cannot be read exactly; write it in quotes', '该数字无法精确读取；请加引号')
        : kind === 'integer'
          ? expected('a whole number', '整数', entry)
          : expected('a text', '文本', entry)
    problems.push({ path: [...path, index], message })
    return undefined
  })
}

function checkNumber(value: unknown, field: Field, problem: Report): number | undefined {
  const number = typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isFinite(number)) return problem(expected('a number', '数字', value))
  if (field.type === 'integer' && !Number.isSafeInteger(number)) return problem(expected('a whole number', '整数', number))
  return withinLimits(number, field, String, problem)
}

function withinLimits(number: number, field: Field, format: (value: number) => string, problem: Report): number | undefined {
  const { minimum, maximum } = field
  const is = format(number)
  if (minimum !== undefined && number < minimum)
    return problem(words(`must be at least ${format(minimum)}, is ${is}`, `不得小于 ${format(minimum)}，现为 ${is}`))
  if (maximum !== undefined && number > maximum)
    return problem(words(`must be at most ${format(maximum)}, is ${is}`, `不得大于 ${format(maximum)}，现为 ${is}`))
  return number
}

const UNITS: Readonly<Record<'duration' | 'size', Readonly<Record<string, number>>>> = {
  duration: { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 },
  size: { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 },
}
const EXAMPLES = { duration: '30s, 5m, 1h', size: '500KB, 50MB' }
/** Timers count in 31 bits of milliseconds and would fire at once beyond. */
const LONGEST = 24 * 86_400_000

function checkUnit(value: unknown, field: Field, format: 'duration' | 'size', problem: Report): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(String(value))
  const unit = Object.entries(UNITS[format]).find(([name]) => name.toLowerCase() === match?.[2]?.toLowerCase())?.[1]
  if (value !== 0 && (!match?.[1] || unit === undefined)) {
    return problem(
      expected(
        `a ${format} with a unit (${EXAMPLES[format]})`,
        `带单位的${format === 'duration' ? '时长' : '大小'}（${EXAMPLES[format]}）`,
        value,
      ),
    )
  }
  const number = value === 0 ? 0 : Math.round(Number(match?.[1]) * (unit ?? 0))
  const maximum = field.maximum ?? (format === 'duration' ? LONGEST : Number.MAX_SAFE_INTEGER)
  return withinLimits(number, { ...field, maximum }, (amount) => formatUnit(amount, format), problem)
}

/** A number as a person writes it: in the largest unit that divides it. */
export function formatUnit(amount: number, format: 'duration' | 'size'): string {
  const [name, factor] = Object.entries(UNITS[format]).findLast(([, size]) => amount % size === 0 && amount >= size) ?? ['', 1]
  return `${amount / factor}${name}`
}

function checkText(value: unknown, field: Field, problem: Report): string | undefined {
  // A token that looks like a number is written without quotes more often than not.
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text !== 'string') return problem(expected('a text', '文本', value))
  if (field.enum && !field.enum.includes(text)) {
    const near = nearest(text, field.enum)
    const { en, zh } = shown(text)
    return problem(
      words(
        `${en} is not one of: ${field.enum.join(', ')}.${near ? ` Did you mean "${near}"?` : ''}`,
        `${zh}不在可选值之中：${field.enum.join('、')}。${near ? `是否想写“${near}”？` : ''}`,
      ),
    )
  }
  if (field.format === 'url' && !isUrl(text))
    return problem(words('expected an address that begins with http:// or https://', '应为以 http:// 或 https:// 开头的地址'))
  if (field.pattern && !new RegExp(field.pattern).test(text)) {
    const { en, zh } = field.format === 'secret' ? words('the value', '该值') : shown(text)
    return problem(words(`${en} does not have the expected form. ${field.description.en}`, `${zh}的格式不正确。${field.description.zh}`))
  }
  return text
}

function isUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
}

export function expected(en: string, zh: string, found: unknown): Bilingual {
  const { en: foundEn, zh: foundZh } = nameOf(found)
  return words(`expected ${en}, found ${foundEn}`, `应为${zh}，实为${foundZh}`)
}

function nameOf(value: unknown): Bilingual {
  if (value === null || value === undefined) return words('nothing', '空')
  if (Array.isArray(value)) return words('a list', '列表')
  if (typeof value === 'object') return words('a section', '一组键')
  if (typeof value === 'string') return words('a text', '文本')
  return words(`the ${typeof value} ${String(value)}`, ` ${String(value)}`)
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
