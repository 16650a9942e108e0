/** `posthouse config`: the same check as at the start, the schema for editors, and what a key means. */
import type { Field } from '@posthouse/contract'
import { catalog } from '../catalog.ts'
import { accountFields, endpointFields, findConfig, jsonSchema, loadConfig, nearest, rootFields } from '../config/index.ts'
import type { Call } from './program.ts'
import { CliError } from './terminal.ts'

export async function checkConfig({ config, terminal }: Call): Promise<void> {
  const folder = process.cwd()
  const { path, problems, notices } = loadConfig(findConfig(config, process.env, folder), catalog, process.env, folder)
  const lines = [
    ...problems.map(({ text, account }) => (account ? `${text} (the account ${account} stays closed)` : text)),
    ...notices.map((notice) => `note: ${notice}`),
  ]
  if (problems.length > 0) {
    if (terminal.json)
      terminal.result(
        { ok: false, problems: problems.map(({ text, path: keys, message }) => ({ text, path: keys, message })), notices },
        '',
      )
    else process.stderr.write(`${lines.join('\n')}\n`)
    process.exitCode = 2
    return
  }
  const ok = path
    ? `${path}: ${terminal.t({ en: 'no problems.', zh: '没有问题。' })}`
    : terminal.t({ en: 'No configuration file; the defaults apply.', zh: '没有配置文件，使用默认值。' })
  terminal.result({ ok: true, path, notices }, [ok, ...lines].join('\n'), path ? 'posthouse doctor' : 'posthouse init')
}

export async function printSchema(): Promise<void> {
  process.stdout.write(`${JSON.stringify(jsonSchema(catalog), null, 2)}\n`)
}

interface Key {
  readonly name: string
  readonly field: Field
}

/** All keys as paths; `channels.telegram.token`, `models.endpoints.openai.base_url`. */
export function allKeys(): readonly Key[] {
  const walk = (fields: Readonly<Record<string, Field>>, prefix: string): Key[] =>
    Object.entries(fields).flatMap(([name, field]) => [
      { name: `${prefix}${name}`, field },
      ...(field.fields ? walk(field.fields, `${prefix}${name}.`) : []),
    ])
  return [
    ...walk(rootFields, ''),
    ...Object.values(catalog.channels).flatMap(({ id, settings }) => walk({ ...accountFields, ...settings.fields }, `channels.${id}.`)),
    ...Object.values(catalog.providers).flatMap(({ id, settings }) =>
      walk({ ...endpointFields, ...settings.fields }, `models.endpoints.${id}.`),
    ),
  ]
}

export async function explainConfig({ terminal }: Call, [wanted]: readonly string[]): Promise<void> {
  const keys = allKeys()
  const found = wanted === undefined ? keys : keys.filter(({ name }) => name === wanted || name.startsWith(`${wanted}.`))
  if (found.length === 0) {
    const near = nearest(
      wanted ?? '',
      keys.map(({ name }) => name),
    )
    throw new CliError(`${wanted}: unknown key.${near ? ` Did you mean "${near}"?` : ''}`, 2, 'posthouse config explain')
  }
  const lines = found.map(({ name, field }) => {
    const details = [
      field.format ?? field.type,
      field.enum?.join('|'),
      field.default === undefined ? undefined : `= ${JSON.stringify(field.default)}`,
    ].filter(Boolean)
    return `${name}  (${details.join(', ')})\n    ${field.description[terminal.language]}`
  })
  terminal.result(
    found.map(({ name, field }) => ({
      name,
      type: field.type,
      format: field.format,
      default: field.default,
      enum: field.enum,
      description: field.description,
    })),
    lines.join('\n'),
    'posthouse config check',
  )
}
