/** `posthouse config`: the same check as at the start, the schema for editors, and what a key means. */
import { type Field, isPosthouseError } from '@posthouse/contract'
import { catalog } from '../catalog.ts'
import { accountFields, endpointFields, jsonSchema, type Loaded, mcpFields, nearest, rootFields } from '../config/index.ts'
import type { Call, Options } from './call.ts'
import { loadHere } from './local.ts'
import { CliError, type Terminal, type Words } from './terminal.ts'

/** Passes exactly when `posthouse start` would start: an account that stays closed is told, and a failure only when it is asked for. */
export async function checkConfig({ config, terminal }: Call, _args: readonly string[], options: Options): Promise<void> {
  const { t } = terminal
  const loaded = loadHere(config)
  const { path, problems, notices } = loaded
  const malformed = await malformedIn(loaded)
  const count = problems.length + malformed.length
  const ok = loaded.config !== undefined && (options.strict !== true || count === 0)
  const lines = [...problemLines(loaded, terminal), ...malformed.map(({ text, account }) => `${text}${t(closedWords(account))}`)]
  const verdict = verdictOf(path, ok, count)
  process.exitCode = ok ? 0 : 2
  terminal.result(
    {
      ok,
      path,
      problems: [
        ...problems.map(({ text, path: keys, message, account }) => ({ text: t(text), path: keys, message: t(message), account })),
        ...malformed,
      ],
      notices: notices.map(t),
    },
    [...lines, t(verdict)].join('\n'),
    !ok ? 'posthouse config explain' : path ? 'posthouse doctor' : 'posthouse init',
  )
}

/** What a channel finds wrong when it makes ready to read: expressions of a connector, for example. */
async function malformedIn({ config }: Loaded) {
  const found = []
  for (const { id: account, channel, settings } of config?.accounts ?? []) {
    try {
      await channel.reader?.(settings)
    } catch (error) {
      if (!isPosthouseError(error)) throw error
      const message = error.detail ?? error.code
      found.push({ text: `channels.${account}.${message}`, path: ['channels', account], message, account })
    }
  }
  return found
}

function verdictOf(path: string | undefined, ok: boolean, count: number): { en: string; zh: string } {
  if (path === undefined) return { en: 'No configuration file; the defaults apply.', zh: '没有配置文件，使用默认值。' }
  if (!ok) return { en: `${path}: ${count} problem${count === 1 ? '' : 's'}.`, zh: `${path}：${count} 个问题。` }
  if (count > 0) return { en: `${path}: usable, without the accounts named above.`, zh: `${path}：可以使用，但上述账号停用。` }
  return { en: `${path}: no problems.`, zh: `${path}：没有问题。` }
}

/** What a problem costs, if it does not stop the start. */
export function closedWords(account: string | undefined): Words {
  if (account === undefined || account === 'plugins') return { en: '', zh: '' }
  return { en: ` (the account ${account} stays closed)`, zh: `（账号 ${account} 停用）` }
}

/** Accounts that stay closed because of the file, each with the first of its problems. */
export function closedIn({ problems }: Loaded): readonly { readonly account: string; readonly text: Words }[] {
  const found = problems.flatMap(({ account, text }) => (account === undefined || account === 'plugins' ? [] : [{ account, text }]))
  return found.filter(({ account }, index) => found.findIndex((other) => other.account === account) === index)
}

/** Every problem and notice as a line. */
export function problemLines({ problems, notices }: Loaded, { t }: Pick<Terminal, 't'>): string[] {
  return [
    ...problems.map(({ text, account }) => `${t(text)}${t(closedWords(account))}`),
    ...notices.map((notice) => `${t({ en: 'note: ', zh: '提示：' })}${t(notice)}`),
  ]
}

export async function printSchema({ config }: Call): Promise<void> {
  const { channels } = loadHere(config)
  process.stdout.write(`${JSON.stringify(jsonSchema({ ...catalog, channels }), null, 2)}\n`)
}

export interface Key {
  readonly name: string
  readonly field: Field
  readonly required: boolean
}

/** Keys of a server of tools are described once, for every name. */
const ANY_SERVER = 'mcp.NAME'

