/**
 * Writes the tables of docs/reference from the data that the product itself uses: node scripts/run.mjs scripts/reference.ts
 *
 * Prose is written by hand; a table stands between `<!-- table: NAME -->` and `<!-- end -->`.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { deliveryFailureActions, deliverySteps, errorTable, type Field } from '@posthouse/contract'
import { catalog } from '../packages/server/src/catalog.ts'
import { commandTable, exitCodes, globalOptions } from '../packages/server/src/cli/commands.ts'
import { allKeys, type Key } from '../packages/server/src/cli/config.ts'
import { formatUnit, jsonSchema } from '../packages/server/src/config/index.ts'
import { metricTable } from '../packages/server/src/ops/index.ts'
import { inboxSteps, toolCallSteps } from '../packages/server/src/ports/store.ts'
import { actionWords, metricWords, stateWords } from './reference-words.ts'

type Language = 'en' | 'zh'

const root = join(import.meta.dirname, '..')
export const referenceFolder = join(root, 'docs/reference')
export const schemaFile = join(referenceFolder, 'posthouse.schema.json')
export const pageNames = ['commands', 'configuration', 'errors', 'metrics', 'states'] as const
const languages: readonly Language[] = ['en', 'zh']

export const pagePath = (page: string, language: Language) => join(referenceFolder, `${page}${language === 'zh' ? '.zh' : ''}.md`)

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')
const code = (text: string) => `\`${text}\``

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** Every table by its name. */
export function tables(language: Language): Readonly<Record<string, string>> {
  const t = ({ en, zh }: { readonly en: string; readonly zh: string }) => (language === 'zh' ? zh : en)
  const heads = (en: string, zh: string) => t({ en, zh }).split('|')
  const steps = (words: (typeof stateWords)['inbox'], machine: Readonly<Record<string, readonly string[]>>) =>
    table(
      heads('State|Meaning|May be followed by', '状态|含义|可转为'),
      Object.entries(machine).map(([state, next]) => [code(state), words[state] ? t(words[state]) : '', next.map(code).join(', ') || '-']),
    )
  const keys = (wanted: (key: Key) => boolean) =>
    table(
      heads('Key|Form|Default|Meaning', '键|形式|默认值|含义'),
      allKeys()
        .filter(({ field, name }) => wanted({ name, field, required: false }) && !(field.fields && Object.keys(field.fields).length === 0))
        .map(({ name, field, required }) => [code(name), formOf(field), defaultOf(field, required, t), t(field.description)]),
    )
  const isOwn = ({ name }: Key) => !/^(channels|models\.endpoints)\./.test(name)
  return {
    global: table(
      heads('Option|Meaning', '选项|含义'),
      Object.values(globalOptions).map(([flags, words]) => [code(flags), t(words)]),
    ),
    commands: commandTable
      .map(({ name, args, description, options = [] }) => {
        const head = `### ${code(`posthouse ${name}${args ? ` ${args}` : ''}`)}\n\n${t(description)}${language === 'zh' ? '。' : '.'}`
        const rows = options.map(([flags, words]) => [code(flags), t(words)])
        return rows.length === 0 ? head : `${head}\n\n${table(heads('Option|Meaning', '选项|含义'), rows)}`
      })
      .join('\n\n'),
    exits: table(
      heads('Code|Meaning', '退出码|含义'),
      Object.entries(exitCodes).map(([number, words]) => [number, t(words)]),
    ),
    keys: keys(isOwn),
    ...Object.fromEntries(
      Object.keys(catalog.channels).map((id) => [`channels.${id}`, keys(({ name }) => name.startsWith(`channels.${id}.`))]),
    ),
    ...Object.fromEntries(
      Object.keys(catalog.providers).map((id) => [
        `models.endpoints.${id}`,
        keys(({ name }) => name.startsWith(`models.endpoints.${id}.`)),
      ]),
    ),
    errors: table(
      heads('Code|HTTP|Meaning', '错误码|HTTP|含义'),
      Object.entries(errorTable).map(([name, { status, ...words }]) => [code(name), String(status), t(words)]),
    ),
    metrics: table(
      heads('Name|Kind|Labels|Meaning', '名称|类型|标签|含义'),
      metricTable.map(([name, kind, help, labels]) => [
        code(name),
        kind,
        labels.map(code).join(', ') || '-',
        t({ en: help, zh: metricWords[name] ?? '' }),
      ]),
    ),
    inbox: steps(stateWords.inbox, inboxSteps),
    delivery: steps(stateWords.delivery, deliverySteps),
    'tool-call': steps(stateWords['tool-call'], toolCallSteps),
    failures: table(
      heads('Kind|Then', '类型|随后'),
      Object.entries(deliveryFailureActions).map(([kind, action]) => [code(kind), actionWords[action] ? t(actionWords[action]) : '']),
    ),
  }
}

function formOf({ type, format, enum: choices, items }: Field): string {
  if (choices) return choices.map(code).join(' / ')
  return type === 'array' ? `[${items?.type ?? 'string'}]` : (format ?? type)
}

function defaultOf({ default: initial, format }: Field, required: boolean, t: (words: { en: string; zh: string }) => string): string {
  if (required) return t({ en: 'required', zh: '必填' })
  if (initial === undefined) return '-'
  return code(
    typeof initial === 'number' && (format === 'duration' || format === 'size') ? formatUnit(initial, format) : JSON.stringify(initial),
  )
}

const SLOT = /<!-- table: (\S+) -->\n[\s\S]*?<!-- end -->/g

/** The page with its tables as the data has them. @throws when it names a table that is not there. */
export function fill(page: string, language: Language): string {
  const known = tables(language)
  return page.replace(SLOT, (_, name: string) => {
    if (known[name] === undefined) throw new Error(`there is no table ${name}`)
    return `<!-- table: ${name} -->\n${known[name]}\n<!-- end -->`
  })
}

/** Names of the tables that a page shows. */
export const slotsOf = (page: string): readonly string[] => [...page.matchAll(SLOT)].map((match) => match[1] ?? '')

export const schemaText = () => JSON.stringify(jsonSchema(catalog), null, 2)

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const page of pageNames) {
    for (const language of languages) {
      const path = pagePath(page, language)
      writeFileSync(path, fill(readFileSync(path, 'utf8'), language))
    }
  }
  writeFileSync(schemaFile, schemaText())
  const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
  process.exitCode = spawnSync(process.execPath, [biome, 'format', '--write', schemaFile], { stdio: 'inherit' }).status ?? 1
}
