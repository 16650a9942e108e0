/** `posthouse mcp`: servers of tools, what was approved of them, and what waits for it. */
import { diff } from 'node:util'
import { systemClock } from '../base/clock.ts'
import { orderedJson } from '../base/ordered-json.ts'
import type { Config } from '../config/index.ts'
import { approve, McpFault, markOf, type Pin, pinsOf, probeMcp, stateOf } from '../mcp/index.ts'
import { type McpProblem, type McpServer, mcpProblems } from '../ports/mcp.ts'
import type { Store } from '../ports/store.ts'
import { createGuardedFetch } from '../security/index.ts'
import { hasData } from '../storage/index.ts'
import { version } from '../version.ts'
import type { Call, Options } from './call.ts'
import { type Local, loadLocal, openLocal } from './local.ts'
import { ago, CliError, plain, table, type Words } from './terminal.ts'

type ToolState = 'approved' | 'changed' | 'new'

interface ToolRow {
  readonly name: string
  readonly state: ToolState
  readonly pin: Pin
}

const toolStates: Readonly<Record<ToolState, Words>> = {
  approved: { en: 'approved', zh: '已批准' },
  changed: { en: 'changed, kept from models', zh: '已变更，暂不提供给模型' },
  new: { en: 'new, kept from models', zh: '新增，暂不提供给模型' },
}

const serverStates = {
  starting: { en: 'starting', zh: '启动中' },
  ready: { en: 'connected', zh: '已连接' },
  waiting: { en: 'not reachable', zh: '无法使用' },
  unseen: { en: 'never connected', zh: '从未连接' },
} as const

/** What the database knows of a server. */
interface Known {
  readonly id: string
  readonly state: keyof typeof serverStates
  readonly problem: McpProblem | undefined
  readonly at: number | undefined
  readonly tools: readonly ToolRow[]
}

/** Servers of the configuration, as a gateway last found them. */
export async function knownServers({ mcp }: Pick<Config, 'mcp'>, { accountState }: Pick<Store, 'accountState'>): Promise<readonly Known[]> {
  return await Promise.all(
    mcp.map(async ({ id, tools: named }): Promise<Known> => {
      const [pins = {}, last] = [await pinsOf(accountState, id), await stateOf(accountState, id)]
      const tools = Object.entries(pins)
        .filter(([name]) => named?.includes(name) ?? true)
        .map(([name, pin]): ToolRow => ({ name, state: pin.offered ? (pin.approved ? 'changed' : 'new') : 'approved', pin }))
      return { id, state: last?.state ?? 'unseen', problem: last?.problem, at: last?.at, tools }
    }),
  )
}

/** Tools that wait for their owner. */
export const waitingIn = ({ tools }: Known): readonly ToolRow[] => tools.filter(({ state }) => state !== 'approved')

export async function listMcp(call: Call): Promise<void> {
  const local = loadLocal(call)
  const { t, result } = local.terminal
  if (local.config.mcp.length === 0)
    return result([], t({ en: 'No servers of tools are configured.', zh: '未配置工具服务器。' }), 'posthouse config explain mcp')
  const known = await seen(local)
  const now = Date.now()
  const waiting = known.find((server) => waitingIn(server).length > 0)
  const rows = known.map((server) => [
    server.id,
    `${t(serverStates[server.state])}${server.problem ? ` (${server.problem})` : ''}`,
    server.at === undefined ? '' : ago(server.at, now),
    String(server.tools.filter(({ state }) => state === 'approved').length),
    String(waitingIn(server).length),
  ])
  const lines = [
    table(t({ en: 'server|state|since|tools|waiting', zh: '服务器|状态|自|工具|待批准' }).split('|'), rows),
    ...known.flatMap(({ id, problem }) => (problem ? ['', `${id}: ${t(mcpProblems[problem])}`] : [])),
    ...known.flatMap((server) =>
      waitingIn(server).flatMap((row) => [
        '',
        `${server.id} ${row.name}: ${t(toolStates[row.state])} (${markIn(row)})`,
        ...differenceOf(row.pin),
      ]),
    ),
  ]
  const shown = known.map(({ tools, ...server }) => ({
    ...server,
    tools: tools.map(({ name, state, pin }) => ({
      name,
      state,
      ...(state === 'approved' ? {} : { mark: markIn({ name, state, pin }), ...pin }),
    })),
  }))
  result(shown, lines.join('\n'), waiting ? nextFor(waiting) : 'posthouse status')
}

const markIn = ({ pin: { offered } }: ToolRow): string => (offered ? markOf(offered) : '')

