/** The settings of one account in a file of their own, for commands that need no more: what stands below `channels.NAME`. */
import type { Bilingual, Channel, Field } from '@posthouse/contract'
import { withConnector } from './connectors.ts'
import { readDocument } from './document.ts'
import { accountFields } from './fields.ts'
import { isSection } from './legacy.ts'
import { checkObject, expected, type Problem, words } from './validate.ts'

interface LoneSettings {
  readonly settings: Record<string, unknown>
  /** What makes them unusable. */
  readonly problems: readonly Bilingual[]
  /** What a gateway would not start with, and what does not matter for reading and rendering. */
  readonly notices: readonly Bilingual[]
}

/** Checks them; what is missing is only a notice, since without a connection no password is needed. */
export function parseSettings(text: string, path: string, channel: Channel, env: NodeJS.ProcessEnv): LoneSettings {
  const document = withConnector(readDocument(text, path, env), path, env)
  const problems: Problem[] = [...document.problems]
  if (!isSection(document.value)) problems.push({ path: [], message: expected('a section with keys', '一组键', document.value) })
  const { type: _, ...given } = isSection(document.value) ? document.value : {}
  const fields = { ...accountFields, ...channel.settings.fields }
  const unknown = Object.keys(given).filter((key) => !Object.hasOwn(fields, key))
  const known = Object.fromEntries(Object.entries(given).filter(([key]) => Object.hasOwn(fields, key)))
  const settings = checkObject(known, withoutPatterns(fields), [], [], problems)
  const strict: Problem[] = []
  checkObject(known, fields, [], [], strict)
  const unusual = strict.filter(({ path: keys }) => !problems.some((problem) => problem.path.join('.') === keys.join('.')))
  const missing = [
    ...channel.settings.required.filter((key) => given[key] === undefined).map((key) => [key]),
    ...problems.filter((problem) => !problem.at && valueAt(document.value, problem.path) === undefined).map(({ path: keys }) => keys),
  ]
  const place = ({ path: keys, message, at }: Problem): Bilingual => {
    const { line, column } = at ?? document.position(keys)
    const where = `${line}:${column}${keys.length > 0 ? ` ${keys.join('.')}` : ''}`
    return words(`${where}: ${message.en}`, `${where}：${message.zh}`)
  }
  return {
    settings,
    problems: problems.filter((problem) => !missing.includes(problem.path as string[])).map(place),
    notices: [
      ...unusual.map(place),
      ...unknown.map((key) => words(`${key}: unknown key, left out`, `${key}：未知的键，已忽略`)),
      ...missing.map((keys) => words(`${keys.join('.')}: missing; a gateway would need it`, `${keys.join('.')}：缺失；网关运行时需要它`)),
    ],
  }
}

/** An invented secret may look like none: what a call is understood as does not depend on it. */
function withoutPatterns(fields: Readonly<Record<string, Field>>): Readonly<Record<string, Field>> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, { pattern: _, ...field }]) => [
      name,
      field.fields ? { ...field, fields: withoutPatterns(field.fields) } : field,
    ]),
  )
}

const valueAt = (value: unknown, path: Problem['path']) =>
  path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value)
