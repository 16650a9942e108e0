/** Servers of tools: whether they answer, and what waits for their owner. None of them stops the gateway. */
import { hasData } from '../../storage/index.ts'
import { type Local, openLocal } from '../local.ts'
import { askMcp, knownServers, waitingIn } from '../mcp.ts'
import { type Check, check, ok, warn } from './finding.ts'

export function checkTools(local: Local): Check[] {
  const { mcp } = local.config
  if (mcp.length === 0) return []
  return [...mcp.map((server) => answers(server.id, local)), approvals(local)]
}

const answers = (id: string, { config }: Local): Check =>
  check('tools', id, async (signal) => {
    try {
      const server = config.mcp.find((candidate) => candidate.id === id)
      const { tools } = server ? await askMcp(server, config, signal) : { tools: [] }
      return ok(`answers; tools: ${tools.length}`, `有响应；工具数：${tools.length}`)
    } catch (error) {
      const message = (error as Error).message.split('\n')[0]?.replace(`${id}: `, '') ?? ''
      return warn(message, message, `posthouse mcp test ${id}`)
    }
  })

const approvals = (local: Local): Check =>
  check('tools', 'approved', async () => {
    if (!(await hasData(local.config.database.url))) return ok('nothing was seen yet', '尚未连接过')
    await using opened = await openLocal(local)
    const waiting = (await knownServers(local.config, opened.store)).flatMap((server) =>
      waitingIn(server).map(({ name }) => `${server.id} ${name}`),
    )
    if (waiting.length === 0) return ok('no tool waits to be approved', '没有待批准的工具')
    return warn(
      `kept from models, since they changed or are new: ${waiting.join(', ')}`,
      `已变更或新增，暂不提供给模型：${waiting.join('、')}`,
      'posthouse mcp list',
    )
  })