function nextFor(server: Known): string {
  const [first] = waitingIn(server)
  return first
    ? `posthouse mcp approve ${server.id} ${/\s/.test(first.name) ? JSON.stringify(first.name) : first.name} --as ${markIn(first)}`
    : 'posthouse status'
}

async function seen(local: Local): Promise<readonly Known[]> {
  if (!(await hasData(local.config.database.url)))
    return local.config.mcp.map(({ id }) => ({ id, state: 'unseen', problem: undefined, at: undefined, tools: [] }))
  await using opened = await openLocal(local)
  return await knownServers(local.config, opened.store)
}

export async function approveMcp(call: Call, [id = '', tool]: readonly string[], { as }: Options): Promise<void> {
  const local = loadLocal(call)
  const { t, result } = local.terminal
  serverNamed(local, id)
  await using opened = await openLocal(local)
  const approved = await approve(
    opened.store.accountState,
    id,
    tool === undefined ? undefined : [tool],
    typeof as === 'string' ? as : undefined,
  )
  if (approved.length === 0)
    throw new CliError(
      t({
        en: `Nothing of ${id}${tool ? ` ${tool}` : ''} waits to be approved${as ? ', as this mark has it' : ''}.`,
        zh: `${id}${tool ? ` ${tool}` : ''} 没有${as ? '与该标记相符的' : ''}待批准的内容。`,
      }),
      1,
      'posthouse mcp list',
    )
  const names = approved.map(([name]) => name)
  const done = t({
    en: `${names.join(', ')}: approved as follows. A running gateway tells models of it within seconds.`,
    zh: `${names.join('、')}：已批准以下内容。运行中的网关会在数秒内提供给模型。`,
  })
  const lines = approved.flatMap(([name, pin]) => ['', `${id} ${name}`, ...differenceOf(pin)])
  result({ server: id, approved: names }, [done, ...lines].join('\n'), 'posthouse mcp list')
}

export async function testMcp(call: Call, [id = '']: readonly string[]): Promise<void> {
  const local = loadLocal(call)
  const { t, result } = local.terminal
  const server = serverNamed(local, id)
  const { name, tools } = await askMcp(server, local.config)
  result(
    { server: id, name, tools },
    t({
      en: `${id}: ${plain(name, 60)} offers ${tools.length} tools: ${plain(tools.join(', '), 2000)}`,
      zh: `${id}：${plain(name, 60)} 提供 ${tools.length} 个工具：${plain(tools.join('、'), 2000)}`,
    }),
    'posthouse mcp list',
  )
}

/** Starts or calls a server, and asks what it has. @throws {CliError} with the remedy. */
export async function askMcp(server: McpServer, config: Pick<Config, 'privateAddresses'>, signal?: AbortSignal) {
  try {
    const parts = { clock: systemClock, fetch: createGuardedFetch(config), version, ...(signal ? { signal } : {}) }
    return await probeMcp(server, parts)
  } catch (error) {
    if (!(error instanceof McpFault)) throw error
    const errors = error.errors ? `\n${plain(error.errors, 2000)}` : ''
    throw new CliError(`${server.id}: ${error.code}: ${error.message}${errors}`, 1, 'posthouse config explain mcp', error)
  }
}

function serverNamed({ config, terminal: { t } }: Local, id: string): McpServer {
  const server = config.mcp.find((candidate) => candidate.id === id)
  if (!server) throw new CliError(t({ en: `There is no server "${id}".`, zh: `没有服务器“${id}”。` }), 2, 'posthouse mcp list')
  return server
}

/** What was approved and what is offered: the lines that are not the same. */
function differenceOf({ approved, offered }: Pin): readonly string[] {
  return diff(linesOf(approved), linesOf(offered)).flatMap(([side, line]) => {
    if (side === 0) return []
    const [indent = ''] = /^ */.exec(line) ?? []
    return [`  ${side > 0 ? '-' : '+'} ${indent}${plain(visible(line), 400)}`]
  })
}

/** What a person does not see, a model reads. */
const visible = (text: string) => text.replace(/[\p{Cf}\p{Co}]/gu, (hidden) => `\\u{${hidden.codePointAt(0)?.toString(16)}}`)

function linesOf(declared: Pin['approved']): readonly string[] {
  if (!declared) return []
  const { description, parameters, harmlessTwice } = declared
  // The order of keys says nothing.
  const rest = JSON.parse(orderedJson({ parameters, harmlessTwice })) as unknown
  return [...description.split('\n'), ...JSON.stringify(rest, null, 2).split('\n')]
}
