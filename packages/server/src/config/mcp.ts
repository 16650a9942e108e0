// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** Servers of tools (`mcp:`), by name. */
import type { Field } from '@posthouse/contract'
import type { McpServer } from '../ports/mcp.ts'
import { isSection } from './legacy.ts'
import { checkObject, expected, type Problem, words } from './validate.ts'

/** What every server may have. */
export const mcpFields: Readonly<Record<string, Field>> = {
  command: {
    type: 'array',
    items: { type: 'string' },
    description: {
      en: 'A program on this machine that speaks over its input and output: its name and its arguments, each for itself. No shell reads it. It runs in the folder of this file.',
      zh: '本机上通过标准输入输出通信的程序：程序名与各个参数分别列出，不经过 shell。在本文件所在目录中运行。',
    },
    examples: [['npx', '-y', '@modelcontextprotocol/server-filesystem', '/srv/shared']],
  },
  env: {
    type: 'object',
    description: {
      en: 'Variables of the program. Of ours it gets PATH, HOME and LANG alone.',
      zh: '程序的环境变量。网关自身的变量中，仅传递 PATH、HOME 与 LANG。',
    },
    examples: [{ TOKEN: '${env:FILES_TOKEN}' }],
  },
  url: {
    type: 'string',
    format: 'url',
    description: {
      en: 'Address of a server (streamable HTTP). A private one has to be opened in security.private_addresses.',
      zh: '服务器地址（streamable HTTP）。内网地址须在 security.private_addresses 中开放。',
    },
    examples: ['https://wiki.example.com/mcp'],
  },
  headers: {
    type: 'object',
    description: { en: 'Sent with every request to url.', zh: '随每个请求发送到 url 的请求头。' },
    examples: [{ Authorization: 'Bearer ${env:WIKI_TOKEN}' }],
  },
  enabled: { type: 'boolean', default: true, description: { en: 'false: it is not used.', zh: 'false 表示停用。' } },
  timeout: {
    type: 'string',
    format: 'duration',
    minimum: 1000,
    maximum: 120_000,
    default: '30s',
    description: { en: 'For one call of a tool.', zh: '单次工具调用的时限。' },
  },
  start_timeout: {
    type: 'string',
    format: 'duration',
    minimum: 1000,
    maximum: 600_000,
    default: '30s',
    description: {
      en: 'Until the server has told its tools: longer for a program that is fetched at its first start.',
      zh: '从启动到列出工具的时限；首次启动需要下载的程序可设长一些。',
    },
  },
  tools: {
    type: 'array',
    items: { type: 'string' },
    description: {
      en: 'The only tools that are used. Absent: all that the server had when it was first seen, and those approved since.',
      zh: '仅使用这些工具。不写：首次连接时服务器提供的全部工具，以及此后批准的工具。',
    },
    examples: [['read_file', 'list_directory']],
  },
  idempotent: {
    type: 'array',
    items: { type: 'string' },
    default: [],
    description: {
      en: 'Tools that may be called again when nobody knows whether a call took effect. Only where the server says the same of them.',
      zh: '结果不明时允许再次调用的工具。仅当服务器对其也作同样声明时才生效。',
    },
    examples: [['read_file']],
  },
}

/** No `__` in it, nor `_` at its end: the name of a tool is SERVER__TOOL. */
const NAME = /^(?=.{1,32}$)[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$/
const VARIABLE = /^[A-Za-z_]\w*$/
const HEADER = /^[\w!#$%&'*+.^`|~-]+$/
const INHERITED = ['PATH', 'HOME', 'LANG']
/** Servers together: each may be a process. */
const MOST = 32

/** `folder`: where the programs run. */
export function checkMcp(raw: unknown, env: NodeJS.ProcessEnv, folder: string, problems: Problem[]): McpServer[] {
  if (raw === undefined || raw === null) return []
  if (!isSection(raw)) {
    problems.push({ path: ['mcp'], message: expected('servers by name', '以名称为键的服务器', raw) })
    return []
  }
  const inherited = Object.fromEntries(INHERITED.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
  const servers = Object.entries(raw).flatMap(([id, entry]) => {
    const path = ['mcp', id]
    const before = problems.length
    if (!NAME.test(id)) problems.push({ path, message: BAD_NAME })
    const checked = checkObject(entry, mcpFields, [], path, problems)
    if (problems.length === before) problems.push(...problemsOf(checked, path))
    return problems.length > before || checked.enabled === false ? [] : [serverOf(id, checked, inherited, folder)]
  })
  if (Object.keys(raw).length > MOST) problems.push({ path: ['mcp'], message: words(`at most ${MOST} servers`, `最多 ${MOST} 个服务器`) })
  return servers
}

const BAD_NAME = words(
  'a name has up to 32 letters and digits, with single - and _ between them',
  '名称只能包含字母和数字（最多 32 个字符），其间可用单个 - 或 _ 分隔',
)

function serverOf(id: string, checked: Record<string, unknown>, inherited: Record<string, string>, folder: string): McpServer {
  const { command, url } = checked as { command?: string[]; url?: string }
  const given = (name: string) => (checked[name] ?? {}) as Record<string, string>
  return {
    id,
    reach: command
      ? { kind: 'program', command, env: { ...inherited, ...given('env') }, folder }
      : { kind: 'http', url: String(url), headers: given('headers') },
    timeout: checked.timeout as number,
    startTimeout: checked.start_timeout as number,
    tools: checked.tools as string[] | undefined,
    idempotent: checked.idempotent as string[],
  }
}

/** What no single key can tell. */
function problemsOf(checked: Record<string, unknown>, path: readonly (string | number)[]): Problem[] {
  const {
    command,
    url,
    env,
    headers,
    tools,
    idempotent = [],
  } = checked as Partial<Record<'command' | 'tools' | 'idempotent', string[]>> & {
    readonly url?: string
    readonly env?: Record<string, string>
    readonly headers?: Record<string, string>
  }
  const found: Problem[] = []
  const tell = (keys: readonly (string | number)[], en: string, zh: string) =>
    found.push({ path: [...path, ...keys], message: words(en, zh) })
  if ((command === undefined) === (url === undefined)) tell([], 'either command or url is expected', '应填写 command 或 url 其中之一')
  if (command && (command[0] ?? '') === '') tell(['command'], 'the name of a program is expected first', '第一项应为程序名')
  command?.forEach((word, index) => {
    if (word.includes('\0')) tell(['command', index], 'a zero byte is not allowed', '不能包含零字节')
  })
  if (env && !command) tell(['env'], 'only a command has variables', '仅 command 可以有环境变量')
  if (headers && !url) tell(['headers'], 'only a url has headers', '仅 url 可以有请求头')
  if (url !== undefined && /[@#]/.test(url.replace(/\?.*/, '')))
    tell(
      ['url'],
      'no name, password or # in the address; credentials belong into headers',
      '地址中不能有用户名、密码或 #；凭据请写入 headers',
    )
  for (const name of Object.keys(env ?? {})) if (!VARIABLE.test(name)) tell(['env', name], 'not a name of a variable', '不是有效的变量名')
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (!HEADER.test(name) || /[\r\n\0]/.test(value)) tell(['headers', name], 'not a header', '不是有效的请求头')
  }
  idempotent.forEach((name, index) => {
    if (tools && !tools.includes(name)) tell(['idempotent', index], 'this tool is not among tools', '该工具不在 tools 中')
  })
  return found
}