/** All keys as paths; `channels.telegram.token`, `models.endpoints.openai.base_url`. `channels`: with those of plugins, where there are some. */
export function allKeys(channels = catalog.channels): readonly Key[] {
  const walk = (fields: Readonly<Record<string, Field>>, prefix: string, required: readonly string[]): Key[] =>
    Object.entries(fields).flatMap(([name, field]) => [
      { name: `${prefix}${name}`, field, required: required.includes(name) },
      ...(field.fields ? walk(field.fields, `${prefix}${name}.`, field.required ?? []) : []),
    ])
  return [
    ...walk(rootFields, '', []),
    ...walk(mcpFields, `${ANY_SERVER}.`, []),
    ...Object.values(channels).flatMap(({ id, settings }) =>
      walk({ ...accountFields, ...settings.fields }, `channels.${id}.`, settings.required),
    ),
    ...Object.values(catalog.providers).flatMap(({ id, settings }) =>
      walk({ ...endpointFields, ...settings.fields }, `models.endpoints.${id}.`, ['api', ...settings.required]),
    ),
  ]
}

export async function explainConfig({ config, terminal }: Call, [wanted]: readonly string[]): Promise<void> {
  const { t } = terminal
  const loaded = loadHere(config)
  const keys = allKeys(loaded.channels)
  const { named, own } = toCatalogName(wanted ?? '', loaded)
  const found = wanted === undefined ? keys : keys.filter(({ name }) => name === named || name.startsWith(`${named}.`))
  if (found.length === 0) {
    const near = nearest(
      named,
      keys.map(({ name }) => name),
    )
    throw new CliError(
      t({
        en: `There is no key "${wanted}".${near ? ` Did you mean "${near}"?` : ''}`,
        zh: `没有配置键“${wanted}”。${near ? `是否想写“${near}”？` : ''}`,
      }),
      2,
      'posthouse config explain',
    )
  }
  const rows = found.map(({ name, field, required }) => ({ name: own(name), field, required, now: nowOf(own(name), field, loaded) }))
  const lines = rows.map(({ name, field, required, now }) => {
    const details = [
      field.format ?? field.type,
      field.enum?.join('|'),
      required ? t({ en: 'required', zh: '必填' }) : undefined,
      field.default === undefined ? undefined : `= ${JSON.stringify(field.default)}`,
    ].filter(Boolean)
    return `${name}  (${details.join(', ')})\n    ${t(field.description)}${now === undefined ? '' : `\n    ${t({ en: 'now: ', zh: '当前：' })}${now}`}`
  })
  terminal.result(
    rows.map(({ name, field: { type, format, default: initial, enum: values, description }, required, now }) => ({
      name,
      type,
      format,
      default: initial,
      enum: values,
      required,
      description,
      now,
    })),
    lines.join('\n'),
    'posthouse config check',
  )
}

/** `channels.desk.token` is described as `channels.telegram.token` when the account `desk` is one of Telegram. */
function toCatalogName(wanted: string, { written }: Loaded): { named: string; own: (name: string) => string } {
  const server = /^mcp\.[^.]+/.exec(wanted)?.[0]
  if (server) return { named: wanted.replace(server, ANY_SERVER), own: (name) => name.replace(ANY_SERVER, server) }
  const [, prefix, id, rest = ''] = /^(channels|models\.endpoints)\.([^.]+)(\..*)?$/.exec(wanted) ?? []
  const keys = prefix === 'channels' ? ['channels'] : ['models', 'endpoints']
  const type = prefix && id ? written([...keys, id, prefix === 'channels' ? 'type' : 'api']) : undefined
  if (typeof type !== 'string') return { named: wanted, own: (name) => name }
  const [from, to] = [`${prefix}.${type}`, `${prefix}.${id}`]
  return { named: `${from}${rest}`, own: (name) => (name === from || name.startsWith(`${from}.`) ? to + name.slice(from.length) : name) }
}

const REFERENCE_ONLY = /^\$\{(env|file):[^}]*\}$/

/** What the file says, as it is written there. A reference may be shown; a secret never. */
function nowOf(name: string, field: Field, { written }: Loaded): string | undefined {
  const value = written(name.split('.'))
  if (value === undefined || value === null || field.fields) return undefined
  if (typeof value === 'string' && REFERENCE_ONLY.test(value)) return value
  if (field.format === 'secret') return '***'
  if (field.type === 'object') return typeof value === 'object' ? `{ ${Object.keys(value).join(', ')} }` : '***'
  return JSON.stringify(value).replace(/\/\/[^\s"]*@/g, '//***@')
}
